"""The engine for GPUs on the CPU, with stand-ins for CUDA: who waits for whom, and whose memory is whose."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

import densewatch as dw
from densewatch.imaging.read import read_image
from densewatch.runtime.engine import EngineError, FindingEngine, describe_engine
from densewatch.torch_engine import cuda_engine
from densewatch.torch_engine.cuda_engine import CudaEngine
from densewatch.torch_engine.load import load_torch_engine
from densewatch.torch_engine.programs import Program
from small_network import small_network, write_small_checkpoint

PHOTO = Path(dw.__file__).parent / "assets" / "astronaut.jpg"
CPU = torch.device("cpu")


Step = tuple[str, "Stream | None", "Event | None"]
"""What was done, on which stream, with which event."""


class Stream:
    """A queue of work that is done at once, and noted."""

    steps: ClassVar[list[Step]] = []

    def __init__(self, device: torch.device) -> None:
        pass

    def record_event(self) -> Event:
        event = Event()
        self.steps.append(("record", self, event))
        return event

    def wait_event(self, event: Event) -> None:
        self.steps.append(("wait", self, event))


class Event:
    """Something that has happened once it is recorded."""

    def __init__(self, blocking: bool = False) -> None:
        self.recorded = False

    def record(self) -> None:
        self.recorded = True
        Stream.steps.append(("record", torch.cuda.current_stream(), self))  # type: ignore[arg-type]

    def synchronize(self) -> None:
        assert self.recorded
        Stream.steps.append(("synchronize", None, self))


class Recorded:
    """Does as a CUDA graph does: it has its own memory for input and output, and knows one shape."""

    made = 0

    def __init__(self, network: Program, example: Tensor, stream: Stream, pool: object) -> None:
        type(self).made += 1
        self.reads: object = None
        self._network = network
        self._outputs = network(example)
        self._busy = threading.Lock()

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        assert self._busy.acquire(blocking=False), "two at a time"
        for memory, values in zip(self._outputs, self._network(images), strict=True):
            memory.copy_(values)
        self._busy.release()
        return self._outputs


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> CudaEngine:
    now = threading.local()

    @contextlib.contextmanager
    def stream(entered: Stream) -> Iterator[None]:
        before, now.stream = getattr(now, "stream", None), entered
        yield
        now.stream = before

    monkeypatch.setattr(Stream, "steps", [])
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: now.stream)
    monkeypatch.setattr(torch.cuda, "device", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Stand-in 3000")
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 0))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    monkeypatch.setattr(cuda_engine, "RecordedProgram", Recorded)
    monkeypatch.setattr(cuda_engine, "_pinned_memory", lambda size: torch.full([size], 99, dtype=torch.uint8))
    monkeypatch.setattr(Recorded, "made", 0)
    return CudaEngine(small_network(), CPU, numeric_type=torch.float32)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small_checkpoint(tmp_path_factory.mktemp("checkpoint"))


def pictures(count: int) -> list[npt.NDArray[np.uint8]]:
    """Return pictures of three shapes, no two of them alike."""
    image = read_image(PHOTO)
    return [np.roll(image, 7 * number, 1)[: 224 + 100 * (number % 3)] for number in range(count)]


def share_found(expected: dw.Detections, found: dw.Detections) -> float:
    """Return how many of the expected boxes are there, within 0.05 px, with their labels."""
    near = np.abs(expected.boxes[:, None] - found.boxes).max(axis=2) < 0.05
    return float((near & (expected.labels[:, None] == found.labels)).any(axis=1).mean())


def test_it_says_what_it_is(engine: CudaEngine) -> None:
    assert isinstance(engine, FindingEngine)
    assert describe_engine(engine) == f"torch {torch.__version__}, float32, cpu (Stand-in 3000)"
    assert engine.streams == 2


def test_candidates_are_those_of_the_plain_engine(engine: CudaEngine, checkpoint: Path) -> None:
    """At first, and once the shape is recorded; no result is overwritten by the next."""
    _, plain = load_torch_engine(checkpoint, device="cpu")
    inputs = [np.random.default_rng(seed).integers(0, 256, (1, 64, 96, 3), np.uint8) for seed in range(6)]
    found = [engine(images) for images in inputs]
    assert Recorded.made == 1
    for (boxes, scores), images in zip(found, inputs, strict=True):
        expected_boxes, expected_scores = plain(images)
        assert np.allclose(boxes, expected_boxes, atol=1e-2)
        assert np.allclose(scores, expected_scores, atol=1e-4)


def test_the_network_waits_for_the_copy_and_the_lane_for_the_network(
    engine: CudaEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the network would see half a picture, or the next picture overwrite one that is still read."""
    steps = Stream.steps

    def noted(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def do(*arguments: Any) -> Any:
            steps.append((name, torch.cuda.current_stream(), None))  # type: ignore[arg-type]
            return work(*arguments)

        return do

    lanes = SimpleNamespace(get=engine._lanes.get, put=noted("back", engine._lanes.put))
    upload = noted("upload", cuda_engine._Lane.upload)
    monkeypatch.setattr(cuda_engine._Lane, "upload", lambda lane, images: upload(lane, images))
    monkeypatch.setattr(engine, "_programs", noted("compute", engine._programs))
    monkeypatch.setattr(engine, "_lanes", lanes)
    engine(np.zeros((1, 32, 64, 3), np.uint8))
    assert [name for name, *_ in steps] == [
        *("upload", "record", "wait", "compute", "record", "synchronize", "back")
    ]
    _, streams, events = zip(*steps, strict=True)
    lane, network = streams[0], engine._stream
    assert streams == (lane, lane, network, network, network, None, None)
    copied, done = events[1], events[4]
    assert events == (None, copied, copied, None, done, done, None)
    assert lane is not network
    assert copied is not done


@pytest.mark.parametrize("batch", [1, 4])
def test_many_pictures_are_found_as_one_by_one(engine: CudaEngine, checkpoint: Path, batch: int) -> None:
    one_by_one = dw.load(checkpoint, device="cpu")
    many = dw.Detector(one_by_one.info, engine, batch)
    images = pictures(24)
    for image, found in zip(images, many.detect_many(images, threshold=0.6), strict=True):
        expected = one_by_one.detect(image, threshold=0.6)
        assert found.size == image.shape[:2]
        assert abs(len(found) - len(expected)) <= 2  # a score or an overlap at its limit
        assert share_found(expected, found) > 0.99
    assert batch > 1 or Recorded.made == 3


def test_what_pytorch_raises_is_an_engine_error_and_the_engine_goes_on(engine: CudaEngine) -> None:
    for _ in range(5):  # more often than there are lanes
        with pytest.raises(EngineError, match=r"PyTorch failed at a picture of 64x32 px: \S"):
            engine(np.zeros((1, 32, 64, 4), np.uint8))
    assert engine(np.zeros((1, 32, 64, 3), np.uint8))[0].shape[0] == 1


def test_without_recording(engine: CudaEngine) -> None:
    eager = CudaEngine(small_network(), CPU, numeric_type=torch.float32, record=False)
    images = np.zeros((1, 32, 64, 3), np.uint8)
    for _ in range(5):
        assert np.array_equal(eager(images)[1], engine(images)[1])
    assert Recorded.made == 1  # by the other
