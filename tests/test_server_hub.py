"""The hub: newest first, encoded once, bounded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from densewatch.live.results import CameraState, CameraStatus
from densewatch.live.settings import CameraSettings
from densewatch.server.hub import WIDTHS, Hub, Viewer, step
from densewatch.server.limits import Limits
from fake_service import BOUNDLESS, fake_site, parts
from fake_watcher import frame_result, hall_and_yard


def hub_of(state: CameraState = "live", **settings: Any) -> Hub:
    """Return a hub whose cameras are all in one state."""
    status = CameraStatus("hall", state, 0.0, "demo", None, None, None, None, None, 0.0, 0.0, {}, {})
    camera = CameraSettings(source="demo", **settings)
    return Hub(lambda: {"hall": status}, lambda _: camera)


def with_hub(job: Callable[[Hub], Any], hub: Hub | None = None) -> Any:
    hub = hub or hub_of()

    async def run() -> Any:
        hub.open()
        try:
            return await asyncio.wait_for(job(hub), 20)
        finally:
            hub.close()

    return asyncio.run(run())


def test_a_frame_is_encoded_once_for_all_viewers_of_a_width(monkeypatch: pytest.MonkeyPatch) -> None:
    from densewatch.server import hub as module

    encoded: list[int] = []
    old = module._encode

    def counted(result: Any, width: int) -> tuple[bytes, bytes]:
        encoded.append(width)
        return old(result, width)

    monkeypatch.setattr(module, "_encode", counted)

    async def job(hub: Hub) -> None:
        widths = (1280, 1280, 1000, 640, 700)
        viewers = [Viewer(frozenset({"hall"}), width, 1000) for width in widths]
        for viewer in viewers:
            hub.join(viewer)
        for number in range(3):
            hub.publish(frame_result("hall", number, hall_and_yard()["hall"], (720, 1280)))
            messages = await asyncio.gather(*(hub.next(viewer) for viewer in viewers))
            assert {parts(message)[0]["frame"] for message in messages} == {number}
            assert [parts(message)[1].shape[1] for message in messages] == [1280, 1280, 960, 640, 640]

    with_hub(job)
    assert sorted(encoded) == sorted([1280, 960, 640] * 3)


def test_nothing_is_encoded_when_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    from densewatch.server import hub as module

    monkeypatch.setattr(module, "encode_jpeg", lambda *_, **__: pytest.fail("somebody encodes"))

    async def job(hub: Hub) -> None:
        viewer = Viewer(frozenset({"yard"}))
        hub.join(viewer)
        for number in range(5):
            hub.publish(frame_result("hall", number, hall_and_yard()["hall"]))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(hub.next(viewer), 0.1)

    with_hub(job)


def test_cameras_take_turns_and_a_late_viewer_gets_the_newest() -> None:
    async def job(hub: Hub) -> list[tuple[str, int]]:
        cameras = ("a", "b", "c")
        settings = hall_and_yard()["hall"]
        viewer = Viewer(frozenset(cameras), max_fps=1000)
        hub.join(viewer)
        got = []
        for number in range(12):
            for camera in cameras:  # all three are new again before each message
                hub.publish(frame_result(camera, number, settings))
            header, _ = parts(await hub.next(viewer))
            got.append((header["camera"], header["frame"]))
        return got

    got = with_hub(job)
    assert [frame for _, frame in got] == list(range(12))
    assert all(len({camera for camera, _ in got[start : start + 3]}) == 3 for start in range(0, 12, 3))


def test_the_age_grows_until_a_message_is_sent() -> None:
    async def job(hub: Hub) -> None:
        hub.publish(frame_result("hall", 0, hall_and_yard()["hall"]))
        await asyncio.sleep(0.2)
        for _ in range(2):  # the second one gets what was encoded for the first
            viewer = Viewer(frozenset({"hall"}))
            hub.join(viewer)
            header, _ = parts(await hub.next(viewer))
            assert 250 <= header["age_ms"] < 5000
            assert header["age_ms"] == pytest.approx((header["sent"] - header["time"]) * 1000, abs=20)

    with_hub(job)


@pytest.mark.parametrize("state", ["lost", "stalled", "ended"])
def test_a_result_of_old_is_sent_as_what_it_is_now(state: CameraState) -> None:
    async def job(hub: Hub) -> None:
        hub.publish(frame_result("hall", 0, hall_and_yard()["hall"]))
        early = Viewer(frozenset({"hall"}))
        hub.join(early)
        header, _ = parts(await hub.next(early))
        assert (header["state"], header["stale"]) == ("live", False)
        hub._newest["hall"] = replace(hub._newest["hall"], at=time.monotonic() - 3600)
        late = Viewer(frozenset({"hall"}))
        hub.join(late)
        header, _ = parts(await hub.next(late))
        assert (header["state"], header["stale"]) == (state, True)
        assert header["age_ms"] > 3_600_000

    with_hub(job, hub_of(state))


@pytest.mark.parametrize(("max_fps", "late_after_ms"), [(None, 700), (0.5, 2700)])
def test_a_viewer_is_told_when_a_picture_is_late(max_fps: float | None, late_after_ms: int) -> None:
    async def job(hub: Hub) -> None:
        viewer = Viewer(frozenset({"hall"}))
        hub.join(viewer)
        hub.publish(frame_result("hall", 0, hall_and_yard()["hall"]))
        assert parts(await hub.next(viewer))[0]["late_after_ms"] == late_after_ms

    with_hub(job, hub_of(max_age_ms=700, max_fps=max_fps))


def test_a_viewer_that_leaves_does_not_take_a_picture_from_the_others() -> None:
    async def job(hub: Hub) -> None:
        first, second = Viewer(frozenset({"hall"})), Viewer(frozenset({"hall"}))
        hub.join(first)
        hub.join(second)
        hub.publish(frame_result("hall", 0, hall_and_yard()["hall"], (1080, 1920)))
        leaving, staying = asyncio.ensure_future(hub.next(first)), asyncio.ensure_future(hub.next(second))
        await asyncio.sleep(0)
        leaving.cancel()
        hub.leave(first)
        assert parts(await staying)[0]["frame"] == 0

    with_hub(job)


@given(st.integers(1, 4000), st.integers(1, 4000))
def test_widths(width: int, wanted: int) -> None:
    sent = step(width, wanted)
    assert sent <= width
    assert sent <= max(wanted, WIDTHS[0])
    assert sent == width or sent in WIDTHS


def test_results_come_before_and_after_anybody_serves() -> None:
    hub = hub_of()
    hub.publish(frame_result("hall", 0, hall_and_yard()["hall"]))
    with_hub(lambda hub: asyncio.sleep(0))
    hub.close()
    hub.publish(frame_result("hall", 1, hall_and_yard()["hall"]))
    newest = hub.newest("hall")
    assert newest is not None
    assert newest.result.frame == 1


def test_limits_of_a_site_are_those_of_its_server(tmp_path: Path) -> None:
    site = fake_site(tmp_path, limits={"live_views": 3, "requests_at_once": 7})
    limits = Limits.of(site.server.limits)
    assert (limits.live_views, limits.requests.burst) == (3, 7)
    assert BOUNDLESS.live_views == 8
