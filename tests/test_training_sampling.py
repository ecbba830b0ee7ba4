"""Repeat-factor sampling: the factors of the LVIS paper, and epochs that keep to them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from densewatch.data.dataset import Dataset, Sample
from densewatch.metadata import ClassInfo
from densewatch.training.sampling import Repeats, epoch_order, pictures_per_epoch, repeat_factors


def dataset(*labels: list[int]) -> Dataset:
    """Return a data set of four classes with a picture for each list of labels."""
    samples = [
        Sample(number, Path(f"{number}.png"), (9, 9), np.tile([0, 0, 9, 9], (len(some), 1)), np.array(some))
        for number, some in enumerate(labels)
    ]
    return Dataset(tuple(samples), tuple(ClassInfo(name=name, id=id_) for id_, name in enumerate("abcd")))


def test_the_factors_are_those_of_the_paper() -> None:
    """Class 0 is in all ten pictures, 1 in four (twice in one), 2 in one, 3 nowhere."""
    data = dataset([0, 1, 1], [0, 1], [0, 1], [0, 1, 2], *[[0]] * 6)
    rare, uncommon = (0.5 / 0.1) ** 0.5, (0.5 / 0.4) ** 0.5
    assert repeat_factors(data, 0.5) == pytest.approx([uncommon] * 3 + [rare] + [1] * 6)
    assert repeat_factors(data, 0.2) == pytest.approx([1] * 3 + [2**0.5] + [1] * 6)


def test_no_threshold_and_empty_pictures_repeat_nothing() -> None:
    assert repeat_factors(dataset([0], [1], []), 0).tolist() == [1, 1, 1]
    assert repeat_factors(dataset([0], [], []), 1).tolist() == [3**0.5, 1, 1]
    assert repeat_factors(dataset([], []), 1).tolist() == [1, 1]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(
    repeats=st.lists(st.floats(1, 5), min_size=1, max_size=30).map(np.array),
    seed=st.integers(0, 2**32),
)
def test_all_epochs_are_equally_long_and_leave_nothing_out(repeats: Repeats, seed: int) -> None:
    order = epoch_order(repeats, generator(seed))
    counts = np.bincount(order.numpy(), minlength=len(repeats))
    assert len(order) == counts.sum() == pictures_per_epoch(repeats)
    assert repeats.sum() - 1e-6 <= len(order) < repeats.sum() + 1
    exact = repeats * (len(order) / repeats.sum())
    assert (np.abs(counts - exact) < 1 + 1e-6).all()
    assert (counts >= 1).all()


def test_over_many_epochs_each_picture_comes_as_often_as_its_factor_says() -> None:
    repeats = np.array([1.0, 1.5, 2.25, 1.0, 1.25])
    counts = sum(
        np.bincount(epoch_order(repeats, generator(seed)).numpy(), minlength=5) for seed in range(500)
    )
    assert counts / 500 == pytest.approx(repeats, abs=0.08)


def test_repeats_are_spread_over_the_epoch() -> None:
    """The order is shuffled once more: else repeats would follow one another."""
    order = epoch_order(np.full(200, 2.0), generator(0))
    assert int((order[1:] == order[:-1]).sum()) < 10


def test_without_repeats_the_order_is_the_plain_shuffle() -> None:
    assert torch.equal(epoch_order(np.ones(50), generator(7)), torch.randperm(50, generator=generator(7)))
