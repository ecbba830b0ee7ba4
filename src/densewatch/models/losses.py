"""Losses as pure functions: the focal loss, and losses of boxes."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import generalized_box_iou_loss

from densewatch.models.box_coding import decode_boxes, encode_boxes
from densewatch.models.config import BoxLoss


def sigmoid_focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Return the focal loss of each logit, same shape as `logits` (paper, equation 5).

    Args:
        logits: any shape.
        targets: same shape, 1 where the class is there and 0 where not.
        alpha: weight of the ones; the zeros weigh `1 - alpha`.
        gamma: how strongly well-classified examples are turned down; 0 is α-balanced cross entropy.
    """
    # With t = 1 - 2 * target, sigmoid(t * logit) is the probability given to the wrong answer, 1 - p_t,
    # and -log(sigmoid(-t * logit)) is -log(p_t): one sign flip instead of two branches.
    wrong_way = logits * (1 - 2 * targets)
    weights = targets * (2 * alpha - 1) + (1 - alpha)
    return weights * wrong_way.sigmoid() ** gamma * -F.logsigmoid(-wrong_way)


def box_loss(deltas: Tensor, boxes: Tensor, anchors: Tensor, kind: BoxLoss, beta: float = 0.1) -> Tensor:
    """Return the loss of each matched anchor, summed over its four coordinates, `[M]`.

    Args:
        deltas: the network's output for them, `[M, 4]`.
        boxes: of their objects, `[M, 4]` xyxy.
        anchors: `[M, 4]` xyxy.
        kind: `smooth_l1` and `l1` compare deltas, `giou` (Rezatofighi et al. 2019) compares boxes.
        beta: where smooth L1 turns from square to line.
    """
    if kind == "giou":
        loss: Tensor = generalized_box_iou_loss(decode_boxes(deltas, anchors), boxes, reduction="none")
        return loss
    wanted = encode_boxes(boxes, anchors)
    if kind == "l1":
        return F.l1_loss(deltas, wanted, reduction="none").sum(dim=1)
    return F.smooth_l1_loss(deltas, wanted, beta=beta, reduction="none").sum(dim=1)
