"""What a trained model says of itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

from densewatch.data.dataset import Dataset
from densewatch.metadata import LevelInfo, ModelInfo
from densewatch.models.retinanet import STRIDES, RetinaNet
from densewatch.training.settings import TrainSettings


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
    recipe = settings.model_dump(mode="json", exclude={"data", "val", "out", "resume", "device", "workers", "threads"})
    sources = [Path(source.annotations).name for source in settings.data]
    measured = {settings.val.annotations.name: metrics} if settings.val is not None and metrics else {}
    return ModelInfo(
        name=settings.name,
        family="retinanet",
        architecture=network.config.model_dump(mode="json"),
        classes=data.classes,
        resize=settings.resize,
        levels=tuple(
            LevelInfo(stride=stride, anchors_per_cell=network.config.anchors.per_cell, topk=1000) for stride in STRIDES
        ),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        training={"data": sources, "pictures": len(data), "steps": step, "recipe": recipe},
        metrics=measured,
        licence=settings.licence,
        commit=git_commit(),
    )


def git_commit() -> str:
    """Return the commit of the code that runs, with `+` behind it where the tree differs, or `unknown`."""
    folder = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return commit.stdout.strip()
