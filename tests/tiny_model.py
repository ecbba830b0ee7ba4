"""A tiny model file that keeps the contract and really sees: it finds bright red, green and blue squares.

Each pyramid level averages the picture over cells as large as its stride. A cell is a candidate, its box is
the cell, and its scores are the mean brightness of the colours. So a picture of coloured squares that lie on
the grid has known boxes and scores, and anything wrong with channels, orientation, scaling or grouping shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from densewatch.metadata import METADATA_KEY, ClassInfo, LevelInfo, ModelInfo, ResizePolicy

NAMES = ("person", "chair", "car")
"""What the tiny model calls red, green and blue."""

CATEGORY_IDS = (1, 62, 3)
KEEP_SIZE = ResizePolicy(mode="none", max_size=None, pad_value=(0, 0, 0))


def tiny_info(
    *, strides: Sequence[int] = (32, 64), topk: int = 100, resize: ResizePolicy = KEEP_SIZE
) -> ModelInfo:
    """Return the self-description of a tiny model."""
    return ModelInfo(
        name="tiny",
        family="tiny",
        classes=tuple(
            ClassInfo(name=name, id=number) for name, number in zip(NAMES, CATEGORY_IDS, strict=True)
        ),
        levels=tuple(LevelInfo(stride=stride, anchors_per_cell=1, topk=topk) for stride in strides),
        resize=resize,
        licence="Apache-2.0",
    )


def write_tiny_model(path: Path, info: ModelInfo | None = None) -> Path:
    """Write a tiny model file whose levels are those of `info`; return its path."""
    info = info or tiny_info()
    model = helper.make_model(_graph(info.levels), opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 10
    helper.set_model_props(model, {METADATA_KEY: info.model_dump_json()})
    onnx.save(model, path)
    return path


def write_embedded_pair(folder: Path) -> tuple[Path, Path]:
    """Write what a package in `folder` has embedded: `light` in float and `light-int8`; return both paths."""
    (folder / "weights").mkdir()
    exact, int8 = (
        write_tiny_model(folder / "weights" / file, tiny_info().model_copy(update={"name": name}))
        for file, name in (("default.onnx", "light"), ("default-int8.onnx", "light-int8"))
    )
    return exact, int8


def draw_squares(
    size: tuple[int, int], squares: Sequence[tuple[int, int, int, str]], brightness: int = 255
) -> npt.NDArray[np.uint8]:
    """Return a black picture, uint8 [H, W, 3] RGB, with squares as (x, y, side in pixels, class name)."""
    image = np.zeros((*size, 3), np.uint8)
    for x, y, side, name in squares:
        image[y : y + side, x : x + side, NAMES.index(name)] = brightness
    return image


class _Graph:
    """Collects ONNX nodes and constants, and names their values."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: npt.ArrayLike) -> str:
        """Add a constant; return its name."""
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, kind: str, inputs: list[str], *, output: str | None = None, **attributes: Any) -> str:
        """Add a node; return the name of its output, the indices in the case of TopK."""
        name = output or f"value{len(self.nodes)}"
        outputs = [f"{name}_values", name] if kind == "TopK" else [name]
        self.nodes.append(helper.make_node(kind, inputs, outputs, **attributes))
        return name


def _graph(levels: Sequence[LevelInfo]) -> onnx.GraphProto:
    graph = _Graph()
    pixels = graph.node("Cast", ["image"], to=TensorProto.FLOAT)
    pixels = graph.node("Div", [pixels, graph.constant(np.float32(255))])
    pixels = graph.node("Transpose", [pixels], perm=[0, 3, 1, 2])
    parts = [_level(graph, pixels, level) for level in levels]
    graph.node("Concat", [boxes for boxes, _ in parts], output="boxes", axis=1)
    graph.node("Concat", [scores for _, scores in parts], output="scores", axis=1)
    return helper.make_graph(
        graph.nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", "H", "W", 3])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["N", "K", 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", "K", len(NAMES)]),
        ],
        graph.constants,
    )


def _level(graph: _Graph, pixels: str, level: LevelInfo) -> tuple[str, str]:
    """Add a level's cells; return the names of its boxes [N, k, 4] and scores [N, k, 3]."""
    side = [level.stride, level.stride]
    rest = max(0, level.stride - 32)  # pictures are multiples of 32: the last cell may stick out by this much
    cells = graph.node("AveragePool", [pixels], kernel_shape=side, strides=side, pads=[0, 0, rest, rest])
    grid_width = graph.node("Shape", [cells], start=3, end=4)
    scores = graph.node("Transpose", [cells], perm=[0, 2, 3, 1])
    scores = graph.node("Reshape", [scores, graph.constant(np.array([0, -1, len(NAMES)]))])
    best = graph.node("ReduceMax", [scores], axes=[2], keepdims=0)
    count = graph.node("Min", [graph.node("Shape", [best], start=1), graph.constant(np.array([level.topk]))])
    index = graph.node("TopK", [best, count], axis=1)
    index = graph.node("Unsqueeze", [index, graph.constant(np.array([2]))])
    column = graph.node("Mod", [index, grid_width])
    row = graph.node("Div", [index, grid_width])
    corner = graph.node("Cast", [graph.node("Concat", [column, row], axis=2)], to=TensorProto.FLOAT)
    corner = graph.node("Mul", [corner, graph.constant(np.float32(level.stride))])
    opposite = graph.node("Add", [corner, graph.constant(np.float32(level.stride))])
    boxes = graph.node("Concat", [corner, opposite], axis=2)
    return boxes, graph.node("GatherND", [scores, index], batch_dims=1)
