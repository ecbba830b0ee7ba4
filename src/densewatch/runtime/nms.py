"""Non-maximum suppression: of boxes that overlap, keep the one with the best score."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_BLOCK = 128


def nms(
    boxes: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    iou: float,
    class_agnostic: bool = False,
) -> npt.NDArray[np.int64]:
    """Return which boxes stay, best score first.

    The textbook's greedy rule, without any limit on the number of boxes: the best box stays, every box of its
    class whose overlap with it is greater than `iou` goes, and so on with the best that is left. Of equal
    scores the lower index is better. A box without area suppresses nothing and is suppressed by nothing.

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
    kept = np.zeros(len(boxes), bool)
    for members in [order] if class_agnostic else _by_label(order, labels):
        kept[members[_greedy(boxes[members], iou)]] = True
    return order[kept[order]]


def _by_label(order: npt.NDArray[np.int64], labels: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Split `order` into one array a label, each in its old order."""
    grouped = order[np.argsort(labels[order], kind="stable")]
    return np.split(grouped, np.flatnonzero(np.diff(labels[grouped])) + 1)


def _greedy(boxes: npt.NDArray[np.float32], iou: float) -> npt.NDArray[np.bool_]:
    """Return which boxes, best first, survive those before them.

    Blocks bound the work and the memory in a crowd: a block meets the survivors before it, then itself.
    """
    kept = np.zeros(len(boxes), bool)
    for start in range(0, len(boxes), _BLOCK):
        stop = min(start + _BLOCK, len(boxes))
        candidates = np.arange(start, stop)
        if start:
            beaten = _overlaps(boxes[:start][kept[:start]], boxes[start:stop], iou).any(axis=0)
            candidates = candidates[~beaten]
        kept[candidates] = _greedy_block(boxes[candidates], iou)
    return kept


def _greedy_block(boxes: npt.NDArray[np.float32], iou: float) -> npt.NDArray[np.bool_]:
    """Return the greedy choice as the fixed point of "a box stays if no better box that stays overlaps it".

    The rule fixes the best box, then the second, and so on: it has one fixed point, the greedy choice. After
    t rounds every chain of t suppressions is settled, and chains are short.
    """
    beats = np.triu(_overlaps(boxes, boxes, iou), k=1)
    kept = np.ones(len(boxes), bool)
    while True:
        settled = ~np.any(beats[kept], axis=0)
        if np.array_equal(settled, kept):
            return kept
        kept = settled


def _overlaps(
    boxes: npt.NDArray[np.float32], others: npt.NDArray[np.float32], iou: float
) -> npt.NDArray[np.bool_]:
    """Return [N, M]: whether the intersection over union of two boxes is greater than `iou`.

    In float32, in this order of operations, against a float64 limit: the bits of torchvision's kernel.
    """
    x1, y1, x2, y2 = (side[:, None] for side in boxes.T)
    other_x1, other_y1, other_x2, other_y2 = others.T
    width = np.maximum(np.minimum(x2, other_x2) - np.maximum(x1, other_x1), 0)
    height = np.maximum(np.minimum(y2, other_y2) - np.maximum(y1, other_y1), 0)
    intersection = width * height
    union = _areas(boxes)[:, None] + _areas(others) - intersection
    with np.errstate(invalid="ignore"):  # two boxes without area: 0 / 0 is not greater than anything
        return np.asarray(intersection / union > np.float64(iou))


def _areas(boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
