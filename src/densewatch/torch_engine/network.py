"""A network made ready to compute fast, and for nothing else."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from densewatch.models.anchors import Anchors
from densewatch.models.merge_norms import merge_norms
from densewatch.models.retinanet import RetinaNet

_MOST_SIZES = 64  # of pictures, whose anchors are kept: a few MB each


def make_ready(network: RetinaNet, device: torch.device, numeric_type: torch.dtype) -> RetinaNet:
    """Prepare a network for inference on a device, in place, and return it.

    Batch norm is merged into the convolutions, weights lie as `channels_last` has them, which convolutions on
    tensor cores want, and anchors are kept for each size. In bfloat16 all layers compute in it; pictures are
    normalised and boxes decoded in float32 all the same, since anchors and boxes would lose whole pixels.

    Args:
        network: with its weights; it cannot be trained afterwards.
        device: where it computes.
        numeric_type: `torch.float32` or `torch.bfloat16`.
    """
    merge_norms(network.eval())
    network.requires_grad_(False).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if numeric_type != torch.float32:
        for part in (network.backbone, network.pyramid, network.class_head, network.box_head):
            part.to(numeric_type)
        network.backbone = _TakesFloat32(network.backbone, numeric_type)  # type: ignore[assignment]
    network.anchors = KeptAnchors(network.anchors)  # type: ignore[assignment]
    return network


def kept_anchors(network: RetinaNet) -> KeptAnchors:
    """Return the anchors of a network that was made ready."""
    anchors = network.anchors
    assert isinstance(anchors, KeptAnchors), "the network was not made ready"
    return anchors


class _TakesFloat32(nn.Module):
    """A part of a network that computes in another numeric type than what comes before it."""

    def __init__(self, part: nn.Module, numeric_type: torch.dtype) -> None:
        super().__init__()
        self.part = part
        self.numeric_type = numeric_type

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the features of `images` `[N, 3, H, W]` in the part's own type."""
        features: list[Tensor] = self.part(images.to(self.numeric_type))
        return features


class KeptAnchors(nn.Module):
    """Anchors, computed once for each size of input.

    Attributes:
        kept: input size and grids → the anchors of each level, those asked for last at the end.
    """

    def __init__(self, anchors: Anchors) -> None:
        super().__init__()
        self.anchors = anchors
        self.kept: OrderedDict[tuple[tuple[int, ...], ...], list[Tensor]] = OrderedDict()

    def forward(self, input_size: tuple[int, int], grids: list[tuple[int, int]]) -> list[Tensor]:
        """Return the anchors of each level, as `Anchors` has them."""
        key = (tuple(input_size), *map(tuple, grids))
        if key not in self.kept:
            self.kept[key] = self.anchors(input_size, grids)
            if len(self.kept) > _MOST_SIZES:
                self.kept.popitem(last=False)
        self.kept.move_to_end(key)
        return self.kept[key]
