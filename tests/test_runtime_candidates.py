"""From candidates to detections: thresholds, several classes, clipping, limits, and saying when they cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from densewatch.detections import Detections
from densewatch.imaging.resize import Prepared
from densewatch.metadata import LevelInfo, ModelInfo
from densewatch.runtime.candidates import TORCHVISION_LIMITS, Filter, Limits, level_slices, to_detections
from tiny_model import tiny_info

FREE = tiny_info().model_copy(update={"levels": ()})


def picture(
    padded: tuple[int, int] = (128, 128),
    valid: tuple[int, int] | None = None,
    original: tuple[int, int] | None = None,
) -> Prepared:
    valid = valid or padded
    return Prepared(np.zeros((*padded, 3), np.uint8), valid, original or valid)


def detect(
    boxes: Sequence[Sequence[float]],
    scores: npt.ArrayLike,
    *,
    prepared: Prepared | None = None,
    info: ModelInfo = FREE,
    **wanted: Any,
) -> Detections:
    rule = Filter(**{"threshold": 0.5, "iou": 0.5, **wanted})
    arrays = np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32).reshape(-1, 3)
    return to_detections(*arrays, prepared or picture(), info, rule)


A, B, C = [0, 0, 10, 10], [40, 0, 50, 10], [80, 0, 90, 10]


def test_threshold_is_included_and_a_candidate_may_be_of_several_classes() -> None:
    found = detect([A, B], [[0.5, 0.75, 0.25], [0.25, 0.0, 0.49]])
    assert found.labels.tolist() == [1, 0]
    assert found.scores.tolist() == [0.75, 0.5]
    assert found.boxes.tolist() == [A, A]
    assert not found.saturated


def test_only_some_classes() -> None:
    found = detect([A, B], [[0.5, 0.75, 0.0], [0.0, 0.9, 0.6]], labels=[0, 2])
    assert found.labels.tolist() == [2, 0]


def test_nothing_found() -> None:
    found = detect([A], [[0.1, 0.1, 0.1]])
    assert len(found) == 0
    assert found.size == (128, 128)
    assert len(detect([], [])) == 0


def test_boxes_come_back_in_the_pictures_own_pixels() -> None:
    prepared = picture((128, 128), valid=(50, 100), original=(100, 400))
    found = detect([[10, 10, 50, 40]], [[0.9, 0, 0]], prepared=prepared)
    assert found.boxes.tolist() == [[40, 20, 200, 80]]
    assert found.size == (100, 400)


def test_padding_is_cut_off_before_nms() -> None:
    # Whole, the boxes overlap by 3/13 each; within the valid 100 pixels the second is the first.
    prepared = picture((128, 128), valid=(100, 128))
    boxes = [[0, 80, 10, 100], [0, 80, 10, 128]]
    assert len(detect(boxes, [[0.9, 0, 0], [0.8, 0, 0]], prepared=prepared)) == 1
    assert len(detect(boxes, [[0.9, 0, 0], [0.8, 0, 0]])) == 2


def test_boxes_without_area_are_no_objects() -> None:
    prepared = picture((128, 128), valid=(100, 128))
    boxes = [[0, 110, 10, 120], [5, 5, 5, 9], [9, 9, 5, 5], A]
    scores = [[0.9, 0, 0]] * 4
    assert detect(boxes, scores, prepared=prepared).boxes.tolist() == [A]
    kept = detect([*boxes[:2], A], scores[:3], prepared=prepared, limits=Limits(keep_empty_boxes=True))
    assert kept.boxes.tolist() == [[0, 100, 10, 100], [5, 5, 5, 9], A]


@pytest.mark.parametrize(
    ("most", "kept", "saturated"),
    [(None, 3, False), (4, 3, False), (3, 3, False), (2, 2, True), (1, 1, True)],
)
def test_max_detections(most: int | None, kept: int, saturated: bool) -> None:
    scores = [[0.7, 0, 0], [0.9, 0, 0], [0.8, 0, 0]]
    found = detect([A, B, C], scores, limits=Limits(max_detections=most))
    assert (len(found), found.saturated) == (kept, saturated)
    assert found.scores.tolist() == pytest.approx([0.9, 0.8, 0.7][:kept])


LEVELS = (
    LevelInfo(stride=32, anchors_per_cell=1, topk=3),  # 16 anchors in 128 x 128 pixels
    LevelInfo(stride=64, anchors_per_cell=1, topk=4),  # exactly 4 anchors: nothing to cut
)
LEVELLED = FREE.model_copy(update={"levels": LEVELS})
APART = [[20 * i, 0, 20 * i + 10, 10] for i in range(7)]


@pytest.mark.parametrize(
    ("first", "second", "labels", "saturated"),
    [
        (
            [0.9, 0.8, 0.7],
            [0.9, 0.9, 0.9, 0.9],
            None,
            True,
        ),  # the last of three still passes: more may follow
        ([0.9, 0.8, 0.5], [0.1, 0.1, 0.1, 0.1], None, True),  # passing includes the threshold itself
        ([0.9, 0.8, 0.4], [0.9, 0.9, 0.9, 0.9], None, False),  # the second level left nothing out
        ([0.9, 0.8, 0.7], [0.9, 0.9, 0.9, 0.9], [2], True),  # a wanted object may have been outranked
    ],
)
def test_a_full_level_says_so(
    first: list[float], second: list[float], labels: list[int] | None, saturated: bool
) -> None:
    scores = [[0, score, 0] for score in first + second]
    assert detect(APART, scores, info=LEVELLED, labels=labels).saturated is saturated


@pytest.mark.parametrize(
    ("most", "kept", "saturated"), [(1, 2, True), (2, 4, True), (3, 5, False), (9, 5, False)]
)
def test_pairs_per_level(most: int, kept: int, saturated: bool) -> None:
    scores = np.zeros((7, 3))
    scores[0, :] = 0.9, 0.8, 0.7  # three pairs of one candidate
    scores[3, 0], scores[6, 1] = 0.6, 0.55
    found = detect(APART, scores, info=LEVELLED, limits=Limits(pairs_per_level=most))
    assert (len(found), found.saturated) == (kept, saturated)
    assert found.scores[0] == pytest.approx(0.9)
    assert {0, 60} <= set(found.boxes[:, 0].astype(int).tolist())  # the best of both levels


@pytest.mark.parametrize(
    ("suppression", "labels", "scores", "top"),
    [
        ("greedy", [0, 1, 0], [0.9, 0.8, 0.6], [10, 10, 10]),
        ("agnostic", [0, 0], [0.9, 0.6], [10, 10]),
        ("soft", [0, 1, 0], [0.9, 0.8, 0.6], [10, 10, 10]),  # 0.7 * exp(-0.64 / 0.5) is below the threshold
        ("merge", [0, 1, 0], [0.9, 0.8, 0.6], [9.125, 10, 10]),  # (10 * 0.9 + 8 * 0.7) / 1.6
    ],
)
def test_what_becomes_of_overlapping_boxes(
    suppression: str, labels: list[int], scores: list[float], top: list[float]
) -> None:
    boxes = [[0, 0, 10, 10], [0, 0, 10, 10], [0, 0, 10, 8], [50, 0, 60, 10]]
    every = [[0.9, 0, 0], [0, 0.8, 0], [0.7, 0, 0], [0.6, 0, 0]]
    found = detect(boxes, every, suppression=suppression)
    assert found.labels.tolist() == labels
    assert found.scores.tolist() == pytest.approx(scores)
    assert found.boxes[:, 3].tolist() == pytest.approx(top)
    assert not found.saturated
    assert detect(boxes, every, suppression=suppression, limits=Limits(max_detections=1)).saturated
    assert len(detect([], [], suppression=suppression)) == 0


@pytest.mark.parametrize("suppression", ["greedy", "agnostic", "soft", "merge"])
def test_two_thousand_objects_are_two_thousand_boxes(suppression: str) -> None:
    columns, rows = np.meshgrid(np.arange(50), np.arange(40))
    corners = np.stack([columns.ravel(), rows.ravel()], axis=1) * 12
    objects = np.concatenate([corners, corners + 11], axis=1)
    boxes = np.repeat(objects, 3, axis=0)  # of each object three candidates, two of them at threshold 0.5
    scores = np.zeros((6000, 3))
    scores[::3, 0], scores[1::3, 0], scores[2::3, 0] = 0.9, 0.5, 0.4
    found = detect(boxes.tolist(), scores, prepared=picture((480, 608)), suppression=suppression)
    assert len(found) == 2000
    assert not found.saturated
    assert {tuple(box) for box in found.boxes.round(3).tolist()} == {tuple(box) for box in objects.tolist()}


def test_torchvision_limits() -> None:
    limits = TORCHVISION_LIMITS
    assert (limits.pairs_per_level, limits.max_detections, limits.keep_empty_boxes) == (1000, 300, True)


@pytest.mark.parametrize(
    ("size", "slices"),
    [
        ((128, 128), [slice(0, 3), slice(3, 7)]),
        ((32, 64), [slice(0, 2), slice(2, 3)]),
        ((96, 96), [slice(0, 3), slice(3, 7)]),  # 96 / 64 is rounded up
    ],
)
def test_level_slices(size: tuple[int, int], slices: list[slice]) -> None:
    assert level_slices(LEVELS, size, slices[-1].stop) == slices
    assert level_slices((), size, 17) == [slice(0, 17)]


def test_a_picture_that_a_batch_padded_further() -> None:
    prepared = picture((32, 64))
    boxes, scores = np.array(APART, np.float32), np.full((7, 3), [0.9, 0, 0], np.float32)
    found = to_detections(boxes, scores, prepared, LEVELLED, Filter(0.5, 0.5), input_size=(128, 128))
    assert found.boxes.tolist() == [*APART[:3], [60, 0, 64, 10]]  # cut at, or gone beyond, its own 64 pixels


def test_wrong_metadata_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"gave 6 candidates for an input of 128x128.*3 \+ 4 = 7"):
        detect(APART[:6], np.zeros((6, 3)), info=LEVELLED)
    two = FREE.model_copy(update={"classes": FREE.classes[:2]})
    with pytest.raises(ValueError, match="'tiny' scores 3 classes, but its metadata names 2"):
        detect([A], [[0, 0, 0]], info=two)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"threshold": 1.5}, "threshold must be between 0 and 1, not 1.5"),
        ({"threshold": float("nan")}, "threshold must be between 0 and 1, not nan"),
        ({"iou": -0.1}, "iou must be between 0 and 1, not -0.1"),
        ({"limits": Limits(max_detections=0)}, "max_detections must be at least 1"),
        ({"suppression": "agnostc"}, "unknown suppression 'agnostc': did you mean 'agnostic'?"),
    ],
)
def test_settings_out_of_range(wanted: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Filter(**{"threshold": 0.5, "iou": 0.5, **wanted})
