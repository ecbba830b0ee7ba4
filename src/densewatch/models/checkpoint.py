"""Checkpoints: safetensors with the model's self-description, and the state that a run resumes from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from densewatch.metadata import METADATA_KEY, ModelInfo
from densewatch.models.config import RetinaNetConfig
from densewatch.models.retinanet import RetinaNet


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message names the file and the reason."""


def save_checkpoint(path: Path, network: nn.Module, info: ModelInfo) -> None:
    """Write a network's weights and self-description; the file is whole or not there."""
    write_checkpoint(path, network.state_dict(), info)


def write_checkpoint(path: Path, weights: Mapping[str, Tensor], info: ModelInfo) -> None:
    """Write weights and self-description; the file is whole or not there."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={METADATA_KEY: info.model_dump_json()})
    partial.replace(path)


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], ModelInfo]:
    """Return the weights and the self-description of a checkpoint.

    Raises:
        CheckpointError: the file is absent, broken, or not ours.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = (file.metadata() or {}).get(METADATA_KEY)
            if metadata is None:
                raise CheckpointError(
                    f"{path}: has no densewatch metadata, so it is no checkpoint of densewatch"
                )
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
            return tensors, ModelInfo.model_validate_json(metadata)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read as safetensors: {error}") from error
    except ValidationError as error:
        raise CheckpointError(f"{path}: its metadata is not understood: {_first_mistake(error)}") from error


def load_network(path: Path) -> tuple[RetinaNet, ModelInfo]:
    """Build the network that a checkpoint describes, with its weights, in evaluation mode.

    Raises:
        CheckpointError: the file is not a checkpoint of a RetinaNet, or its weights do not fit.
    """
    tensors, info = read_checkpoint(path)
    if info.family != "retinanet":
        raise CheckpointError(f"{path}: holds a {info.family}, not a retinanet")
    try:
        network = RetinaNet(RetinaNetConfig.model_validate(info.architecture))
    except ValidationError as error:
        raise CheckpointError(
            f"{path}: its architecture is not understood: {_first_mistake(error)}"
        ) from error
    except ValueError as error:
        raise CheckpointError(f"{path}: its network cannot be built: {error}") from error
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{path}: its weights do not fit its own description: {error}") from error
    return network.eval(), info


def _first_mistake(error: ValidationError) -> str:
    mistake = error.errors()[0]
    return ": ".join([".".join(str(part) for part in mistake["loc"]), mistake["msg"]])


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write what a run needs to go on; the file is whole or not there."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def load_state(path: Path) -> dict[str, Any]:
    """Return what `save_state` wrote.

    Raises:
        CheckpointError: there is no such file, or it is broken.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: not found, so there is no run to resume")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, UnpicklingError, EOFError) as error:
        raise CheckpointError(f"{path}: cannot be read, so the run cannot go on: {error}") from error
    return state
