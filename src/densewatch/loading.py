"""`load`: from a name or a file to a detector, with whichever engine."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal, get_args

from densewatch.extras import how_to_install
from densewatch.runtime import detector as runtime
from densewatch.runtime.detector import Detector
from densewatch.runtime.device import gpu_index
from densewatch.runtime.engine import EngineError, Precision
from densewatch.runtime.engines import check_choice
from densewatch.runtime.model_file import ModelFileError, embedded_models, find_model, read_info
from densewatch.runtime.onnxruntime_engine import finds_gpu

EngineName = Literal["auto", "openvino", "onnxruntime", "tensorrt", "torch"]
_CHECKPOINT = ".safetensors"


def load(
    model: str | Path | None = None,
    *,
    engine: EngineName = "auto",
    device: str = "auto",
    threads: int | None = None,
    precision: Precision = "auto",
    streams: int = 1,
    batch: int | None = None,
) -> Detector:
    """Load a model.

    Args:
        model: a path, the name of a pulled model, or None for the model inside the package. A checkpoint
            (`.safetensors`) runs in PyTorch.
        engine: `auto` is OpenVINO where it is installed, else ONNX Runtime; on a GPU ONNX Runtime, or PyTorch
            where only that can use it. `tensorrt` is ONNX Runtime with TensorRT.
        device: `cpu`, `cuda`, `cuda:N`; `auto` is the CPU unless an engine is named that finds a GPU.
        threads: None is one a physical core that this process may use.
        precision: `auto` is the fastest that the device computes in hardware: bfloat16 or float32, in ONNX
            Runtime on a GPU tensorfloat32.
        streams: how many inputs OpenVINO and ONNX Runtime compute at the same time, on a share of the threads
            each. 1 gives the shortest time for one picture; as many as threads give the most pictures a
            second.
        batch: how many pictures of one size may go through the network together where several are under way,
            as in `detect_many`; None is 1 on the CPU, and 8 on a GPU.

    Raises:
        ModelNotFoundError: there is no such model.
        ModelFileError: the file is no densewatch model, or needs a newer version.
        EngineError: the engine is missing, or refuses the model, the device or a setting.
        ValueError: a setting has no possible value.
    """
    check_choice("engine", engine, get_args(EngineName))
    path = _find(model, engine, device)
    if engine == "torch" or (engine == "auto" and _only_torch(path, device)):
        check_choice("precision", precision, get_args(Precision))
        return _load_torch(path, device, threads, precision, batch)
    if path.suffix == _CHECKPOINT:
        raise ModelFileError(
            f"{path} is a checkpoint, which --engine torch runs; `densewatch export` makes a model file of it"
        )
    return runtime.load(
        path,
        engine=engine,
        device=device,
        threads=threads,
        precision=precision,
        streams=streams,
        batch=batch,
    )


def _find(model: str | Path | None, engine: EngineName, device: str) -> Path:
    """Return the file of a model; of the embedded one, GPUs and PyTorch get the form that is in float."""
    if model is None and (engine in ("torch", "tensorrt") or gpu_index(device) is not None):
        return embedded_models()[0]
    return find_model(model)


def _only_torch(path: Path, device: str) -> bool:
    """Return whether PyTorch alone can run a file on a device."""
    if path.suffix == _CHECKPOINT:
        return True
    if gpu_index(device) is None or finds_gpu() or importlib.util.find_spec("torch") is None:
        return False
    from densewatch.torch_engine.load import finds_gpu as torch_finds_gpu

    return torch_finds_gpu()


def _load_torch(
    path: Path, device: str, threads: int | None, precision: Precision, batch: int | None
) -> Detector:
    try:
        from densewatch.torch_engine.load import load_torch_engine
    except ImportError as error:
        raise EngineError(f"PyTorch cannot be imported ({error}): {how_to_install('train')}") from error
    if path.suffix != _CHECKPOINT:
        read_info(path)  # says more of a file that is no model than PyTorch would
    runtime.import_decoders()
    info, engine = load_torch_engine(path, device=device, threads=threads, precision=precision)
    return Detector(info, engine, batch)
