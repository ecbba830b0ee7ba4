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
    "model.neck.type": ("FPN",),
    "model.neck.start_level": (1,),
    "model.neck.add_extra_convs": ("on_input", "on_output", True),
    "model.bbox_head.type": ("RetinaHead",),
    "model.bbox_head.loss_cls.use_sigmoid": (True,),
    "model.bbox_head.anchor_generator.type": ("AnchorGenerator",),
    "model.bbox_head.anchor_generator.scale_major": (True,),
    "model.bbox_head.anchor_generator.strides": ([8, 16, 32, 64, 128],),
    "model.bbox_head.anchor_generator.center_offset": (0, 0.5),
    "model.bbox_head.bbox_coder.type": ("DeltaXYWHBBoxCoder",),
}


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
