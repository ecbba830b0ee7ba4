"""Colours: each change is torchvision's, to what whole bytes can hold."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torchvision.transforms.v2 import functional

from densewatch.data.photometric import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    distort,
)


def noise() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (32, 48, 3), np.uint8)


CHANGES = {
    "brightness": (adjust_brightness, functional.adjust_brightness, (0.875, 1.125), 1),
    "contrast": (adjust_contrast, functional.adjust_contrast, (0.5, 1.5), 1),
    "saturation": (adjust_saturation, functional.adjust_saturation, (0.5, 1.5), 2),
    "hue": (adjust_hue, functional.adjust_hue, (-0.05, 0.05), 10),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changes_are_those_of_torchvision(name: str) -> None:
    ours, theirs, limits, tolerance = CHANGES[name]
    pixels = noise()
    as_tensor = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
    for amount in limits:
        expected = theirs(as_tensor, amount).numpy().transpose(1, 2, 0)
        difference = np.abs(ours(pixels, amount).astype(int) - expected)
        assert difference.max() <= tolerance
        assert np.abs(pixels.astype(int) - expected).max() > 4 * tolerance


@pytest.mark.parametrize("change", [adjust_brightness, adjust_contrast, adjust_saturation])
def test_a_factor_of_one_changes_nothing(change: object) -> None:
    assert callable(change)
    assert np.array_equal(change(noise(), 1.0), noise())


def test_nothing_is_changed_in_place_or_by_chance() -> None:
    pixels = noise()
    assert np.array_equal(distort(pixels, 0.0, np.random.default_rng(1)), noise())
    first, again, other = (distort(pixels, 1.0, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(pixels, noise())
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_half_of_all_pictures_change_their_channels_at_one_half() -> None:
    """A picture of one colour per channel shows which order they come in; one of six orders is the old."""
    pixels = np.zeros((1, 1, 3), np.uint8)
    pixels[0, 0] = (10, 120, 240)
    swapped = sum(
        np.argsort(distort(pixels, 0.5, np.random.default_rng(seed))[0, 0]).tolist() != [0, 1, 2]
        for seed in range(2000)
    )
    assert swapped / 2000 == pytest.approx(0.5 * 5 / 6, abs=0.04)
