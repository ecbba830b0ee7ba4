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
    Converted,
    PublishedFile,
    Style,
    count_classes,
    layout,
    rename,
    with_rgb_input,
)
from densewatch.models.foreign.errors import ImportFailedError
from densewatch.models.foreign.mmdetection_anchors import read_anchors
from densewatch.models.foreign.mmdetection_config import Settings, read_settings, refuse_old_settings
from densewatch.models.foreign.mmdetection_input import DEFAULT_RESIZE, choose_preparation, read_resize
from densewatch.models.foreign.weights_file import WeightsFile

_NUM_GROUPS = "model.bbox_head.norm_cfg.num_groups"
_GROUPS = 32
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


def convert(file: WeightsFile, style: Style | None, published: PublishedFile | None = None) -> Converted:
    """Return mmdetection's RetinaNet in our words.

    Args:
        file: a `.pth` with `state_dict` and `meta`.
        style: what its backbone expects; None finds it in the settings in the file.
        published: the file, where mmdetection published it: then it is known to be of version 2 or later,
            whatever the shape of its settings, and of which size its pictures are.

    Raises:
        ImportFailedError: a tensor has a name that mmdetection's RetinaNet has not, the settings are of
            another network or contradict the style, or neither they nor the caller say what the backbone
            expects.
    """
    settings = read_settings(file.meta) or _NOTHING
    if published is None:
        refuse_old_settings(settings)
    layers = 3 if any(".gn." in name for name in file.tensors) else 2
    tensors = rename(file.tensors, (*_RULES, *_tower_rules(layers)), _IGNORED, "mmdetection")
    preparation = choose_preparation(settings, style)
    found = layout(tensors)
    config = preset(
        "mmdetection",
        count_classes(tensors),
        backbone={**found["backbone"], **preparation.options()},
        pyramid={**found["pyramid"], "p7_relu": settings.at("model.neck.relu_before_extra_convs", False)},
        head={**found["head"], **_groups(settings, found["head"])},
        anchors=read_anchors(settings),
    )
    resize = read_resize(settings)
    tensors = _with_plain_deltas(with_rgb_input(tensors, preparation.bgr), settings)
    notes = () if published is not None else tuple(_notes(file.meta, settings, resize, config.head.norm))
    return Converted("mmdetection", config, tensors, _classes(file.meta), resize or DEFAULT_RESIZE, notes)


def _tower_rules(layers: int) -> Iterator[tuple[str, str]]:
    """Yield the rules for towers, whose blocks of `layers` modules are flat in ours."""
    for theirs, ours in (("cls", "class_head"), ("reg", "box_head")):
        for block in range(_MAX_DEPTH):
            prefix = rf"bbox_head\.{theirs}_convs\.{block}"
            yield rf"{prefix}\.conv\.", f"{ours}.tower.{block * layers}."
            yield rf"{prefix}\.gn\.", f"{ours}.tower.{block * layers + 1}."


def _groups(settings: Settings, head: Mapping[str, Any]) -> dict[str, int]:
    """Return how many groups GroupNorm has in the head, where it has one: its weights do not tell.

    Raises:
        ImportFailedError: the head's width is no multiple of it.
    """
    groups = settings.at(_NUM_GROUPS, _GROUPS)
    if head["norm"] == "none":
        return {}
    if type(groups) is not int or groups < 1 or head["width"] % groups:
        raise ImportFailedError(
            f"the head's width {head['width']} is no multiple of the {str(groups)[:20]} groups of its norm, "
            f"as {_NUM_GROUPS} has them, or {_GROUPS} where the settings do not say it"
        )
    return {"groups": groups}


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


def _notes(
    meta: Mapping[str, Any], settings: Settings, resize: ResizePolicy | None, head_norm: str
) -> Iterator[str]:
    """Give what the file does not say and was taken for granted."""
    version = meta.get("mmdet_version")
    if settings is _NOTHING and isinstance(version, str) and version.startswith(("0.", "1.")):
        yield (
            f"was written by mmdetection {version[:20]}, without settings: anchors were taken to be those of "
            "version 2 and later, and lie half a cell off if it was trained before"
        )
    if resize is None:
        yield (
            "does not say plainly which size its pictures have: shorter side 800 px, longer at most 1333, as "
            "in mmdetection's own settings"
        )
    if head_norm == "group" and settings.at(_NUM_GROUPS) is None:
        yield f"does not say how many groups the head's GroupNorm has: {_GROUPS}, mmdetection's usual number"
