"""Matching: which anchor learns which object."""

from __future__ import annotations

import torch
from torch import Tensor

BACKGROUND = -1
BETWEEN = -2


def match_anchors(
    iou: Tensor, foreground_iou: float, background_iou: float, low_quality_matches: bool
) -> Tensor:
    """Return for each anchor the index of its object, `BACKGROUND`, or `BETWEEN` (learns nothing), int64 [A].

    Args:
        iou: of objects and anchors, `[G, A]`; G may be 0.
        foreground_iou: an anchor with at least this IoU learns its best object.
        background_iou: an anchor whose best IoU is below is background.
        low_quality_matches: the best anchors of every object (all that tie) learn *their own* best object,
            however low the IoU. An object that no anchor touches has no best anchor.
    """
    if iou.shape[0] == 0:
        return torch.full((iou.shape[1],), BACKGROUND, dtype=torch.int64, device=iou.device)
    best_iou, best_object = iou.max(dim=0)
    matched_idxs = best_object.clone()
    matched_idxs[best_iou < foreground_iou] = BETWEEN
    matched_idxs[best_iou < background_iou] = BACKGROUND
    if low_quality_matches:
        is_objects_best = ((iou == iou.max(dim=1, keepdim=True).values) & (iou > 0)).any(dim=0)
        matched_idxs[is_objects_best] = best_object[is_objects_best]
    return matched_idxs
