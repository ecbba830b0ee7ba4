"""Soft-NMS is the paper's: by exact tables, and against a plain loop."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from densewatch.runtime.soft_nms import Decay, soft_nms

HALF = [[0, 0, 10, 10], [0, 0, 10, 5]]  # intersection over union is exactly 0.5
TWICE = [[0, 0, 10, 10], [0, 0, 10, 10]]


@pytest.mark.parametrize(
    ("boxes", "scores", "labels", "decay", "iou", "kept", "lowered"),
    [
        ([], [], [], "gaussian", 0.3, [], []),
        (HALF, [0.9, 0.8], [0, 0], "gaussian", 0.3, [0, 1], [0.9, 0.8 * math.exp(-0.5)]),
        (HALF, [0.8, 0.9], [0, 0], "gaussian", 0.3, [1, 0], [0.9, 0.8 * math.exp(-0.5)]),
        (HALF, [0.9, 0.8], [0, 1], "gaussian", 0.3, [0, 1], [0.9, 0.8]),  # classes leave each other alone
        (HALF, [0.9, 0.8], [0, 0], "linear", 0.3, [0, 1], [0.9, 0.4]),
        (HALF, [0.9, 0.8], [0, 0], "linear", 0.5, [0, 1], [0.9, 0.8]),  # equal to the limit is not greater
        (HALF, [0.9, 0.15], [0, 0], "linear", 0.3, [0], [0.9]),  # 0.075 is below the threshold
        (HALF, [0.9, 0.2], [0, 0], "linear", 0.3, [0, 1], [0.9, 0.1]),  # 0.1 is not
        (HALF, [0.05, 0.9], [0, 0], "linear", 0.9, [1], [0.9]),  # below the threshold from the start
        (TWICE, [0.5, 0.5], [0, 0], "gaussian", 0.3, [0], [0.5]),  # equal scores: the lower index first
        ([[5, 5, 5, 5]] * 2, [0.9, 0.8], [0, 0], "gaussian", 0.3, [0, 1], [0.9, 0.8]),  # no area, no overlap
    ],
)
def test_exact(
    boxes: list[list[float]],
    scores: list[float],
    labels: list[int],
    decay: Decay,
    iou: float,
    kept: list[int],
    lowered: list[float],
) -> None:
    arrays = (
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        np.array(labels, np.int64),
    )
    found, found_scores = soft_nms(*arrays, threshold=0.1, decay=decay, iou=iou)
    assert found.tolist() == kept
    assert found_scores.tolist() == pytest.approx(lowered)
    assert [found.dtype, found_scores.dtype] == [np.int64, np.float32]


def test_at_threshold_zero_every_box_stays_once() -> None:
    boxes, scores = np.array(TWICE * 3, np.float32), np.linspace(0.9, 0, 6, dtype=np.float32)
    for decay in ("linear", "gaussian"):
        kept, lowered = soft_nms(boxes, scores, np.zeros(6, np.int64), threshold=0, decay=decay, sigma=1e-4)
        assert kept[0] == 0
        assert sorted(kept.tolist()) == list(range(6))
        assert lowered.tolist() == pytest.approx([0.9, 0, 0, 0, 0, 0])


def test_sigma_out_of_range() -> None:
    with pytest.raises(ValueError, match="sigma must be greater than 0, not 0"):
        soft_nms(
            np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), threshold=0, sigma=0
        )


def plain_loop(
    boxes: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    threshold: float,
    decay: Decay,
    iou: float,
    sigma: float,
) -> list[tuple[int, float]]:
    """Return what the paper's figure 2 keeps: (box, lowered score), in order."""
    left = {i: float(score) for i, score in enumerate(scores)}
    kept = []
    while left:
        best = max(left, key=lambda i: (left[i], -i))
        kept.append((best, left.pop(best)))
        for i in left:
            if labels[i] == labels[best]:
                overlap = _iou(boxes[i], boxes[best])
                if decay == "gaussian":
                    left[i] *= math.exp(-(overlap**2) / sigma)
                elif overlap > iou:
                    left[i] *= 1 - overlap
    return [(i, score) for i, score in kept if score >= threshold]


def _iou(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, np.float32(0)) * max(height, np.float32(0))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return float(shared / union) if union > 0 else 0.0


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 150),
    classes=st.sampled_from([1, 3]),
    threshold=st.sampled_from([0.0, 0.05, 0.3]),
    decay=st.sampled_from(["gaussian", "linear"]),
    iou=st.sampled_from([0.0, 0.3, 0.6]),
    sigma=st.sampled_from([0.1, 0.5, 2.0]),
)
def test_equals_a_plain_loop(
    seed: int, count: int, classes: int, threshold: float, decay: Decay, iou: float, sigma: float
) -> None:
    rng = np.random.default_rng(seed)
    corners, sides = rng.integers(0, 60, (count, 2)), rng.integers(0, 40, (count, 2))
    boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
    scores, labels = rng.uniform(size=count).astype(np.float32), rng.integers(0, classes, count)
    kept, lowered = soft_nms(boxes, scores, labels, threshold=threshold, decay=decay, iou=iou, sigma=sigma)
    expected = plain_loop(boxes, scores, labels, threshold, decay, iou, sigma)
    assert kept.tolist() == [i for i, _ in expected]
    assert lowered.tolist() == pytest.approx([score for _, score in expected], rel=1e-6)
