"""Neighbours: no overlapping pair is missed, and few others are looked at."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from densewatch.runtime.neighbours import Neighbours, reach

Boxes = npt.NDArray[np.float32]


def random_boxes(
    rng: np.random.Generator, count: int, area_px: float, smallest: float, largest: float
) -> Boxes:
    corners = rng.uniform(0, area_px, (count, 2))
    sides = np.exp(rng.uniform(np.log(smallest), np.log(largest), (count, 2)))
    return np.concatenate([corners, corners + sides], axis=1).astype(np.float32)


def pairs_looked_at(boxes: Boxes, labels: npt.NDArray[np.int64], iou: float) -> set[tuple[int, int]]:
    everyone = np.arange(len(boxes))
    found = [
        pair
        for queries, targets in Neighbours(boxes, labels, iou).near(everyone, everyone)
        for pair in zip(queries.tolist(), targets.tolist(), strict=True)
    ]
    assert len(found) == len(set(found)), "a pair came twice"
    return set(found)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(0, 150),
    classes=st.sampled_from([1, 2, 9]),
    iou=st.sampled_from([0.0, 1e-6, 0.05, 0.2, 0.5, 0.8, 1.0]),
)
def test_no_pair_is_missed(seed: int, count: int, classes: int, iou: float) -> None:
    rng = np.random.default_rng(seed)
    boxes, labels = random_boxes(rng, count, 60, 1, 60), rng.integers(-3, classes, count)
    looked_at = pairs_looked_at(boxes, labels, iou)
    first, second = (side.ravel() for side in np.indices((count, count)))
    overlapping = Neighbours(boxes, labels, 0).ious(first, second) > np.float64(iou)
    wanted = overlapping & (labels[first] == labels[second])
    assert set(zip(first[wanted].tolist(), second[wanted].tolist(), strict=True)) <= looked_at
    assert all(labels[i] == labels[j] for i, j in looked_at)


def test_only_queries_meet_only_targets() -> None:
    boxes = np.array([[0, 0, 10, 10]] * 5, np.float32)
    neighbours = Neighbours(boxes, np.zeros(5, np.int64), 0.5)
    pairs = [
        pair for some in neighbours.near(np.array([3]), np.array([0, 4])) for pair in zip(*some, strict=True)
    ]
    assert sorted(pairs) == [(3, 0), (3, 4)]
    assert not list(neighbours.near(np.array([], np.int64), np.array([0])))


def test_overlaps_are_exact() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5], [10, 0, 20, 10], [3, 3, 3, 3]], np.float32)
    ious = Neighbours(boxes, np.zeros(4, np.int64), 0).ious(np.array([0, 0, 0, 3]), np.array([1, 2, 3, 3]))
    assert ious[:3].tolist() == [0.5, 0, 0]
    assert np.isnan(ious[3])


@pytest.mark.parametrize(
    ("side", "iou", "far"),
    [(10, 1.0, 0), (10, 0.5, 5), (10, 0.25, 15), (10, 0.0, 55), (100, 0.05, 100), (10, 0.05, 55)],
)
def test_reach(side: float, iou: float, far: float) -> None:
    sides = np.array([side, 100.0])
    assert reach(sides, iou)[0] == pytest.approx(far, rel=1e-3, abs=1e-3)


@pytest.mark.parametrize("scene", ["even", "one class of many", "in a corner", "far outlier", "a large one"])
def test_few_pairs_are_looked_at(scene: str) -> None:
    """Of 4,000 boxes that each overlap some ten others, far fewer than all 16 million pairs."""
    rng = np.random.default_rng(0)
    boxes, labels = random_boxes(rng, 4000, 1000, 10, 40), np.zeros(4000, np.int64)
    if scene == "one class of many":
        labels[:400] = rng.integers(1, 80, 400)
    if scene == "in a corner":
        boxes[:100] *= 1000
    if scene == "far outlier":
        boxes[0] = 1e9, 1e9, 1e9 + 10, 1e9 + 10
    if scene == "a large one":
        boxes[0] = 0, 0, 1000, 1000
    assert len(pairs_looked_at(boxes, labels, 0.5)) < 4000 * 40
