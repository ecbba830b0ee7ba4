"""ImageNet weights for MobileNetV2 from an .npz file with batch norm folded into weight and bias."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from densewatch.models.backbones import Backbone


def load_mobilenet_v2(backbone: Backbone, path: Path) -> None:
    """Put the arrays `NN_conv.weight`, `NN_dw.bias`, … of `path` into a backbone with norm `folded`.

    The arrays are in network order, OIHW; those of the classifier, which a backbone has not, are left over.

    Raises:
        ValueError: an array is missing, or its shape differs from the backbone's.
    """
    convolutions = [layer for layer in backbone.modules() if isinstance(layer, nn.Conv2d)]
    with np.load(path, allow_pickle=False) as arrays:
        names = sorted(key.removesuffix(".weight") for key in arrays.files if key.endswith(".weight"))
        if len(names) < len(convolutions):
            raise ValueError(
                f"{path}: has weights of {len(names)} convolutions, but the backbone has {len(convolutions)}"
            )
        for name, convolution in zip(names, convolutions, strict=False):
            for part in ("weight", "bias"):
                _put(arrays, f"{name}.{part}", getattr(convolution, part), path)


def _put(arrays: Mapping[str, NDArray[np.float32]], name: str, parameter: Tensor | None, path: Path) -> None:
    """Copy the array `name` into `parameter`."""
    if parameter is None:
        raise ValueError(f"{path}: {name} has no place in this backbone; it must have norm 'folded'")
    if name not in arrays:
        raise ValueError(f"{path}: has no array {name}")
    value = torch.from_numpy(arrays[name])
    if value.shape != parameter.shape:
        raise ValueError(
            f"{path}: {name} is {list(value.shape)}, but the backbone's is {list(parameter.shape)}"
        )
    with torch.no_grad():
        parameter.copy_(value)
