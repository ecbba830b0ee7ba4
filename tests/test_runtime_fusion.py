"""Weighted boxes fusion is the paper's: by exact tables, and against a plain version."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from densewatch.runtime.fusion import Fused, FusedScore, weighted_boxes_fusion

HALF = [[0, 0, 10, 10], [0, 0, 10, 5]]  # intersection over union is exactly 0.5
THREE = [[0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 6]]


def fuse(
    boxes: Sequence[Sequence[float]],
    scores: list[float],
    labels: list[int],
    iou: float,
    models: int = 1,
    score: FusedScore = "mean",
) -> Fused:
    arrays = (
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(labels, np.int64),
    )
    return weighted_boxes_fusion(*arrays, iou, models=models, score=score)


@pytest.mark.parametrize(
    ("boxes", "scores", "labels", "iou", "fused", "fused_scores"),
    [
        ([], [], [], 0.5, [], []),
        (HALF, [0.9, 0.3], [0, 0], 0.4, [[0, 0, 10, 8.75]], [0.6]),  # 10 * 3/4 + 5 * 1/4
        (HALF, [0.3, 0.9], [0, 0], 0.4, [[0, 0, 10, 6.25]], [0.6]),
        (HALF, [0.9, 0.3], [0, 0], 0.5, HALF, [0.9, 0.3]),  # equal to the limit is not greater
        (HALF, [0.3, 0.9], [0, 1], 0.4, HALF[::-1], [0.9, 0.3]),  # classes are never merged
        (
            THREE,
            [0.5, 0.5, 0.5],
            [0, 0, 0],
            0.62,
            [[0, 0, 10, 8]],
            [0.5],
        ),  # 6/9 of the average, 6/10 of the best
        ([[5, 5, 5, 5]] * 2, [0.9, 0.8], [0, 0], 0.1, [[5, 5, 5, 5]] * 2, [0.9, 0.8]),  # no area, no overlap
        (HALF, [0, 0], [0, 0], 0.4, [HALF[0]], [0]),  # nothing to weigh with: the first stays
    ],
)
def test_exact(
    boxes: list[list[float]],
    scores: list[float],
    labels: list[int],
    iou: float,
    fused: list[list[float]],
    fused_scores: list[float],
) -> None:
    found, found_scores, found_labels = fuse(boxes, scores, labels, iou)
    assert found.shape == (len(fused), 4)
    assert found.ravel().tolist() == pytest.approx(np.array(fused).ravel().tolist())
    assert found_scores.tolist() == pytest.approx(fused_scores)
    assert [found.dtype, found_scores.dtype, found_labels.dtype] == [np.float32, np.float32, np.int64]


@pytest.mark.parametrize(
    ("models", "score", "expected"),
    [
        (1, "mean", [0.6, 0.4]),
        (1, "best", [0.9, 0.4]),
        (2, "mean", [0.6, 0.2]),  # one of two models saw the second object
        (4, "mean", [0.3, 0.1]),
        (2, "best", [0.9, 0.2]),
    ],
)
def test_scores(models: int, score: FusedScore, expected: list[float]) -> None:
    boxes = [*HALF, [50, 50, 60, 60]]
    _, scores, labels = fuse(boxes, [0.9, 0.3, 0.4], [0, 0, 2], 0.4, models, score)
    assert scores.tolist() == pytest.approx(expected)
    assert labels.tolist() == [0, 2]


def test_errors() -> None:
    with pytest.raises(ValueError, match="models must be at least 1, not 0"):
        fuse([], [], [], 0.5, models=0)
    with pytest.raises(ValueError, match="must be finite"):
        fuse([[0, 0, float("nan"), 1]], [0.5], [0], 0.5)


def plain_fusion(
    boxes: npt.NDArray[np.float64], scores: npt.NDArray[np.float64], iou: float, models: int
) -> list[tuple[list[float], float]]:
    """Return the fused boxes and scores of one class, step by step as in section 3 of the paper."""
    members: list[list[int]] = []
    fused: list[npt.NDArray[np.float64]] = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        overlaps = [_iou(box, boxes[i]) for box in fused]
        best = int(np.argmax(overlaps)) if max(overlaps, default=0) > iou else len(fused)
        if best == len(fused):
            members.append([])
            fused.append(boxes[i])
        members[best].append(i)
        fused[best] = np.average(boxes[members[best]], axis=0, weights=scores[members[best]])
    means = [scores[m].mean() * min(len(m), models) / models for m in members]
    return [(box.tolist(), mean) for box, mean in zip(fused, means, strict=True)]


def _iou(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return float(shared / union) if union > 0 else 0.0


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(0, 120),
    classes=st.sampled_from([1, 3]),
    iou=st.sampled_from([0.0, 0.2, 0.55, 0.8]),
    models=st.sampled_from([1, 3]),
    scale=st.sampled_from([1e-3, 1.0, 1e7]),
)
def test_equals_a_plain_version(
    seed: int, count: int, classes: int, iou: float, models: int, scale: float
) -> None:
    rng = np.random.default_rng(seed)
    corners, sides = rng.uniform(-20, 80, (count, 2)), rng.uniform(1, 40, (count, 2))
    boxes = (scale * np.concatenate([corners, corners + sides], axis=1)).astype(np.float32)
    scores = rng.uniform(0.05, 1, count).astype(np.float32)
    labels = rng.integers(0, classes, count)
    found = weighted_boxes_fusion(boxes, scores, labels, iou, models=models)
    assert np.all(np.diff(found[1]) <= 0)
    for label in range(classes):
        own, ours = labels == label, found[2] == label
        expected = plain_fusion(boxes[own].astype(np.float64), scores[own].astype(np.float64), iou, models)
        expected.sort(key=lambda item: -item[1])
        assert ours.sum() == len(expected)
        assert found[1][ours].tolist() == pytest.approx([score for _, score in expected], rel=1e-5)
        theirs = np.array([box for box, _ in expected]).reshape(-1, 4)
        np.testing.assert_allclose(found[0][ours], theirs, rtol=1e-5, atol=1e-4 * scale)


def test_a_crowd_is_not_capped() -> None:
    columns, rows = np.meshgrid(np.arange(50), np.arange(40))
    corners = np.repeat(np.stack([columns.ravel(), rows.ravel()], axis=1) * 10, 3, axis=0)
    boxes = np.concatenate([corners, corners + 10], axis=1).astype(np.float32)
    found, _, _ = weighted_boxes_fusion(boxes, np.full(6000, 0.5, np.float32), np.zeros(6000, np.int64))
    assert len(found) == 2000
