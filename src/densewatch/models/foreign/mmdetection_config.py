"""The settings that mmdetection writes into its checkpoints: Python as text, read without running it."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from densewatch.models.foreign.errors import ImportFailedError

_MAX_TEXT = 1_000_000
_PLACES = ("config", "cfg")  # of mmdetection 2 and of 3

# What must be so for the conversion to be right, where the settings speak of it at all.
_REQUIRED: dict[str, tuple[Any, ...]] = {
    "model.type": ("RetinaNet",),
    "model.backbone.type": ("ResNet", "ResNeXt"),
    "model.backbone.strides": ([1, 2, 2, 2],),
    "model.backbone.dilations": ([1, 1, 1, 1],),
    "model.backbone.norm_cfg.eps": (1e-5,),
    "model.neck.type": ("FPN",),
    "model.neck.start_level": (1,),
    "model.neck.add_extra_convs": ("on_input", "on_output", True),
    "model.neck.upsample_cfg.mode": ("nearest",),
    "model.bbox_head.type": ("RetinaHead",),
    "model.bbox_head.loss_cls.use_sigmoid": (True,),
    "model.bbox_head.anchor_generator.type": ("AnchorGenerator",),
    "model.bbox_head.anchor_generator.scale_major": (True,),
    "model.bbox_head.anchor_generator.strides": ([8, 16, 32, 64, 128],),
    "model.bbox_head.anchor_generator.center_offset": (0, 0.5),
    "model.bbox_head.anchor_generator.centers": (None,),
    "model.bbox_head.bbox_coder.type": ("DeltaXYWHBBoxCoder",),
}

# What the head had before mmdetection 2, which describes anchors and box deltas in parts of their own.
_OLD_HEAD = (
    *("anchor_strides", "anchor_ratios", "anchor_scales", "anchor_base_sizes"),
    *("octave_base_scale", "scales_per_octave", "target_means", "target_stds"),
)


class Settings:
    """Settings as a tree of dictionaries, asked by paths such as `model.backbone.style`."""

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self._tree = tree

    def at(self, path: str, default: Any = None) -> Any:
        """Return the value at a path; `default` where there is none, or None."""
        value: Any = self._tree
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        return default if value is None else value


def read_settings(meta: Mapping[str, Any]) -> Settings | None:
    """Return the settings in a checkpoint's `meta`; None where there are none that can be read.

    Raises:
        ImportFailedError: they are of a network that is no plain RetinaNet.
    """
    text = next((meta[place] for place in _PLACES if isinstance(meta.get(place), str)), None)
    if text is None or len(text) > _MAX_TEXT:
        return None
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    tree = {
        node.targets[0].id: _value(node.value)
        for node in module.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    if not isinstance(tree.get("model"), dict):
        return None
    settings = Settings(tree)
    _check(settings)
    return settings


def refuse_old_settings(settings: Settings) -> None:
    """Refuse networks of mmdetection before version 2, by the shape of their settings.

    Their anchors were rounded to whole pixels around the middle of a cell, which ours cannot be.

    Raises:
        ImportFailedError: the settings are of that shape.
    """
    old = [name for name in _OLD_HEAD if settings.at(f"model.bbox_head.{name}") is not None]
    if old:
        raise ImportFailedError(
            f"its settings have model.bbox_head.{old[0]}, as mmdetection had before version 2: there, "
            "anchors were rounded and lay in the middle of their cells; only networks that were trained with "
            "version 2 or later can be imported"
        )


def _value(node: ast.expr) -> Any:
    """Return what an expression says, made of `dict(…)`, containers and constants; None for anything else."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        return {keyword.arg: _value(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {key.value: _value(value) for key, value in pairs if isinstance(key, ast.Constant)}
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item) for item in node.elts]
    try:
        return ast.literal_eval(node)  # numbers with a sign, text, True, None
    except (ValueError, TypeError):
        return None


def _check(settings: Settings) -> None:
    for path, allowed in _REQUIRED.items():
        found = settings.at(path)
        if found is not None and found not in allowed:
            raise ImportFailedError(
                f"its settings have {path} = {str(found)[:80]}; only {' or '.join(map(str, allowed))} can be "
                "imported"
            )
