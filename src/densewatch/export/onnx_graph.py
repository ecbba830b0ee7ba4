"""The ONNX file itself: the graph, and the self-description in its metadata."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import nn
from torch.export import Dim

from densewatch.metadata import METADATA_KEY, ModelInfo
from densewatch.models.candidates import CandidateNet

OPSET = 18
_DIMENSIONS = {"image": ("N", "H", "W", None), "boxes": ("N", "K", None), "scores": ("N", "K", None)}


def write_graph(net: CandidateNet, path: Path) -> None:
    """Write `net` as ONNX, with batch and size left open (height and width multiples of 32)."""
    example = torch.zeros(2, 256, 320, 3, dtype=torch.uint8)
    rows, columns = Dim("rows", min=1, max=1 << 12), Dim("columns", min=1, max=1 << 12)
    shapes = {"image": {0: Dim("batch", min=1, max=1 << 12), 1: 32 * rows, 2: 32 * columns}}
    with _quiet():
        program = torch.onnx.export(
            net.eval(),
            (example,),
            input_names=["image"],
            output_names=["boxes", "scores"],
            dynamic_shapes=shapes,
            opset_version=OPSET,
            dynamo=True,
        )
    assert program is not None
    model = program.model_proto
    _name_weights(model, net)
    _tidy(model)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def write_metadata(path: Path, info: ModelInfo) -> None:
    """Put the self-description into an ONNX file, in place of one that is there."""
    model = onnx.load(str(path))
    onnx.helper.set_model_props(model, {METADATA_KEY: info.model_dump_json()})
    onnx.save(model, str(path))


def _name_weights(model: onnx.ModelProto, net: nn.Module) -> None:
    """Give weights that the exporter reshaped, such as those of group norm, their names in `net` again.

    Training can then start from the model file (`densewatch.models.checkpoint.read_weights`).
    """
    weights = {name: value.numpy() for name, value in net.state_dict().items()}
    nameless: dict[bytes, list[str]] = {}
    for tensor in model.graph.initializer:
        if tensor.name not in weights:
            nameless.setdefault(numpy_helper.to_array(tensor).tobytes(), []).append(tensor.name)
    named = {tensor.name for tensor in model.graph.initializer}
    renamed = {
        nameless[array.tobytes()].pop(): name
        for name, array in weights.items()
        if name not in named and nameless.get(array.tobytes())
    }
    for tensor in model.graph.initializer:
        tensor.name = renamed.get(tensor.name, tensor.name)
    for node in model.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]


def _tidy(model: onnx.ModelProto) -> None:
    """Give open dimensions short names, and drop the exporter's notes: they hold paths of this machine."""
    for value in [*model.graph.input, *model.graph.output]:
        for dimension, name in zip(value.type.tensor_type.shape.dim, _DIMENSIONS[value.name], strict=True):
            if name is not None:
                dimension.dim_param = name
    del model.graph.value_info[:]
    del model.metadata_props[:]
    del model.graph.metadata_props[:]
    model.graph.name, model.doc_string = "densewatch", ""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress and its warnings about itself away from our output."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
