"""What a trained model says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from densewatch.commit import code_commit
from densewatch.data.dataset import Dataset
from densewatch.evaluation.run import data_title
from densewatch.metadata import ModelInfo
from densewatch.models.retinanet import RetinaNet
from densewatch.training.settings import DataSource, TrainSettings


def describe(
    settings: TrainSettings, network: RetinaNet, data: Dataset, step: int, metrics: dict[str, float]
) -> ModelInfo:
    """Return the self-description of a network after `step` steps of a run; export fills in the levels.

    Args:
        settings: of the run; they become the recipe.
        network: as it is trained.
        data: what it learned from.
        step: how far the run is.
        metrics: of the validation data, as metric → value; empty where nothing was measured.
    """
    val = settings.val
    of_machine = {"out", "resume", "device", "workers", "threads", "cache", "cache_gb", "cache_dir"}
    recipe = settings.model_dump(exclude=of_machine)
    return ModelInfo(
        name=settings.name,
        family="retinanet",
        architecture=network.config.model_dump(mode="json"),
        classes=data.classes,
        resize=settings.resize_policy,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        training={"pictures": len(data), "steps": step, "recipe": _without_folders(recipe)},
        metrics={_title(val): metrics} if val is not None and metrics else {},
        licence=settings.licence,
        commit=code_commit() or "unknown",
    )


def _title(val: DataSource) -> str:
    return data_title(val.annotations, val.where, val.split)


def _without_folders(value: Any) -> Any:
    """Return a dumped setting as plain JSON, with the names of files, but not the folders of one machine."""
    if isinstance(value, Path):
        return value.name
    if isinstance(value, Mapping):
        return {key: _without_folders(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(item) for item in value]
    return value
