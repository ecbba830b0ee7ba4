"""Convolutions that the pyramid and the heads share."""

from __future__ import annotations

from torch import nn


def conv3x3(
    in_channels: int, out_channels: int, depthwise: bool, stride: int = 1, bias: bool = True
) -> nn.Module:
    """Return a 3×3 convolution, or its depthwise-separable form: 3×3 in each channel, then 1×1 across."""
    if not depthwise:
        return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=bias)
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 3, stride, padding=1, groups=in_channels),
        nn.Conv2d(in_channels, out_channels, 1, bias=bias),
    )
