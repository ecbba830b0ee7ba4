"""The two subnets: class logits and box deltas, shared by all pyramid levels (paper, section 4)."""

from __future__ import annotations

import math

from torch import Tensor, nn

from densewatch.models.config import HeadConfig
from densewatch.models.layers import conv3x3


def _tower(in_channels: int, config: HeadConfig) -> nn.Sequential:
    layers: list[nn.Module] = []
    for index in range(config.depth):
        channels = in_channels if index == 0 else config.width
        layers.append(conv3x3(channels, config.width, config.depthwise, bias=config.norm == "none"))
        if config.norm == "group":
            layers.append(nn.GroupNorm(config.groups, config.width))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def _init(module: nn.Module, depthwise: bool) -> None:
    """Start from a deviation of 0.01 (paper, section 4.1).

    A depthwise convolution sees nine values, not thousands: with 0.01 its output would all but vanish, so
    depthwise-separable layers keep the variance of their input instead (He et al. 2015).
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            if depthwise:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu" if layer.groups == 1 else "linear")
            else:
                nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


class DenseHead(nn.Module):
    """A tower and an output convolution with `outputs` values an anchor."""

    def __init__(
        self, in_channels: int, config: HeadConfig, per_cell: int, outputs: int, bias: float = 0.0
    ) -> None:
        super().__init__()
        self.outputs = outputs
        channels = config.width if config.depth else in_channels
        self.tower = _tower(in_channels, config)
        self.output = conv3x3(channels, per_cell * outputs, config.depthwise)
        _init(self.tower, config.depthwise)
        _init(self.output, config.depthwise)
        *_, last = (layer for layer in self.output.modules() if isinstance(layer, nn.Conv2d))
        nn.init.normal_(last.weight, std=0.01)
        nn.init.constant_(last.bias, bias)  # type: ignore[arg-type]

    def forward(self, feature: Tensor) -> Tensor:
        """Return `[N, H * W * A, outputs]` from one level `[N, C, H, W]`."""
        return self.predict(self.tower(feature))

    def predict(self, feature: Tensor) -> Tensor:
        """Return the same from what the tower made of a level, `[N, width, H, W]`."""
        values: Tensor = self.output(feature)
        return values.permute(0, 2, 3, 1).reshape(values.shape[0], -1, self.outputs)


def class_head(in_channels: int, config: HeadConfig, per_cell: int, num_classes: int) -> DenseHead:
    """Return the classification subnet; its last bias starts from the prior π (paper, section 4.1)."""
    bias = -math.log((1 - config.prior) / config.prior)
    return DenseHead(in_channels, config, per_cell, num_classes, bias)


def box_head(in_channels: int, config: HeadConfig, per_cell: int) -> DenseHead:
    """Return the box regression subnet: four deltas an anchor, the same for every class.

    Where the tower is shared, it is the classification subnet's: this one takes what that made of a level.
    """
    if config.shared:
        in_channels = config.width if config.depth else in_channels
        config = config.model_copy(update={"depth": 0})
    return DenseHead(in_channels, config, per_cell, 4)
