"""ONNX Runtime on a GPU: what is asked of it, and that it never computes elsewhere in silence."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

import densewatch as dw
from densewatch.runtime import onnxruntime_engine
from densewatch.runtime.device import gpu_index
from densewatch.runtime.engine import EngineError, describe_engine
from densewatch.runtime.engines import EngineName, create_engine
from densewatch.runtime.model_file import digest
from tiny_model import draw_squares, write_tiny_model

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
Providers = list[tuple[str, dict[str, str]]]


class Library:
    """Stands for an ONNX Runtime that is built for GPUs; what starts is up to the test, the CPU computes."""

    __version__ = "1.99.0"
    SessionOptions = onnxruntime.SessionOptions

    def __init__(self, built: list[str], starts: list[str], raises: bool = False) -> None:
        self.built = built
        self.starts = starts
        self.raises = raises
        self.asked: list[dict[str, dict[str, str]]] = []
        self.preloaded = 0

    def get_available_providers(self) -> list[str]:
        return self.built

    def preload_dlls(self) -> None:
        self.preloaded += 1
        print("Failed to load libcudart")  # noqa: T201 - so does the real one

    def InferenceSession(  # noqa: N802
        self, path: Path, options: Any, providers: Providers, enable_fallback: int
    ) -> Any:
        assert enable_fallback == 0
        self.asked.append(dict(providers))
        names = [name for name, _ in providers]
        if self.raises and names[0] not in self.starts:
            raise RuntimeError("no driver")
        session = onnxruntime.InferenceSession(path, options, [CPU])
        return SimpleNamespace(
            get_providers=lambda: [name for name in names if name in self.starts],
            get_inputs=session.get_inputs,
            get_outputs=session.get_outputs,
            run=session.run,
        )


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny.onnx")


def use(monkeypatch: pytest.MonkeyPatch, library: Library) -> Library:
    monkeypatch.setattr(onnxruntime_engine, "import_onnxruntime", lambda: library)
    return library


@pytest.mark.parametrize(
    ("name", "index"), [("auto", None), ("cpu", None), ("cuda", 0), ("cuda:0", 0), ("cuda:12", 12)]
)
def test_names_of_devices(name: str, index: int | None) -> None:
    assert gpu_index(name) == index


@pytest.mark.parametrize("name", ["", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:x", "cpu:0", "cuda:1 "])
def test_names_of_no_device(name: str, model: Path) -> None:
    with pytest.raises(ValueError, match="device must be auto, cpu, cuda or cuda:N"):
        gpu_index(name)
    with pytest.raises(ValueError, match="device must be auto, cpu, cuda or cuda:N"):
        dw.load(model, device=name)


def test_a_gpu_is_used_and_named(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    library = use(monkeypatch, Library([TENSORRT, CUDA, CPU], [CUDA, CPU]))
    engine = create_engine(model, "onnxruntime", threads=8, streams=8, device="cuda:1")
    assert describe_engine(engine) == "onnxruntime 1.99.0, tensorfloat32, cuda:1"
    assert engine.streams == 2
    assert list(library.asked[0]) == [CUDA, CPU]
    assert library.asked[0][CUDA] == {
        "device_id": "1",
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": "1",
    }
    assert library.preloaded == 1
    assert capsys.readouterr().out == ""
    images = draw_squares((64, 64), [(0, 0, 32, "chair")])[None]
    assert np.array_equal(engine(images)[1], create_engine(model, "onnxruntime", device="cpu")(images)[1])
    exact = create_engine(model, "onnxruntime", precision="float32", device="cuda")
    assert (exact.numeric_type, library.asked[-1][CUDA]["use_tf32"]) == ("float32", "0")
    assert create_engine(model, device="cuda").name == "onnxruntime"  # not OpenVINO


@pytest.mark.parametrize(
    ("engine", "device"), [("onnxruntime", "cuda"), ("auto", "cuda"), ("tensorrt", "auto")]
)
def test_int8_is_for_cpus(
    model: Path, monkeypatch: pytest.MonkeyPatch, engine: EngineName, device: str
) -> None:
    use(monkeypatch, Library([TENSORRT, CUDA, CPU], [TENSORRT, CUDA, CPU]))
    with pytest.raises(EngineError, match="int8, which is for CPUs"):
        create_engine(model, engine, device=device, weights="int8")
    automatic = create_engine(model, "onnxruntime", device="auto", weights="int8")
    assert (automatic.device, automatic.numeric_type) == ("cpu", "int8 and float32")


def test_the_cpu_where_it_is_asked_for(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = use(monkeypatch, Library([CUDA, CPU], [CUDA, CPU]))
    engine = create_engine(model, "onnxruntime", threads=2, device="cpu")
    assert describe_engine(engine) == "onnxruntime 1.99.0, float32, 2 threads"
    assert library.asked == [{CPU: {}}]
    assert create_engine(model, "onnxruntime").device == "cuda:0"  # auto


@pytest.mark.parametrize("raises", [False, True])
def test_a_gpu_that_does_not_start(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, raises: bool
) -> None:
    use(monkeypatch, Library([CUDA, CPU], [CPU], raises))
    with pytest.raises(EngineError, match=r"tiny\.onnx with CUDAExecutionProvider: .*driver or the CUDA"):
        create_engine(model, "onnxruntime", device="cuda")
    assert caplog.records == []
    with caplog.at_level(logging.WARNING):
        engine = create_engine(model, "onnxruntime", threads=3)
    assert describe_engine(engine) == "onnxruntime 1.99.0, float32, 3 threads"
    assert "CUDAExecutionProvider" in caplog.text
    assert "the CPU computes instead" in caplog.text


def test_a_build_without_gpus(model: Path) -> None:
    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime is built for GPUs")
    for name, provider in (("onnxruntime", CUDA), ("auto", CUDA), ("tensorrt", TENSORRT)):
        with pytest.raises(EngineError, match=f"has no {provider}: use --engine torch, or install .*-gpu"):
            create_engine(model, name, device="cuda")  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="has no TensorrtExecutionProvider"):
        create_engine(model, "tensorrt")


def test_openvino_has_no_gpu(model: Path) -> None:
    with pytest.raises(EngineError, match="OpenVINO computes on the CPU; for --device cuda:1 use another"):
        create_engine(model, "openvino", device="cuda:1")
    with pytest.raises(EngineError, match="TensorRT computes on NVIDIA GPUs only"):
        create_engine(model, "tensorrt", device="cpu")


def test_tensorrt_keeps_what_it_compiles(
    model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    library = use(monkeypatch, Library([TENSORRT, CUDA, CPU], [TENSORRT, CUDA, CPU]))
    engine = create_engine(model, "tensorrt")
    assert describe_engine(engine) == "onnxruntime 1.99.0, tensorfloat32, cuda:0 with TensorRT"
    assert list(library.asked[0]) == [TENSORRT, CUDA, CPU]
    folder = tmp_path / "cache" / "densewatch" / "compiled" / digest(model) / "tensorrt-1.99.0-tensorfloat32"
    assert folder.is_dir()
    assert library.asked[0][TENSORRT] == {
        "device_id": "0",
        "trt_engine_cache_enable": "True",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "True",
        "trt_timing_cache_path": str(folder),
    }
    rough = create_engine(model, "tensorrt", precision="bfloat16", device="cuda:1")
    assert rough.numeric_type == "bfloat16"
    assert library.asked[1][TENSORRT]["trt_bf16_enable"] == "True"
    assert library.asked[1][TENSORRT]["device_id"] == library.asked[1][CUDA]["device_id"] == "1"
    assert caplog.records == []
    (tmp_path / "file").write_text("a file where a folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    create_engine(model, "tensorrt")
    assert library.asked[2][TENSORRT] == {"device_id": "0"}
    assert "every start compiles" in caplog.text


def test_tensorrt_that_does_not_start_is_not_replaced(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Library([TENSORRT, CUDA, CPU], [CUDA, CPU]))
    with pytest.raises(EngineError, match="with TensorrtExecutionProvider"):
        create_engine(model, "tensorrt")


def test_tensorrt_computes_float32_only_where_it_is_kept_from_rounding(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, Library([TENSORRT, CUDA, CPU], [TENSORRT, CUDA, CPU]))
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    with pytest.raises(EngineError, match="NVIDIA_TF32_OVERRIDE is 0"):
        create_engine(model, "tensorrt", precision="float32")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert create_engine(model, "tensorrt", precision="float32").numeric_type == "float32"


@pytest.mark.gpu
@pytest.mark.skipif(
    CUDA not in onnxruntime.get_available_providers(), reason="needs an ONNX Runtime that is built for GPUs"
)
@pytest.mark.parametrize("name", ["onnxruntime", "tensorrt"])
def test_a_real_gpu_gives_what_the_cpu_gives(model: Path, name: EngineName) -> None:
    if name == "tensorrt" and TENSORRT not in onnxruntime.get_available_providers():
        pytest.skip("needs TensorRT")
    engine = create_engine(model, name, device="cuda")
    assert engine.device.startswith("cuda:0")
    for images in (
        draw_squares((64, 96), [(0, 0, 32, "chair"), (64, 32, 32, "car")])[None],
        np.stack([draw_squares((64, 64), [(0, 0, 32, "person")])] * 2),
    ):
        boxes, scores = engine(images)
        expected_boxes, expected_scores = create_engine(model, "openvino", precision="float32")(images)
        best = expected_scores[0].max(axis=1) > 0.9
        assert np.array_equal(boxes[0][best], expected_boxes[0][best])
        assert np.allclose(np.sort(scores, axis=1), np.sort(expected_scores, axis=1), atol=2e-3)
