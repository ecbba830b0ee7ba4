"""detectron2's RetinaNet.

The file says nothing of the network's input or of where its bottlenecks stride, so a style is named or taken
for granted. The nine anchors of a cell go by size and then by ratio, ours by ratio and then by size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from densewatch.metadata import ResizePolicy
from densewatch.models.anchors import cell_anchors
from densewatch.models.config import RetinaNetConfig, preset
from densewatch.models.foreign.conversion import (
    PER_CELL,
    STYLES,
    Converted,
    Style,
    agree,
    count_classes,
    layout,
    rename,
    reorder_outputs,
    with_rgb_input,
)
from densewatch.models.foreign.errors import ImportFailedError
from densewatch.models.foreign.weights_file import WeightsFile

_RESIZE = ResizePolicy(mode="shorter", size=800, max_size=1333, antialias=True)
_NUM_SIZES = _NUM_RATIOS = 3
_ORDER = [size * _NUM_RATIOS + ratio for ratio in range(_NUM_RATIOS) for size in range(_NUM_SIZES)]
_IGNORED = r"pixel_mean$|pixel_std$|anchor_generator\.|.*\.num_batches_tracked$"


def _rules() -> Iterator[tuple[str, str]]:
    yield r"backbone\.bottom_up\.stem\.conv1\.norm\.", "backbone.stages.0.1."
    yield r"backbone\.bottom_up\.stem\.conv1\.", "backbone.stages.0.0."
    for number, stage in enumerate(("1.1", "2", "3", "4"), start=2):
        theirs, ours = rf"backbone\.bottom_up\.res{number}\.(\d+)", rf"backbone.stages.{stage}.\1"
        yield rf"{theirs}\.conv(\d)\.norm\.", rf"{ours}.bn\2."
        yield rf"{theirs}\.conv(\d)\.", rf"{ours}.conv\2."
        yield rf"{theirs}\.shortcut\.norm\.", f"{ours}.downsample.1."
        yield rf"{theirs}\.shortcut\.", f"{ours}.downsample.0."
    for level in (3, 4, 5):
        yield rf"backbone\.fpn_lateral{level}\.(?=weight|bias)", f"pyramid.lateral.{level - 3}."
        yield rf"backbone\.fpn_output{level}\.(?=weight|bias)", f"pyramid.output.{level - 3}."
    yield r"backbone\.top_block\.(p[67])\.", r"pyramid.\1."
    yield r"head\.cls_subnet\.", "class_head.tower."
    yield r"head\.bbox_subnet\.", "box_head.tower."
    yield r"head\.cls_score\.", "class_head.output."
    yield r"head\.bbox_pred\.", "box_head.output."


_RULES = tuple(_rules())


def convert(file: WeightsFile, style: Style | None) -> Converted:
    """Return detectron2's RetinaNet in our words.

    Args:
        file: of a whole RetinaNet, `.pkl` of the model zoo or `.pth` of a training.
        style: what its backbone expects; None finds it in the file, or takes `caffe`, the model zoo's.

    Raises:
        ImportFailedError: a tensor has a name that detectron2's RetinaNet has not, or its anchors are others.
    """
    tensors = rename(file.tensors, _RULES, _IGNORED, "detectron2")
    told = _style_in(file.tensors)
    if style is not None and told is not None and style != told:
        raise ImportFailedError(
            f"has `pixel_mean` and `pixel_std` of style {told!r}, so it cannot be of style {style!r}"
        )
    chosen = style or told or "caffe"
    config = preset("detectron2", count_classes(tensors), **_sections(tensors, chosen))
    _check_anchors(file.tensors, config)
    tensors = reorder_outputs(with_rgb_input(tensors, STYLES[chosen].bgr), _ORDER)
    notes = () if style or told else (
        "the file does not say what its backbone expects: style caffe, as in detectron2's model zoo "
        "(--style caffe2 for ResNeXt, --style pytorch for torchvision's ResNets)",
    )  # fmt: skip
    return Converted("detectron2", config, tensors, None, _RESIZE, notes)


def _sections(tensors: Mapping[str, Tensor], style: Style) -> dict[str, dict[str, object]]:
    found = layout(tensors)
    return {**found, "backbone": {**found["backbone"], **STYLES[style].options()}}


def _style_in(tensors: Mapping[str, Tensor]) -> Style | None:
    """Return the style that a file's `pixel_mean` and `pixel_std` are of; None where it has none."""
    if "pixel_mean" not in tensors or "pixel_std" not in tensors:
        return None
    mean, std = tensors["pixel_mean"].flatten().tolist(), tensors["pixel_std"].flatten().tolist()
    for style, expected in STYLES.items():
        if agree(mean, expected.mean) and agree(std, expected.std):
            return style
    raise ImportFailedError(
        f"has pixel_mean {mean[:3]} and pixel_std {std[:3]}, which are of none of the styles "
        f"{', '.join(STYLES)}"
    )


def _check_anchors(tensors: Mapping[str, Tensor], config: RetinaNetConfig) -> None:
    """Compare the anchors in the file, where it has some, with ours."""
    for level, size in enumerate(config.anchors.sizes):
        theirs = tensors.get(f"anchor_generator.cell_anchors.{level}")
        if theirs is None:
            continue
        ours = cell_anchors(size, config.anchors)
        if theirs.shape != (PER_CELL, 4) or not torch.allclose(theirs[_ORDER], ours, atol=0.01):
            raise ImportFailedError(
                f"has other anchors than detectron2's RetinaNet at level P{level + 3}: the first is "
                f"{[round(value, 2) for value in theirs.flatten().tolist()[:4]]}"
            )
