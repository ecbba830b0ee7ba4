"""Settings of a training run that takes a second: drawn scenes, a narrow network, one thread."""

from __future__ import annotations

from typing import Any

from densewatch.training.settings import TrainSettings
from drawn_scenes import DrawnScenes

TINY_NETWORK: dict[str, dict[str, Any]] = {
    "backbone": {"norm": "batch"},
    "pyramid": {"width": 16},
    "head": {"width": 16, "depth": 1, "groups": 4},
}


def tiny_settings(scenes: DrawnScenes, **changes: Any) -> TrainSettings:
    """Return settings for `scenes`; `changes` are fields of `TrainSettings`."""
    values = {
        "data": [{"annotations": scenes.annotations}],
        "out": scenes.annotations.parent / "run",
        "preset": "light",
        "model": TINY_NETWORK,
        "epochs": 2,
        "batch": 2,
        "imgsz": [64],
        "augment": {"geometry": "square", "zoom": [0.7, 1.4], "photometric": 0.5},
        "resize": {"mode": "none"},
        "warmup": 2,
        "workers": 0,
        "threads": 1,
        "device": "cpu",
    }
    return TrainSettings.model_validate({**values, **changes})
