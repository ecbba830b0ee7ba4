"""Batch norm merged into convolutions: the same function."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torchvision.ops.misc import FrozenBatchNorm2d

from densewatch.models.backbones import build_backbone
from densewatch.models.config import BackboneConfig
from densewatch.models.merge_norms import merge_norms

NORMS = (nn.BatchNorm2d, FrozenBatchNorm2d)


def used(network: nn.Module) -> nn.Module:
    """Give every norm statistics and weights as training would."""
    for layer in network.modules():
        if isinstance(layer, NORMS):
            for name in ("weight", "bias", "running_mean", "running_var"):
                getattr(layer, name).data.uniform_(0.5, 1.5)
    return network.eval()


@pytest.mark.parametrize(
    ("name", "norm"),
    [("resnet18", "batch"), ("resnet18", "frozen"), ("resnext50_32x4d", "batch"), ("mobilenet_v2", "batch")],
)
def test_the_function_stays(name: str, norm: str) -> None:
    torch.manual_seed(0)
    backbone = used(build_backbone(BackboneConfig.model_validate({"name": name, "norm": norm})))
    images = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        before = backbone(images)
        merge_norms(backbone)
        after = backbone(images)
    assert not any(isinstance(layer, NORMS) for layer in backbone.modules())
    for one, other in zip(before, after, strict=True):
        assert (one - other).abs().max() < 1e-4 * one.abs().max()


def test_a_norm_that_does_not_follow_its_neighbour_stays() -> None:
    """Only in modules whose order is known is the norm after a convolution the norm of that convolution."""

    class Crossed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(3, 3, 1)
            self.norm = nn.BatchNorm2d(3)

    network = Crossed()
    merge_norms(network)
    assert isinstance(network.norm, nn.BatchNorm2d)
