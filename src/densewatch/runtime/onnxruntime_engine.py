"""ONNX Runtime as an engine: on NVIDIA GPUs, and where there is no OpenVINO."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import threading
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from densewatch.extras import how_to_install
from densewatch.runtime.device import gpu_index
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
from densewatch.runtime.model_file import digest

_CPU, _CUDA, _TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
_MOST_STREAMS_ON_A_GPU = 2  # one input is computed while the next is copied; more would only take memory
_log = logging.getLogger(__name__)


class OnnxRuntimeEngine:
    """ONNX Runtime: on the CPU, or on an NVIDIA GPU with `onnxruntime-gpu`, there with TensorRT on request.

    What was asked for is what computes: where a GPU cannot be used, ONNX Runtime on its own would go on with
    the CPU, and this engine raises.
    """

    name = "onnxruntime"

    def __init__(
        self,
        path: Path,
        *,
        threads: int,
        precision: Precision,
        streams: int = 1,
        device: str = "auto",
        tensorrt: bool = False,
        cache_dir: Path | None = None,
    ) -> None:
        """Load the network.

        Args:
            path: model file.
            threads: at least 1.
            precision: `float32`; `bfloat16` with TensorRT only. `auto` is float32 on the CPU, and the GPU's
                tensorfloat32, which is many times faster there.
            streams: how many inputs are computed at the same time, at most `threads`; at most two on a GPU.
            device: `cpu`, `cuda`, `cuda:N`; `auto` is the first GPU where this ONNX Runtime can use one, else
                the CPU.
            tensorrt: let TensorRT compute what it can; never on the CPU.
            cache_dir: where TensorRT keeps what it compiled; None compiles anew.

        Raises:
            EngineError: ONNX Runtime is not installed, cannot use the device or cannot read the model, or
                `precision` is not to be had.
            ValueError: no device has this name.
        """
        library = import_onnxruntime()
        index = _which_gpu(library, device, tensorrt)
        self.numeric_type = _numeric_type(precision, index is not None, tensorrt)
        options = library.SessionOptions()
        options.intra_op_num_threads = threads // streams
        options.inter_op_num_threads = 1
        providers: list[tuple[str, dict[str, str]]] = [(_CPU, {})]
        if index is not None:
            _preload(library)
            providers.insert(0, (_CUDA, _cuda_options(index, precision)))
        if tensorrt and index is not None:
            cache = _tensorrt_cache(cache_dir, path, f"{library.__version__}-{self.numeric_type}")
            providers.insert(0, (_TENSORRT, _tensorrt_options(index, precision, cache)))
        self._session, used = _start(library, path, options, providers, required=device != "auto" or tensorrt)
        check_names(path, [port.name for port in (*self._session.get_inputs(), *self._session.get_outputs())])
        self.version: str = library.__version__
        self.device = {_CPU: "cpu", _CUDA: f"cuda:{index}", _TENSORRT: f"cuda:{index} with TensorRT"}[used]
        if self.device == "cpu":
            self.numeric_type = "float32"
        self.threads = threads
        self.streams = streams if self.device == "cpu" else min(streams, _MOST_STREAMS_ON_A_GPU)
        self._busy = threading.BoundedSemaphore(self.streams)

    def __call__(self, images: npt.NDArray[np.uint8]) -> Output:
        """See `Engine`."""
        try:
            with self._busy:
                boxes, scores = self._session.run(OUTPUTS, {INPUT: np.ascontiguousarray(images)})
        except Exception as error:  # its exceptions share no base class but this
            raise failed_at(images, "ONNX Runtime", error) from error
        return boxes, scores


def built_for_gpus() -> bool:
    """Return whether an ONNX Runtime is installed that is built for NVIDIA GPUs."""
    try:
        return _CUDA in import_onnxruntime().get_available_providers()
    except EngineError:
        return False


def _which_gpu(library: ModuleType, device: str, tensorrt: bool) -> int | None:
    """Return which GPU is to compute, None for the CPU, where this build of ONNX Runtime can use it."""
    index = gpu_index(device)
    if tensorrt and device == "cpu":
        raise EngineError("TensorRT computes on NVIDIA GPUs only; use --device cuda, or another --engine")
    there = library.get_available_providers()
    if device == "auto" and (tensorrt or _CUDA in there):
        index = 0
    for needed in ((_TENSORRT, _CUDA) if tensorrt else (_CUDA,)) if index is not None else ():
        if needed not in there:
            raise EngineError(
                f"this build of ONNX Runtime has no {needed}: use --engine torch, or install onnxruntime-gpu "
                "in place of onnxruntime (pip uninstall onnxruntime; pip install onnxruntime-gpu)"
            )
    return index


def _numeric_type(precision: Precision, on_gpu: bool, tensorrt: bool) -> str:
    if precision == "bfloat16" and not tensorrt:
        raise EngineError(
            "ONNX Runtime runs models in float32 only; use --engine openvino for bfloat16, on a GPU "
            "--engine torch or tensorrt"
        )
    if precision == "float32" and tensorrt and os.environ.get("NVIDIA_TF32_OVERRIDE") != "0":
        raise EngineError(
            "TensorRT rounds float32 to tensorfloat32 unless the environment variable NVIDIA_TF32_OVERRIDE "
            "is 0: set it, or use --precision auto"
        )
    if precision == "auto":
        return "tensorfloat32" if on_gpu else "float32"
    return precision


def _cuda_options(index: int, precision: Precision) -> dict[str, str]:
    return {
        "device_id": str(index),
        # The exhaustive search, which is the default, tries all algorithms anew for every size of picture.
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": "0" if precision == "float32" else "1",
    }


def _tensorrt_options(index: int, precision: Precision, cache: Path | None) -> dict[str, str]:
    options = {"device_id": str(index)}
    if precision == "bfloat16":
        options["trt_bf16_enable"] = "True"
    if cache is not None:
        options |= {
            "trt_engine_cache_enable": "True",
            "trt_engine_cache_path": str(cache),
            "trt_timing_cache_enable": "True",
            "trt_timing_cache_path": str(cache),
        }
    return options


def _tensorrt_cache(cache_dir: Path | None, path: Path, kind: str) -> Path | None:
    """Return a folder for what TensorRT compiles of this very file, None without one.

    Args:
        cache_dir: of all that is compiled.
        path: model file.
        kind: version and numeric type; whether float32 is rounded is nowhere else in TensorRT's cache.
    """
    if cache_dir is None:
        return None
    try:
        folder = cache_dir / digest(path) / f"tensorrt-{kind}"
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _log.warning("no compiled network in %s, so every start compiles: %s", cache_dir, first_line(error))
        return None
    return folder


def _start(
    library: ModuleType,
    path: Path,
    options: Any,
    providers: list[tuple[str, dict[str, str]]],
    *,
    required: bool,
) -> tuple[Any, str]:
    """Return a session, and which of the providers, the first one where all is well, it computes with.

    Where `required` is false, the last of the providers will do as well.
    """
    wanted = providers[0][0]
    try:
        # Its own way of falling back prints to standard output, and goes on with another provider.
        session = library.InferenceSession(path, options, providers, enable_fallback=0)
        problem = None if session.get_providers()[0] == wanted else "standard error has its reason"
    except Exception as error:  # its exceptions share no base class but this
        if wanted == _CPU:
            raise EngineError(f"ONNX Runtime cannot run {path}: {first_line(error)}") from error
        problem = first_line(error)
    if problem is None:
        return session, wanted
    sentence = f"ONNX Runtime cannot run {path} with {wanted}: {problem}"
    if required:
        raise EngineError(
            f"{sentence}. As a rule, the GPU's driver or the CUDA and cuDNN libraries are missing, or are of "
            "another version than this onnxruntime-gpu asks for"
        )
    _log.warning("%s; the CPU computes instead", sentence)
    return _start(library, path, options, providers[-1:], required=True)


def _preload(library: ModuleType) -> None:
    """Load CUDA and cuDNN from NVIDIA's Python packages, where ONNX Runtime (from 1.21 on) knows how to.

    It prints what it does not find. That is no fault where the system has it; where it has not, the session
    does not start, and says so.
    """
    if hasattr(library, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            library.preload_dlls()
        if printed.getvalue():
            _log.info("ONNX Runtime: %s", printed.getvalue().strip())


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
