"""OpenVINO as an engine: the default on CPUs."""

from __future__ import annotations

import logging
import queue
import sys
import threading
from collections import Counter
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

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

if TYPE_CHECKING:
    import openvino

_TYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
_FIXED_AFTER = 16  # pictures of a size: fewer would not earn the second that compiling takes
_MOST_FIXED = 8  # sizes: photos come in few shapes, and each takes the memory of the network again
_LARGEST_FIXED_BYTES = 64 * 2**20  # ResNet-50 gained 3 to 6 % in float, 10 % in int8; MobileNetV2 15 to 35 %
_FIRST_TENSOR = threading.Lock()
_log = logging.getLogger(__name__)


class OpenVinoEngine:
    """OpenVINO on the CPU: the default, and the fastest there.

    One network takes pictures of all sizes. When many of one size have come, a small network is compiled once
    more, for this size: that takes a second, and then a third less time a picture. In large networks there is
    little to gain. Compiled networks are kept in `cache_dir`, for the next time.
    """

    name, device = "openvino", "cpu"

    def __init__(
        self, path: Path, *, threads: int, precision: Precision, cache_dir: Path | None, streams: int = 1
    ) -> None:
        """Compile the network, or load it compiled.

        Args:
            path: model file.
            threads: at least 1.
            precision: `auto` is bfloat16 where the CPU computes it in hardware, else float32.
            cache_dir: where compiled networks are kept; None compiles anew.
            streams: how many pictures are computed at the same time, at most `threads`.

        Raises:
            EngineError: OpenVINO cannot read the model, or the CPU has no bfloat16.
        """
        library = import_openvino()
        self._core = _the_core()
        config = {
            "PERFORMANCE_HINT": "LATENCY" if streams == 1 else "THROUGHPUT",
            "NUM_STREAMS": str(streams),
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": _precision(self._core, precision),
        }
        network, self._config = _compile(self._core, path, config, cache_dir)
        check_names(path, [port.any_name for port in (*network.inputs, *network.outputs)])
        hint = network.get_property("INFERENCE_PRECISION_HINT").to_string()
        self.version: str = library.get_version().split("-")[0]
        self.numeric_type = _TYPES.get(hint, hint)
        self.threads: int = network.get_property("INFERENCE_NUM_THREADS")
        self.streams = streams
        self._path = path
        self._any_size = _Requests(network, streams)
        self._fixed_size: dict[tuple[int, ...], _Requests] = {}
        self._seen: Counter[tuple[int, ...]] = Counter()
        self._lock = threading.Lock()
        self._gains = path.stat().st_size <= _LARGEST_FIXED_BYTES

    def __call__(self, images: npt.NDArray[np.uint8]) -> Output:
        """See `Engine`; where all streams are busy, it waits for the next one that is not."""
        try:
            return self._requests_for(images.shape)(images)
        except RuntimeError as error:
            raise failed_at(images, "OpenVINO", error) from error

    def _requests_for(self, shape: tuple[int, ...]) -> _Requests:
        """Return the network for a fixed size where there is one, or where it is time to compile it."""
        with self._lock:
            if shape in self._fixed_size:
                return self._fixed_size[shape]
            self._seen[shape] += 1
            full = len(self._fixed_size) == _MOST_FIXED
            if not self._gains or full or self._seen[shape] < _FIXED_AFTER:
                return self._any_size
            self._fixed_size[shape] = self._any_size  # for the others, while this thread compiles
        try:
            model = self._core.read_model(self._path)
            model.reshape(list(shape))
            compiled = self._core.compile_model(model, "CPU", self._config)
        except RuntimeError as error:
            _log.warning("no network for %s of fixed size %s: %s", self._path, shape, first_line(error))
            return self._any_size
        self._fixed_size[shape] = _Requests(compiled, self.streams)
        return self._fixed_size[shape]


class _Requests:
    """A compiled network, as many pictures at a time as it has streams."""

    def __init__(self, network: openvino.CompiledModel, streams: int) -> None:
        self._idle: queue.SimpleQueue[openvino.InferRequest] = queue.SimpleQueue()
        for _ in range(streams):
            self._idle.put(network.create_infer_request())

    def __call__(self, images: npt.NDArray[np.uint8]) -> Output:
        request = self._idle.get()
        try:
            outputs = request.infer({INPUT: np.ascontiguousarray(images)}, share_inputs=True)
        finally:
            self._idle.put(request)
        return outputs[OUTPUTS[0]], outputs[OUTPUTS[1]]


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
    with _FIRST_TENSOR:
        # The first array that becomes a tensor sets up the binding (2026.4). Two threads that both come first
        # wait for each other for ever, one with Python's lock and one with the binding's.
        openvino.Tensor(np.zeros(1, np.uint8))
    return cast(ModuleType, openvino)


@cache
def _the_core() -> openvino.Core:
    """Return the one core of this process, which is never let go.

    OpenVINO's CPU plugin (2026.4) gives the thread that first uses a core a stack for signals, and unmaps it
    with the core. Where another thread lets go of the core, or another core was made in between, the first
    thread keeps that stack, and the next signal, such as Ctrl-C, ends the process with SIGSEGV.
    """
    core: openvino.Core = import_openvino().Core()
    return core


def _precision(core: openvino.Core, precision: Precision) -> str:
    has_bfloat16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "bfloat16" and not has_bfloat16:
        raise EngineError("this CPU does not compute bfloat16 in hardware; use --precision float32 or auto")
    return "f32" if precision == "float32" or not has_bfloat16 else "bf16"


def _compile(
    core: openvino.Core, path: Path, config: dict[str, Any], cache_dir: Path | None
) -> tuple[openvino.CompiledModel, dict[str, Any]]:
    """Compile the network with the cache, or without it where it cannot be used; return the settings too."""
    problem = None
    if cache_dir is not None:
        try:
            folder = cache_dir / digest(path)
            folder.mkdir(parents=True, exist_ok=True)
            cached = {**config, "CACHE_DIR": str(folder)}
            return core.compile_model(path, "CPU", cached), cached
        except (OSError, RuntimeError) as error:
            problem = error
    try:
        network = core.compile_model(path, "CPU", config)
    except RuntimeError as error:
        raise EngineError(f"OpenVINO cannot run {path}: {first_line(error)}") from error
    if problem is not None:
        _log.warning("no compiled network in %s, so every start compiles: %s", cache_dir, first_line(problem))
    return network, config
