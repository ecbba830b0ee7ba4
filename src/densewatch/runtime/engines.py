"""Which engine runs a model file."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

from densewatch.runtime.cores import available_cores
from densewatch.runtime.engine import Engine, Precision
from densewatch.runtime.model_file import compiled_dir
from densewatch.runtime.onnxruntime_engine import OnnxRuntimeEngine
from densewatch.runtime.openvino_engine import OpenVinoEngine

EngineName = Literal["auto", "openvino", "onnxruntime"]


def create_engine(
    path: Path,
    engine: EngineName = "auto",
    threads: int | None = None,
    precision: Precision = "auto",
    streams: int = 1,
    weights: str = "float32",
) -> Engine:
    """Load the network of a model file.

    Args:
        path: model file.
        engine: `auto` is OpenVINO where it is installed, else ONNX Runtime.
        threads: None is one a physical core that this process may use.
        precision: `auto` is the fastest that the CPU computes in hardware, bfloat16 or float32.
        streams: how many pictures are computed at the same time, on a share of the threads each; never more
            than there are threads.
        weights: numeric type of the model file, as its description has it; an int8 network computes in int8
            whatever the precision of the rest.

    Raises:
        EngineError: the engine is missing, or refuses the model or a setting.
        ValueError: a setting is no possible value.
    """
    _check_choice("engine", engine, ("auto", "openvino", "onnxruntime"))
    _check_choice("precision", precision, ("auto", "float32", "bfloat16"))
    for name, count in (("threads", threads), ("streams", streams)):
        if count is not None and count < 1:
            raise ValueError(f"{name} must be at least 1, not {count}")
    threads = threads or available_cores()
    streams = min(streams, threads)
    if engine == "auto":
        engine = "openvino" if importlib.util.find_spec("openvino") else "onnxruntime"
    made: Engine
    if engine == "onnxruntime":
        made = OnnxRuntimeEngine(path, threads=threads, precision=precision, streams=streams)
    else:
        made = OpenVinoEngine(
            path, threads=threads, precision=precision, streams=streams, cache_dir=compiled_dir()
        )
    if weights == "int8":
        made.numeric_type = f"int8 and {made.numeric_type}"
    return made


def _check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{what} must be one of {', '.join(choices)}, not {value!r}")
