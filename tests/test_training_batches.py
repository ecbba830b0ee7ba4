"""Batches: which pictures a step sees, and what becomes of them."""

from __future__ import annotations

import json
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from densewatch.data.augment import TrainingSample
from densewatch.data.augment_settings import AugmentSettings
from densewatch.data.dataset import DataError
from densewatch.training.batches import Draw, StepSampler, collate, make_loader, read_source, read_sources
from densewatch.training.settings import DataSource
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


def training_sample(height: int, width: int) -> TrainingSample:
    return TrainingSample(
        torch.full((3, height, width), 7, dtype=torch.uint8),
        torch.tensor([[1.0, 2.0, 3.0, 4.0]]),
        torch.tensor([1]),
        torch.zeros(0, 4),
        torch.zeros(0, dtype=torch.int64),
        torch.tensor([2]),
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


def test_workers_and_the_caller_s_random_numbers_change_nothing(scenes: DrawnScenes) -> None:
    data = read_source(DataSource(annotations=scenes.annotations))
    augment = AugmentSettings(geometry="square", zoom=(0.5, 2), photometric=0.5)

    def batches(workers: int, seed: int) -> list[Any]:
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        got = list(make_loader(data, StepSampler(5, 2, (64, 96), 0, 0, 4), augment, workers))
        assert torch.equal(torch.get_rng_state(), before)
        return got

    for one, other in zip(batches(workers=0, seed=1), batches(workers=2, seed=2), strict=True):
        assert torch.equal(one.images, other.images)
        for target, same in zip(one.targets, other.targets, strict=True):
            assert torch.equal(target.boxes, same.boxes)


def mark(scenes: DrawnScenes) -> None:
    """Give every other picture the attribute `camera: door`."""
    content = json.loads(scenes.annotations.read_text())
    for record in content["images"][::2]:
        record["camera"] = "door"
    scenes.annotations.write_text(json.dumps(content))


def test_where_and_repeat(scenes: DrawnScenes) -> None:
    mark(scenes)
    everything = DataSource(annotations=scenes.annotations)
    door = DataSource(annotations=scenes.annotations, where={"camera": "door"}, repeat=2)
    data = read_sources([everything, door])
    assert [sample.image_id for sample in data] == [100, 101, 102, 103, 104] + [100, 102, 104] * 2


def test_where_that_leaves_nothing_is_an_error(scenes: DrawnScenes) -> None:
    mark(scenes)
    with pytest.raises(DataError, match=r"scenes\.json: no picture has camera=gate: "):
        read_source(DataSource(annotations=scenes.annotations, where={"camera": "gate"}))


def test_several_conditions_must_all_hold(scenes: DrawnScenes) -> None:
    content = json.loads(scenes.annotations.read_text())
    for number, record in enumerate(content["images"]):
        record.update(camera="door" if number % 2 else "gate", hour=number // 2)
    scenes.annotations.write_text(json.dumps(content))
    data = read_source(DataSource(annotations=scenes.annotations, where={"camera": "door", "hour": "1"}))
    assert [sample.image_id for sample in data] == [103]


def test_an_empty_data_set_is_an_error(scenes: DrawnScenes) -> None:
    content = json.loads(scenes.annotations.read_text())
    scenes.annotations.write_text(json.dumps({**content, "images": [], "annotations": []}))
    with pytest.raises(DataError, match=r"scenes\.json: there is no picture$"):
        read_source(DataSource(annotations=scenes.annotations))


def test_a_teacher_fills_in_what_nobody_labelled(scenes: DrawnScenes, tmp_path: Path) -> None:
    results = [
        {"image_id": 100, "category_id": 11, "bbox": [1, 2, 10, 20], "score": 0.9},
        {"image_id": 100, "category_id": 5, "bbox": [30, 30, 9, 9], "score": 0.3},
        {"image_id": 101, "category_id": 5, "bbox": [30, 30, 9, 9], "score": 0.1},
    ]
    teacher = tmp_path / "teacher.json"
    teacher.write_text(json.dumps(results))
    content = json.loads(scenes.annotations.read_text())
    scenes.annotations.write_text(json.dumps({**content, "annotations": []}))
    source = DataSource(
        annotations=scenes.annotations, labelled=False, teacher=teacher, teacher_score=0.5, ignore_score=0.2
    )
    first, second, *_ = read_source(source)
    assert (first.boxes.tolist(), first.labels.tolist()) == ([[1, 2, 11, 22]], [1])
    assert (first.ignore_boxes.tolist(), first.ignore_labels.tolist()) == ([[30, 30, 39, 39]], [0])
    assert len(second.boxes) == len(second.ignore_boxes) == 0
