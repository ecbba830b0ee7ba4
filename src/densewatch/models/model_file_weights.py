"""The trained weights inside a model file, to train on from."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from pydantic import ValidationError
from torch import Tensor

from densewatch.metadata import METADATA_KEY, ModelInfo
from densewatch.models.checkpoint import CheckpointError
from densewatch.models.config import RetinaNetConfig
from densewatch.models.retinanet import RetinaNet

_PREFIX = "network."  # what `CandidateNet` calls the network inside it


def read_model_file_weights(path: Path) -> dict[str, Tensor]:
    """Return the weights in a model file, as tensor name → tensor, with the names and shapes of a checkpoint.

    Raises:
        CheckpointError: the file is no model file of a RetinaNet, or does not carry the weights as they were
            trained: batch norm is merged into the convolutions when a network is exported, and int8 rounds.
    """
    try:
        model = onnx.load(str(path))
    except (OSError, DecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read as a model file: {error}") from error
    metadata = {entry.key: entry.value for entry in model.metadata_props}.get(METADATA_KEY)
    if metadata is None:
        raise CheckpointError(f"{path}: has no densewatch metadata, so it is no model file of densewatch")
    try:
        config = RetinaNetConfig.model_validate(ModelInfo.model_validate_json(metadata).architecture)
    except ValidationError as error:
        raise CheckpointError(f"{path}: is not the model file of a retinanet") from error
    arrays = {
        tensor.name.removeprefix(_PREFIX): numpy_helper.to_array(tensor) for tensor in model.graph.initializer
    }
    expected = RetinaNet(config).state_dict()
    if missing := [name for name in expected if name not in arrays]:
        raise CheckpointError(
            f"{path}: does not carry its weights as they were trained ({missing[0]} is not among them); "
            "start from its checkpoint (.safetensors)"
        )
    # Group norm's weights are held as [C, 1, 1] there.
    return {
        name: torch.from_numpy(arrays[name].copy()).reshape(value.shape) for name, value in expected.items()
    }
