"""Soft-NMS: a box that overlaps a better one loses score instead of its place."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from densewatch.runtime.neighbours import Indices, Neighbours

Decay = Literal["gaussian", "linear"]

_FIRST_HEAD = 32
_LARGEST_HEAD = 512  # so many neighbourhoods are held at a time: memory grows with N, not with its square


def soft_nms(
    boxes: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    *,
    threshold: float,
    decay: Decay = "gaussian",
    iou: float = 0.3,
    sigma: float = 0.5,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return which boxes stay, best lowered score first, and those scores.

    "Soft-NMS: Improving Object Detection With One Line of Code" (Bodla et al., 2017), section 3: again and
    again the box with the best score is taken, and the scores of the boxes of its class that overlap it are
    multiplied by a weight. Of equal scores the lower index is taken first. There is no limit on the number of
    boxes.

    Args:
        boxes: float32 [N, 4], xyxy.
        scores: float32 [N], not negative.
        labels: int64 [N]; boxes of different labels leave each other alone.
        threshold: boxes whose lowered score is less than this go.
        decay: the weight of an overlap: `gaussian` is exp(-overlap² / sigma) for every overlap; `linear` is
            1 - overlap where the overlap is greater than `iou`.
        iou: for `linear`, 0 to 1.
        sigma: for `gaussian`, greater than 0.

    Returns:
        int64 [M], indices into `boxes`; float32 [M], their scores. Scores are multiplied in float64.

    Raises:
        ValueError: `sigma` is not greater than 0.
    """
    if not sigma > 0:
        raise ValueError(f"sigma must be greater than 0, not {sigma}")
    least = iou if decay == "linear" else 0.0
    neighbours = Neighbours(boxes, labels, least)
    waiting = scores.astype(np.float64)
    taken: list[tuple[int, float]] = []
    size = _FIRST_HEAD
    while len(left := np.flatnonzero(waiting >= threshold)):
        head = left[np.argsort(-waiting[left], kind="stable")[:size]]
        others, overlaps, starts = _neighbourhoods(neighbours, head, left, least)
        weights = 1 - overlaps if decay == "linear" else np.exp(-(overlaps**2) / sigma)
        reach = {box: slice(*ends) for box, *ends in zip(head.tolist(), starts, starts[1:], strict=False)}
        taken += _take(waiting, reach, others, weights, threshold)
        size = min(2 * size, _LARGEST_HEAD)
    kept = np.array([box for box, _ in taken], np.int64)
    return kept, np.array([score for _, score in taken], np.float32)


def _neighbourhoods(
    neighbours: Neighbours, head: Indices, left: Indices, least: float
) -> tuple[Indices, npt.NDArray[np.float64], Indices]:
    """Return whom the boxes in `head` overlap by more than `least`.

    Returns:
        int64 [P], indices of boxes in `left`; float64 [P], the overlaps; int64 [len(head) + 1]: those of
        `head[i]` run from its i-th to its (i + 1)-th entry.
    """
    place = np.zeros(int(left[-1]) + 1, np.int64)
    place[head] = np.arange(len(head))
    firsts, seconds, overlaps = [head[:0]], [head[:0]], [np.zeros(0, np.float32)]
    for first, second in neighbours.near(head, left):
        ious = neighbours.ious(first, second)
        found = np.flatnonzero((ious > np.float64(least)) & (first != second))
        firsts.append(place[first[found]])
        seconds.append(second[found])
        overlaps.append(ious[found])
    places = np.concatenate(firsts)
    order = np.argsort(places, kind="stable")
    starts = np.searchsorted(places[order], np.arange(len(head) + 1))
    return np.concatenate(seconds)[order], np.concatenate(overlaps)[order].astype(np.float64), starts


def _take(
    waiting: npt.NDArray[np.float64],
    reach: dict[int, slice],
    others: Indices,
    weights: npt.NDArray[np.float64],
    threshold: float,
) -> list[tuple[int, float]]:
    """Take the best box, and lower its neighbours, until the best is one whose neighbours are not known.

    Args:
        waiting: float64 [N], scores of boxes that were not taken, -1 of those that were; changed in place.
        reach: for boxes whose neighbours are known, where in `others` these are.
        others: int64 [P], indices of boxes.
        weights: float64 [P], by which their scores are multiplied.
        threshold: lowest score of a box that is taken.

    Returns:
        The boxes and their scores, in order.
    """
    taken: list[tuple[int, float]] = []
    while True:
        best = int(waiting.argmax())
        score = float(waiting[best])
        if score < threshold or best not in reach:
            return taken
        taken.append((best, score))
        waiting[best] = -1
        touched = others[reach[best]]
        before = waiting[touched]
        waiting[touched] = np.where(before < 0, before, before * weights[reach[best]])
