"""RetinaNet (Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv 1708.02002)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from densewatch.models.anchors import Anchors
from densewatch.models.backbones import build_backbone
from densewatch.models.config import RetinaNetConfig
from densewatch.models.fpn import FeaturePyramid
from densewatch.models.heads import box_head, class_head


class DenseOutput(NamedTuple):
    """What a dense detector says of a batch; one entry a level, finest first, in each list.

    Attributes:
        cls_logits: `[N, A_l, C]`.
        bbox_deltas: `[N, A_l, 4]`.
        anchors: `[A_l, 4]` xyxy, input pixels.
    """

    cls_logits: list[Tensor]
    bbox_deltas: list[Tensor]
    anchors: list[Tensor]


class RetinaNet(nn.Module):
    """Backbone, feature pyramid, and two small subnets that look at every place of every level."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: RetinaNetConfig) -> None:
        super().__init__()
        self.config = config
        self.shared = config.head.shared
        per_cell = config.anchors.per_cell
        self.backbone = build_backbone(config.backbone, with_c2=config.pyramid.p2)
        self.pyramid = FeaturePyramid(self.backbone.channels, config.pyramid)
        self.class_head = class_head(config.pyramid.width, config.head, per_cell, config.num_classes)
        self.box_head = box_head(config.pyramid.width, config.head, per_cell)
        self.anchors = Anchors(config.anchors, config.pyramid.strides)
        self.register_buffer("mean", torch.tensor(config.backbone.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.backbone.std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> DenseOutput:
        """Return logits, deltas and anchors of `images` `[N, 3, H, W]`, RGB 0 to 1, sides multiples of 32."""
        features = self.backbone((images - self.mean) / self.std)
        pyramid = self.pyramid(features)
        towers = [self.class_head.tower(level) for level in pyramid]
        return DenseOutput(
            cls_logits=[self.class_head.predict(tower) for tower in towers],
            bbox_deltas=[self.box_head(level) for level in (towers if self.shared else pyramid)],
            anchors=self.anchors(images.shape[-2:], [level.shape[-2:] for level in pyramid]),
        )
