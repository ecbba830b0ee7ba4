"""Backbones: networks that return C3, C4 and C5, on request C2 too, with channels and strides said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
import torchvision
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops.misc import FrozenBatchNorm2d

from densewatch.extras import how_to_install
from densewatch.models.config import BackboneConfig

_STRIDES = (4, 8, 16, 32)  # of C2 to C5
_SLICE, _WIDE_STAGES = 2, 2  # pictures; the stem and C2
RESNETS = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
)


class Backbone(nn.Module):
    """Stages in a row; the last three give C3, C4 and C5, the one before them C2.

    Attributes:
        channels: of C3, C4, C5, or of C2 to C5; as many features are returned.
        strides: of the same: 8, 16, 32, or 4, 8, 16, 32.
    """

    def __init__(self, stages: list[nn.Module], channels: tuple[int, ...], freeze_stages: int = 0) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.channels = channels
        self.strides = _STRIDES[-len(channels) :]
        self.freeze_stages = freeze_stages
        for stage in stages[:freeze_stages]:
            stage.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Switch to training; frozen stages stay in evaluation."""
        super().train(mode)
        for stage in self.stages[: self.freeze_stages]:
            stage.eval()
        return self

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return C3, C4, C5, or C2 to C5, of normalised `images` `[N, 3, H, W]`.

        Each is `[N, C_l, H / stride, W / stride]`.
        """
        features = []
        for index, stage in enumerate(self.stages):
            frozen = index < min(self.freeze_stages, _WIDE_STAGES)
            sliced = self.training and frozen and images.device.type == "cpu"
            images = _in_slices(stage, images) if sliced else stage(images)
            features.append(images)
        return features[-len(self.channels) :]


def _in_slices(stage: nn.Module, images: Tensor) -> Tensor:
    """Return what a frozen stage makes of a batch, two pictures at a time.

    The first stages' large features of a whole batch are far larger than a CPU's caches. Slices of two took
    a third of the time (MobileNetV2's first two stages, 16 pictures of 320×320 px); later stages took longer
    in slices, and stages that learn have to keep their features for the way back. An exported network has
    no slices.
    """
    return torch.cat([stage(part) for part in torch.split(images, _SLICE)])


class TimmBackbone(nn.Module):
    """Any timm model that offers `features_only` (needs the package timm).

    Attributes:
        channels: of C3, C4, C5, or of C2 to C5.
        strides: of the same: 8, 16, 32, or 4, 8, 16, 32.

    Raises:
        ModuleNotFoundError: timm is not installed.
        ValueError: timm has no such model, or it gives no features at these strides for pictures of any size.
    """

    def __init__(self, name: str, with_c2: bool = False) -> None:
        super().__init__()
        self.strides = _STRIDES if with_c2 else _STRIDES[1:]
        self.body, reductions, channels = _timm_features(name)
        if not set(self.strides) <= set(reductions):
            raise ValueError(
                f"timm model {name!r} has features at strides {reductions}, "
                f"but {'a pyramid with P2' if with_c2 else 'a pyramid'} needs {list(self.strides)}"
            )
        self.levels = [reductions.index(stride) for stride in self.strides]
        self.channels: tuple[int, ...] = tuple(channels[level] for level in self.levels)
        _check_timm_features(self, name)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return C3, C4, C5, or C2 to C5, of normalised `images` `[N, 3, H, W]`."""
        features = self.body(images)
        return [features[level] for level in self.levels]


def _timm_features(name: str) -> tuple[nn.Module, list[int], list[int]]:
    """Return the network, and the strides and channels of what it returns."""
    try:
        import timm
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"backbone 'timm:{name}' needs the package timm: {how_to_install('timm')}"
        ) from error
    try:
        body: Any = timm.create_model(name, pretrained=False, features_only=True)
    except RuntimeError as error:
        raise ValueError(f"timm cannot make a backbone of {name!r}: {error}") from error
    return body, body.feature_info.reduction(), body.feature_info.channels()


def _check_timm_features(backbone: TimmBackbone, name: str) -> None:
    """Try a small picture: some of timm's transformers take one size only, or put channels last."""
    height, width = 128, 160
    backbone.eval()
    try:
        with torch.no_grad():
            features = backbone(torch.zeros(1, 3, height, width))
    except (AssertionError, RuntimeError) as error:
        raise ValueError(
            f"timm model {name!r} does not take pictures of {width}×{height} px: {error}; "
            "a pyramid needs a backbone for any size"
        ) from error
    finally:
        backbone.train()
    for feature, channels, stride in zip(features, backbone.channels, backbone.strides, strict=True):
        if feature.shape[1:] != (channels, height // stride, width // stride):
            raise ValueError(
                f"timm model {name!r} gives features {list(feature.shape)} at stride {stride}, not "
                f"{[1, channels, height // stride, width // stride]}"
            )


class _FrozenNorm(FrozenBatchNorm2d):  # type: ignore[misc]
    """Batch norm with fixed statistics and weights, whose result has the numeric type of its input.

    torchvision's own multiplies with float32: under autocast everything up to the next convolution, and what
    is kept of it for the way back, would be in float32 too.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Return what is normalised, of the same shape and type."""
        normalised: Tensor = super().forward(features)
        return normalised.to(features.dtype)


def _norm_layer(config: BackboneConfig) -> Callable[[int], nn.Module]:
    norm = _FrozenNorm if config.norm == "frozen" else nn.BatchNorm2d
    return lambda channels: norm(channels, eps=config.norm_eps)


def _resnet(config: BackboneConfig, with_c2: bool) -> Backbone:
    net = _torchvision_resnet(config)
    if config.stride_in == "1x1":
        _stride_in_1x1(net)
    stem = nn.Sequential(net.conv1, net.bn1, net.relu)
    stages = [stem, nn.Sequential(net.maxpool, net.layer1), net.layer2, net.layer3, net.layer4]
    last = net.layer4[-1]
    c5 = (last.conv3 if hasattr(last, "conv3") else last.conv2).out_channels
    channels = (c5 // 8, c5 // 4, c5 // 2, c5)
    return Backbone(stages, channels if with_c2 else channels[1:], config.freeze_stages)


def _torchvision_resnet(config: BackboneConfig) -> Any:
    norm_layer = _norm_layer(config)
    if config.name == "resnext101_32x4d":  # which torchvision can build, but has no name for
        return ResNet(Bottleneck, [3, 4, 23, 3], groups=32, width_per_group=4, norm_layer=norm_layer)
    return torchvision.models.get_model(config.name, weights=None, norm_layer=norm_layer)


def _stride_in_1x1(net: nn.Module) -> None:
    """Let the first convolution of each bottleneck take the stride of its 3×3 one, in place."""
    for block in net.modules():
        if isinstance(block, Bottleneck):
            block.conv1.stride, block.conv2.stride = block.conv2.stride, (1, 1)


def _mobilenet_v2(config: BackboneConfig, with_c2: bool) -> Backbone:
    # The 1280 channels that end the classifier are left out: C5 is the last bottleneck, 320 channels.
    features = torchvision.models.mobilenet_v2(weights=None, norm_layer=_norm_layer(config)).features
    stages = [features[:2], features[2:4], features[4:7], features[7:14], features[14:18]]
    channels = (24, 32, 96, 320)
    return Backbone(stages, channels if with_c2 else channels[1:], config.freeze_stages)


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
            fused = fuse_conv_bn_eval(convolution.eval(), norm.eval())
            # PyTorch gives the new bias no gradient; it is to be trained wherever the weight is.
            module[index] = fused.requires_grad_(convolution.weight.requires_grad)
            module[index + 1] = nn.Identity()


def _measure_statistics(backbone: Backbone) -> None:
    """Set the statistics of every batch norm to what noise has there, in place.

    Folded with the statistics that batch norm starts from, mean 0 and variance 1, random weights would make a
    network whose signal vanishes: each of MobileNetV2's depthwise convolutions shrinks it.
    """
    for layer in backbone.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.train()
            layer.momentum = 1.0
    with torch.no_grad():
        backbone(torch.randn(2, 3, 128, 128))


def build_backbone(config: BackboneConfig, with_c2: bool = False) -> Backbone | TimmBackbone:
    """Return the backbone that `config` names, with random weights.

    Args:
        config: which, and how.
        with_c2: return C2 as well, the features at stride 4.

    Raises:
        ModuleNotFoundError: the name is timm's, and timm is not installed.
        ValueError: the name is unknown, or an option does not go with it.
    """
    if config.name.startswith("timm:"):
        ours = BackboneConfig(norm="batch")
        options = (config.norm, config.norm_eps, config.freeze_stages, config.stride_in)
        if options != (ours.norm, ours.norm_eps, ours.freeze_stages, ours.stride_in):
            raise ValueError(
                f"backbone {config.name!r} goes with norm 'batch', norm_eps {ours.norm_eps}, freeze_stages 0 "
                f"and stride_in {ours.stride_in!r} only"
            )
        return TimmBackbone(config.name.removeprefix("timm:"), with_c2)
    if config.name != "mobilenet_v2" and config.name not in RESNETS:
        known = ", ".join([*RESNETS, "mobilenet_v2", "timm:NAME"])
        raise ValueError(f"unknown backbone {config.name!r}: known are {known}")
    if config.norm == "folded" and config.name != "mobilenet_v2":
        raise ValueError(f"norm 'folded' goes with mobilenet_v2 only, not with {config.name}")
    build = _mobilenet_v2 if config.name == "mobilenet_v2" else _resnet
    backbone = build(config, with_c2)
    if config.norm == "folded":
        _measure_statistics(backbone)
        fold_batch_norm(backbone)
    return backbone
