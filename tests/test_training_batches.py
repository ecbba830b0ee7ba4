"""Batches: which pictures a step sees, and what becomes of them."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from densewatch.data.augment import TrainingSample
from densewatch.data.augment_settings import AugmentSettings
from densewatch.data.dataset import DataError
from densewatch.training.batches import AugmentedDataset, Batch, Draw, StepSampler, collate, make_loader
from densewatch.training.settings import DataSource
from densewatch.training.sources import read_source
from drawn_scenes import DrawnScenes, draw_scenes


def draws(
    start: int = 0, total: int = 12, seed: int = 0, imgsz: tuple[int, ...] = (64, 96)
) -> list[list[Draw]]:
    """Seven pictures, three a step: three steps an epoch."""
    return list(StepSampler(7, 3, imgsz, seed, start, total))


def test_every_epoch_goes_through_all_pictures_in_its_own_order() -> None:
    steps = [[draw.picture for draw in step] for step in draws()]
    epochs = [list(chain.from_iterable(steps[first : first + 3])) for first in range(0, 12, 3)]
    assert [len(step) for step in steps] == [3, 3, 1] * 4
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


@pytest.mark.parametrize("start", [1, 3, 7])
def test_a_later_start_gives_the_same_steps(start: int) -> None:
    assert draws(start) == draws()[start:]


def test_the_seed_decides() -> None:
    assert draws(seed=1) != draws(seed=2)


def test_sizes_are_drawn_a_step() -> None:
    steps = draws(total=300, imgsz=(64, 96, 128))
    assert all(len({draw.imgsz for draw in step}) == 1 for step in steps)
    counts = Counter(step[0].imgsz for step in steps)
    assert set(counts) == {64, 96, 128}
    assert min(counts.values()) > 70


def test_no_two_draws_share_a_seed() -> None:
    seeds = [draw.seed for step in draws(total=300) for draw in step]
    assert len(set(seeds)) == len(seeds)


def test_repeated_pictures_make_epochs_longer() -> None:
    repeats = np.array([1.0, 1.0, 2.5])
    sampler = StepSampler(3, 2, (64,), 0, 0, 9, repeats=repeats)
    assert sampler.steps_per_epoch == 3
    steps = [[draw.picture for draw in step] for step in sampler]
    assert [len(step) for step in steps] == [2, 2, 1] * 3
    for first in (0, 3, 6):
        counts = Counter(chain.from_iterable(steps[first : first + 3]))
        assert set(counts) == {0, 1, 2}
        assert counts[2] in (2, 3)


MIXED = AugmentSettings(geometry="square", mosaic=0.5, copy_paste=0.25, close_mosaic=2)


def mixed_draws(start: int = 0, total: int = 300, augment: AugmentSettings = MIXED) -> list[list[Draw]]:
    return list(StepSampler(7, 3, (64, 96), 0, start, total, augment=augment))


@pytest.mark.parametrize("start", [1, 3, 7])
def test_a_later_start_mixes_the_same_pictures(start: int) -> None:
    assert mixed_draws(start) == mixed_draws()[start:]


def test_mosaics_and_donors_come_as_often_as_the_settings_say() -> None:
    draws = list(chain.from_iterable(mixed_draws(augment=MIXED.model_copy(update={"close_mosaic": 0}))))
    mosaics = [draw for draw in draws if draw.mosaic]
    donors = [draw.donor for draw in draws if draw.donor is not None]
    assert len(mosaics) / len(draws) == pytest.approx(0.5, abs=0.06)
    assert len(donors) / len(draws) == pytest.approx(0.25, abs=0.06)
    assert all(len(draw.mosaic) == 3 for draw in mosaics)
    partners = Counter(chain.from_iterable(draw.mosaic for draw in mosaics))
    assert set(partners) == set(donors) == set(range(7))
    assert max(partners.values()) < 1.5 * min(partners.values())


def test_mixing_changes_nothing_else_about_a_step() -> None:
    plain = [[draw._replace(mosaic=(), donor=None) for draw in step] for step in mixed_draws(total=12)]
    assert plain == draws()


def test_the_last_epochs_show_pictures_alone() -> None:
    """Three steps are an epoch; the last two of a hundred are closed."""
    mixed = [any(draw.mosaic or draw.donor is not None for draw in step) for step in mixed_draws()]
    assert not any(mixed[-6:])
    assert any(mixed[-9:-6])


def test_what_is_repeated_is_a_partner_as_often() -> None:
    repeats = np.array([1.0, 1.0, 6.0])
    sampler = StepSampler(3, 4, (64,), 0, 0, 200, repeats=repeats, augment=MIXED)
    partners = Counter(chain.from_iterable(draw.mosaic for step in sampler for draw in step))
    assert partners[2] / partners.total() == pytest.approx(6 / 8, abs=0.05)


def training_sample(height: int, width: int) -> TrainingSample:
    return TrainingSample(
        torch.full((3, height, width), 7, dtype=torch.uint8),
        torch.tensor([[1.0, 2.0, 3.0, 4.0]]),
        torch.tensor([1]),
        torch.zeros(0, 4),
        torch.zeros(0, dtype=torch.int64),
        torch.tensor([2]),
        torch.ones(1),
    )


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([(96, 128)], (96, 128)),
        ([(97, 128), (96, 129)], (128, 160)),
        ([(20, 130)], (96, 160)),  # no side below 96
    ],
)
def test_batches_are_padded_to_what_the_strides_divide(
    sizes: list[tuple[int, int]], expected: tuple[int, int]
) -> None:
    batch = collate([training_sample(*size) for size in sizes], pad_value=(1, 2, 3))
    assert tuple(batch.images.shape) == (len(sizes), 3, *expected)
    for image, (height, width) in zip(batch.images, sizes, strict=True):
        assert bool((image[:, :height, :width] == 7).all())
        assert image[:, height:].flatten(1).unique(dim=1).flatten().tolist() in ([], [1, 2, 3])
        assert image[:, :, width:].flatten(1).unique(dim=1).flatten().tolist() in ([], [1, 2, 3])
    assert batch.targets[0].boxes.tolist() == [[1, 2, 3, 4]]
    assert batch.targets[0].unlabelled.tolist() == [2]


@pytest.fixture
def scenes(tmp_path: Path) -> DrawnScenes:
    return draw_scenes(tmp_path, count=5, size=64, shapes=(2, 4))


MIXES = AugmentSettings(
    geometry="square", zoom=(0.5, 2), photometric=0.5, mosaic=0.5, copy_paste=0.7, paste_objects=3
)


def test_workers_and_the_caller_s_random_numbers_change_nothing(scenes: DrawnScenes) -> None:
    """Nor that OpenCV has had threads of its own before the workers are forked, which have none."""
    cv2.resize(np.zeros((2000, 2000, 3), np.uint8), (1000, 1000))
    data = read_source(DataSource(annotations=scenes.annotations))

    def batches(workers: int, seed: int) -> list[Any]:
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        sampler = StepSampler(5, 2, (64, 96), 0, 0, 4, augment=MIXES)
        got = list(make_loader(data, sampler, MIXES, workers))
        assert torch.equal(torch.get_rng_state(), before)
        return got

    for one, other in zip(batches(workers=0, seed=1), batches(workers=2, seed=2), strict=True):
        assert torch.equal(one.images, other.images)
        for target, same in zip(one.targets, other.targets, strict=True):
            assert all(torch.equal(known, vars(same)[name]) for name, known in vars(target).items())


def test_a_batch_depends_on_the_seed_and_the_step_alone(scenes: DrawnScenes) -> None:
    """With mosaics and pasted objects too: the batches from step 3 on are those of a run from the start."""
    data = read_source(DataSource(annotations=scenes.annotations))

    def batches(start: int) -> list[Batch]:
        sampler = StepSampler(5, 2, (64, 96), 0, start, 9, augment=MIXES)
        return list(make_loader(data, sampler, MIXES, workers=0))

    for one, other in zip(batches(0)[3:], batches(3), strict=True):
        assert torch.equal(one.images, other.images)
        for target, same in zip(one.targets, other.targets, strict=True):
            assert all(torch.equal(known, vars(same)[name]) for name, known in vars(target).items())


def test_a_picture_that_changed_its_size_is_an_error(scenes: DrawnScenes) -> None:
    data = read_source(DataSource(annotations=scenes.annotations))
    cv2.imwrite(str(data[1].path), np.zeros((32, 48, 3), np.uint8))
    with pytest.raises(DataError, match=r"001\.png is 48x32 when upright, but is recorded as 64x64"):
        AugmentedDataset(data, MIXES)[Draw(1, 64, 0)]
