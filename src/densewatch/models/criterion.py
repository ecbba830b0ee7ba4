"""The criterion: from a dense detector's output and the labelled boxes to the loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torchvision.ops import box_iou

from densewatch.models.config import LossConfig
from densewatch.models.losses import (
    box_loss,
    quality_focal_loss,
    sigmoid_focal_loss,
    sum_background_focal_loss,
)
from densewatch.models.matching import BETWEEN, match_anchors


@dataclass(frozen=True)
class Target:
    """What is known of one picture.

    Attributes:
        boxes: of the objects, float32 `[G, 4]` xyxy in input pixels.
        labels: of the objects, int64 `[G]`.
        ignore_boxes: regions, `[M, 4]`, in which a class gets no loss: crowds, doubtful boxes.
        ignore_labels: the class of each region, int64 `[M]`.
        unlabelled: classes that nobody labelled in this picture, int64 `[U]`: no background loss there.
        weights: how much each object counts in both losses, float32 `[G]`; what they are divided by counts
            its anchors as any others.
    """

    boxes: Tensor
    labels: Tensor
    ignore_boxes: Tensor
    ignore_labels: Tensor
    unlabelled: Tensor
    weights: Tensor

    def to(self, device: torch.device) -> Target:
        """Return the same target on `device`."""
        return replace(self, **{name: value.to(device) for name, value in vars(self).items()})


@dataclass(frozen=True)
class Losses:
    """The two terms, each already normalised and weighted."""

    classification: Tensor
    box_regression: Tensor

    @property
    def total(self) -> Tensor:
        """What training minimises."""
        return self.classification + self.box_regression


@dataclass(frozen=True)
class Share:
    """What one picture's loss is computed with, which may depend on other pictures of the step.

    Attributes:
        matched_idxs: int64 `[A]`, the object of each anchor, or what `match_anchors` says instead.
        divisor: of the picture's sums; the step's loss is the sum of all quotients.
    """

    matched_idxs: Tensor
    divisor: float


def _alone(counts: Tensor) -> Tensor:
    return counts


class Criterion(nn.Module):
    """Focal loss of all anchors and box loss of the matched ones (paper, section 4.1)."""

    smoothed_foreground: Tensor

    def __init__(self, config: LossConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("smoothed_foreground", torch.tensor(100.0))

    def forward(
        self,
        cls_logits: Tensor,
        bbox_deltas: Tensor,
        anchors: Tensor,
        targets: Sequence[Target],
        shares: Sequence[Share] | None = None,
    ) -> Losses:
        """Return the loss of a batch.

        Args:
            cls_logits: `[N, A, C]`, of any floating type.
            bbox_deltas: `[N, A, 4]`.
            anchors: `[A, 4]` xyxy, the same for every picture.
            targets: one a picture.
            shares: one a picture, where these pictures are a part of the step's; by default they are all.
        """
        shares = self.share_out(anchors, targets) if shares is None else shares
        classification = [
            self._classification(logits, anchors, target, share.matched_idxs) / share.divisor
            for logits, target, share in zip(cls_logits, targets, shares, strict=True)
        ]
        box_regression = [
            self._box_regression(deltas, anchors, target, share.matched_idxs) / share.divisor
            for deltas, target, share in zip(bbox_deltas, targets, shares, strict=True)
        ]
        return Losses(
            classification=torch.stack(classification).sum(),
            box_regression=self.config.box_weight * torch.stack(box_regression).sum(),
        )

    def share_out(
        self, anchors: Tensor, targets: Sequence[Target], total: Callable[[Tensor], Tensor] = _alone
    ) -> list[Share]:
        """Match all pictures of a step, and say what each is divided by.

        Args:
            anchors: `[A, 4]` xyxy, the same for every picture.
            targets: one a picture.
            total: adds up counts, float64 `[2]`, over all processes that share the step.
        """
        matches = [self._match(anchors, target) for target in targets]
        foreground = [int((matched_idxs >= 0).sum()) for matched_idxs in matches]
        counts = torch.tensor([sum(foreground), len(foreground)], dtype=torch.float64)
        everywhere, pictures = total(counts).tolist()
        divisors = self._divisors(foreground, everywhere, pictures)
        return [Share(*pair) for pair in zip(matches, divisors, strict=True)]

    def _match(self, anchors: Tensor, target: Target) -> Tensor:
        config = self.config
        iou = box_iou(target.boxes, anchors)
        return match_anchors(iou, config.foreground_iou, config.background_iou, config.low_quality_matches)

    def _divisors(self, foreground: list[int], everywhere: float, pictures: float) -> list[float]:
        """Return what each picture's sums are divided by, given the step's anchors and pictures in all."""
        if self.config.normaliser == "image":
            return [max(count, 1) * pictures for count in foreground]
        batch = max(everywhere, 1.0)
        if self.config.normaliser == "ema":
            if self.training:
                self.smoothed_foreground.mul_(0.9).add_(0.1 * batch)
            batch = float(self.smoothed_foreground)
        return [batch] * len(foreground)

    def _classification(
        self, logits: Tensor, anchors: Tensor, target: Target, matched_idxs: Tensor
    ) -> Tensor:
        foreground = torch.nonzero(matched_idxs >= 0).squeeze(1)
        objects = matched_idxs[foreground]
        labels = target.labels[objects]
        is_background = torch.ones(logits.shape, dtype=torch.bool, device=logits.device)
        is_background[matched_idxs == BETWEEN] = False
        is_background[:, target.unlabelled] = False
        # A part of a mosaic may be one region for each of eighty classes: it is compared with anchors once.
        regions, region_of = torch.unique(target.ignore_boxes, dim=0, return_inverse=True)
        for number, region in enumerate(regions):
            inside = torch.nonzero(overlap_share(anchors, region) >= self.config.ignore_overlap)
            is_background[inside, target.ignore_labels[region_of == number]] = False
        # A labelled object is learned even where its class is incomplete, or a region is ignored around it.
        is_background[foreground, labels] = False
        alpha, gamma = self.config.alpha, self.config.gamma
        background = sum_background_focal_loss(logits, is_background, alpha, gamma)
        found, weights = logits[foreground, labels].to(background), target.weights[objects].to(background)
        if self.config.soft_labels:
            return background + quality_focal_loss(found, weights, alpha, gamma).sum()
        return background + (weights * sigmoid_focal_loss(found, torch.ones_like(found), alpha, gamma)).sum()

    def _box_regression(
        self, deltas: Tensor, anchors: Tensor, target: Target, matched_idxs: Tensor
    ) -> Tensor:
        foreground = torch.nonzero(matched_idxs >= 0).squeeze(1)
        objects = matched_idxs[foreground]
        config = self.config
        losses = box_loss(
            deltas[foreground], target.boxes[objects], anchors[foreground], config.box_loss, config.beta
        )
        return (target.weights[objects] * losses).sum()


def overlap_share(boxes: Tensor, region: Tensor) -> Tensor:
    """Return the share of each of `boxes` `[N, 4]` that lies in `region` `[4]`, all xyxy, as `[N]`."""
    sides = torch.minimum(boxes[:, 2:], region[2:]) - torch.maximum(boxes[:, :2], region[:2])
    return sides.clamp(min=0).prod(dim=1) / (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
