"""`load` chooses the engine: by name, by the device, by the kind of file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
import torch
from typer.testing import CliRunner

import densewatch as dw
from densewatch import loading
from densewatch.benchmarking import report
from densewatch.cli import options
from densewatch.cli.bench import PeerName
from densewatch.cli.main import app
from densewatch.runtime import detector, model_file, onnxruntime_engine
from densewatch.runtime.engine import EngineError, Precision
from densewatch.runtime.model_file import ModelFileError
from densewatch.torch_engine import load as torch_load
from small_network import write_small_checkpoint
from tiny_model import write_embedded_pair, write_tiny_model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_checkpoint(tmp_path_factory.mktemp("checkpoint"))


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
    for settings, sentence in (({"threads": 0}, "threads must be"), ({"streams": 0}, "streams must be")):
        with pytest.raises(ValueError, match=f"{sentence} at least 1, not 0"):
            dw.load(engine="torch", **settings)  # type: ignore[arg-type]


def test_the_command_line_knows_what_load_knows() -> None:
    """It lists them itself, since importing the engines' rooms would slow every start."""
    assert get_args(options.EngineName) == get_args(loading.EngineName)
    assert get_args(options.PrecisionName) == get_args(Precision)
    assert set(get_args(loading.EngineName)) - {"auto"} <= set(get_args(PeerName))


class Asked(Exception):  # noqa: N818
    """Stands for a detector: who was to load what."""


@pytest.fixture
def asks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[str, Path, str]]:
    """Return a function that takes what `dw.load` takes, and says who loads which file for which device."""

    def ask(room: str) -> Callable[..., Any]:
        def refuse(path: Path, *, device: str, **settings: object) -> Any:
            raise Asked(room, path, device)

        return refuse

    monkeypatch.setattr(torch_load, "load_torch_engine", ask("torch"))
    monkeypatch.setattr(detector, "load", ask("runtime"))

    def load(*model: Path, **settings: Any) -> tuple[str, Path, str]:
        with pytest.raises(Asked) as caught:
            dw.load(*model, **settings)
        room, path, device = caught.value.args
        return room, path, device

    return load


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Return the embedded models, in float and in int8, of a package on a CPU that is made for int8."""
    exact, int8 = write_embedded_pair(tmp_path)
    monkeypatch.setattr(model_file, "files", lambda package: tmp_path)
    monkeypatch.setattr(model_file, "has_int8_products", lambda: True)
    return exact, int8


def onnxruntime_for(monkeypatch: pytest.MonkeyPatch, *providers: str) -> None:
    """Put an ONNX Runtime in place that is built with these providers."""
    library = SimpleNamespace(get_available_providers=lambda: list(providers))
    monkeypatch.setattr(onnxruntime_engine, "import_onnxruntime", lambda: library)


@pytest.mark.parametrize("gpu_build", [False, True])
def test_auto_is_the_cpu_whatever_finds_a_gpu(
    checkpoint: Path, asks: Any, embedded: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, gpu_build: bool
) -> None:
    """Also without OpenVINO, where ONNX Runtime is the engine, and for a checkpoint."""
    onnxruntime_for(monkeypatch, *(["CUDAExecutionProvider"] if gpu_build else []), "CPUExecutionProvider")
    assert asks(checkpoint) == ("torch", checkpoint, "cpu")
    assert asks(checkpoint, engine="torch") == ("torch", checkpoint, "auto")
    assert asks() == ("runtime", embedded[1], "cpu")
    assert asks(engine="onnxruntime")[2] == "auto"


@pytest.mark.parametrize(
    ("settings", "in_int8"),
    [
        ({}, True),
        ({"precision": "bfloat16"}, True),
        ({"precision": "float32"}, False),
        ({"device": "cuda"}, False),
        ({"engine": "torch"}, False),
        ({"engine": "tensorrt"}, False),
        ({"engine": "onnxruntime"}, False),
        ({"engine": "onnxruntime", "device": "cpu"}, True),
    ],
)
def test_the_form_of_the_embedded_model(
    asks: Any,
    embedded: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
    in_int8: bool,
) -> None:
    """In int8 on the CPU, where float32 was not asked for."""
    onnxruntime_for(monkeypatch, "CUDAExecutionProvider", "CPUExecutionProvider")
    assert asks(**settings)[1] == embedded[in_int8]
    onnxruntime_for(monkeypatch, "CPUExecutionProvider")
    if settings == {"engine": "onnxruntime"}:
        assert asks(**settings)[1] == embedded[True]


@pytest.mark.parametrize(
    ("onnxruntime", "torch", "chosen"),
    [(True, True, "runtime"), (False, True, "torch"), (False, False, "runtime")],
)
def test_who_computes_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
    asks: Any,
    embedded: tuple[Path, Path],
    tmp_path: Path,
    onnxruntime: bool,
    torch: bool,
    chosen: str,
) -> None:
    """ONNX Runtime where it can, since it runs every model file; PyTorch where that alone can."""
    monkeypatch.setattr(loading, "built_for_gpus", lambda: onnxruntime)
    monkeypatch.setattr(torch_load, "finds_gpu", lambda: torch)
    path = write_tiny_model(tmp_path / "tiny.onnx")
    assert asks(path, device="cuda") == (chosen, path, "cuda")
    assert asks(device="cuda") == (chosen, embedded[0], "cuda")


def test_nobody_computes_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime_for(monkeypatch, "CPUExecutionProvider")
    monkeypatch.setattr(torch_load, "finds_gpu", lambda: False)
    with pytest.raises(EngineError, match="has no CUDAExecutionProvider"):
        dw.load(device="cuda")


@pytest.mark.parametrize("absent", ["torch", "torchvision", "safetensors", "onnx"])
def test_half_a_pytorch_is_none(tmp_path: Path, absent: str) -> None:
    """PyTorch lies beside a plain install, which lacks what our engine needs with it."""
    code = (
        "import sys; sys.modules[sys.argv[2]] = None\n"
        "import densewatch\n"
        "from densewatch import loading\n"
        "from densewatch.runtime.engine import EngineError\n"
        "loading.built_for_gpus = lambda: False\n"
        "for engine in ('auto', 'torch'):\n"
        "    try: densewatch.load(sys.argv[1], device='cuda', engine=engine)\n"
        "    except EngineError as error: print(error)\n"
    )
    model = write_tiny_model(tmp_path / "tiny.onnx")
    done = subprocess.run(
        [sys.executable, "-c", code, str(model), absent], capture_output=True, text=True, check=True
    )
    first, second = done.stdout.splitlines()
    assert "has no CUDAExecutionProvider" in first
    assert "PyTorch cannot be imported" in second
    assert absent in second


def test_bfloat16_is_refused_where_a_gpu_does_not_compute_it(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capability = (7, 5)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Stand-in 2000")
    monkeypatch.setattr(torch_load, "CudaEngine", lambda *_, numeric_type, **__: numeric_type)

    def numeric_type(precision: Precision) -> object:
        return torch_load.load_torch_engine(checkpoint, device="cuda", precision=precision)[1]

    with pytest.raises(EngineError, match=r"Stand-in 2000 does not compute bfloat16 in hardware; use"):
        numeric_type("bfloat16")
    assert numeric_type("auto") is torch.float32
    capability = (8, 0)
    assert numeric_type("auto") is numeric_type("bfloat16") is torch.bfloat16


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
