"""Privacy masks and the motion gate."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from densewatch.live.masks import burn_in
from densewatch.live.motion import MotionGate
from densewatch.live.settings import MotionSettings, Polygon

LEFT_HALF: Polygon = ((0, 0), (0.5, 0), (0.5, 1), (0, 1))


def white(height: int = 40, width: int = 60) -> npt.NDArray[np.uint8]:
    return np.full((height, width, 3), 255, np.uint8)


def test_a_mask_is_black_and_the_rest_is_as_it_was() -> None:
    image = burn_in(white(), [LEFT_HALF])
    assert not image[:, :31].any()
    assert (image[:, 33:] == 255).all()


def test_a_mask_keeps_its_place_when_the_resolution_changes() -> None:
    for height, width in [(40, 60), (480, 640), (1080, 1920), (33, 17)]:
        image = burn_in(white(height, width), [LEFT_HALF])
        assert not image[:, : width // 2].any()
        assert (image[:, width // 2 + 4 :] == 255).all()


def test_a_picture_that_must_not_be_written_to_is_copied() -> None:
    image = white()
    image.setflags(write=False)
    assert not burn_in(image, [LEFT_HALF])[:, :30].any()
    assert (image == 255).all()


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=8),
    st.integers(1, 80),
    st.integers(1, 80),
)
def test_every_corner_is_masked(points: list[tuple[float, float]], height: int, width: int) -> None:
    image = burn_in(white(height, width), [tuple(points)])
    for x, y in points:
        assert not image[min(round(y * height), height - 1), min(round(x * width), width - 1)].any()


def gate(every_s: float = 10) -> MotionGate:
    return MotionGate(MotionSettings(at_least_every_s=every_s))


def test_the_first_picture_opens_the_gate_and_the_same_again_does_not() -> None:
    still = gate()
    assert still.opens(white(240, 320), 0)
    assert not still.opens(white(240, 320), 1)


def test_what_moves_opens_the_gate() -> None:
    moving = gate()
    moving.opens(white(240, 320), 0)
    image = white(240, 320)
    image[100:140, 100:120] = 0
    assert moving.opens(image, 0.1)
    assert not moving.opens(image, 0.2)


def test_slow_movement_adds_up() -> None:
    slow = gate(every_s=1000)
    opened = 0
    for step in range(100):
        image = white(240, 320)
        image[:, : 20 + step // 4] = 0
        opened += slow.opens(image, step / 10)
    assert 5 < opened < 60


def test_noise_does_not_open_the_gate() -> None:
    random = np.random.default_rng(0)
    noisy = gate(every_s=1000)
    base = np.full((480, 640, 3), 128, np.float64)
    pictures = [np.clip(base + random.normal(0, 12, base.shape), 0, 255).astype(np.uint8) for _ in range(10)]
    assert [noisy.opens(picture, at) for at, picture in enumerate(pictures)] == [True] + [False] * 9


@pytest.mark.parametrize(("at", "opens"), [(1.9, False), (2.0, True), (-5.0, True)])
def test_after_a_while_it_opens_all_the_same(at: float, opens: bool) -> None:
    patient = gate(every_s=2)
    patient.opens(white(240, 320), 0.0)
    assert patient.opens(white(240, 320), at) is opens


def test_another_resolution_opens_the_gate() -> None:
    changed = gate()
    changed.opens(white(240, 320), 0)
    assert changed.opens(white(240, 200), 0.1)
