"""What becomes of boxes that overlap: the four ways to choose from."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from densewatch.runtime.fusion import Fused, weighted_boxes_fusion
from densewatch.runtime.nms import nms
from densewatch.runtime.soft_nms import soft_nms

Suppression = Literal["greedy", "agnostic", "soft", "merge"]
"""`greedy`: of boxes of one class that overlap, the best stays. `agnostic`: of all boxes that overlap, the
best stays, whatever their class. `soft`: boxes of one class that overlap a better one lose score (Soft-NMS,
gaussian), and go where it falls below the threshold. `merge`: boxes of one class that overlap become their
average (weighted boxes fusion), with the best of their scores."""


def suppress(
    boxes: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    method: Suppression,
    *,
    iou: float,
    threshold: float,
) -> Fused:
    """Return the boxes that stay, best first.

    Args:
        boxes: float32 [N, 4], xyxy.
        scores: float32 [N], not negative.
        labels: int64 [N].
        method: what becomes of boxes that overlap.
        iou: boxes that overlap by more than this are one object, 0 to 1; `soft` does not use it.
        threshold: lowest score that `soft` leaves a box; the other ways lower no score.

    Returns:
        Boxes float32 [M, 4], scores float32 [M] and labels int64 [M].
    """
    if method == "merge":
        # One model is as sure of an object as of its best box: the mean would punish objects that many
        # candidates found.
        return weighted_boxes_fusion(boxes, scores, labels, iou, score="best")
    if method == "soft":
        kept, lowered = soft_nms(boxes, scores, labels, threshold=threshold)
        return boxes[kept], lowered, labels[kept]
    kept = nms(boxes, scores, labels, iou, class_agnostic=method == "agnostic")
    return boxes[kept], scores[kept], labels[kept]
