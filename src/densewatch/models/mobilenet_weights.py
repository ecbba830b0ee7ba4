"""ImageNet weights for MobileNetV2 from an .npz file with batch norm folded into weight and bias."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from densewatch.models.backbones import Backbone


def load_mobilenet_v2(backbone: Backbone, path: Path) -> None:
    """Put the arrays `NN_conv.weight`, `NN_dw.bias`, … of `path` into a backbone with norm `folded`.

    The arrays are in network order, OIHW; those of the classifier, which a backbone has not, are left over.

    Raises:
        ValueError: a shape in the file differs from the backbone's.
    """
    convolutions = [layer for layer in backbone.modules() if isinstance(layer, nn.Conv2d)]
    with np.load(path, allow_pickle=False) as arrays:
        names = sorted(key.removesuffix(".weight") for key in arrays.files if key.endswith(".weight"))
        for name, convolution in zip(names, convolutions, strict=False):
            weight, bias = (torch.from_numpy(arrays[f"{name}.{part}"]) for part in ("weight", "bias"))
            if weight.shape != convolution.weight.shape or convolution.bias is None:
                raise ValueError(
                    f"{path}: {name} is {tuple(weight.shape)} with bias, "
                    f"but the backbone's convolution is {convolution}"
                )
            with torch.no_grad():
                convolution.weight.copy_(weight)
                convolution.bias.copy_(bias)
