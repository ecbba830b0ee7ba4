"""`load`: from a name or a file to a detector, with whichever engine."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from densewatch.extras import how_to_install
from densewatch.runtime import detector
from densewatch.runtime.detector import Detector
from densewatch.runtime.device import gpu_index
from densewatch.runtime.engine import EngineError, Precision
from densewatch.runtime.engines import EngineName as ModelFileEngineName
from densewatch.runtime.engines import check_choice, check_settings
from densewatch.runtime.model_file import ModelFileError, embedded_models, find_model, read_info
from densewatch.runtime.onnxruntime_engine import built_for_gpus

EngineName = Literal[ModelFileEngineName, "torch"]
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
        device: `cpu`, `cuda`, `cuda:N`; `auto` is the CPU unless an engine is named that finds a GPU, also
            for a checkpoint and where there is no OpenVINO.
        threads: None is one a physical core that this process may use.
        precision: `auto` is the fastest that the device computes in hardware: bfloat16 or float32, in ONNX
            Runtime on a GPU tensorfloat32, in PyTorch on the CPU float32. PyTorch takes bfloat16 on every
            CPU, and is slow with it where the hardware does not compute it.
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
    path = find_model_for(model, engine=engine, device=device, precision=precision)
    if engine == "auto" and device == "auto":
        device = "cpu"
    if engine == "torch" or (engine == "auto" and _only_torch(path, device)):
        check_settings(precision, threads, streams)
        return _load_torch(path, device, threads, precision, batch)
    if path.suffix == _CHECKPOINT:
        raise ModelFileError(
            f"{path} is a checkpoint, which --engine torch runs; `densewatch export` makes a model file of it"
        )
    return detector.load(
        path,
        engine=engine,
        device=device,
        threads=threads,
        precision=precision,
        streams=streams,
        batch=batch,
    )


def find_model_for(
    model: str | Path | None, *, engine: EngineName, device: str, precision: Precision
) -> Path:
    """Return the file that `load` runs; of the embedded model, int8 is for the CPU alone, without PyTorch.

    Args:
        model: as `load` has it, and the others.
        engine: likewise.
        device: likewise.
        precision: likewise; who asks for float32 gets the form that is in float.

    Raises:
        ModelNotFoundError: there is no such model.
        ValueError: no device has this name.
    """
    if model is not None:
        return find_model(model)
    on_gpu = gpu_index(device) is not None or (
        engine == "onnxruntime" and device == "auto" and built_for_gpus()
    )
    in_float = on_gpu or engine in ("torch", "tensorrt") or precision == "float32"
    return embedded_models()[0] if in_float else find_model()


def _only_torch(path: Path, device: str) -> bool:
    """Return whether PyTorch alone can run a file on a device."""
    if path.suffix == _CHECKPOINT:
        return True
    if gpu_index(device) is None or built_for_gpus():
        return False
    try:
        from densewatch.torch_engine.load import finds_gpu
    except ImportError:  # PyTorch, or one of the packages that our engine needs beside it
        return False
    return finds_gpu()


def _load_torch(
    path: Path, device: str, threads: int | None, precision: Precision, batch: int | None
) -> Detector:
    try:
        from densewatch.torch_engine.load import load_torch_engine
    except ImportError as error:
        raise EngineError(f"PyTorch cannot be imported ({error}): {how_to_install('train')}") from error
    if path.suffix != _CHECKPOINT:
        read_info(path)  # says more of a file that is no model than PyTorch would
    detector.import_decoders()
    info, engine = load_torch_engine(path, device=device, threads=threads, precision=precision)
    return Detector(info, engine, batch)
