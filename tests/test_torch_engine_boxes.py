"""Objects found on the device: the same as on the CPU, one by one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from densewatch.detections import Detections
from densewatch.imaging.resize import Prepared
from densewatch.metadata import ClassInfo, LevelInfo, ModelInfo
from densewatch.runtime.candidates import TORCHVISION_LIMITS, Filter, Limits, to_detections
from densewatch.torch_engine import boxes as device_boxes
from densewatch.torch_engine.boxes import find_objects

HEIGHT, WIDTH, CLASSES = 320, 416, 7
INFO = ModelInfo(
    name="random",
    family="retinanet",
    classes=tuple(ClassInfo(name=f"c{number}", id=number) for number in range(CLASSES)),
    levels=(
        LevelInfo(stride=16, anchors_per_cell=1, topk=400),
        LevelInfo(stride=64, anchors_per_cell=2, topk=400),
    ),
)
CANDIDATES = 400 + (5 * 7) * 2


def members(count: int) -> list[Prepared]:
    """Return pictures of which less and less is valid, that were larger once."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    sizes = [(HEIGHT - 9 * number, WIDTH - 16 * number) for number in range(count)]
    return [Prepared(pixels, size, (size[0] * 3, size[1] * 3)) for size in sizes]


def candidates(count: int, seed: int, step: float) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return random boxes, some beyond the border, on a raster of `step` pixels, and scores."""
    random = np.random.default_rng(seed)
    corner = random.uniform(-40, (WIDTH, HEIGHT), (count, CANDIDATES, 2))
    boxes = np.concatenate([corner, corner + random.uniform(4, 120, corner.shape)], axis=2)
    if step:
        boxes = np.round(boxes / step) * step
    scores = random.uniform(0, 1, (count, CANDIDATES, CLASSES)) ** 3
    scores = np.round(scores, 2)  # many are equal
    return boxes.astype(np.float32), scores.astype(np.float32)


def one_by_one(
    boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], wanted: Filter
) -> list[Detections]:
    return [
        to_detections(some_boxes, some_scores, member, INFO, wanted)
        for some_boxes, some_scores, member in zip(boxes, scores, members(len(boxes)), strict=True)
    ]


def check_equal(found: list[Detections], expected: list[Detections]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.boxes, other.boxes)
        assert np.array_equal(one.scores, other.scores)
        assert np.array_equal(one.labels, other.labels)
        assert (one.size, one.names, one.saturated) == (other.size, other.names, other.saturated)


def on_device(
    boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], wanted: Filter, device: str = "cpu"
) -> list[Detections]:
    there = torch.from_numpy(boxes).to(device), torch.from_numpy(scores).to(device)
    return find_objects(*there, members(len(boxes)), INFO, wanted)


DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")],
    ),
]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("iou", [0.0, 0.3, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("step", [0, 1, 8])
def test_the_same_as_one_by_one(device: str, step: float, iou: float) -> None:
    for seed in range(3):
        boxes, scores = candidates(3, seed, step)
        wanted = Filter(threshold=0.2, iou=iou)
        expected = one_by_one(boxes, scores, wanted)
        check_equal(on_device(boxes, scores, wanted, device), expected)
        assert min(map(len, expected)) > 5


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "wanted",
    [
        Filter(0.5, 0.5, suppression="agnostic"),
        Filter(0.5, 0.5, suppression="soft"),
        Filter(0.5, 0.5, suppression="merge"),
        Filter(0.5, 0.5, labels=[1, 4]),
        Filter(0.5, 0.5, labels=[]),
        Filter(0.5, 0.5, limits=Limits(max_detections=20)),
        Filter(0.05, 0.5, limits=TORCHVISION_LIMITS),
        Filter(0.0, 0.5),
        Filter(1.0, 0.5),
    ],
    ids=repr,
)
def test_everything_that_can_be_wanted(device: str, wanted: Filter) -> None:
    boxes, scores = candidates(2, 7, 1)
    check_equal(on_device(boxes, scores, wanted, device), one_by_one(boxes, scores, wanted))


def test_portions_that_memory_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures together, alone, and one that is too much for the device."""
    boxes, scores = candidates(5, 3, 1)
    scores[3] = np.minimum(scores[3] * 4, 1)
    scores[4] = 0
    wanted = Filter(threshold=0.5, iou=0.5)
    counts = (scores >= 0.5).sum(axis=(1, 2)).tolist()
    assert counts[0] + counts[1] < 1500 < min(sum(counts[:3]), counts[3])
    monkeypatch.setattr(device_boxes, "_PAIRS_AT_ONCE", 1500)
    assert list(device_boxes._portions(counts)) == [range(2), range(2, 3), range(3, 4), range(4, 5)]
    check_equal(on_device(boxes, scores, wanted), one_by_one(boxes, scores, wanted))


def test_boxes_keep_their_fractions_in_the_last_class_of_a_large_batch() -> None:
    """Overlap by 0.5003 and by 0.4997: shifted by 40,000 px in float32 both would be 0.5."""
    info = INFO.model_copy(update={"levels": ()})
    for share, left in ((0.5003, 1), (0.4997, 2)):
        width = 10.0
        shift = width * (1 - share) / (1 + share)
        boxes = np.array([[[100, 100, 100 + width, 110], [100 + shift, 100, 100 + shift + width, 110]]])
        scores = np.zeros((1, 2, CLASSES), np.float32)
        scores[0, :, CLASSES - 1] = (0.9, 0.8)
        many = torch.from_numpy(boxes.astype(np.float32)), torch.from_numpy(scores)
        many = many[0].repeat(16, 1, 1), many[1].repeat(16, 1, 1)
        found = find_objects(*many, members(1) * 16, info, Filter(threshold=0.5, iou=0.5))
        assert [len(one) for one in found] == [left] * 16


def test_a_level_that_is_full_is_said_to_be() -> None:
    boxes, scores = candidates(2, 1, 1)
    wanted = Filter(threshold=0.3, iou=0.5)
    scores[1, :400, 0] = 0.3
    expected = one_by_one(boxes, scores, wanted)
    assert [one.saturated for one in expected] == [False, True]
    check_equal(on_device(boxes, scores, wanted), expected)


def test_another_number_of_classes_or_candidates() -> None:
    boxes, scores = candidates(1, 1, 1)
    wanted = Filter(threshold=0.3, iou=0.5)
    with pytest.raises(ValueError, match="scores 6 classes"):
        on_device(boxes, scores[..., :6].copy(), wanted)
    with pytest.raises(ValueError, match="gave 469 candidates"):
        on_device(boxes[:, 1:].copy(), scores[:, 1:].copy(), wanted)
