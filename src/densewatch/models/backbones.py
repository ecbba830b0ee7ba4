"""Backbones: networks that return C3, C4 and C5, with channels and strides said."""

from __future__ import annotations

from typing import Any

import torchvision
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.ops.misc import FrozenBatchNorm2d

from densewatch.models.config import BackboneConfig

RESNETS = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
)


class Backbone(nn.Module):
    """Stages in a row; the last three give C3, C4 and C5.

    Attributes:
        channels: of C3, C4, C5.
        strides: of C3, C4, C5: always 8, 16, 32.
    """

    strides = (8, 16, 32)

    def __init__(self, stages: list[nn.Module], channels: tuple[int, ...], freeze_stages: int = 0) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.channels = channels
        self.freeze_stages = freeze_stages
        for stage in stages[:freeze_stages]:
            stage.requires_grad_(False)

    def train(self, mode: bool = True) -> Backbone:
        """Switch to training; frozen stages stay in evaluation."""
        super().train(mode)
        for stage in self.stages[: self.freeze_stages]:
            stage.eval()
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return C3, C4, C5, `[N, C_l, H / stride, W / stride]`, of normalised `images` `[N, 3, H, W]`."""
        features = []
        for stage in self.stages:
            images = stage(images)
            features.append(images)
        return features[-3:]


class TimmBackbone(nn.Module):
    """Any timm model that offers `features_only` (needs the package timm)."""

    strides = (8, 16, 32)

    def __init__(self, name: str, pretrained: bool = False) -> None:
        super().__init__()
        import timm

        self.body = timm.create_model(name, pretrained=pretrained, features_only=True)
        reductions, channels = self.body.feature_info.reduction(), self.body.feature_info.channels()
        if not set(self.strides) <= set(reductions):
            raise ValueError(
                f"timm model {name!r} has features at strides {reductions}, "
                f"but a pyramid needs {list(self.strides)}"
            )
        self.levels = [reductions.index(stride) for stride in self.strides]
        self.channels = tuple(channels[level] for level in self.levels)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return C3, C4, C5 of normalised `images` `[N, 3, H, W]`."""
        features = self.body(images)
        return [features[level] for level in self.levels]


def _norm_layer(config: BackboneConfig) -> Any:
    norm = FrozenBatchNorm2d if config.norm == "frozen" else nn.BatchNorm2d
    return lambda channels: norm(channels, eps=config.norm_eps)


def _resnet(config: BackboneConfig) -> Backbone:
    net = torchvision.models.get_model(config.name, weights=None, norm_layer=_norm_layer(config))
    stem = nn.Sequential(net.conv1, net.bn1, net.relu)
    stages = [stem, nn.Sequential(net.maxpool, net.layer1), net.layer2, net.layer3, net.layer4]
    last = net.layer4[-1]
    c5 = (last.conv3 if hasattr(last, "conv3") else last.conv2).out_channels
    return Backbone(stages, (c5 // 4, c5 // 2, c5), config.freeze_stages)


def _mobilenet_v2(config: BackboneConfig) -> Backbone:
    # The 1280 channels that end the classifier are left out: C5 is the last bottleneck, 320 channels.
    features = torchvision.models.mobilenet_v2(weights=None, norm_layer=_norm_layer(config)).features
    stages = [features[:2], features[2:4], features[4:7], features[7:14], features[14:18]]
    return Backbone(stages, (32, 96, 320), config.freeze_stages)


def fold_batch_norm(module: nn.Module) -> None:
    """Fold every batch norm that follows a convolution in a `Sequential` into it, in place.

    The network's function in evaluation is kept; the convolution gets a bias.
    """
    for child in module.children():
        fold_batch_norm(child)
    if not isinstance(module, nn.Sequential):
        return
    for index in range(len(module) - 1):
        convolution, norm = module[index], module[index + 1]
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            module[index] = fuse_conv_bn_eval(convolution.eval(), norm.eval())
            module[index + 1] = nn.Identity()


def build_backbone(config: BackboneConfig) -> Backbone | TimmBackbone:
    """Return the backbone that `config` names, with random weights.

    Raises:
        ValueError: the name is unknown, or an option does not go with it.
    """
    if config.name.startswith("timm:"):
        if config.norm != "batch" or config.freeze_stages:
            raise ValueError("a timm backbone goes with norm 'batch' and freeze_stages 0 only")
        return TimmBackbone(config.name.removeprefix("timm:"))
    if config.name != "mobilenet_v2" and config.name not in RESNETS:
        known = ", ".join([*RESNETS, "mobilenet_v2", "timm:NAME"])
        raise ValueError(f"unknown backbone {config.name!r}: known are {known}")
    backbone = _mobilenet_v2(config) if config.name == "mobilenet_v2" else _resnet(config)
    if config.norm == "folded":
        if config.name != "mobilenet_v2":
            raise ValueError(f"norm 'folded' goes with mobilenet_v2 only, not {config.name}")
        fold_batch_norm(backbone)
        for stage in backbone.stages:
            stage.train()
    return backbone
