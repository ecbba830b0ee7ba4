"""Exporting: the file describes itself, equals its network, and is not written when it does not."""

from __future__ import annotations

import copy
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner

from densewatch.cli.main import app
from densewatch.export import model_file as exporting
from densewatch.export.model_file import export_model
from densewatch.export.proof import ExportError, compare
from densewatch.models.candidates import select_candidates
from densewatch.models.checkpoint import CheckpointError, save_checkpoint
from densewatch.models.model_file_weights import read_model_file_weights
from densewatch.models.retinanet import RetinaNet
from densewatch.runtime.detector import load
from densewatch.runtime.engines import create_engine
from densewatch.runtime.model_file import read_info
from small_network import TOPK, small_info, small_network


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[RetinaNet, Path]:
    network = small_network()
    path = tmp_path_factory.mktemp("export") / "small.onnx"
    export_model(network, small_info(network), path, topk=TOPK, measure=lambda _: {"toy": {"AP": 0.5}})
    return network, path


def test_the_file_describes_itself(exported: tuple[RetinaNet, Path]) -> None:
    network, path = exported
    info = read_info(path)
    assert info.names == ("person", "chair")
    assert info.category_ids == (1, 62)
    assert [level.stride for level in info.levels] == [8, 16, 32, 64, 128]
    assert {(level.anchors_per_cell, level.topk) for level in info.levels} == {(6, TOPK)}
    assert info.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert info.metrics == {"toy": {"AP": 0.5}}


def test_training_starts_from_its_weights(exported: tuple[RetinaNet, Path]) -> None:
    network, path = exported
    weights = read_model_file_weights(path)
    assert weights.keys() == network.state_dict().keys()
    assert all(torch.equal(weights[name], value) for name, value in network.state_dict().items())


def test_weights_that_are_not_those_of_training_are_not_read(
    exported: tuple[RetinaNet, Path], tmp_path: Path
) -> None:
    """As when the exporter merges batch norm into the convolutions: the norm's weights are gone."""
    model = onnx.load(exported[1])
    del model.graph.initializer[0]
    onnx.save(model, tmp_path / "merged.onnx")
    with pytest.raises(CheckpointError, match=r"merged.onnx: does not carry its weights .* \(.safetensors\)"):
        read_model_file_weights(tmp_path / "merged.onnx")


def test_the_proof_is_inside(exported: tuple[RetinaNet, Path]) -> None:
    proof = read_info(exported[1]).proof
    assert proof is not None
    for batch in (1, 2):
        assert len({shape[1:] for shape in proof.shapes if shape[0] == batch}) >= 3
    assert proof.candidates >= 600
    assert proof.max_box_error_px <= 0.1
    assert proof.max_score_error <= 1e-3
    assert "openvino" in proof.engine
    assert "onnxruntime" in proof.engine


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("shape", [(1, 32, 32), (1, 160, 96), (3, 64, 224)])
def test_any_batch_and_size(
    exported: tuple[RetinaNet, Path], engine: str, shape: tuple[int, int, int]
) -> None:
    network, path = exported
    images = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    boxes, scores = create_engine(path, engine, precision="float32")(images)  # type: ignore[arg-type]
    # In 64 bits, so that only the engine's own rounding shows, and not PyTorch's, which differs with threads.
    exact = copy.deepcopy(network).double()
    with torch.inference_mode():
        outputs = exact(torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255)
        expected_boxes, expected_scores = select_candidates(outputs, TOPK)
    assert boxes.shape == tuple(expected_boxes.shape)
    difference = compare((expected_boxes.numpy(), expected_scores.numpy()), (boxes, scores))
    assert difference.box_error_px < 0.05
    assert difference.score_error < 1e-4


def test_a_picture_goes_through(exported: tuple[RetinaNet, Path]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8)
    detections = load(exported[1]).detect(picture, threshold=0.05)
    assert detections.size == (300, 200)
    assert len(detections) > 0


def test_the_file_has_open_dimensions_and_no_paths(exported: tuple[RetinaNet, Path]) -> None:
    model = onnx.load(str(exported[1]))
    (image,) = model.graph.input
    dims = [dim.dim_param or dim.dim_value for dim in image.type.tensor_type.shape.dim]
    assert dims == ["N", "H", "W", 3]
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [output.name for output in model.graph.output] == ["boxes", "scores"]
    assert re.findall(rb"/[\w./-]+\.py", exported[1].read_bytes()) == []


@pytest.fixture
def given_graph(exported: tuple[RetinaNet, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every export take the graph of `exported`: making one anew takes long."""
    monkeypatch.setattr(exporting, "write_graph", lambda _net, path: shutil.copy(exported[1], path))


@pytest.mark.usefixtures("given_graph")
def test_nothing_is_written_when_the_graph_differs(tmp_path: Path) -> None:
    network = small_network(seed=1)
    with pytest.raises(ExportError, match="differs from its network"):
        export_model(network, small_info(network), tmp_path / "wrong.onnx", topk=TOPK)
    assert list(tmp_path.iterdir()) == []


def test_too_few_pictures_prove_nothing(exported: tuple[RetinaNet, Path], tmp_path: Path) -> None:
    network = exported[0]
    with pytest.raises(ValueError, match="at least 2 pictures"):
        export_model(network, small_info(network), tmp_path / "x.onnx", pictures=[])
    with pytest.raises(ValueError, match=r"ends in \.onnx"):
        export_model(network, small_info(network), tmp_path / "x.bin")


BOXES = np.array([[[0, 0, 10, 10], [20, 20, 40, 40]]], np.float32)
SCORES = np.array([[[0.9, 0.1], [0.2, 0.8]]], np.float32)


@pytest.mark.parametrize(
    ("boxes", "scores", "box_error_px", "score_error"),
    [
        (BOXES, SCORES, 0.0, 0.0),
        (BOXES[:, ::-1], SCORES[:, ::-1], 0.0, 0.0),
        (BOXES + np.float32(0.05), SCORES, 0.05, 0.0),
        (BOXES, SCORES + np.float32(0.01), 0.0, 0.01),
    ],
    ids=["equal", "another order", "shifted boxes", "other scores"],
)
def test_compare(boxes: np.ndarray, scores: np.ndarray, box_error_px: float, score_error: float) -> None:
    difference = compare((BOXES, SCORES), (boxes, scores))
    assert difference.candidates == 2
    assert difference.box_error_px == pytest.approx(box_error_px, abs=1e-5)
    assert difference.score_error == pytest.approx(score_error, abs=1e-5)


@pytest.mark.parametrize(
    ("boxes", "scores"),
    [(BOXES * np.float32("nan"), SCORES), (BOXES, SCORES * np.float32("nan"))],
    ids=["boxes", "scores"],
)
def test_what_is_no_number_is_never_near(boxes: np.ndarray, scores: np.ndarray) -> None:
    difference = compare((BOXES, SCORES), (boxes, scores))
    assert np.isnan([difference.box_error_px, difference.score_error]).any()


@pytest.mark.usefixtures("given_graph")
def test_command_line(tmp_path: Path) -> None:
    network = small_network()
    checkpoint = tmp_path / "model.safetensors"
    save_checkpoint(checkpoint, network, small_info(network))
    result = CliRunner().invoke(app, ["export", str(checkpoint), "--name", "renamed", "--topk", str(TOPK)])
    assert result.exit_code == 0, result.output
    steps = ["loading PyTorch", "writing the graph", "comparing its boxes with PyTorch's on 2 pictures"]
    for line, beginning in zip(result.stderr.splitlines()[:3], steps, strict=True):
        assert line.startswith(beginning)
    assert "equal PyTorch's" in result.stderr
    assert read_info(tmp_path / "model.onnx").name == "renamed"


def test_command_line_names_a_bad_checkpoint(tmp_path: Path) -> None:
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"not safetensors")
    result = CliRunner().invoke(app, ["export", str(bad)])
    assert result.exit_code == 1
    assert "bad.safetensors" in result.stderr
