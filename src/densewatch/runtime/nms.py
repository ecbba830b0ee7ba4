"""Non-maximum suppression: of boxes that overlap, keep the one with the best score."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from densewatch.runtime.neighbours import Indices, Neighbours, Overlaps

_ALL_PAIRS = 48  # boxes at most: for so few, all pairs are compared sooner than a grid is laid
_FIRST_ROUND = 256
_GROWTH = 4
_LARGEST_ROUND = 4096  # bounds the memory where all boxes of a round lie on each other


def nms(
    boxes: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    iou: float,
    class_agnostic: bool = False,
) -> npt.NDArray[np.int64]:
    """Return which boxes stay, best score first.

    The textbook's greedy rule, without any limit on the number of boxes or on time: the best box stays,
    every box of its class whose overlap with it is greater than `iou` goes, and so on with the best that is
    left. Of equal scores the lower index is better. A box without area suppresses nothing and is suppressed
    by nothing.

    Args:
        boxes: float32 [N, 4], xyxy.
        scores: float32 [N].
        labels: int64 [N]; boxes of different labels do not compete, unless `class_agnostic`.
        iou: intersection over union, 0 to 1.
        class_agnostic: let all boxes compete.

    Returns:
        int64 [M], indices into `boxes`.
    """
    order = np.argsort(-scores, kind="stable")
    competing = np.zeros_like(labels) if class_agnostic else labels[order]
    if len(order) <= _ALL_PAIRS:
        return order[_settle(*_all_rivals(boxes[order], competing, iou), len(order))]
    return order[_greedy(Neighbours(boxes[order], competing, iou), len(order), iou)]


def _all_rivals(
    boxes: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], iou: float
) -> tuple[Indices, Indices]:
    """Return the pairs (better, worse) of boxes of one label, best first, that overlap by more than `iou`."""
    better, worse = np.nonzero(np.triu(labels[:, None] == labels, 1))
    overlapping = _overlapping(Overlaps(boxes), better, worse, iou)
    return better[overlapping], worse[overlapping]


def _greedy(neighbours: Neighbours, count: int, iou: float) -> npt.NDArray[np.bool_]:
    """Return bool [count]: which of the boxes, best first, survive.

    In rounds: the best of those left settle it among themselves, and the survivors suppress what follows. In
    a crowd the first rounds are small and leave little; where boxes stand alone, few rounds do.
    """
    kept = np.zeros(count, bool)
    left = np.arange(count)
    size = _FIRST_ROUND
    while len(left):
        head, left = left[:size], left[size:]
        kept[head] = _settle(*_rivals(neighbours, head, iou), count)[head]
        beaten = np.zeros(count, bool)
        for better, worse in neighbours.near(head[kept[head]], left):
            beaten[worse[_overlapping(neighbours, better, worse, iou)]] = True
        left = left[~beaten[left]]
        size = min(size * _GROWTH, _LARGEST_ROUND)
    return kept


def _settle(better: Indices, worse: Indices, count: int) -> npt.NDArray[np.bool_]:
    """Return the greedy choice, bool [count], from the pairs of rivals.

    It is the fixed point of "a box stays if no better box that stays overlaps it". The rule fixes the best
    box, then the second, and so on: it has one fixed point, the greedy choice. After t steps every chain of t
    suppressions is settled, and chains are short.
    """
    kept = np.ones(count, bool)
    while True:
        settled = np.ones(count, bool)
        settled[worse[kept[better]]] = False
        if np.array_equal(settled, kept):
            return kept
        kept = settled


def _rivals(neighbours: Neighbours, head: Indices, iou: float) -> tuple[Indices, Indices]:
    """Return the pairs (better, worse) of boxes in `head` that overlap by more than `iou`."""
    found = [(head[:0], head[:0])]
    for better, worse in neighbours.near(head, head):
        ordered = np.flatnonzero(better < worse)
        better, worse = better[ordered], worse[ordered]
        overlapping = _overlapping(neighbours, better, worse, iou)
        found.append((better[overlapping], worse[overlapping]))
    betters, worses = zip(*found, strict=True)
    return np.concatenate(betters), np.concatenate(worses)


def _overlapping(overlaps: Overlaps, first: Indices, second: Indices, iou: float) -> Indices:
    """Return which of the pairs overlap by more than `iou`, against a float64 limit as torchvision does."""
    return np.flatnonzero(overlaps.ious(first, second) > np.float64(iou))
