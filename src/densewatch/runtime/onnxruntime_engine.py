"""ONNX Runtime as an engine: on NVIDIA GPUs, and where there is no OpenVINO."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import ModuleType
from typing import cast

import numpy as np
import numpy.typing as npt

from densewatch.extras import how_to_install
from densewatch.runtime.engine import (
    INPUT,
    OUTPUTS,
    EngineError,
    Output,
    Precision,
    check_names,
    failed_at,
    first_line,
)


class OnnxRuntimeEngine:
    """ONNX Runtime: on an NVIDIA GPU where `onnxruntime-gpu` finds one, else on the CPU."""

    name = "onnxruntime"

    def __init__(self, path: Path, *, threads: int, precision: Precision, streams: int = 1) -> None:
        """Load the network.

        Args:
            path: model file.
            threads: at least 1.
            precision: `auto` or `float32`.
            streams: how many pictures are computed at the same time, at most `threads`.

        Raises:
            EngineError: ONNX Runtime is not installed or cannot read the model, or `precision` is bfloat16.
        """
        if precision == "bfloat16":
            raise EngineError("ONNX Runtime runs models in float32 only; use --engine openvino for bfloat16")
        library = import_onnxruntime()
        options = library.SessionOptions()
        options.intra_op_num_threads = threads // streams
        options.inter_op_num_threads = 1
        wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
        providers = [name for name in wanted if name in library.get_available_providers()]
        try:
            self._session = library.InferenceSession(path, options, providers)
        except Exception as error:  # its exceptions share no base class but this
            raise EngineError(f"ONNX Runtime cannot run {path}: {first_line(error)}") from error
        check_names(path, [port.name for port in (*self._session.get_inputs(), *self._session.get_outputs())])
        self.version: str = library.__version__
        self.numeric_type: str = "float32"
        self.threads = threads
        self.streams = streams
        self._busy = threading.BoundedSemaphore(streams)

    def __call__(self, images: npt.NDArray[np.uint8]) -> Output:
        """See `Engine`."""
        try:
            with self._busy:
                boxes, scores = self._session.run(OUTPUTS, {INPUT: np.ascontiguousarray(images)})
        except Exception as error:  # its exceptions share no base class but this
            raise failed_at(images, "ONNX Runtime", error) from error
        return boxes, scores


def import_onnxruntime() -> ModuleType:
    """Import ONNX Runtime without its telemetry. Everything of ours that needs it gets it here.

    From 1.29 on it keeps an identity and a journal of its use in the user's cache and reports to its maker,
    already from its first moment: the variable must be set before. The call quiets builds that ignore it.

    Raises:
        EngineError: ONNX Runtime is not installed.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError(
            f"ONNX Runtime cannot be imported ({error}): {how_to_install('onnxruntime')}"
        ) from error
    onnxruntime.disable_telemetry_events()
    return cast(ModuleType, onnxruntime)
