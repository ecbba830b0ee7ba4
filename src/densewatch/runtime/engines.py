"""Engines run a model file's network: pictures in, boxes and scores out."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import numpy as np
import numpy.typing as npt
import platformdirs

from densewatch.extras import how_to_install
from densewatch.runtime.cores import available_cores

if TYPE_CHECKING:
    import openvino

EngineName = Literal["auto", "openvino", "onnxruntime"]
Precision = Literal["auto", "float32", "bfloat16"]
Output = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]

_INPUT, _OUTPUTS = "image", ("boxes", "scores")
_OPENVINO_TYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
_log = logging.getLogger(__name__)


class EngineError(RuntimeError):
    """An engine is missing, refuses the model or a setting, or fails; the message says what to do."""


class Engine(Protocol):
    """What runs a network.

    Attributes:
        name: `openvino` or `onnxruntime`.
        version: of the library.
        numeric_type: in which it computes: `float32`, `bfloat16`.
        threads: how many it uses.
    """

    name: str
    version: str
    numeric_type: str
    threads: int

    def __call__(self, images: npt.NDArray[np.uint8]) -> Output:
        """Return candidates of prepared pictures; safe to call from several threads.

        Args:
            images: uint8 [N, H, W, 3] RGB, H and W multiples of 32.

        Returns:
            boxes float32 [N, K, 4], xyxy in input pixels, and scores float32 [N, K, C].

        Raises:
            EngineError: the library failed.
        """
        ...


class OpenVinoEngine:
    """OpenVINO on the CPU: the default, and the fastest there.

    One network serves pictures of all sizes: compiled for a fixed size it is at most a tenth faster, and a
    folder of photos has many sizes. Compiled networks are kept in `cache_dir`, for the next time.
    """

    name = "openvino"

    def __init__(self, path: Path, *, threads: int, precision: Precision, cache_dir: Path | None) -> None:
        """Compile the network, or load it compiled.

        Args:
            path: model file.
            threads: at least 1.
            precision: `auto` is bfloat16 where the CPU computes it in hardware, else float32.
            cache_dir: where compiled networks are kept; None compiles anew.

        Raises:
            EngineError: OpenVINO cannot read the model, or the CPU has no bfloat16.
        """
        library = import_openvino()
        core = library.Core()
        config = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": _openvino_precision(core, precision),
        }
        network = _compile(core, path, config, cache_dir)
        _check_names(path, [port.any_name for port in (*network.inputs, *network.outputs)])
        hint = network.get_property("INFERENCE_PRECISION_HINT").to_string()
        self.version: str = library.get_version().split("-")[0]
        self.numeric_type = _OPENVINO_TYPES.get(hint, hint)
        self.threads: int = network.get_property("INFERENCE_NUM_THREADS")
        self._request = network.create_infer_request()
        self._lock = threading.Lock()

    def __call__(self, images: npt.NDArray[np.uint8]) -> Output:
        """See `Engine`."""
        try:
            with self._lock:
                outputs = self._request.infer({_INPUT: np.ascontiguousarray(images)}, share_inputs=True)
        except RuntimeError as error:
            raise _failed_at(images, "OpenVINO", error) from error
        return outputs[_OUTPUTS[0]], outputs[_OUTPUTS[1]]


class OnnxRuntimeEngine:
    """ONNX Runtime: on an NVIDIA GPU where `onnxruntime-gpu` finds one, else on the CPU."""

    name = "onnxruntime"

    def __init__(self, path: Path, *, threads: int, precision: Precision) -> None:
        """Load the network.

        Args:
            path: model file.
            threads: at least 1.
            precision: `auto` or `float32`.

        Raises:
            EngineError: ONNX Runtime is not installed or cannot read the model, or `precision` is bfloat16.
        """
        if precision == "bfloat16":
            raise EngineError("ONNX Runtime runs models in float32 only; use --engine openvino for bfloat16")
        library = _import_onnxruntime()
        options = library.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
        providers = [name for name in wanted if name in library.get_available_providers()]
        try:
            self._session = library.InferenceSession(path, options, providers)
        except Exception as error:  # its exceptions share no base class but this
            raise EngineError(f"ONNX Runtime cannot run {path}: {_first_line(error)}") from error
        _check_names(
            path, [port.name for port in (*self._session.get_inputs(), *self._session.get_outputs())]
        )
        self.version: str = library.__version__
        self.numeric_type = "float32"
        self.threads = threads

    def __call__(self, images: npt.NDArray[np.uint8]) -> Output:
        """See `Engine`."""
        try:
            boxes, scores = self._session.run(_OUTPUTS, {_INPUT: np.ascontiguousarray(images)})
        except Exception as error:  # its exceptions share no base class but this
            raise _failed_at(images, "ONNX Runtime", error) from error
        return boxes, scores


def describe_engine(engine: Engine) -> str:
    """Return what runs a network, as `openvino 2026.4.1, bfloat16, 2 threads`."""
    return f"{engine.name} {engine.version}, {engine.numeric_type}, {engine.threads} threads"


def create_engine(
    path: Path, engine: EngineName = "auto", threads: int | None = None, precision: Precision = "auto"
) -> Engine:
    """Load the network of a model file.

    Args:
        path: model file.
        engine: `auto` is OpenVINO where it is installed, else ONNX Runtime.
        threads: None is one a physical core that this process may use.
        precision: `auto` is the fastest that the CPU computes in hardware, bfloat16 or float32.

    Raises:
        EngineError: the engine is missing, or refuses the model or a setting.
        ValueError: `engine`, `threads` or `precision` is no possible value.
    """
    _check_choice("engine", engine, ("auto", "openvino", "onnxruntime"))
    _check_choice("precision", precision, ("auto", "float32", "bfloat16"))
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, not {threads}")
    threads = threads or available_cores()
    if engine == "auto":
        engine = "openvino" if importlib.util.find_spec("openvino") else "onnxruntime"
    if engine == "onnxruntime":
        return OnnxRuntimeEngine(path, threads=threads, precision=precision)
    cache_dir = platformdirs.user_cache_path("densewatch") / "compiled"
    return OpenVinoEngine(path, threads=threads, precision=precision, cache_dir=cache_dir)


def import_openvino() -> ModuleType:
    """Import OpenVINO without its telemetry. Everything of ours that needs OpenVINO gets it here.

    `import openvino` reports its use to its maker unless the package `openvino_telemetry` is missing.
    densewatch tells nobody anything: to its process that package is missing, and OpenVINO does without.

    Raises:
        EngineError: OpenVINO is not installed.
    """
    modules = cast(dict[str, ModuleType | None], sys.modules)
    modules.setdefault("openvino_telemetry", None)
    try:
        import openvino
    except ImportError as error:
        raise EngineError(f"OpenVINO cannot be imported ({error}): pip install openvino") from error
    return cast(ModuleType, openvino)


def _import_onnxruntime() -> ModuleType:
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


def _openvino_precision(core: openvino.Core, precision: Precision) -> str:
    has_bfloat16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "bfloat16" and not has_bfloat16:
        raise EngineError("this CPU does not compute bfloat16 in hardware; use --precision float32 or auto")
    return "f32" if precision == "float32" or not has_bfloat16 else "bf16"


def _compile(
    core: openvino.Core, path: Path, config: dict[str, Any], cache_dir: Path | None
) -> openvino.CompiledModel:
    """Compile the network with the cache, or without it where the cache cannot be used."""
    problem = None
    if cache_dir is not None:
        try:
            folder = cache_dir / _digest(path)
            folder.mkdir(parents=True, exist_ok=True)
            return core.compile_model(path, "CPU", {**config, "CACHE_DIR": str(folder)})
        except (OSError, RuntimeError) as error:
            problem = error
    try:
        network = core.compile_model(path, "CPU", config)
    except RuntimeError as error:
        raise EngineError(f"OpenVINO cannot run {path}: {_first_line(error)}") from error
    if problem is not None:
        _log.warning(
            "no compiled network in %s, so every start compiles: %s", cache_dir, _first_line(problem)
        )
    return network


def _digest(path: Path) -> str:
    """Return the start of the file's SHA-256, the name of its cache folder.

    OpenVINO itself knows a cached network by path, size and time in whole seconds, and would run the old
    network of a file that is written anew.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _check_names(path: Path, names: list[str]) -> None:
    missing = {_INPUT, *_OUTPUTS}.difference(names)
    if missing:
        raise EngineError(
            f"{path} is not a densewatch model file: its network has no {', '.join(sorted(missing))}, "
            f"but {', '.join(names)}"
        )


def _check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{what} must be one of {', '.join(choices)}, not {value!r}")


def _failed_at(images: npt.NDArray[np.uint8], library: str, error: Exception) -> EngineError:
    """Return the sentence for an input at which a network that was loaded well fails: mostly memory."""
    count, height, width, _ = images.shape
    pictures = "a picture" if count == 1 else f"{count} pictures"
    return EngineError(f"{library} failed at {pictures} of {width}x{height} px: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    """Return the first line of an engine's message that is not just its place in the engine's own source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith("Exception from ")]
    return (telling or lines or [type(error).__name__])[0]
