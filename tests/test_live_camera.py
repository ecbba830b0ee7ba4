"""A camera's thread: newest frame wins, states, back-off, and that nothing ends it but `stop`."""

from __future__ import annotations

import gc
import itertools
import logging
import random
import threading
import time
import weakref
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest

import densewatch.live.camera
from densewatch.live.backoff import Backoff
from densewatch.live.camera import Camera
from densewatch.live.frames import Frame, FrameSource, SourceError
from densewatch.live.policy import SourcePolicy
from densewatch.live.settings import CameraSettings
from densewatch.live.sources.clock import FrameClock
from live_helpers import wait_for, write_video
from local_server import closed_port

ALL = SourcePolicy.permissive()


class Scripted:
    """A source that does what a test says."""

    live = True
    broken = 0

    def __init__(self, script: Generator[Frame]) -> None:
        self.closed = threading.Event()
        self._script = script

    def frames(self) -> Generator[Frame]:
        yield from self._script

    def close(self) -> None:
        self.closed.set()


def frame(number: int = 0) -> Frame:
    return Frame(1e9 + number, "pts", time.monotonic(), (4, 4), lambda: np.zeros((4, 4, 3), np.uint8))


def camera_of(source: str = "demo", **fields: object) -> Camera:
    settings = CameraSettings.model_validate({"source": source, **fields})
    return Camera("door", settings, ALL, on_frame=lambda _: None)


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "failed", lambda self, now: 0.01)


def use(monkeypatch: pytest.MonkeyPatch, *sources: FrameSource | Exception) -> None:
    left = iter(sources)

    def opened(*_: object) -> FrameSource:
        source = next(left, SourceError("no more", "refused"))
        if isinstance(source, Exception):
            raise source
        return source

    monkeypatch.setattr(densewatch.live.camera, "open_source", opened)


def test_the_newest_frame_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    all_given = threading.Event()

    def script() -> Generator[Frame]:
        yield from (frame(number) for number in range(5))
        all_given.set()
        source.closed.wait()

    source = Scripted(script())
    use(monkeypatch, source)
    camera = camera_of()
    camera.start()
    assert all_given.wait(5)
    taken = camera.take()
    assert taken is not None
    assert taken.time == 1e9 + 4
    assert camera.take() is None
    status = camera.status()
    camera.stop()
    assert (status.state, status.dropped, status.size) == ("live", {"newer": 4}, (4, 4))


@pytest.mark.usefixtures("no_waiting")
def test_a_lost_source_is_tried_again_and_counted_by_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(reason: str) -> Generator[Frame]:
        yield frame()
        raise SourceError("gone", reason)

    def ends() -> Generator[Frame]:
        yield frame()

    def stays() -> Generator[Frame]:
        yield frame(7)
        last.closed.wait()

    last = Scripted(stays())
    use(
        monkeypatch,
        Scripted(fails("timeout")),
        SourceError("no", "refused"),
        Scripted(ends()),
        Scripted(fails("timeout")),
        last,
    )
    camera = camera_of()
    camera.start()
    wait_for(lambda: (taken := camera.take()) is not None and taken.time == 1e9 + 7, 5)
    status = camera.status()
    camera.stop()
    assert status.reconnects == {"timeout": 2, "refused": 1, "ended": 1}
    assert (status.state, status.error) == ("live", None)
    assert last.closed.is_set()


@pytest.mark.usefixtures("no_waiting")
def test_a_failed_source_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where nothing ever looks for cycles of objects: one would hold a decoded frame each time."""

    class Mark:
        """Lives as long as the frame of the stack that it is in."""

    marks: list[weakref.ref[Mark]] = []

    def fails() -> Generator[Frame]:
        held = Mark()
        marks.append(weakref.ref(held))
        yield frame()
        failure = SourceError("gone", "timeout")  # as real sources do, which note it first
        raise failure

    use(monkeypatch, *(Scripted(fails()) for _ in range(5)))
    gc.disable()
    try:
        camera = camera_of()
        camera.start()
        wait_for(lambda: camera.status().reconnects.get("refused", 0) > 0, 5)
        camera.stop()
        assert [mark() for mark in marks] == [None] * 5
    finally:
        gc.enable()


@pytest.mark.usefixtures("no_waiting")
def test_an_unexpected_error_is_told_without_its_text_and_survived(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def breaks() -> Generator[Frame]:
        yield frame()
        raise RuntimeError(text)

    text = "rtsp://bob:s3cret@cam/ is odd"
    use(monkeypatch, RuntimeError(text), Scripted(breaks()))
    camera = camera_of()
    camera.start()
    wait_for(lambda: camera.status().reconnects.get("error") == 2, 5)
    camera.stop()
    assert "unexpected RuntimeError" in caplog.text
    assert "s3cret" not in caplog.text + repr(caplog.records)


def test_a_listener_that_fails_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def listener(_: Camera) -> None:
        raise RuntimeError("the listener is broken")

    camera = Camera("door", CameraSettings(source="demo"), ALL, on_frame=listener)
    camera.start()
    wait_for(lambda: camera.status().dropped.get("newer", 0) >= 3, 5)
    assert camera.status().state == "live"
    camera.stop()


def test_silence_is_stalled_and_failure_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    fail = threading.Event()

    def script() -> Generator[Frame]:
        yield frame()
        fail.wait()
        raise SourceError("door: gone", "timeout")

    use(monkeypatch, Scripted(script()))
    camera = camera_of(stalled_after_s=0.2)
    assert camera.status().state == "connecting"
    camera.start()
    wait_for(lambda: camera.status().state == "live", 5)
    live_since = camera.status().since
    wait_for(lambda: camera.status().state == "stalled", 1)
    assert camera.status().since == pytest.approx(live_since + 0.2, abs=0.1)
    assert camera.status().error
    fail.set()
    wait_for(lambda: camera.status().state == "lost", 1)
    assert camera.status().error == "door: gone"
    began = time.monotonic()
    camera.stop()
    assert time.monotonic() - began < 0.5, "waiting for the next try ends at once"


def test_every_frame_of_a_file_that_is_not_repeated_is_delivered(tmp_path: Path) -> None:
    camera = camera_of(str(write_video(tmp_path / "a.mp4", 30)), loop=False)
    assert not camera.live
    camera.start()
    taken: list[Frame] = []

    def take() -> bool:
        got = camera.take()
        taken.extend([] if got is None else [got])
        return camera.ended and len(taken) == 30

    wait_for(take, 10)
    camera.stop()
    assert len({one.time for one in taken}) == 30
    status = camera.status()
    assert (status.state, status.error, status.dropped) == ("ended", None, {})


def test_a_file_that_cannot_be_read_ends_with_an_error(tmp_path: Path) -> None:
    camera = camera_of(str(tmp_path / "absent.mp4"), loop=False)
    camera.start()
    wait_for(lambda: camera.ended, 5)
    assert "no such file" in str(camera.status().error)
    camera.stop()


def test_what_the_policy_refuses_makes_no_camera() -> None:
    with pytest.raises(SourceError, match="not allowed"):
        Camera("door", CameraSettings(source="rtsp://127.0.0.1/x"), SourcePolicy(), on_frame=lambda _: None)


def test_stop_before_start_and_twice_is_harmless() -> None:
    camera = camera_of()
    camera.stop()
    other = camera_of()
    other.start()
    other.stop()
    other.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "densewatch-camera-door"]


def test_no_secret_is_in_status_or_log(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    camera = camera_of(f"rtsp://bob:s3cret@127.0.0.1:{closed_port()}/x?token=t0ken")
    camera.start()
    wait_for(lambda: camera.status().state == "lost", 5)
    status = camera.status()
    camera.stop()
    text = f"{status} {camera!r} {vars(camera)} {caplog.text} {capfd.readouterr()}"
    assert "refuses the connection" in str(status.error)
    for secret in ("s3cret", "t0ken", "bob"):
        assert secret not in text


def test_frames_a_second_are_measured() -> None:
    camera = camera_of()
    camera.start()
    wait_for(lambda: 20 < camera.status().fps_in < 30, 10)
    camera.stop()


# Back-off, by a clock that the test turns.


def waits(moments: float, count: int, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return `count` waits of a source that fails `moments` seconds after each start, without chance."""
    monkeypatch.setattr(random, "uniform", lambda low, high: 0.0)
    now, found = 0.0, []
    backoff = Backoff(now)
    for _ in range(count):
        for second in np.arange(0, moments, 0.5):
            backoff.frame(now + float(second))
        now += moments
        found.append(backoff.failed(now))
        now += found[-1]
    return found


def test_waits_stay_short_for_two_minutes_and_grow_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    found = waits(0, 70, monkeypatch)
    young = list(itertools.takewhile(lambda wait: wait <= 2.5, found))
    assert young[:3] == [1, 2, 2.5]
    assert 110 < sum(young) < 125
    assert found[len(young) : len(young) + 5] == [5, 10, 20, 40, 60]
    assert set(found[len(young) + 4 :]) == {60}


def test_a_source_that_dies_at_once_each_time_is_tried_ever_more_rarely(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert waits(3, 60, monkeypatch)[-1] == 60


def test_frames_for_a_while_end_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(waits(15, 60, monkeypatch)) == {1}


def test_waits_differ_by_chance() -> None:
    found = {Backoff(0).failed(0) for _ in range(20)}
    assert len(found) > 10
    assert all(0.75 <= wait <= 1 for wait in found)


# The clock of a stream.


def test_times_follow_the_stamps_and_are_never_in_the_future() -> None:
    clock = FrameClock()
    chance = random.Random(1)
    errors = []
    for number in range(3000):
        taken = 1e9 + number / 25
        now = taken + 0.05 + chance.random() * 0.1  # under way for 50 to 150 ms
        time_, source = clock.stamp(number / 25, None, now, True)
        assert source == "pts" or number == 0
        assert time_ <= now
        errors.append(time_ - taken)
    assert max(errors[100:]) - min(errors[100:]) < 0.03, "the wobble of the network is gone"


@pytest.mark.parametrize("drift", [-2e-4, 2e-4])
def test_a_camera_whose_clock_is_wrong_does_not_fall_behind(drift: float) -> None:
    clock = FrameClock()
    for number in range(100_000):
        now = 1e9 + number / 25
        time_, _ = clock.stamp(number / 25 * (1 + drift), None, now, True)
        assert now - 0.2 <= time_ <= now


def test_stamps_that_do_not_know_of_a_pause_are_anchored_anew() -> None:
    clock = FrameClock()
    late = []
    for number in range(500):
        now = 1e9 + number / 25 + (30 if number >= 200 else 0)
        late.append(now - clock.stamp(number / 25, None, now, True)[0])
    assert max(late[:200]) < 0.1
    assert late[210] > 20
    assert late[-1] < 0.1


def test_a_jam_shows_as_age() -> None:
    clock = FrameClock()
    for number in range(500):
        now = 1e9 + number / 25 * 1.2  # frames come ever later, and all are there when they are asked for
        lag = now - clock.stamp(number / 25, None, now, False)[0]
    assert lag > 3


def test_the_cameras_own_clock_is_believed_where_it_can_be() -> None:
    clock = FrameClock()
    seen = []
    for number in range(200):
        now = 1e9 + number / 25
        rtcp = None if number < 50 else now - 0.3
        seen.append(clock.stamp(number / 25, rtcp, now, True))
    assert seen[10][1] == "pts"
    assert seen[-1][1] == "rtcp"
    assert seen[-1][0] == pytest.approx(now - 0.3)
    steps = np.diff([time_ for time_, _ in seen])
    assert (steps > 0).all()
    for wrong in (now + 3600, now - 1500):
        assert clock.stamp(9, wrong, now + 1, True)[1] == "pts"


def test_without_stamps_there_is_the_time_of_arrival() -> None:
    assert FrameClock().stamp(None, None, 1e9, True) == (1e9, "arrival")


def test_time_goes_back_with_the_computers_own_clock_only() -> None:
    clock = FrameClock()
    first, _ = clock.stamp(10.0, None, 1e9, True)
    assert clock.stamp(3.0, None, 1e9 + 0.04, True)[0] > first
    assert clock.stamp(3.04, None, 1e9 - 3600, True)[0] == 1e9 - 3600
