"""int8: what is quantised, what it may cost, what stays in float, and when no file is written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper
from typer.testing import CliRunner

from densewatch.cli.main import app
from densewatch.export import agreement, quantise
from densewatch.export.agreement import check_agreement
from densewatch.export.graph_parts import name_nodes, split_graph
from densewatch.export.nncf_int8 import quantise_graph
from densewatch.export.onnx_graph import write_graph, write_metadata
from densewatch.export.proof import ExportError, shipped_pictures
from densewatch.export.quantise import Calibration, Choice, choose_float_parts, quantise_model
from densewatch.metadata import ModelInfo
from densewatch.models.candidates import CandidateNet
from densewatch.models.checkpoint import CheckpointError
from densewatch.models.model_file_weights import read_model_file_weights
from densewatch.runtime.detector import load
from densewatch.runtime.model_file import read_info
from densewatch.runtime.onnxruntime_engine import OnnxRuntimeEngine
from small_network import small_info, small_network
from tiny_convolutions import INFO, tiny_convolutions
from tiny_model import write_tiny_model

PHOTOS = [*shipped_pictures(), *sorted((Path(__file__).parent / "photos").glob("*.jpg"))]
PARTS = [
    *(f"backbone.stages.{stage}" for stage in range(5)),
    "pyramid",
    *(f"{head}.{part}" for head in ("class_head", "box_head") for part in ("tower", "output")),
]
CALIBRATION = Calibration(PHOTOS, "photos")


def ap(value: float) -> dict[str, dict[str, float]]:
    return {"toy": {"AP": value}}


def image_size(path: Path) -> tuple[int, int]:
    """Return (width, height)."""
    image = cv2.imread(str(path))
    assert image is not None
    return image.shape[1], image.shape[0]


def convolutions(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == "Conv"]


def quantised(model: onnx.ModelProto) -> set[str]:
    """Return the names of the nodes that take a value of eight bits."""
    values = {node.output[0] for node in model.graph.node if node.op_type == "DequantizeLinear"}
    return {node.name for node in model.graph.node if values.intersection(node.input)}


@pytest.fixture(scope="module")
def float_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("float") / "tiny.onnx"
    write_graph(tiny_convolutions(), path)
    write_metadata(path, INFO)
    return path


@pytest.fixture(scope="module")
def int8_file(float_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("int8") / "tiny-int8.onnx"
    quantise_model(float_file, path, CALIBRATION, lambda file: ap(0.5 if file == float_file else 0.497))
    return path


def test_the_parts_of_our_network(float_file: Path) -> None:
    model = onnx.load(float_file)
    parts, never = split_graph(model.graph)
    assert set(parts) == set(PARTS)
    names = [node for nodes in parts.values() for node in nodes] + never
    assert sorted(names) == sorted(node.name for node in model.graph.node)
    operators = {node.name: node.op_type for node in model.graph.node}
    assert "Conv" not in {operators[name] for name in never}
    assert {"TopK", "Exp", "Sigmoid"} <= {operators[name] for name in never}
    assert {"TopK", "Exp", "Sigmoid"}.isdisjoint(
        operators[name] for nodes in parts.values() for name in nodes
    )


def test_a_graph_whose_weights_lost_their_names_has_blocks(float_file: Path) -> None:
    model = onnx.load(float_file)
    for node in model.graph.node:
        node.name = ""
        node.input[:] = [name.replace("network.", "w_") for name in node.input]
    name_nodes(model.graph)
    parts, _ = split_graph(model.graph)
    sizes = [
        sum(node.op_type == "Conv" for node in model.graph.node if node.name in nodes)
        for nodes in parts.values()
    ]
    assert sum(sizes) == len(convolutions(model)) == 10
    assert sizes == [2] * 5
    assert next(iter(parts)) == "convolutions 1-2"


def test_the_network_is_quantised_and_decoding_is_not(float_file: Path, int8_file: Path) -> None:
    _, never = split_graph(onnx.load(float_file).graph)
    model = onnx.load(int8_file)
    in_int8 = quantised(model)
    assert {node.name for node in convolutions(model)} <= in_int8
    operators = {node.name: node.op_type for node in model.graph.node}
    assert {operators[name] for name in in_int8.intersection(never)} <= {"Shape"}


def test_eight_bits_have_their_zero_at_zero(int8_file: Path) -> None:
    """OpenVINO computes a convolution in float32 whose input has a signed zero that is not 0."""
    model = onnx.load(int8_file)
    made_by = {node.output[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    constants = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    inputs = [made_by[node.input[0]] for node in convolutions(model) if node.input[0] in made_by]
    assert inputs
    zeros = [constants[node.input[2]] for node in inputs]
    assert any(zero.dtype == np.int8 for zero in zeros), "no input of the network can be negative"
    assert not any(zero.any() for zero in zeros)


def test_a_part_stays_in_float(float_file: Path, tmp_path: Path) -> None:
    parts, never = split_graph(onnx.load(float_file).graph)
    path = tmp_path / "mixed.onnx"
    quantise_graph(
        float_file,
        path,
        keep_float=[*never, *parts["backbone.stages.2"], *parts["class_head.output"]],
        pictures=PHOTOS[:1],
        resize=read_info(float_file).resize,
    )
    model = onnx.load(path)
    in_float = {node.name for node in convolutions(model)} - quantised(model)
    expected = {*parts["backbone.stages.2"], *parts["class_head.output"]}
    assert in_float == expected.intersection(node.name for node in convolutions(model))


def test_the_file_says_what_int8_cost(float_file: Path, int8_file: Path) -> None:
    info = read_info(int8_file)
    assert info.numeric_type == "int8"
    assert info.metrics == ap(0.497)
    int8 = info.int8
    assert int8 is not None
    assert (int8.data, int8.float_ap, int8.int8_ap, int8.ap_loss) == ("toy", 0.5, 0.497, 0.003)
    assert (int8.max_ap_loss, int8.float_parts) == (0.005, ())
    assert (int8.calibration, int8.calibration_pictures) == ("photos", len(PHOTOS))
    assert int8.nncf[0].isdigit()
    assert info.name == f"{read_info(float_file).name}-int8"
    assert [name.split()[0] for name in int8.agreement.engines] == ["openvino", "onnxruntime"]
    assert int8.agreement.candidates >= 100
    assert 0 <= int8.agreement.box_error <= int8.agreement.worst_box_error


def test_float_files_stay_readable_by_older_versions(float_file: Path, int8_file: Path) -> None:
    assert "int8" not in read_info(float_file).model_dump()
    info = read_info(int8_file)
    assert ModelInfo.model_validate_json(info.model_dump_json()) == info


@pytest.mark.slow
def test_a_retinanet(tmp_path: Path) -> None:
    network = small_network()
    path, target = tmp_path / "small.onnx", tmp_path / "small-int8.onnx"
    write_graph(CandidateNet(network, 50), path)
    write_metadata(path, small_info(network))
    quantise_model(path, target, CALIBRATION, lambda _: ap(0.5))
    parts, _ = split_graph(onnx.load(path).graph)
    assert set(parts) == set(PARTS)
    model = onnx.load(target)
    assert {node.name for node in convolutions(model)} <= quantised(model)
    assert target.stat().st_size < 0.5 * path.stat().st_size
    with pytest.raises(CheckpointError, match="does not carry its weights"):
        read_model_file_weights(target)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_both_engines_run_it_at_any_size(int8_file: Path, engine: str) -> None:
    detector = load(int8_file, engine=engine)  # type: ignore[arg-type]
    for size in ((300, 200), (64, 640)):
        picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        assert len(detector.detect(picture, threshold=0.05)) > 0


def test_int8_is_not_quantised_again(int8_file: Path, float_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="in int8 already"):
        quantise_model(int8_file, tmp_path / "again.onnx", CALIBRATION, lambda _: ap(0.5))
    with pytest.raises(ValueError, match="written over"):
        quantise_model(float_file, float_file, CALIBRATION, lambda _: ap(0.5))
    with pytest.raises(ValueError, match="no picture to calibrate"):
        quantise_model(float_file, tmp_path / "x.onnx", Calibration([], "nowhere"), lambda _: ap(0.5))


@pytest.mark.parametrize(
    ("damage", "needed_ap", "expected"),
    [
        ({"a": 0.001, "b": 0.002}, 0.49, Choice((), 0.497)),
        ({"a": 0.001, "b": 0.2, "c": 0.002}, 0.49, Choice(("b",), 0.497)),
        ({"a": 0.1, "b": 0.2, "c": 0.002}, 0.49, Choice(("b", "a"), 0.498)),
        ({"a": 0.1, "b": 0.1, "c": 0.1}, 0.49, Choice(("a", "b"), 0.4)),
        ({"a": 0.1}, 0.49, Choice((), 0.4)),
    ],
    ids=["nothing", "the worst one", "the worst two", "not enough: the best there is", "only one part"],
)
def test_the_worst_parts_stay_in_float(damage: dict[str, float], needed_ap: float, expected: Choice) -> None:
    choice = choose_float_parts(list(damage), ap_of(damage), needed_ap)
    assert choice.float_parts == expected.float_parts
    assert choice.ap == pytest.approx(expected.ap)


def ap_of(damage: dict[str, float]) -> Callable[[tuple[str, ...]], float]:
    return lambda kept: 0.5 - sum(loss for part, loss in damage.items() if part not in kept)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=6), st.integers(0, 100))
def test_no_fewer_parts_would_do(losses: list[int], allowed: int) -> None:
    damage = {f"part {index}": loss / 1000 for index, loss in enumerate(losses)}
    choice = choose_float_parts(list(damage), ap_of(damage), 0.5 - allowed / 1000 - 1e-9)
    left = [sum(sorted(losses)[: len(losses) - count]) for count in range(max(1, len(losses)))]
    enough = [count for count, loss in enumerate(left) if loss <= allowed]
    assert choice.ap == pytest.approx(
        0.5 - sum(damage[part] for part in damage if part not in choice.float_parts)
    )
    if enough:
        assert len(choice.float_parts) == enough[0]
    else:
        assert choice.ap < 0.5 - allowed / 1000


@pytest.fixture
def damaged(float_file: Path, int8_file: Path, monkeypatch: pytest.MonkeyPatch) -> dict[Path, list[str]]:
    """Let quantising copy a finished file, and note which nodes were to stay in float."""
    kept: dict[Path, list[str]] = {}

    def fake(_model: Path, path: Path, *, keep_float: list[str], **_: object) -> None:
        shutil.copy(int8_file, path)
        kept[path] = keep_float

    monkeypatch.setattr(quantise, "quantise_graph", fake)
    return kept


def test_what_loses_ap_stays_in_float(
    float_file: Path, damaged: dict[Path, list[str]], tmp_path: Path
) -> None:
    parts, _ = split_graph(onnx.load(float_file).graph)

    def measure(path: Path) -> dict[str, dict[str, float]]:
        if path == float_file:
            return ap(0.5)
        return ap(0.499 if set(parts["pyramid"]) <= set(damaged[path]) else 0.4)

    steps: list[str] = []
    target = tmp_path / "mixed.onnx"
    info = quantise_model(float_file, target, CALIBRATION, measure, on_step=steps.append)
    assert info.int8 is not None
    assert info.int8.float_parts == ("pyramid",)
    assert (info.int8.int8_ap, info.metrics) == (0.499, ap(0.499))
    assert read_info(target) == info
    assert list(tmp_path.iterdir()) == [target]
    assert len(damaged) == 1 + len(parts)
    assert f"quantising with {len(PHOTOS)} pictures, pyramid left in float" in steps


def test_nothing_is_written_when_ap_falls(
    float_file: Path, damaged: dict[Path, list[str]], tmp_path: Path
) -> None:
    def measure(path: Path) -> dict[str, dict[str, float]]:
        return ap(0.5 if path == float_file else 0.3 + 0.00001 * len(damaged[path]))

    sentence = r"AP is 0\.5000 in float and 0\.30\d\d in int8, and still 0\.\d{4} with .* points are lost"
    with pytest.raises(ExportError, match=sentence):
        quantise_model(float_file, tmp_path / "x.onnx", CALIBRATION, measure)
    assert list(tmp_path.iterdir()) == []


def test_a_larger_loss_can_be_allowed(
    float_file: Path, damaged: dict[Path, list[str]], tmp_path: Path
) -> None:
    def measure(path: Path) -> dict[str, dict[str, float]]:
        return ap(0.5 if path == float_file else 0.3)

    info = quantise_model(float_file, tmp_path / "x.onnx", CALIBRATION, measure, max_ap_loss=0.2)
    assert info.int8 is not None
    assert (info.int8.ap_loss, info.int8.max_ap_loss) == (0.2, 0.2)


def test_nothing_is_written_when_engines_disagree(
    float_file: Path, int8_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(OnnxRuntimeEngine):
        def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            boxes, scores = super().__call__(images)
            return boxes + 1000, scores

    monkeypatch.setattr(agreement, "OnnxRuntimeEngine", Wrong)
    with pytest.raises(ExportError, match=r"openvino .* and onnxruntime .* disagree on the int8 file"):
        check_agreement(int8_file, float_file, read_info(int8_file).resize, PHOTOS[:2])


def test_a_network_without_convolutions_is_refused(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny.onnx")
    onnx_model = onnx.load(model)
    assert not convolutions(onnx_model)
    with pytest.raises(ExportError, match="no convolution"):
        quantise_model(model, tmp_path / "x.onnx", CALIBRATION, lambda _: ap(0.5))


def test_without_nncf(float_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(ExportError, match=r"int8 needs nncf .*\[export\] extra"):
        quantise_model(float_file, tmp_path / "x.onnx", CALIBRATION, lambda _: ap(0.5))


def test_nncf_is_quiet_and_tells_nobody(float_file: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from densewatch.export.nncf_int8 import import_nncf, quantise_graph\n"
        "from densewatch.metadata import ResizePolicy\n"
        "resize = ResizePolicy(mode='longer', size=64, max_size=None)\n"
        f"quantise_graph(Path({str(float_file)!r}), Path({str(tmp_path / 'x.onnx')!r}), keep_float=[],\n"
        f"    pictures=[Path({str(PHOTOS[0])!r})], resize=resize)\n"
        "from nncf.telemetry.wrapper import telemetry\n"
        "found = [name for name, module in sys.modules.items() if 'openvino_telemetry' in name and module]\n"
        "print(found, type(telemetry).__name__)"
    )
    home = tmp_path / "home"
    home.mkdir()
    # ONNX Runtime keeps quiet by itself where it believes to be in a test run, and here it must not.
    unset = {"CI", "XDG_CACHE_HOME", *(key for key in os.environ if key.startswith("ORT_"))}
    environment = {key: value for key, value in os.environ.items() if key not in unset}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[] MagicMock"  # nncf's stand-in that sends nothing
    assert done.stderr == ""
    assert [str(found) for found in home.rglob("*") if found.is_file()] == []


def test_command_line(float_file: Path, tmp_path: Path) -> None:
    labels = {
        "images": [
            {"id": index, "file_name": photo.name, "width": width, "height": height}
            for index, photo in enumerate(PHOTOS)
            for width, height in [image_size(photo)]
        ],
        "categories": [{"id": item.id, "name": item.name} for item in INFO.classes],
        "annotations": [
            {"id": 1, "image_id": 0, "category_id": 62, "bbox": [9, 9, 90, 90], "area": 8100, "iscrowd": 0}
        ],
    }
    (tmp_path / "val").mkdir()
    for photo in PHOTOS:
        shutil.copy(photo, tmp_path / "val")
    (tmp_path / "val.json").write_text(json.dumps(labels))
    model = shutil.copy(float_file, tmp_path)
    arguments = [str(model), "--int8", "--data", str(tmp_path / "val.json"), "--calibration-pictures", "3"]
    result = CliRunner().invoke(app, ["export", *arguments])
    assert result.exit_code == 0, result.stderr
    sentence = r"val\.json: AP 0\.\d{4} in float, 0\.\d{4} in int8, .*\d points lost, 0\.50 allowed"
    assert re.search(sentence, result.stderr)
    assert result.stdout == ""
    int8 = read_info(tmp_path / "tiny-int8.onnx").int8
    assert int8 is not None
    assert (int8.calibration, int8.calibration_pictures) == ("val.json", 3)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["{model}"], "is a model file already; --int8"),
        (["{model}", "--int8"], "--int8 needs --data"),
        (["{checkpoint}", "--max-ap-loss", "1"], "--max-ap-loss is about --int8"),
        (["{model}", "--int8", "--data", "{labels}", "--topk", "5"], "--topk is for checkpoints"),
    ],
)
def test_options_that_do_not_go_together(
    arguments: list[str], sentence: str, float_file: Path, tmp_path: Path
) -> None:
    files = {"model": float_file, "checkpoint": tmp_path / "a.safetensors", "labels": tmp_path / "a.json"}
    for name in ("checkpoint", "labels"):
        files[name].touch()
    result = CliRunner().invoke(app, ["export", *(text.format(**files) for text in arguments)])
    assert result.exit_code == 2
    assert sentence in result.stderr
