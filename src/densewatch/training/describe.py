"""What a trained model says of itself."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from densewatch.data.dataset import Dataset
from densewatch.metadata import LevelInfo, ModelInfo
from densewatch.models.retinanet import STRIDES, RetinaNet
from densewatch.training.settings import TrainSettings

_TOPK = 1000  # candidates a level passes on, when the network is exported as it is described here


def describe(
    settings: TrainSettings, network: RetinaNet, data: Dataset, step: int, metrics: dict[str, float]
) -> ModelInfo:
    """Return the self-description of a network after `step` steps of a run.

    Args:
        settings: of the run; they become the recipe.
        network: as it is trained.
        data: what it learned from.
        step: how far the run is.
        metrics: of the validation data, as metric → value; empty where nothing was measured.
    """
    recipe = settings.model_dump(exclude={"out", "resume", "device", "workers", "threads"})
    per_cell = network.config.anchors.per_cell
    return ModelInfo(
        name=settings.name,
        family="retinanet",
        architecture=network.config.model_dump(mode="json"),
        classes=data.classes,
        resize=settings.resize,
        levels=tuple(LevelInfo(stride=stride, anchors_per_cell=per_cell, topk=_TOPK) for stride in STRIDES),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        training={"pictures": len(data), "steps": step, "recipe": _without_folders(recipe)},
        metrics={settings.val.annotations.name: metrics} if settings.val is not None and metrics else {},
        licence=settings.licence,
        commit=git_commit(),
    )


def _without_folders(value: Any) -> Any:
    """Return a dumped setting as plain JSON, with the names of files, but not the folders of one machine."""
    if isinstance(value, Path):
        return value.name
    if isinstance(value, Mapping):
        return {key: _without_folders(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(item) for item in value]
    return value


def git_commit() -> str:
    """Return the commit of the code that runs, with `+` behind it where the tree differs, or `unknown`.

    An installed package is not asked for: the repository around it, if any, is somebody else's.
    """
    this_file = Path(__file__)
    describe = ["describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"]
    try:
        _git(this_file.parent, "ls-files", "--error-unmatch", this_file.name)
        return _git(this_file.parent, *describe)
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
