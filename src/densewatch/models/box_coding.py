"""Box coding: boxes as deltas from anchors, and back (Girshick et al., R-CNN, appendix C)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# No decoded side is more than 62.5 times its anchor's: a wild logit must not become an infinite box.
MAX_LOG_SCALE = math.log(1000 / 16)


def encode_boxes(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Return the deltas `[..., 4]` (dx, dy, dw, dh) from `anchors` to `boxes`, both `[..., 4]` xyxy."""
    sizes, anchor_sizes = boxes[..., 2:] - boxes[..., :2], anchors[..., 2:] - anchors[..., :2]
    centers, anchor_centers = boxes[..., :2] + sizes / 2, anchors[..., :2] + anchor_sizes / 2
    return torch.cat([(centers - anchor_centers) / anchor_sizes, (sizes / anchor_sizes).log()], dim=-1)


def decode_boxes(deltas: Tensor, anchors: Tensor) -> Tensor:
    """Return the boxes `[..., 4]` xyxy that `deltas` make of `anchors`, both `[..., 4]`."""
    anchor_sizes = anchors[..., 2:] - anchors[..., :2]
    centers = anchors[..., :2] + anchor_sizes / 2 + deltas[..., :2] * anchor_sizes
    half_sizes = anchor_sizes * deltas[..., 2:].clamp(max=MAX_LOG_SCALE).exp() / 2
    return torch.cat([centers - half_sizes, centers + half_sizes], dim=-1)
