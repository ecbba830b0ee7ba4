"""`load` chooses the engine: by name, by the device, by the kind of file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import densewatch as dw
from densewatch import loading
from densewatch.benchmarking import report
from densewatch.cli.main import app
from densewatch.metadata import ModelInfo
from densewatch.models.checkpoint import save_checkpoint
from densewatch.runtime import detector
from densewatch.runtime.engine import Engine, EngineError
from densewatch.runtime.model_file import ModelFileError, embedded_models
from densewatch.torch_engine import load as torch_load
from small_network import small_info, small_network
from tiny_model import write_tiny_model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = small_network()
    path = tmp_path_factory.mktemp("checkpoint") / "small.safetensors"
    save_checkpoint(path, network, small_info(network))
    return path


def test_a_checkpoint_runs_in_pytorch_alone(checkpoint: Path) -> None:
    assert dw.load(checkpoint).engine.name == dw.load(checkpoint, engine="torch").engine.name == "torch"
    with pytest.raises(ModelFileError, match="is a checkpoint, which --engine torch runs"):
        dw.load(checkpoint, engine="openvino")


def test_without_pytorch_it_is_said_how_to_get_it(checkpoint: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import densewatch\n"
        "from densewatch.runtime.engine import EngineError\n"
        "try: densewatch.load(sys.argv[1])\n"
        "except EngineError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(checkpoint)], capture_output=True, text=True, check=True
    )
    assert "PyTorch cannot be imported" in done.stdout
    assert "[train]" in done.stdout


def test_unknown_values() -> None:
    with pytest.raises(ValueError, match=r"engine must be one of auto, .*, torch, not 'pytorch'"):
        dw.load(engine="pytorch")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="precision must be one of"):
        dw.load(engine="torch", precision="int4")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="device must be"):
        dw.load(engine="torch", device="gpu")


@pytest.mark.parametrize(
    ("onnxruntime", "torch", "chosen"), [(True, True, "onnxruntime"), (False, True, "torch")]
)
def test_who_computes_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, onnxruntime: bool, torch: bool, chosen: str
) -> None:
    """ONNX Runtime where it can, since it runs every model file; PyTorch where that alone can."""
    asked: list[tuple[str, Path]] = []

    class Asked(Exception):  # noqa: N818
        pass

    def runtime_load(path: Path, **settings: object) -> Engine:
        asked.append(("onnxruntime", path))
        raise Asked

    def torch_engine(path: Path, **settings: object) -> tuple[ModelInfo, Engine]:
        asked.append(("torch", path))
        raise Asked

    monkeypatch.setattr(loading, "finds_gpu", lambda: onnxruntime)
    monkeypatch.setattr(torch_load, "finds_gpu", lambda: torch)
    monkeypatch.setattr(torch_load, "load_torch_engine", torch_engine)
    monkeypatch.setattr(detector, "load", runtime_load)
    path = write_tiny_model(tmp_path / "tiny.onnx")
    with pytest.raises(Asked):
        dw.load(path, device="cuda")
    with pytest.raises(Asked):
        dw.load(device="cuda")
    assert asked == [(chosen, path), (chosen, embedded_models()[0])]  # float, of the embedded ones


def test_nobody_computes_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "finds_gpu", lambda: False)
    monkeypatch.setattr(torch_load, "finds_gpu", lambda: False)
    with pytest.raises(EngineError, match="has no CUDAExecutionProvider"):
        dw.load(device="cuda")


def test_a_model_that_is_no_retinanet(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"tiny\.onnx: holds a tiny, not a retinanet; use another --engine"):
        dw.load(write_tiny_model(tmp_path / "tiny.onnx"), engine="torch")


def test_the_commands_take_engine_device_and_batch(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "_SETTLE_S", 0.0)
    photo = str(Path(dw.__file__).parent / "assets" / "astronaut.jpg")
    run = CliRunner().invoke
    done = run(app, ["detect", photo, photo, "--model", str(checkpoint), "--batch", "2", "--format", "csv"])
    assert done.exit_code == 0, done.output
    bench = ["bench", photo, "--model", str(checkpoint), "--runs", "1", "--device", "cpu", "--batch", "2"]
    done = run(app, bench)
    assert done.exit_code == 0, done.output
    assert "torch" in done.stdout
    for arguments, sentence in (
        (["--device", "gpu"], "device must be auto, cpu, cuda or cuda:N"),
        (["--device", "cuda:7", "--engine", "openvino"], "OpenVINO computes on the CPU"),
        (["--batch", "0"], "--batch"),
    ):
        done = run(app, ["detect", photo, *arguments])
        assert done.exit_code == 2
        assert sentence in " ".join(done.stderr.split())
