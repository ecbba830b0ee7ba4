"""`Detector`: a model file, ready to find objects in pictures."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypedDict, Unpack

import numpy as np
import numpy.typing as npt

from densewatch.detections import Detections, class_index
from densewatch.imaging.read import DEFAULT_MAX_PIXELS, Size
from densewatch.imaging.resize import Prepared, check_pixels, needed_size
from densewatch.imaging.sources import Source, as_source
from densewatch.metadata import ModelInfo
from densewatch.runtime.batching import Batcher, Compute
from densewatch.runtime.candidates import Filter, Limits, to_detections
from densewatch.runtime.deadline import Cost, Look, choose, looks
from densewatch.runtime.engine import Engine, EngineError, FindingEngine, Precision
from densewatch.runtime.engines import EngineName, create_engine
from densewatch.runtime.in_order import map_in_order
from densewatch.runtime.model_file import find_model, read_info
from densewatch.runtime.seams import merge_tiles
from densewatch.runtime.suppression import Suppression
from densewatch.runtime.tiles import batches, parse_grid, plan_tiles, prepare_parts

Picture = str | Path | bytes | Source | npt.NDArray[np.uint8]
"""A path, an http(s) URL, the bytes of a picture file, a source, or uint8 [H, W, 3] RGB, upright."""

_Answer = Detections | tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
"""What an engine says of a picture: its objects, or boxes [K, 4] and scores [K, C] to find them among."""

_BATCH_ON_A_GPU = 8


@dataclass(frozen=True)
class Timing:
    """Where the time of one picture went, in milliseconds.

    Attributes:
        read_ms: from the file or its bytes to upright RGB; next to nothing for an array.
        prepare_ms: resize and padding.
        network_ms: the engine, and waiting for it; on a GPU, PyTorch does thresholds and NMS too.
        boxes_ms: thresholds, NMS and the way back to the picture's own pixels.
        left_out: the closest look that a deadline did not leave time for, such as `3x2 tiles`; else None.
    """

    read_ms: float
    prepare_ms: float
    network_ms: float
    boxes_ms: float
    left_out: str | None = None

    @property
    def total_ms(self) -> float:
        """The whole way from the source to boxes."""
        return self.read_ms + self.prepare_ms + self.network_ms + self.boxes_ms

    def to_dict(self) -> dict[str, float]:
        """Return the five figures by name, ready for JSON."""
        names = ("read", "prepare", "network", "boxes", "total")
        return {name: round(getattr(self, f"{name}_ms"), 3) for name in names}


class Settings(TypedDict, total=False):
    """What is looked for and how; what is left out is as the model has it, or as it says here.

    Attributes:
        threshold: lowest score, 0 to 1.
        iou: objects of one class that overlap more than this are one object.
        only: class name or names that are wanted; None is all.
        max_detections: how many objects are kept, best first; None, as by default, is all.
        nms: what becomes of boxes that overlap, see `Suppression`; `greedy` by default.
        tiles: parts of the picture that are looked at more closely, for far and small objects: `off`, as by
            default, `auto`, or `COLSxROWS`, see `plan_tiles`.
        deadline_ms: time for a picture once it is read: tiles, and then resolution, are given up until what
            pictures have cost so far fits into it; pictures then share no batch. None, as by default, gives
            up nothing.
        max_pixels: larger picture files are refused; 200 million by default.
    """

    threshold: float | None
    iou: float | None
    only: str | Sequence[str] | None
    max_detections: int | None
    nms: Suppression
    tiles: str
    deadline_ms: float | None
    max_pixels: int


class Detector:
    """Finds objects in pictures.

    Attributes:
        info: what the model file says of itself.
        engine: what runs its network.
        batch: how many pictures of one size may go through the network together, where several are under way.
    """

    def __init__(self, info: ModelInfo, engine: Engine, batch: int | None = None) -> None:
        """Put a model and its engine together.

        Args:
            info: what the model file says of itself.
            engine: what runs its network.
            batch: at least 1; None is 1 on the CPU, and 8 on a GPU.

        Raises:
            ValueError: `batch` is less than 1.
        """
        if batch is not None and batch < 1:
            raise ValueError(f"batch must be at least 1, not {batch}")
        self.info = info
        self.engine = engine
        self.batch = batch or (1 if engine.device == "cpu" else _BATCH_ON_A_GPU)
        self._ask: Compute[_Answer] = self._compute
        if self.batch > 1:
            self._ask = Batcher(self._compute, self.batch, engine.streams)
        self._cost = Cost()

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in label order."""
        return self.info.names

    def detect(self, source: Picture, **settings: Unpack[Settings]) -> Detections:
        """Find the objects in a picture.

        Args:
            source: a path, an http(s) URL, the bytes of a picture file, or uint8 [H, W, 3] RGB.
            settings: what is looked for and how, see `Settings`.

        Raises:
            ImageError: the picture cannot be read.
            EngineError: the engine failed at this picture.
            UnknownNameError: `only` has a name that is no class of the model.
            ValueError: a setting is out of its range, `only` is empty, or an array is no picture.
            TypeError: `source` is nothing that a picture could be read from, or there is no such setting.
        """
        return self.detect_timed(source, **settings)[0]

    def detect_timed(self, source: Picture, **settings: Unpack[Settings]) -> tuple[Detections, Timing]:
        """Do as `detect` does, and say where the time went."""
        return self._run(source, _Request.of(self.info, **settings))

    def detect_many(self, sources: Iterable[Picture], **settings: Unpack[Settings]) -> Iterator[Detections]:
        """Do as `detect` does with one picture after another; several are under way at the same time.

        While the engine computes, the next pictures are read and the boxes of the last are sorted out; loaded
        with more `streams` or a larger `batch`, the engine computes several at once. Results come in the
        order of the pictures, which are taken as results are asked for, but for a few ahead. Settings are
        checked at once; a picture that cannot be read raises when its turn comes.
        """
        request = _Request.of(self.info, **settings)
        # With a deadline, waiting for an engine that others keep busy would count as what a picture costs.
        workers = self.workers if request.deadline_ms is None else self.engine.streams + 1
        return map_in_order(lambda source: self._run(source, request)[0], sources, workers)

    @property
    def workers(self) -> int:
        """How many pictures are under way so that the engine never waits: a batch more than it computes."""
        return (self.engine.streams + 1) * self.batch

    def _run(self, source: Picture, request: _Request) -> tuple[Detections, Timing]:
        started = time.perf_counter()
        image, size, (look, left_out) = self._read(source, request)
        read = time.perf_counter()
        parts = prepare_parts(image, look.plan, look.policy, size)
        ready = time.perf_counter()
        found: list[Detections] = []
        network_s = 0.0
        for images in batches(parts, look.policy.pad_value):
            members = parts[len(found) : len(found) + len(images)]
            answers, seconds = self._timed(images, members, request, source)
            network_s += seconds
            found += map(partial(self._objects, wanted=request.in_part), answers, members)
        detections = merge_tiles(found, look.plan, request.wanted)
        ended = time.perf_counter()
        if self.batch == 1 or request.deadline_ms is not None:  # else it waited for other pictures too
            self._cost.add(look.pixels, (ended - read) * 1000)
        return detections, Timing(
            read_ms=(read - started) * 1000,
            prepare_ms=(ready - read) * 1000,
            network_ms=network_s * 1000,
            boxes_ms=(ended - ready - network_s) * 1000,
            left_out=left_out,
        )

    def _read(
        self, source: Picture, request: _Request
    ) -> tuple[npt.NDArray[np.uint8], Size, tuple[Look, str | None]]:
        """Return a picture no smaller than it is needed, the size of the whole, and how to look at it."""
        if isinstance(source, np.ndarray):
            check_pixels(source)
            size = (source.shape[0], source.shape[1])
            return source, size, self._choose(size, request)
        chosen: list[tuple[Look, str | None]] = []

        def needed(size: Size) -> Size:
            chosen.append(self._choose(size, request))
            look = chosen[0][0]
            return size if len(look.plan) > 1 else needed_size(size, look.policy)

        image, size = as_source(source).read_reduced(needed, max_pixels=request.max_pixels)
        return image, size, chosen[0] if chosen else self._choose(size, request)

    def _choose(self, size: Size, request: _Request) -> tuple[Look, str | None]:
        """Return how to look at a picture of this size, and what a deadline leaves out."""
        if request.deadline_ms is None:
            return Look(plan_tiles(size, self.info, request.tiles), self.info.resize), None
        ways = looks(size, self.info, request.tiles)
        if not self._cost.known:
            self._measure(ways[0], request.in_part)
        look = choose(ways, self._cost, request.deadline_ms)
        return look, None if look == ways[-1] else ways[-1].title

    def _measure(self, look: Look, wanted: Filter) -> None:
        """Find out what a picture costs: the second of two empty ones, since the first one prepares much."""
        empty = np.zeros((look.plan[0].height, look.plan[0].width, 3), np.uint8)
        for _ in range(2):
            begun = time.perf_counter()
            parts = prepare_parts(empty, look.plan, look.policy)
            images = next(batches(parts, look.policy.pad_value))
            self._compute(images, parts[: len(images)], wanted)
            milliseconds = (time.perf_counter() - begun) * 1000
        self._cost.add(look.pixels, milliseconds)

    def _timed(
        self, images: npt.NDArray[np.uint8], members: Sequence[Prepared], request: _Request, source: Picture
    ) -> tuple[Sequence[_Answer], float]:
        """Return what the engine says of prepared pictures, and the seconds that took."""
        begun = time.perf_counter()
        try:
            answers = self._ask_for(request)(images, members, request.in_part)
        except EngineError as error:
            name = f"{source}: " if isinstance(source, str | Path) else ""
            raise EngineError(f"{name}{error}") from error
        return answers, time.perf_counter() - begun

    def _ask_for(self, request: _Request) -> Compute[_Answer]:
        """Return who answers: with a deadline the engine itself, for a batch takes longer than a picture."""
        return self._ask if request.deadline_ms is None else self._compute

    def _compute(
        self, images: npt.NDArray[np.uint8], members: Sequence[Prepared], wanted: Filter
    ) -> Sequence[_Answer]:
        """Let the engine compute a batch, and return what it says of each picture."""
        if isinstance(self.engine, FindingEngine):
            return self.engine.find(images, members, self.info, wanted)
        boxes, scores = self.engine(images)
        return list(zip(boxes, scores, strict=True))

    def _objects(self, answer: _Answer, member: Prepared, wanted: Filter) -> Detections:
        """Return the objects of a picture that the engine has said all of that it says."""
        if isinstance(answer, Detections):
            return answer
        boxes, scores = answer
        return to_detections(boxes, scores, member, self.info, wanted)


@dataclass(frozen=True)
class _Request:
    """Settings that were checked and filled in, before any work is done."""

    wanted: Filter
    tiles: str
    deadline_ms: float | None
    max_pixels: int

    @property
    def in_part(self) -> Filter:
        """What is wanted of each part: a limit is for the whole picture, whose best is known at the end."""
        return replace(self.wanted, limits=replace(self.wanted.limits, max_detections=None))

    @classmethod
    def of(
        cls,
        info: ModelInfo,
        *,
        threshold: float | None = None,
        iou: float | None = None,
        only: str | Sequence[str] | None = None,
        max_detections: int | None = None,
        nms: Suppression = "greedy",
        tiles: str = "off",
        deadline_ms: float | None = None,
        max_pixels: int = DEFAULT_MAX_PIXELS,
    ) -> _Request:
        names = (only,) if isinstance(only, str) else only
        if names is not None and not names:
            raise ValueError("`only` names no class; leave it out to find objects of all classes")
        wanted = Filter(
            threshold=info.threshold if threshold is None else threshold,
            iou=info.iou if iou is None else iou,
            labels=None if names is None else [class_index(name, info.names) for name in names],
            limits=Limits(max_detections=max_detections),
            suppression=nms,
        )
        if tiles != "auto":
            parse_grid(tiles)
        if deadline_ms is not None and not deadline_ms > 0:
            raise ValueError(f"deadline_ms must be more than 0, not {deadline_ms}")
        return cls(wanted, tiles, deadline_ms, max_pixels)


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
    """Load a model file into an engine of this room; see `densewatch.load` for what the settings mean.

    Args:
        model: a path, the name of a pulled model, or None for the model inside the package.
        engine: as `create_engine` has it, which knows no PyTorch.
        device: likewise.
        threads: likewise.
        precision: likewise.
        streams: likewise.
        batch: as `Detector` has it.

    Raises:
        ModelNotFoundError: there is no such model.
        ModelFileError: the file is no densewatch model, or needs a newer version.
        EngineError: the engine is missing, or refuses the model, the device or a setting.
        ValueError: a setting has no possible value.
    """
    path = find_model(model)
    import_decoders()
    info = read_info(path)
    made = create_engine(path, engine, threads, precision, streams, info.numeric_type, device)
    return Detector(info, made, batch)


def import_decoders() -> None:
    """Import what decodes pictures now, so that the time of the first picture is its own."""
    for decoder in ("cv2", "PIL.Image"):
        importlib.import_module(decoder)
