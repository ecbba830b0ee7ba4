"""Which engine runs a model file."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal, get_args

from densewatch.runtime.cores import available_cores
from densewatch.runtime.device import gpu_index
from densewatch.runtime.engine import Engine, EngineError, Precision
from densewatch.runtime.model_file import compiled_dir
from densewatch.runtime.onnxruntime_engine import OnnxRuntimeEngine
from densewatch.runtime.openvino_engine import OpenVinoEngine

EngineName = Literal["auto", "openvino", "onnxruntime", "tensorrt"]


def create_engine(
    path: Path,
    engine: EngineName = "auto",
    threads: int | None = None,
    precision: Precision = "auto",
    streams: int = 1,
    weights: str = "float32",
    device: str = "auto",
) -> Engine:
    """Load the network of a model file.

    Args:
        path: model file.
        engine: `auto` is OpenVINO where it is installed and no GPU is asked for, else ONNX Runtime.
            `tensorrt` is ONNX Runtime with TensorRT.
        threads: None is one a physical core that this process may use.
        precision: `auto` is the fastest that the device computes in hardware, bfloat16 or float32.
        streams: how many inputs are computed at the same time, on a share of the threads each; never more
            than there are threads.
        weights: numeric type of the model file, as its description has it; an int8 network computes in int8
            whatever the precision of the rest.
        device: `cpu`, `cuda`, `cuda:N`; `auto` is the CPU for OpenVINO and for int8, and else the first GPU
            where the engine can use one.

    Raises:
        EngineError: the engine is missing, or refuses the model, the device or a setting; or an int8 file is
            to run on a GPU.
        ValueError: a setting is no possible value.
    """
    check_choice("engine", engine, get_args(EngineName))
    check_settings(precision, threads, streams)
    on_gpu = gpu_index(device) is not None
    threads = threads or available_cores()
    streams = min(streams, threads)
    if engine == "auto":
        engine = "openvino" if importlib.util.find_spec("openvino") and not on_gpu else "onnxruntime"
    made: Engine
    if weights == "int8":
        if on_gpu or engine == "tensorrt":
            raise EngineError(
                f"{path} is in int8, which is for CPUs: ONNX Runtime has no such convolutions on a GPU, and "
                "computes them in float between conversions; use the float file that it was made from"
            )
        device = "cpu"
        # Around int8, bfloat16 is hardly faster, and OpenVINO (2026.4) has no kernels for some networks then.
        precision = "float32" if precision == "auto" else precision
    if engine == "openvino":
        if on_gpu:
            raise EngineError(f"OpenVINO computes on the CPU; for --device {device} use another --engine")
        made = OpenVinoEngine(
            path, threads=threads, precision=precision, streams=streams, cache_dir=compiled_dir()
        )
    else:
        made = OnnxRuntimeEngine(
            path,
            threads=threads,
            precision=precision,
            streams=streams,
            device=device,
            tensorrt=engine == "tensorrt",
            cache_dir=compiled_dir(),
        )
    if weights == "int8":
        made.numeric_type = f"int8 and {made.numeric_type}"
    return made


def check_settings(precision: str, threads: int | None, streams: int) -> None:
    """Raise `ValueError` for what no engine takes."""
    check_choice("precision", precision, get_args(Precision))
    for name, count in (("threads", threads), ("streams", streams)):
        if count is not None and count < 1:
            raise ValueError(f"{name} must be at least 1, not {count}")


def check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise `ValueError` unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{what} must be one of {', '.join(choices)}, not {value!r}")
