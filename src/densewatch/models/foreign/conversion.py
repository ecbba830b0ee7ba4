"""What the three toolkits' conversions share: names, input, and what the shapes of the weights tell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from densewatch.metadata import ClassInfo, ResizePolicy
from densewatch.models.config import RetinaNetConfig
from densewatch.models.foreign.errors import ImportFailedError

Toolkit = Literal["torchvision", "detectron2", "mmdetection"]
Style = Literal["caffe", "caffe2", "pytorch"]

FIRST_CONVOLUTION = "backbone.stages.0.0.weight"
CLASS_OUTPUT = "class_head.output"
BOX_OUTPUT = "box_head.output"
PER_CELL = 9
_TOLERANCE = 1.0  # of 255; the means of Caffe and of ImageNet differ by 0.9

# (convolutions in a block, blocks of C2 … C5, shape of the second convolution of the first block) → name
_BACKBONES: dict[tuple[int, tuple[int, ...], tuple[int, int]], str] = {
    (2, (2, 2, 2, 2), (64, 64)): "resnet18",
    (2, (3, 4, 6, 3), (64, 64)): "resnet34",
    (3, (3, 4, 6, 3), (64, 64)): "resnet50",
    (3, (3, 4, 23, 3), (64, 64)): "resnet101",
    (3, (3, 8, 36, 3), (64, 64)): "resnet152",
    (3, (3, 4, 6, 3), (128, 4)): "resnext50_32x4d",
    (3, (3, 4, 23, 3), (128, 4)): "resnext101_32x4d",
    (3, (3, 4, 23, 3), (256, 8)): "resnext101_32x8d",
    (3, (3, 4, 23, 3), (256, 4)): "resnext101_64x4d",
}


@dataclass(frozen=True)
class PublishedFile:
    """A file of weights that a toolkit published, recognised by its hash.

    Attributes:
        name: under which it was published.
        toolkit: whose it is.
        style: what its backbone expects.
    """

    name: str
    toolkit: Toolkit
    style: Style


@dataclass(frozen=True)
class Converted:
    """A foreign network in our words, with all its class outputs.

    Attributes:
        toolkit: where it comes from.
        config: of our network that computes the same.
        tensors: its weights, under our names.
        classes: of the outputs, where the file names them; else None.
        resize: how the toolkit prepares pictures.
        notes: what the file does not say and was taken for granted.
    """

    toolkit: Toolkit
    config: RetinaNetConfig
    tensors: dict[str, Tensor]
    classes: tuple[ClassInfo, ...] | None
    resize: ResizePolicy
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Preparation:
    """What a backbone expects of its input, and where its bottlenecks stride.

    Attributes:
        mean: of pixel values 0 to 255, in the order of the network's channels.
        std: in the same order.
        bgr: whether that order is blue, green, red.
        stride_in: as `BackboneConfig` has it.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    bgr: bool
    stride_in: Literal["1x1", "3x3"]

    def options(self) -> dict[str, Any]:
        """Return the same as options of `BackboneConfig`: RGB, of pixel values 0 to 1."""
        order = -1 if self.bgr else 1
        return {
            "stride_in": self.stride_in,
            "mean": tuple(value / 255 for value in self.mean[::order]),
            "std": tuple(value / 255 for value in self.std[::order]),
        }


STYLES: dict[Style, Preparation] = {
    "caffe": Preparation((103.53, 116.28, 123.675), (1.0, 1.0, 1.0), True, "1x1"),
    "caffe2": Preparation((103.53, 116.28, 123.675), (57.375, 57.12, 58.395), True, "3x3"),
    "pytorch": Preparation((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), False, "3x3"),
}
"""What the ResNets of Microsoft Research Asia, Facebook's ResNeXts, and torchvision's networks expect."""


def agree(found: Sequence[float], expected: Sequence[float]) -> bool:
    """Tell whether means or deviations of pixel values 0 to 255 are the same, but for rounding."""
    return len(found) == len(expected) and all(
        abs(one - other) <= _TOLERANCE for one, other in zip(found, expected, strict=True)
    )


def rename(
    tensors: Mapping[str, Tensor], rules: Sequence[tuple[str, str]], ignored: str, toolkit: Toolkit
) -> dict[str, Tensor]:
    """Return tensors under our names.

    Args:
        tensors: under the toolkit's names.
        rules: (pattern of how a name begins, what comes in its place).
        ignored: pattern of names that have no counterpart and change nothing in evaluation.
        toolkit: for the message.

    Raises:
        ImportFailedError: a name fits no rule.
    """
    renamed = {}
    for name, value in tensors.items():
        if re.match(ignored, name):
            continue
        for pattern, replacement in rules:
            new_name, count = re.subn(rf"^{pattern}", replacement, name)
            if count:
                renamed[new_name] = value
                break
        else:
            raise ImportFailedError(
                f"tensor {name[:100]!r} belongs to no RetinaNet of {toolkit} that is known here"
            )
    return renamed


def with_rgb_input(tensors: Mapping[str, Tensor], bgr: bool) -> dict[str, Tensor]:
    """Return the tensors for RGB pictures: the first convolution's input channels change places."""
    weight = tensors[FIRST_CONVOLUTION]
    return {**tensors, FIRST_CONVOLUTION: weight.flip(1) if bgr else weight}


def layout(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    """Return what the shapes of the tensors, under our names, tell of the configuration.

    Returns:
        `{"backbone": …, "pyramid": …, "head": …}`, as `preset` takes them.

    Raises:
        ImportFailedError: a tensor is missing, or the backbone is none of those known.
    """
    try:
        width, p6_in, *_ = tensors["pyramid.p6.weight"].shape
        tower = [name for name in tensors if re.fullmatch(r"class_head\.tower\.\d+\.weight", name)]
        norms = sum(tensors[name].ndim == 1 for name in tower)
        head_width = tensors[f"{CLASS_OUTPUT}.weight"].shape[1]
        return {
            "backbone": {"name": _backbone_name(tensors)},
            "pyramid": {"width": width, "p6_from": "P5" if p6_in == width else "C5"},
            "head": {
                "width": head_width,
                "depth": len(tower) - norms,
                "norm": "group" if norms else "none",
            },
        }
    except KeyError as error:
        raise ImportFailedError(f"the tensor that densewatch calls {error} is missing") from error


def _backbone_name(tensors: Mapping[str, Tensor]) -> str:
    blocks: dict[str, set[str]] = {stage: set() for stage in ("1.1", "2", "3", "4")}
    for name in tensors:
        if found := re.match(r"backbone\.stages\.(1\.1|[234])\.(\d+)\.", name):
            blocks[found[1]].add(found[2])
    first = "backbone.stages.1.1.0."
    convolutions = 3 if f"{first}conv3.weight" in tensors else 2
    second = tensors[f"{first}conv2.weight"].shape
    counts = tuple(len(numbers) for numbers in blocks.values())
    known = _BACKBONES.get((convolutions, counts, (second[0], second[1])))
    if known is None:
        raise ImportFailedError(
            f"the backbone has {', '.join(map(str, counts))} blocks of {convolutions} convolutions, the "
            f"second {second[0]} wide: no ResNet or ResNeXt that is known here"
        )
    return known


def count_classes(tensors: Mapping[str, Tensor]) -> int:
    """Return how many classes the class output has, for nine anchors a cell.

    Raises:
        ImportFailedError: the outputs are not those of nine anchors.
    """
    try:
        boxes, classes = (len(tensors[f"{output}.bias"]) for output in (BOX_OUTPUT, CLASS_OUTPUT))
    except KeyError as error:
        raise ImportFailedError(f"the tensor that densewatch calls {error} is missing") from error
    if boxes != 4 * PER_CELL or classes % PER_CELL:
        raise ImportFailedError(
            f"has {boxes} box outputs and {classes} class outputs a cell, not 36 and a multiple of 9: only "
            "networks with 9 anchors a cell (3 sizes × 3 ratios) can be imported"
        )
    return classes // PER_CELL


def reorder_outputs(tensors: Mapping[str, Tensor], order: Sequence[int]) -> dict[str, Tensor]:
    """Return the tensors with the anchors of a cell in another order: ours at place `i` was at `order[i]`."""
    changed = dict(tensors)
    for output in (CLASS_OUTPUT, BOX_OUTPUT):
        for part in ("weight", "bias"):
            value = tensors[f"{output}.{part}"]
            per_anchor = value.reshape(PER_CELL, -1, *value.shape[1:])
            changed[f"{output}.{part}"] = per_anchor[torch.tensor(order)].flatten(0, 1)
    return changed


def pick_classes(tensors: Mapping[str, Tensor], rows: Sequence[int]) -> dict[str, Tensor]:
    """Return the tensors with these classes only, of the class output `[9 * C, ...]`."""
    changed = dict(tensors)
    for part in ("weight", "bias"):
        value = tensors[f"{CLASS_OUTPUT}.{part}"]
        per_anchor = value.reshape(PER_CELL, -1, *value.shape[1:])
        changed[f"{CLASS_OUTPUT}.{part}"] = per_anchor[:, list(rows)].flatten(0, 1)
    return changed
