"""mmdetection's RetinaNet. Its checkpoints carry the settings they were trained with, which are followed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from densewatch.metadata import ClassInfo, ResizePolicy
from densewatch.models.config import preset
from densewatch.models.foreign.class_names import with_ids
from densewatch.models.foreign.conversion import (
    BOX_OUTPUT,
    PER_CELL,
    STYLES,
    Converted,
    Preparation,
    Style,
    count_classes,
    layout,
    rename,
    with_rgb_input,
)
from densewatch.models.foreign.errors import ImportFailedError
from densewatch.models.foreign.mmdetection_config import Settings, read_settings
from densewatch.models.foreign.weights_file import WeightsFile

_RESIZE = ResizePolicy(mode="shorter", size=800, max_size=1333, antialias=False)
_STRIDES = (8, 16, 32, 64, 128)
_MAX_DEPTH = 16
_IGNORED = r".*\.num_batches_tracked$|data_preprocessor\."
_NOTHING = Settings({})

_RULES = (
    (r"backbone\.conv1\.", "backbone.stages.0.0."),
    (r"backbone\.bn1\.", "backbone.stages.0.1."),
    (r"backbone\.layer1\.", "backbone.stages.1.1."),
    (r"backbone\.layer([234])\.", r"backbone.stages.\1."),
    (r"neck\.lateral_convs\.([012])\.conv\.", r"pyramid.lateral.\1."),
    (r"neck\.fpn_convs\.([012])\.conv\.", r"pyramid.output.\1."),
    (r"neck\.fpn_convs\.3\.conv\.", "pyramid.p6."),
    (r"neck\.fpn_convs\.4\.conv\.", "pyramid.p7."),
    (r"bbox_head\.retina_cls\.", "class_head.output."),
    (r"bbox_head\.retina_reg\.", "box_head.output."),
)


def convert(file: WeightsFile, style: Style | None) -> Converted:
    """Return mmdetection's RetinaNet in our words.

    Args:
        file: a `.pth` with `state_dict` and `meta`.
        style: what its backbone expects; None finds it in the settings in the file.

    Raises:
        ImportFailedError: a tensor has a name that mmdetection's RetinaNet has not, the settings are of
            another network, or neither they nor the caller say what the backbone expects.
    """
    settings = read_settings(file.meta) or _NOTHING
    layers = 3 if any(".gn." in name for name in file.tensors) else 2
    tensors = rename(file.tensors, (*_RULES, *_tower_rules(layers)), _IGNORED, "mmdetection")
    preparation = STYLES[style] if style is not None else _preparation(settings)
    found = layout(tensors)
    config = preset(
        "mmdetection",
        count_classes(tensors),
        backbone={**found["backbone"], **preparation.options()},
        pyramid={**found["pyramid"], "p7_relu": settings.at("model.neck.relu_before_extra_convs", False)},
        head=found["head"],
        anchors=_anchors(settings),
    )
    tensors = _with_plain_deltas(with_rgb_input(tensors, preparation.bgr), settings)
    return Converted("mmdetection", config, tensors, _classes(file.meta), _RESIZE, _notes(file.meta))


def _tower_rules(layers: int) -> Iterator[tuple[str, str]]:
    """Yield the rules for towers, whose blocks of `layers` modules are flat in ours."""
    for theirs, ours in (("cls", "class_head"), ("reg", "box_head")):
        for block in range(_MAX_DEPTH):
            prefix = rf"bbox_head\.{theirs}_convs\.{block}"
            yield rf"{prefix}\.conv\.", f"{ours}.tower.{block * layers}."
            yield rf"{prefix}\.gn\.", f"{ours}.tower.{block * layers + 1}."


def _preparation(settings: Settings) -> Preparation:
    """Return what the settings say of the network's input."""
    norm = settings.at("model.data_preprocessor") or settings.at("img_norm_cfg") or {}
    mean, std = norm.get("mean"), norm.get("std")
    if not _are_numbers(mean) or not _are_numbers(std):
        raise ImportFailedError(
            "does not say what its backbone expects: give --style pytorch (RGB, as torchvision's ResNets), "
            "--style caffe (BGR, stride in the 1×1), or --style caffe2 (BGR, stride in the 3×3)"
        )
    to_rgb = norm.get("bgr_to_rgb", norm.get("to_rgb", False))
    stride_in = "1x1" if settings.at("model.backbone.style", "pytorch") == "caffe" else "3x3"
    return Preparation(tuple(mean), tuple(std), bgr=not to_rgb, stride_in=stride_in)  # type: ignore[arg-type]


def _anchors(settings: Settings) -> dict[str, Any]:
    """Return the anchors of the settings; those of mmdetection's RetinaNet where they say nothing."""
    generator = "model.bbox_head.anchor_generator"
    base = settings.at(f"{generator}.octave_base_scale", 4)
    octaves = settings.at(f"{generator}.scales_per_octave", 3)
    return {
        "sizes": tuple(stride * base for stride in _STRIDES),
        "scales": tuple(2 ** (step / octaves) for step in range(octaves)),
        "ratios": tuple(settings.at(f"{generator}.ratios", [0.5, 1.0, 2.0])),
        "center": "half" if settings.at(f"{generator}.center_offset", 0) else "corner",
    }


def _with_plain_deltas(tensors: Mapping[str, Tensor], settings: Settings) -> dict[str, Tensor]:
    """Return the tensors for deltas with means 0 and deviations 1, where the settings have others."""
    coder = "model.bbox_head.bbox_coder"
    mean = torch.tensor(settings.at(f"{coder}.target_means", [0.0] * 4)).repeat(PER_CELL)
    std = torch.tensor(settings.at(f"{coder}.target_stds", [1.0] * 4)).repeat(PER_CELL)
    weight, bias = tensors[f"{BOX_OUTPUT}.weight"], tensors[f"{BOX_OUTPUT}.bias"]
    return {
        **tensors,
        f"{BOX_OUTPUT}.weight": weight * std[:, None, None, None],
        f"{BOX_OUTPUT}.bias": bias * std + mean,
    }


def _classes(meta: Mapping[str, Any]) -> tuple[ClassInfo, ...] | None:
    """Return the classes that the file names: in `CLASSES`, or since mmdetection 3 in `dataset_meta`."""
    data = meta.get("dataset_meta")
    places = (meta, data if isinstance(data, dict) else {})
    for place in places:
        for key in ("CLASSES", "classes"):
            names = place.get(key)
            if isinstance(names, list | tuple) and names and all(isinstance(name, str) for name in names):
                return with_ids(list(names))
    return None


def _notes(meta: Mapping[str, Any]) -> tuple[str, ...]:
    version = meta.get("mmdet_version")
    if isinstance(version, str) and version.startswith(("0.", "1.")):
        return (
            f"was written by mmdetection {version[:20]}: anchors of versions before 2 were rounded, so "
            "boxes may be up to a pixel off",
        )
    return ()


def _are_numbers(value: Any) -> bool:
    return (
        isinstance(value, list) and len(value) == 3 and all(isinstance(item, int | float) for item in value)
    )
