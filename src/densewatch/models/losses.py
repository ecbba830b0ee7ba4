"""Losses as pure functions: the focal loss, its sum over a dense output, and losses of boxes."""

from __future__ import annotations

from typing import Any

import torch
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


def quality_focal_loss(logits: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Return the quality focal loss of each logit, same shape as `logits` (Li et al. 2020, equation 2).

    It is lowest where the probability is the target, any number from 0 to 1, and the focal loss of a one
    where the target is 1.

    Args:
        logits: any shape.
        targets: same shape, the probability to reach.
        alpha: weight of all of them.
        gamma: how strongly what is near its target is turned down.
    """
    distance = (targets - logits.sigmoid()).abs()
    return alpha * distance**gamma * F.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def sum_background_focal_loss(logits: Tensor, counts: Tensor, alpha: float, gamma: float) -> Tensor:
    """Return the sum of the focal losses of zeros, a scalar: of all logits of a dense output but a few.

    The same as `(counts * sigmoid_focal_loss(logits, zeros)).sum()`, in less time and memory: the gradient is
    computed with the loss, on a CPU a part of the logits at a time that stays in the processor's cache.

    Args:
        logits: any shape, and any floating type; computed in float32 or better.
        counts: bool, same shape; a logit that does not count has neither loss nor gradient.
        alpha: the zeros weigh `1 - alpha`.
        gamma: focusing exponent, 0 or at least 1.
    """
    loss: Tensor = _SumBackgroundFocalLoss.apply(logits, counts, alpha, gamma)
    return loss


class _SumBackgroundFocalLoss(torch.autograd.Function):
    CPU_PART = 1 << 16  # float32 values: 256 kB, and the few intermediate results of the same size

    @staticmethod
    def forward(ctx: Any, logits: Tensor, counts: Tensor, alpha: float, gamma: float) -> Tensor:
        computed = torch.promote_types(logits.dtype, torch.float32)
        part = _SumBackgroundFocalLoss.CPU_PART if logits.device.type == "cpu" else max(logits.numel(), 1)
        # Not in the logits' own type: before a gradient scaler's factor, most of it would be 0 in float16.
        gradient = torch.empty(logits.shape, dtype=computed, device=logits.device)
        total = torch.zeros((), dtype=computed, device=logits.device)
        for x, counted, out in zip(
            *(torch.split(values.reshape(-1), part) for values in (logits, counts, gradient)), strict=True
        ):
            x = x.to(computed)
            wrong = x.sigmoid()  # the probability of an object where there is none
            log_loss = F.softplus(x)
            focus = (wrong**gamma).mul_(1 - alpha).mul_(counted)
            total += torch.dot(focus, log_loss)
            # d(p^γ · -log(1 - p))/dx = p^γ (γ (1 - p) · -log(1 - p) + p)
            slope = log_loss.mul_(1 - wrong).mul_(gamma).add_(wrong)
            torch.mul(focus, slope, out=out)
        ctx.logits_type = logits.dtype
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return (gradient * grad_output).to(ctx.logits_type), None, None, None


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
