"""Which boxes of the same group overlap, and by how much, without making a matrix of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from densewatch.evaluation.comparison import Bools, Comparison, Floats, Ints

_PAIRS_AT_ONCE = 1 << 21  # some 200 MB of intermediate arrays


@dataclass(frozen=True, eq=False)
class Overlaps:
    """Pairs of a detection and a label that overlap: `found`, `truth` int64 [P] and `ious` float64 [P]."""

    found: Ints
    truth: Ints
    ious: Floats

    def __getitem__(self, index: Ints | Bools) -> Overlaps:
        return Overlaps(self.found[index], self.truth[index], self.ious[index])


def overlaps_by_class(comparison: Comparison, at_least: float) -> Overlaps:
    """Return the pairs of one class in one picture whose IoU is at least `at_least`, more than 0.

    With a crowd, IoU is the part of the detection that lies inside it, as COCO has it.
    """
    classes = len(comparison.names)
    found, truth = comparison.found, comparison.truth
    return _overlaps(
        comparison, found.images * classes + found.labels, truth.images * classes + truth.labels, at_least
    )


def overlaps_by_picture(comparison: Comparison, at_least: float) -> Overlaps:
    """Return the pairs in one picture, of any classes, whose IoU is at least `at_least`, more than 0."""
    return _overlaps(comparison, comparison.found.images, comparison.truth.images, at_least)


def _overlaps(comparison: Comparison, found_keys: Ints, truth_keys: Ints, at_least: float) -> Overlaps:
    found, truth = comparison.found, comparison.truth
    parts = []
    for first, second in _pairs(found_keys, truth_keys):
        ious = _ious(found.boxes[first], truth.boxes[second], truth.ignored[second])
        near = np.flatnonzero(ious >= at_least)
        parts.append((first[near], second[near], ious[near]))
    if not parts:
        return Overlaps(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float64))
    firsts, seconds, values = zip(*parts, strict=True)
    return Overlaps(np.concatenate(firsts), np.concatenate(seconds), np.concatenate(values))


def _pairs(first_keys: Ints, second_keys: Ints) -> Iterator[tuple[Ints, Ints]]:
    """Give all pairs of rows with the same key, by rising first row, in portions that fit into memory."""
    order = np.argsort(second_keys, kind="stable")
    ordered = second_keys[order]
    starts = np.searchsorted(ordered, first_keys, side="left")
    counts = np.searchsorted(ordered, first_keys, side="right") - starts
    rows = np.flatnonzero(counts)
    ends = np.cumsum(counts[rows])
    begin = 0
    while begin < len(rows):
        done = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, done + _PAIRS_AT_ONCE, side="right")))
        some = rows[begin:end]
        first = np.repeat(some, counts[some])
        within = np.arange(len(first)) - np.repeat(ends[begin:end] - counts[some] - done, counts[some])
        yield first, order[np.repeat(starts[some], counts[some]) + within]
        begin = end


def _ious(first: Floats, second: Floats, crowd: Bools) -> Floats:
    """Return the IoU, float64 [P], of xywh boxes [P, 4] and [P, 4], computed as pycocotools does."""
    sides = np.minimum(first[:, :2] + first[:, 2:], second[:, :2] + second[:, 2:])
    sides -= np.maximum(first[:, :2], second[:, :2])
    shared = np.where((sides > 0).all(axis=1), sides[:, 0] * sides[:, 1], 0.0)
    area = first[:, 2] * first[:, 3]
    union = np.where(crowd, area, area + second[:, 2] * second[:, 3] - shared)
    ious: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)
    return ious
