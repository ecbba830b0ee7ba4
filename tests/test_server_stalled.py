"""A camera whose frames come, and no results of them: the API says that there is no data, and why."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from densewatch.live.frames import Frame
from densewatch.live.policy import SourcePolicy
from densewatch.live.post import Post
from densewatch.live.settings import CameraSettings
from densewatch.live.watcher import Listeners, Watcher
from densewatch.runtime.detector import Detector, load
from densewatch.runtime.engine import EngineError
from densewatch.server.metrics import counts_are_valid
from live_helpers import wait_for
from tiny_model import write_tiny_model

SETTINGS = CameraSettings(source="demo", stalled_after_s=0.3, max_age_ms=300)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    return load(write_tiny_model(tmp_path_factory.mktemp("model") / "tiny.onnx"))


@pytest.fixture
def loop(detector: Detector) -> Iterator[Watcher]:
    listeners = Listeners(lambda _: None, lambda _: None, lambda _: None)
    loop = Watcher(detector, {"hall": SETTINGS}, policy=SourcePolicy.permissive(), listeners=listeners)
    yield loop
    loop.stop()


def detecting(monkeypatch: pytest.MonkeyPatch, before: Callable[[], object]) -> None:
    """Let something happen before each detection."""
    whole = Detector.detect

    def detect(self: Detector, source: Any, **settings: Any) -> Any:
        before()
        return whole(self, source, **settings)

    monkeypatch.setattr(Detector, "detect", detect)


def offer_frame(post: Post) -> None:
    """Let a frame come that nobody looks at."""
    post.camera._offer(Frame(time.time(), "pts", time.monotonic(), (4, 4), lambda: pytest.fail("looked at")))


@pytest.mark.parametrize("from_the_start", [True, False])
def test_a_detector_that_fails_is_no_live_camera(
    loop: Watcher, monkeypatch: pytest.MonkeyPatch, from_the_start: bool
) -> None:
    fails = threading.Event()

    def fail() -> None:
        if fails.is_set():
            raise EngineError("out of memory")

    detecting(monkeypatch, fail)
    if from_the_start:
        fails.set()
    loop.start()
    if not from_the_start:
        wait_for(lambda: loop.latest("hall"), 20)
        fails.set()
    # On a busy machine no picture may come for a while: that is a stall too, of another kind.
    wait_for(lambda: loop.statuses()["hall"].error == "out of memory", 20)
    status = loop.statuses()["hall"]
    assert status.state == "stalled"
    assert status.fps_in > 0
    assert status.since <= time.time()
    assert not counts_are_valid(status, SETTINGS)
    fails.clear()
    wait_for(lambda: (loop.statuses()["hall"].state, loop.statuses()["hall"].error) == ("live", None), 20)


def test_a_detector_that_hangs_is_no_live_camera(loop: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    detecting(monkeypatch, lambda: go_on.wait(20))
    loop.start()
    wait_for(lambda: "no result" in (loop.statuses()["hall"].error or ""), 10)
    go_on.set()


def test_how_long_a_slow_detector_takes_is_learnt(loop: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    detecting(monkeypatch, lambda: time.sleep(0.5))
    loop.start()
    wait_for(lambda: loop._posts["hall"]._took_s >= 0.5, 20)


def test_few_frames_a_second_by_choice_are_no_stall(loop: Watcher) -> None:
    few = {"max_fps": 0.4, "stalled_after_s": 1, "max_age_ms": 1000}
    loop.replace("hall", SETTINGS.model_copy(update=few))
    loop.start()
    wait_for(lambda: loop.latest("hall"), 20)
    until = time.monotonic() + 2.4
    while time.monotonic() < until:
        assert "no result" not in (loop.statuses()["hall"].error or "")
        time.sleep(0.05)


def test_a_clock_that_was_set_back_hides_no_stall(loop: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    post = loop._posts["hall"]
    offer_frame(post)
    whole = time.time
    monkeypatch.setattr(time, "time", lambda: whole() - 3600)

    def is_noticed() -> bool:
        offer_frame(post)
        return "no result" in (post.status().error or "")

    wait_for(is_noticed, 10)
    assert post.status().since <= time.time()


def test_a_slow_detector_goes_on_and_a_hang_after_a_long_one_is_noticed_in_time(loop: Watcher) -> None:
    post = loop._posts["hall"]
    offer_frame(post)
    post.camera._since_mono -= 3600
    post._took_s = 600.0
    for owed_s, is_stalled in ((30, False), (61, True)):
        post._owed_since = time.monotonic() - owed_s
        offer_frame(post)
        assert ("no result" in (post.status().error or "")) is is_stalled


def test_what_was_owed_before_a_camera_was_away_does_not_count(
    loop: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = loop._posts["hall"]
    post._owed_since = time.monotonic() - 3600
    offer_frame(post)
    assert post.status().state == "live"
