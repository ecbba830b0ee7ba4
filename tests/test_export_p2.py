"""A network with P2 as a model file: its levels, its proof, its parts, its smallest anchor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from densewatch.cli.model_facts import fact_lines
from densewatch.export.graph_parts import name_nodes, split_graph
from densewatch.export.model_file import export_model
from densewatch.models.candidates import CandidateNet
from densewatch.models.model_file_weights import read_model_file_weights
from densewatch.models.retinanet import RetinaNet
from densewatch.runtime.detector import load
from densewatch.runtime.engines import create_engine
from densewatch.runtime.model_file import read_info
from densewatch.runtime.tiles import plan_tiles, smallest_anchor_px
from small_network import TOPK, small_info, small_network


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[RetinaNet, Path]:
    network = small_network(p2=True)
    path = tmp_path_factory.mktemp("export") / "p2.onnx"
    export_model(network, small_info(network), path, topk=TOPK)
    return network, path


def test_the_file_lists_its_levels_and_carries_the_proof(exported: tuple[RetinaNet, Path]) -> None:
    info = read_info(exported[1])
    assert [level.stride for level in info.levels] == [4, 8, 16, 32, 64, 128]
    assert {(level.anchors_per_cell, level.topk) for level in info.levels} == {(6, TOPK)}
    assert info.proof is not None
    assert info.proof.max_box_error_px <= 0.1
    assert info.proof.max_score_error <= 1e-3
    facts = [line.strip() for line in fact_lines(exported[1], info)]
    assert f"stride 4{' ' * 13}6 anchors a cell, the best {TOPK} go on" in facts


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("shape", [(1, 32, 32), (2, 64, 224)])
def test_any_batch_and_size(
    exported: tuple[RetinaNet, Path], engine: str, shape: tuple[int, int, int]
) -> None:
    network, path = exported
    images = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    boxes, scores = create_engine(path, engine, precision="float32")(images)  # type: ignore[arg-type]
    with torch.inference_mode():
        expected = CandidateNet(network, TOPK)(torch.from_numpy(images))
    assert (boxes.shape, scores.shape) == tuple(tuple(output.shape) for output in expected)


def test_a_picture_goes_through(exported: tuple[RetinaNet, Path]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8)
    assert len(load(exported[1]).detect(picture, threshold=0.05)) > 0


def test_int8_knows_the_same_parts(exported: tuple[RetinaNet, Path]) -> None:
    graph = onnx.load(str(exported[1])).graph
    name_nodes(graph)
    parts, after = split_graph(graph)
    assert set(parts) == {
        *(f"backbone.stages.{stage}" for stage in range(5)),
        "pyramid",
        *(f"{head}.{part}" for head in ("class_head", "box_head") for part in ("tower", "output")),
    }
    weights = {node.name: node.input[1] for node in graph.node if node.op_type == "Conv"}
    of_pyramid = {weights[name] for name in parts["pyramid"] if name in weights}
    assert {"network.pyramid.lateral_c2.0.weight", "network.pyramid.output_p2.0.0.weight"} <= of_pyramid
    assert sum(node.op_type == "TopK" for node in graph.node if node.name in set(after)) == 6


def test_it_needs_fewer_tiles_for_small_objects(exported: tuple[RetinaNet, Path]) -> None:
    info = read_info(exported[1])
    coarse = info.model_copy(update={"architecture": small_network().config.model_dump(mode="json")})
    assert (smallest_anchor_px(info), smallest_anchor_px(coarse)) == (12, 24)
    size = (1080, 1920)
    assert len(plan_tiles(size, info, "auto")) < len(plan_tiles(size, coarse, "auto"))


def test_training_starts_from_its_weights(exported: tuple[RetinaNet, Path]) -> None:
    network, path = exported
    weights = read_model_file_weights(path)
    assert all(torch.equal(weights[name], value) for name, value in network.state_dict().items())
