"""The weights inside a model file: to train on from, and to compute with in PyTorch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from pydantic import ValidationError
from torch import Tensor

from densewatch.metadata import METADATA_KEY, ModelInfo
from densewatch.models.checkpoint import CheckpointError
from densewatch.models.config import RetinaNetConfig
from densewatch.models.merge_norms import merge_norms
from densewatch.models.retinanet import RetinaNet

_PREFIX = "network."  # what `CandidateNet` calls the network inside it
_Array = npt.NDArray[np.float32]


def read_model_file_weights(path: Path) -> dict[str, Tensor]:
    """Return the weights in a model file, as tensor name → tensor, with the names and shapes of a checkpoint.

    Raises:
        CheckpointError: the file is no model file of a RetinaNet, or does not carry the weights as they were
            trained: batch norm is merged into the convolutions when a network is exported, and int8 rounds.
    """
    model, config, _ = _read(path)
    arrays = _arrays(model.graph)
    expected = RetinaNet(config).state_dict()
    if missing := [name for name in expected if name not in arrays]:
        raise CheckpointError(
            f"{path}: does not carry its weights as they were trained ({missing[0]} is not among them); "
            "start from its checkpoint (.safetensors)"
        )
    return _tensors(arrays, expected)


def load_model_file_network(path: Path) -> tuple[RetinaNet, ModelInfo]:
    """Build the network of a model file, in evaluation mode, with batch norm merged as it is in the file.

    Raises:
        CheckpointError: the file is no model file of a RetinaNet in float32, or its graph is not as
            `densewatch export` writes it.
    """
    model, config, info = _read(path)
    if info.family != "retinanet":
        raise CheckpointError(f"{path}: holds a {info.family}, not a retinanet; use another --engine")
    if info.numeric_type != "float32":
        raise CheckpointError(
            f"{path}: is quantised to {info.numeric_type}, which PyTorch does not compute; use the float "
            "file that it was made from, or another --engine"
        )
    network = RetinaNet(config)
    merge_norms(network)
    expected = network.state_dict()
    arrays = _arrays(model.graph) | _convolutions(model.graph)
    missing = [name for name in expected if name not in arrays]
    if missing or any(node.op_type == "BatchNormalization" for node in model.graph.node):
        raise CheckpointError(
            f"{path}: its weights cannot be told apart ({missing[0] if missing else 'batch norm'}); use its "
            "checkpoint (.safetensors), or another --engine"
        )
    network.load_state_dict(_tensors(arrays, expected))
    return network.eval(), info


def _read(path: Path) -> tuple[onnx.ModelProto, RetinaNetConfig, ModelInfo]:
    try:
        model = onnx.load(str(path))
    except (OSError, DecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read as a model file: {error}") from error
    metadata = {entry.key: entry.value for entry in model.metadata_props}.get(METADATA_KEY)
    if metadata is None:
        raise CheckpointError(f"{path}: has no densewatch metadata, so it is no model file of densewatch")
    try:
        info = ModelInfo.model_validate_json(metadata)
        return model, RetinaNetConfig.model_validate(info.architecture), info
    except ValidationError as error:
        raise CheckpointError(f"{path}: is not the model file of a retinanet") from error


def _arrays(graph: onnx.GraphProto) -> dict[str, _Array]:
    """Return the constants of a graph, those of the network under their names in PyTorch."""
    return {tensor.name.removeprefix(_PREFIX): numpy_helper.to_array(tensor) for tensor in graph.initializer}


def _convolutions(graph: onnx.GraphProto) -> dict[str, _Array]:
    """Return weight and bias of every convolution, with what it is multiplied by and what is added behind it.

    The exporter leaves biases out that are zero, gives those of merged batch norm names of its own, and
    writes frozen batch norm as a product and a sum.
    """
    arrays = _arrays(graph)
    users: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    found: dict[str, _Array] = {}
    for node in graph.node:
        if node.op_type != "Conv":
            continue
        name, *bias_name = (name.removeprefix(_PREFIX) for name in node.input[1:])
        bias = arrays[bias_name[0]] if bias_name else np.zeros(len(arrays[name]), np.float32)
        factor, summand = _affine_after(node, users, arrays, len(bias))
        found[name] = arrays[name] * factor[:, None, None, None]
        found[f"{name.removesuffix('.weight')}.bias"] = bias * factor + summand
    return found


def _affine_after(
    node: onnx.NodeProto, users: dict[str, list[onnx.NodeProto]], arrays: dict[str, _Array], channels: int
) -> tuple[_Array, _Array]:
    """Return by what each channel that a node gives is multiplied, and what is added then, [C] and [C]."""
    factor, summand = np.ones(channels, np.float32), np.zeros(channels, np.float32)
    while True:
        following = users.get(node.output[0], [])
        if len(following) != 1 or following[0].op_type not in ("Mul", "Add"):
            return factor, summand
        constants = [arrays[name] for name in following[0].input if name in arrays]
        if not constants or constants[0].shape != (1, channels, 1, 1):
            return factor, summand
        value = constants[0].reshape(channels)
        if following[0].op_type == "Mul":
            factor, summand = factor * value, summand * value
        else:
            summand = summand + value
        node = following[0]


def _tensors(arrays: dict[str, _Array], expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the arrays that a network expects; group norm's weights are held as [C, 1, 1] in a file."""
    return {
        name: torch.from_numpy(arrays[name].copy()).reshape(value.shape) for name, value in expected.items()
    }
