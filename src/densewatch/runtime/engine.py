"""What an engine is: it runs a model file's network, pictures in, boxes and scores out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from densewatch.detections import Detections
    from densewatch.imaging.resize import Prepared
    from densewatch.metadata import ModelInfo
    from densewatch.runtime.candidates import Filter

Precision = Literal["auto", "float32", "bfloat16"]
Output = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]

INPUT, OUTPUTS = "image", ("boxes", "scores")
"""What a model file calls its network's input and outputs."""


class EngineError(RuntimeError):
    """An engine is missing, refuses the model or a setting, or fails; the message says what to do."""


class Engine(Protocol):
    """What runs a network.

    Attributes:
        name: `openvino`, `onnxruntime` or `torch`.
        version: of the library.
        numeric_type: in which it computes: `float32`, `bfloat16`, `int8 and float32`, … `tensorfloat32` is
            what NVIDIA's GPUs make of float32 for speed: its range, with 10 bits behind the point.
        device: where it computes: `cpu`, `cuda:0`, `cuda:0 with TensorRT`, …
        threads: how many it uses on the CPU.
        streams: how many inputs it computes at the same time, on a share of the threads each.
    """

    name: str
    version: str
    numeric_type: str
    device: str
    threads: int
    streams: int

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


@runtime_checkable
class FindingEngine(Engine, Protocol):
    """An engine that also sorts candidates out, where they are: what leaves the GPU is objects alone."""

    def find(
        self,
        images: npt.NDArray[np.uint8],
        members: Sequence[Prepared],
        info: ModelInfo,
        wanted: Filter,
    ) -> list[Detections]:
        """Return the objects of each picture of a batch, as `to_detections` has them.

        Args:
            images: uint8 [N, H, W, 3] RGB, H and W multiples of 32.
            members: the N pictures in `images`, all of the size of `images`, padding included.
            info: of the model.
            wanted: which objects are wanted.

        Raises:
            EngineError: the library failed.
        """
        ...


def describe_engine(engine: Engine) -> str:
    """Return what runs a network, as `openvino 2026.4.1, bfloat16, 2 threads`, or with the GPU it runs on."""
    where = f"{engine.threads} threads" if engine.device == "cpu" else engine.device
    return f"{engine.name} {engine.version}, {engine.numeric_type}, {where}"


def check_names(path: Path, names: list[str]) -> None:
    """Raise `EngineError` for a network that has other inputs or outputs than a model file's."""
    missing = {INPUT, *OUTPUTS}.difference(names)
    if missing:
        raise EngineError(
            f"{path} is not a densewatch model file: its network has no {', '.join(sorted(missing))}, "
            f"but {', '.join(names)}"
        )


def failed_at(images: npt.NDArray[np.uint8], library: str, error: Exception) -> EngineError:
    """Return the sentence for an input at which a network that was loaded well fails: mostly memory."""
    count, height, width, _ = images.shape
    pictures = "a picture" if count == 1 else f"{count} pictures"
    return EngineError(f"{library} failed at {pictures} of {width}x{height} px: {first_line(error)}")


def first_line(error: Exception) -> str:
    """Return the first line of an engine's message that is not just its place in the engine's own source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith("Exception from ")]
    return (telling or lines or [type(error).__name__])[0]
