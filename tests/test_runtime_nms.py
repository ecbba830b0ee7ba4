"""NMS is the textbook's: by exact tables, against a plain loop, and against torchvision's kernel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops.boxes import _batched_nms_vanilla

from densewatch.runtime.nms import nms

Scene = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]

HALF = [[0, 0, 10, 10], [0, 0, 10, 5]]  # intersection over union is exactly 0.5
CHAIN = [[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]]  # neighbours 6/14, ends 2/18


@pytest.mark.parametrize(
    ("boxes", "scores", "labels", "iou", "agnostic", "kept"),
    [
        ([], [], [], 0.5, False, []),
        (HALF, [0.9, 0.8], [0, 0], 0.5, False, [0, 1]),  # equal to the limit is not greater
        (HALF, [0.9, 0.8], [0, 0], 0.499, False, [0]),
        (HALF, [0.8, 0.9], [0, 0], 0.499, False, [1]),
        (HALF, [0.9, 0.9], [0, 0], 0.4, False, [0]),  # equal scores: the lower index
        (HALF, [0.9, 0.8], [0, 1], 0.4, False, [0, 1]),  # classes do not compete
        (HALF, [0.9, 0.8], [0, 1], 0.4, True, [0]),
        (CHAIN, [0.9, 0.8, 0.7], [0, 0, 0], 0.4, False, [0, 2]),  # what is suppressed suppresses nothing
        (CHAIN, [0.7, 0.9, 0.8], [0, 0, 0], 0.4, False, [1]),
        ([[5, 5, 5, 5]] * 2, [0.9, 0.8], [0, 0], 0.1, False, [0, 1]),  # no area, no overlap
        (HALF, [0.9, 0.8], [0, 0], 1.0, False, [0, 1]),
        ([[0, 0, 1, 1], [5, 5, 6, 6]], [0.1, 0.9], [3, 3], 0.0, False, [1, 0]),  # best first
    ],
)
def test_exact(
    boxes: list[list[float]],
    scores: list[float],
    labels: list[int],
    iou: float,
    agnostic: bool,
    kept: list[int],
) -> None:
    arrays = (
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(labels, np.int64),
    )
    assert nms(*arrays, iou, agnostic).tolist() == kept


def scene(seed: int, count: int, classes: int, spread: int = 120) -> Scene:
    """Return boxes that crowd, with whole coordinates, some without area, many scores equal."""
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, spread, (count, 2))
    sides = rng.integers(0, 40, (count, 2))
    boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
    scores = (rng.integers(1, max(2, count // 2), count) / count).astype(np.float32)
    return boxes, scores, rng.integers(0, classes, count)


def plain_loop(boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], iou: float) -> list[int]:
    """Return the textbook's choice, one pair at a time."""
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(_iou(boxes[i], boxes[j]) <= iou for j in kept):
            kept.append(i)
    return kept


def _iou(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, np.float32(0)) * max(height, np.float32(0))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return float(shared / union) if union > 0 else 0.0


IOUS = st.sampled_from([0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.95, 1.0])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 60), iou=IOUS)
def test_class_agnostic_equals_a_plain_loop(seed: int, count: int, iou: float) -> None:
    boxes, scores, labels = scene(seed, count, classes=3)
    assert nms(boxes, scores, labels, iou, class_agnostic=True).tolist() == plain_loop(boxes, scores, iou)


SIDES = [-1e30, -3e7, -5, -1, 0, 0.1, 1 / 3, 1, 1.5, 2, 3, 5, 8, 13, 1e5, 1e5 + 1, 3e7, 3e7 + 8, 1e18, 1e30]


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.tuples(*[st.sampled_from(SIDES)] * 4, st.sampled_from([0.1, 0.5, 0.9])), max_size=40),
    iou=IOUS,
)
def test_strange_boxes_equal_a_plain_loop(rows: list[tuple[float, ...]], iou: float) -> None:
    """Huge, touching, identical, without area, inside out, beside others of ordinary size; equal scores."""
    table = np.array(rows, np.float32).reshape(-1, 5)
    boxes, scores = np.ascontiguousarray(table[:, :4]), table[:, 4]
    with np.errstate(over="ignore", invalid="ignore"):
        expected = plain_loop(boxes, scores, iou)
    assert nms(boxes, scores, np.zeros(len(rows), np.int64), iou).tolist() == expected


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_harms_no_other(strange: float) -> None:
    boxes = np.array(
        [[0, 0, 10, 10], [strange, 0, strange, 10], [0, 0, strange, 10], [0, 0, 10, 9]], np.float32
    )
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    assert nms(boxes, scores, np.zeros(4, np.int64), 0.5).tolist() == [0, 1, 2]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 3000),
    classes=st.sampled_from([1, 2, 20]),
    iou=st.sampled_from([0.1, 0.3, 0.5, 0.7]),
    fractions=st.booleans(),
)
def test_equals_torchvision(seed: int, count: int, classes: int, iou: float, fractions: bool) -> None:
    boxes, scores, labels = scene(seed, count, classes, spread=20 * int(count**0.5))
    if fractions:
        boxes = boxes * np.float32(1 / 3)
    kept = nms(boxes, scores, labels, iou)
    tensors = [torch.from_numpy(array) for array in (boxes, scores, labels)]
    theirs = _batched_nms_vanilla(*tensors, iou)
    assert set(kept.tolist()) == set(theirs.tolist())  # it leaves the order of equal scores open; we do not:
    assert kept.tolist() == sorted(kept.tolist(), key=lambda i: (-scores[i], i))


def test_a_crowd_is_not_capped() -> None:
    columns, rows = np.meshgrid(np.arange(100), np.arange(100))
    corners = np.stack([columns.ravel(), rows.ravel()], axis=1) * 8
    boxes = np.concatenate([corners, corners + 8], axis=1).astype(np.float32)
    scores = np.linspace(0.9, 0.1, len(boxes), dtype=np.float32)
    assert len(nms(boxes, scores, np.zeros(len(boxes), np.int64), 0.5)) == 10_000
