"""Pictures of several threads in one batch: everyone gets their own answer, and nobody waits for nothing."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import densewatch as dw
from densewatch.detections import Detections
from densewatch.imaging.resize import Prepared, prepare
from densewatch.metadata import ModelInfo
from densewatch.runtime.batching import Batcher
from densewatch.runtime.candidates import Filter, to_detections
from densewatch.runtime.engine import EngineError, FindingEngine
from densewatch.runtime.engines import create_engine
from tiny_model import KEEP_SIZE, draw_squares, tiny_info, write_tiny_model

WANTED = Filter(threshold=0.5, iou=0.5)


def picture(value: int, height: int = 32) -> Prepared:
    return prepare(np.full((height, 32, 3), value, np.uint8), KEEP_SIZE)


class Network:
    """Answers with a pixel of each picture; stands still until it is let go."""

    def __init__(self, largest: int = 1000) -> None:
        self.batches: list[list[int]] = []
        self.largest = largest
        self.gate = threading.Event()
        self.at_once = 0
        self.most_at_once = 0
        self._lock = threading.Lock()

    def __call__(
        self, images: npt.NDArray[np.uint8], members: Sequence[Prepared], wanted: Filter
    ) -> list[int]:
        assert len(images) == len(members)
        values = [int(image[0, 0, 0]) for image in images]
        with self._lock:
            self.batches.append(values)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        assert self.gate.wait(10)
        with self._lock:
            self.at_once -= 1
        if len(images) > self.largest:
            raise EngineError("too large")
        if 13 in values:
            raise EngineError("an unlucky picture")
        return values


def ask(batcher: Batcher[int], item: Prepared, wanted: Filter = WANTED) -> list[int]:
    return list(batcher(item.pixels[None], [item], wanted))


def hand_in(
    batcher: Batcher[int], network: Network, items: Sequence[Prepared], wanted: Sequence[Filter] = ()
) -> list[list[int] | BaseException]:
    """Hand the first picture in, and the others while the network stands still with it; return what comes."""
    with ThreadPoolExecutor(len(items)) as pool:
        futures = []
        for position, item in enumerate(items):
            futures.append(pool.submit(ask, batcher, item, wanted[position] if wanted else WANTED))
            wait_for(lambda: bool(network.batches))
            wait_for(lambda count=position: len(batcher._waiting) == count)
        network.gate.set()
        return [future.exception() or future.result() for future in futures]


def wait_for(condition: object) -> None:
    end = time.monotonic() + 10
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.001)


def test_those_that_wait_share_a_batch() -> None:
    network = Network()
    batcher = Batcher(network, most=4, streams=1)
    answers = hand_in(batcher, network, [picture(value) for value in range(8)])
    assert answers == [[value] for value in range(8)]
    assert network.batches == [[0], [1, 2, 3, 4], [5, 6], [7]]  # full, or a power of two


def test_only_pictures_of_one_size_of_which_the_same_is_wanted_share_a_batch() -> None:
    network = Network()
    batcher = Batcher(network, most=8, streams=1)
    items = [picture(value, height=64 if value in (2, 5) else 32) for value in range(7)]
    other = Filter(threshold=0.1, iou=0.5)
    wanted = [other if value in (4, 6) else WANTED for value in range(7)]
    hand_in(batcher, network, items, wanted)
    assert network.batches == [[0], [1, 3], [2, 5], [4, 6]]


def test_several_pictures_of_one_caller_stay_together() -> None:
    network = Network()
    network.gate.set()
    batcher = Batcher(network, most=2, streams=1)
    members = [picture(value) for value in range(5)]
    assert list(batcher(np.stack([item.pixels for item in members]), members, WANTED)) == [0, 1, 2, 3, 4]
    assert network.batches == [[0, 1, 2, 3, 4]]


def test_as_many_batches_as_streams_are_computed_at_once() -> None:
    network = Network()
    batcher = Batcher(network, most=1, streams=3)
    with ThreadPoolExecutor(8) as pool:
        futures = [pool.submit(ask, batcher, picture(value)) for value in range(8)]
        wait_for(lambda: len(network.batches) == 3)
        network.gate.set()
        assert [future.result() for future in futures] == [[value] for value in range(8)]
    assert network.most_at_once == 3


def test_a_picture_that_fails_fails_alone() -> None:
    network = Network()
    items = [picture(value) for value in (0, 12, 13, 14, 15)]
    answers = hand_in(Batcher(network, most=4, streams=1), network, items)
    assert [answers[place] for place in (0, 1, 3, 4)] == [[0], [12], [14], [15]]
    assert str(answers[2]) == "an unlucky picture"


def test_a_batch_for_which_there_is_no_memory_is_computed_one_by_one() -> None:
    network = Network(largest=1)
    batcher = Batcher(network, most=4, streams=1)
    assert hand_in(batcher, network, [picture(value) for value in range(5)]) == [[0], [1], [2], [3], [4]]
    assert network.batches == [[0], [1, 2, 3, 4], [1], [2], [3], [4]]


def test_what_a_batch_that_was_too_large_took_is_let_go_of_first() -> None:
    """On a GPU, memory is full of what the error's traceback holds."""

    class Activations:
        pass

    class Full(Network):
        held: weakref.ref[Activations] | None = None

        def __call__(
            self, images: npt.NDArray[np.uint8], members: Sequence[Prepared], wanted: Filter
        ) -> list[int]:
            assert self.held is None or self.held() is None
            activations = Activations()
            if len(images) > 1:
                self.held = weakref.ref(activations)
            return super().__call__(images, members, wanted)

    network = Full(largest=1)
    hand_in(Batcher(network, most=4, streams=1), network, [picture(value) for value in range(5)])
    assert network.held is not None
    assert network.batches[1:] == [[1, 2, 3, 4], [1], [2], [3], [4]]


def test_a_fault_of_the_program_reaches_all_that_it_concerns() -> None:
    class Faulty(Network):
        def __call__(
            self, images: npt.NDArray[np.uint8], members: Sequence[Prepared], wanted: Filter
        ) -> list[int]:
            super().__call__(images, members, wanted)
            raise KeyError("a fault")

    network = Faulty()
    batcher = Batcher(network, most=4, streams=1)
    answers = hand_in(batcher, network, [picture(value) for value in range(6)])
    assert [type(answer) for answer in answers] == [KeyError] * 6
    assert network.batches == [[0], [1, 2, 3, 4], [5]]  # and none is tried once more
    with pytest.raises(KeyError, match="a fault"):  # it goes on afterwards
        ask(batcher, picture(1))


def scene(index: int) -> npt.NDArray[np.uint8]:
    """Return a picture with one square, of one of two sizes."""
    size = (64, 128) if index % 3 else (96, 64)
    return draw_squares(size, [(32 * (index % 2), 32 * (index // 2 % 2), 32, ("car", "chair")[index % 2])])


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_many_pictures_are_found_as_one_by_one(tmp_path: Path, engine: str) -> None:
    path = write_tiny_model(tmp_path / "tiny.onnx")
    scenes = [scene(index) for index in range(40)]
    alone = dw.load(path, engine=engine, device="cpu", precision="float32")  # type: ignore[arg-type]
    together = dw.load(path, engine=engine, device="cpu", precision="float32", batch=4)  # type: ignore[arg-type]
    assert (alone.batch, alone.workers, together.batch, together.workers) == (1, 2, 4, 8)
    expected = [alone.detect(image, threshold=0.6).to_dicts() for image in scenes]
    assert [one.to_dicts() for one in together.detect_many(scenes, threshold=0.6)] == expected
    assert {len(rows) for rows in expected} == {1}


class Finder:
    """An engine that sorts candidates out by itself."""

    name, version, numeric_type, device, threads, streams = "finder", "1", "float32", "cuda:0", 1, 1

    def __init__(self, path: Path) -> None:
        self.engine = create_engine(path, "onnxruntime", device="cpu")
        self.batches: list[int] = []
        self.at_once = 0
        self.most_at_once = 0
        self._lock = threading.Lock()

    def __call__(
        self, images: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        raise AssertionError("it can do better than this")

    def find(
        self, images: npt.NDArray[np.uint8], members: Sequence[Prepared], info: ModelInfo, wanted: Filter
    ) -> list[Detections]:
        with self._lock:
            self.batches.append(len(images))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(1e-3)  # for others to come meanwhile
        found = [
            to_detections(boxes, scores, member, info, wanted)
            for boxes, scores, member in zip(*self.engine(images), members, strict=True)
        ]
        with self._lock:
            self.at_once -= 1
        return found


def test_an_engine_that_finds_objects_is_asked_for_them(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "tiny.onnx")
    finder = Finder(path)
    assert isinstance(finder, FindingEngine)
    detector = dw.Detector(tiny_info(), finder)
    assert detector.batch == 8  # on a GPU
    scenes = [scene(index) for index in range(40)]
    expected = [dw.load(path).detect(image, threshold=0.6).to_dicts() for image in scenes]
    assert [one.to_dicts() for one in detector.detect_many(scenes, threshold=0.6)] == expected
    assert sum(finder.batches) == 40
    tiled = detector.detect(scene(1), threshold=0.6, tiles="2x1", max_detections=1)
    assert (
        tiled.to_dicts()
        == dw.load(path).detect(scene(1), threshold=0.6, tiles="2x1", max_detections=1).to_dicts()
    )


def test_with_a_deadline_pictures_go_one_by_one(tmp_path: Path) -> None:
    """Waiting for a batch and being in one would count as what a picture costs, and detail be given up."""
    finder = Finder(write_tiny_model(tmp_path / "tiny.onnx"))
    detector = dw.Detector(tiny_info(), finder, batch=8)
    scenes = [scene(index) for index in range(20)]
    expected = [one.to_dicts() for one in detector.detect_many(scenes, threshold=0.6)]
    assert not detector._cost.known
    assert max(finder.batches) > 1
    finder.batches.clear()
    found = detector.detect_many(scenes, threshold=0.6, deadline_ms=60_000)
    assert [one.to_dicts() for one in found] == expected
    assert finder.most_at_once <= 2  # more would wait for the engine, and that would count too
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda image: detector.detect(image, deadline_ms=60_000), scenes))
    assert set(finder.batches) == {1}


def test_a_batch_of_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="batch must be at least 1, not 0"):
        dw.load(write_tiny_model(tmp_path / "tiny.onnx"), batch=0)
