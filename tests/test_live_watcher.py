"""The loop: frames of several sources through one detector."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from PIL import Image

from densewatch.detections import UnknownNameError
from densewatch.live.frames import SourceError
from densewatch.live.motion import MotionGate
from densewatch.live.policy import SourcePolicy
from densewatch.live.results import FrameResult
from densewatch.live.settings import CameraSettings, MotionSettings, ZoneSettings
from densewatch.live.watcher import Listeners, Watcher
from densewatch.records import Bin, Event
from densewatch.runtime.detector import Detector, load
from densewatch.runtime.engine import EngineError
from live_helpers import wait_for
from tiny_model import draw_squares, write_tiny_model

LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))
COUNT = 12


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return load(write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures with a red square left, a person, and a blue one right, a car."""
    folder = tmp_path_factory.mktemp("pictures")
    image = draw_squares((128, 256), [(32, 32, 32, "person"), (192, 64, 32, "car")])
    for number in range(COUNT):
        Image.fromarray(image).save(folder / f"{number:02}.png")
    return folder


class Heard:
    """What a loop said, in order."""

    def __init__(self) -> None:
        self.results: list[FrameResult] = []
        self.events: list[Event] = []
        self.bins: list[Bin] = []
        self.threads: Counter[str] = Counter()

    def listeners(self) -> Listeners:
        return Listeners(self._result, self.events.append, self.bins.append)

    def _result(self, result: FrameResult) -> None:
        self.threads[threading.current_thread().name] += 1
        self.results.append(result)


def watcher(detector: Detector, cameras: Mapping[str, CameraSettings], heard: Heard) -> Watcher:
    return Watcher(detector, cameras, policy=SourcePolicy.permissive(), listeners=heard.listeners())


def once(source: Path, **settings: object) -> CameraSettings:
    """Return the settings of a folder whose every picture is looked at, once."""
    return CameraSettings.model_validate({"source": str(source), "loop": False, **settings})


def all_results(
    detector: Detector, cameras: Mapping[str, CameraSettings]
) -> Iterator[tuple[str, list[FrameResult]]]:
    heard = Heard()
    loop = watcher(detector, cameras, heard)
    loop.start()
    assert loop.wait(20), "the sources did not end"
    loop.stop()
    for camera in cameras:
        yield camera, [result for result in heard.results if result.camera == camera]


def test_every_picture_of_every_folder_is_looked_at_once_and_in_order(
    detector: Detector, pictures: Path
) -> None:
    for _, results in all_results(detector, {"a": once(pictures), "b": once(pictures), "c": once(pictures)}):
        assert [result.frame for result in results] == list(range(COUNT))
        times = [result.time for result in results]
        assert times == sorted(set(times))
        assert [len(result.detections) for result in results] == [2] * COUNT


def test_objects_get_numbers_and_are_counted(detector: Detector, pictures: Path) -> None:
    [(_, results)] = all_results(detector, {"a": once(pictures)})
    last = results[-1]
    assert dict(last.counts) == {"person": 1, "car": 1}
    assert last.detections.track_ids is not None
    assert len(set(last.detections.track_ids.tolist())) == 2
    assert min(last.detections.track_ids.tolist()) >= 0


def test_only_what_is_wanted_counts(detector: Detector, pictures: Path) -> None:
    [(_, results)] = all_results(detector, {"a": once(pictures, only=("car",))})
    assert dict(results[-1].counts) == {"car": 1}


def test_nothing_sees_what_is_masked(detector: Detector, pictures: Path) -> None:
    [(_, results)] = all_results(detector, {"a": once(pictures, masks=(LEFT_HALF,))})
    assert dict(results[-1].counts) == {"car": 1}
    assert not any(result.image[:, :128].any() for result in results)


def test_zones_count_for_themselves(detector: Detector, pictures: Path) -> None:
    zones = {"left": ZoneSettings(points=LEFT_HALF)}
    [(_, results)] = all_results(detector, {"a": once(pictures, zones=zones)})
    assert dict(results[-1].zones["left"].counts) == {"person": 1}


def test_a_still_scene_spares_the_network(detector: Detector, pictures: Path) -> None:
    motion = MotionSettings(at_least_every_s=1000)
    [(_, results)] = all_results(detector, {"a": once(pictures, motion=motion)})
    assert [result.detected for result in results] == [True] + [False] * (COUNT - 1)
    assert dict(results[-1].counts) == {"person": 1, "car": 1}


def test_frames_beyond_the_limit_are_let_go_and_counted(detector: Detector, pictures: Path) -> None:
    heard = Heard()
    loop = watcher(detector, {"a": once(pictures, max_fps=0.4)}, heard)
    loop.start()
    assert loop.wait(20)
    loop.stop()
    span_s = heard.results[-1].time - heard.results[0].time
    assert len(heard.results) <= span_s * 0.4 + 1 + 1e-6
    assert len(heard.results) + loop.statuses()["a"].dropped["limit"] == COUNT


def test_a_source_that_is_missing_leaves_the_others_alone(
    detector: Detector, pictures: Path, tmp_path: Path
) -> None:
    heard = Heard()
    loop = watcher(detector, {"gone": once(tmp_path / "gone.mp4"), "here": once(pictures)}, heard)
    loop.start()
    assert loop.wait(20)
    loop.stop()
    assert len(heard.results) == COUNT
    assert "gone.mp4" in (loop.statuses()["gone"].error or "")
    assert loop.statuses()["gone"].age_ms is None


def test_a_detector_that_fails_at_a_frame_goes_on_with_the_next(
    detector: Detector, pictures: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole, calls = Detector.detect, Counter[str]()

    def detect(self: Detector, source: object, **settings: object) -> object:
        calls["all"] += 1
        if calls["all"] == 3:
            raise EngineError("out of memory")
        if calls["all"] == 5:
            raise RuntimeError("a fault of ours")
        return whole(self, source, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(Detector, "detect", detect)
    heard = Heard()
    loop = watcher(detector, {"a": once(pictures)}, heard)
    loop.start()
    assert loop.wait(20)
    loop.stop()
    assert len(heard.results) == COUNT - 2
    dropped = loop.statuses()["a"].dropped
    assert (dropped["engine"], dropped["error"]) == (1, 1)
    assert "out of memory" in caplog.text
    assert "a fault of ours" in caplog.text


def test_after_a_failure_of_the_engine_the_motion_gate_knows_nothing(
    detector: Detector, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was found in the picture before is not what this one shows."""
    whole, calls = Detector.detect, Counter[str]()

    def detect(self: Detector, source: object, **settings: object) -> object:
        calls["all"] += 1
        if calls["all"] == 2:
            raise EngineError("out of memory")
        return whole(self, source, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(Detector, "detect", detect)
    monkeypatch.setattr(MotionGate, "_moved", lambda *_: calls["all"] < 2)
    motion = MotionSettings(at_least_every_s=1000)
    [(_, results)] = all_results(detector, {"a": once(pictures, motion=motion)})
    assert [result.detected for result in results] == [True, True] + [False] * (COUNT - 3)


def test_a_listener_that_fails_for_one_camera_harms_no_other(
    detector: Detector, pictures: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heard = Heard()

    def on_bin(bin: Bin) -> None:
        if bin.observation.camera == "a":
            raise OSError("the disk is gone")
        heard.bins.append(bin)

    cameras = {name: CameraSettings(source=str(pictures), loop=True) for name in "ab"}
    listeners = Listeners(lambda _: None, lambda _: None, on_bin)
    policy = SourcePolicy.permissive()
    loop = Watcher(detector, cameras, policy=policy, listeners=listeners, bin_seconds=1)
    loop.start()
    wait_for(lambda: len(heard.bins) >= 2, 20)
    loop.stop()
    assert "camera a: who listens to it failed" in caplog.text
    assert len(heard.bins) >= 3, "what is open at the end is handed out too"


def test_stop_hands_out_what_is_open_and_leaves_no_thread(detector: Detector, pictures: Path) -> None:
    heard = Heard()
    loop = watcher(detector, {"demo": CameraSettings(source=str(pictures), loop=True)}, heard)
    before = set(threading.enumerate())
    loop.start()
    wait_for(lambda: len(heard.results) >= 3, 20)
    loop.stop()
    assert {thread.name for thread in set(threading.enumerate()) - before} == set()
    count = len(heard.results)
    assert heard.bins, "the bin that was open is not handed out"
    assert not any(event.end_time is None for event in {event.id: event for event in heard.events}.values())
    assert len(heard.results) == count
    assert loop.wait(0)


def test_settings_change_while_it_runs(detector: Detector, pictures: Path) -> None:
    heard = Heard()
    settings = CameraSettings(source=str(pictures), loop=True)
    loop = watcher(detector, {"a": settings}, heard)
    loop.start()
    wait_for(lambda: loop.latest("a"), 20)
    changed = settings.model_copy(update={"masks": (LEFT_HALF,)})
    loop.replace("a", changed)
    assert loop.settings("a") == changed
    wait_for(lambda: (latest := loop.latest("a")) and not latest.image[:, :128].any(), 20)
    with pytest.raises(ValueError, match="source"):
        loop.replace("a", settings.model_copy(update={"source": "demo"}))
    with pytest.raises(UnknownNameError):
        loop.replace("a", settings.model_copy(update={"only": ("persn",)}))
    assert loop.settings("a") == changed
    with pytest.raises(KeyError):
        loop.replace("b", settings)
    loop.stop()


def test_wrong_settings_are_refused_before_anything_is_opened(detector: Detector, pictures: Path) -> None:
    with pytest.raises(UnknownNameError, match="person"):
        watcher(detector, {"a": once(pictures, only=("persn",))}, Heard())
    with pytest.raises(SourceError):
        Watcher(detector, {"a": once(pictures)}, policy=SourcePolicy(), listeners=Heard().listeners())
