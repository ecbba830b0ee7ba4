"""Cameras against a real RTSP server that is killed, stalled, cut off and changed."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from densewatch.live.camera import Camera
from densewatch.live.frames import Frame
from densewatch.live.policy import SourcePolicy
from densewatch.live.settings import CameraSettings
from live_helpers import wait_for
from rtsp_server import FPS, RtspServer, missing, write_clip

BACK_WITHIN_S = 5.0
LOST = missing()
pytestmark = pytest.mark.skipif(LOST is not None, reason=str(LOST))


class Viewer:
    """A camera whose frames are all looked at, as they come.

    Attributes:
        camera: the camera.
        frames: those that came, with the wall time when they did.
    """

    def __init__(self, url: str, **fields: object) -> None:
        self.frames: list[tuple[float, Frame]] = []
        settings = CameraSettings.model_validate({"source": url, "read_timeout_s": 2, **fields})
        self.camera = Camera("cam", settings, SourcePolicy.permissive(), on_frame=self._look)

    def _look(self, camera: Camera) -> None:
        frame = camera.take()
        if frame is not None:
            self.frames.append((time.time(), frame))

    @property
    def state(self) -> str:
        return self.camera.status().state

    def came_after(self, moment: float) -> list[tuple[float, Frame]]:
        return [entry for entry in self.frames if entry[0] > moment]

    def wait_for_frames(self, seconds: float = 10, count: int = 5) -> float:
        """Wait for new frames; return how long the first of them took."""
        now = time.time()
        wait_for(lambda: len(self.came_after(now)) >= count, seconds, "new frames")
        return self.came_after(now)[0][0] - now

    def longest_gap(self, since: float) -> float:
        moments = [moment for moment, _ in self.came_after(since)]
        return max(later - earlier for earlier, later in itertools.pairwise(moments))

    def __enter__(self) -> Viewer:
        self.camera.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.camera.stop()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    return {"small": write_clip(folder / "small"), "large": write_clip(folder / "large", 640, 480)}


@pytest.fixture
def server(clips: dict[str, Path]) -> Iterator[RtspServer]:
    with RtspServer({"one": clips["small"]}) as running:
        yield running


def test_frames_are_timed_by_the_cameras_clock(server: RtspServer) -> None:
    with Viewer(server.url("one")) as viewer:
        viewer.wait_for_frames()
        wait_for(lambda: viewer.frames[-1][1].time_source == "rtcp", 15, "a sender report")
        viewer.wait_for_frames(count=FPS)
        ages = [moment - frame.time for moment, frame in viewer.frames[-FPS:]]
        assert 0 <= min(ages) <= max(ages) < 0.3
        times = [frame.time for _, frame in viewer.frames]
        assert all(later > earlier for earlier, later in itertools.pairwise(times))
        assert viewer.camera.status().fps_in == pytest.approx(FPS, rel=0.3)
        assert viewer.camera.status().dropped == {}


def test_the_first_frame_comes_soon(server: RtspServer) -> None:
    with Viewer(server.url("one")) as viewer:
        assert viewer.wait_for_frames(count=1) < 3


def test_a_server_that_sends_by_udp_only_is_named(clips: dict[str, Path]) -> None:
    with RtspServer({"one": clips["small"]}, udp_only=True) as server, Viewer(server.url("one")) as viewer:
        wait_for(lambda: viewer.state == "lost", 8, "losing the camera")
        status = viewer.camera.status()
        assert status.error is not None
        assert "by UDP only" in status.error
        assert set(status.reconnects) == {"transport"}
        assert not viewer.frames


@pytest.mark.parametrize("trouble", ["kill", "stall", "resolution"])
def test_a_camera_returns_and_the_other_loses_nothing(
    server: RtspServer, clips: dict[str, Path], trouble: str
) -> None:
    with (
        RtspServer({"two": clips["small"]}) as healthy,
        Viewer(server.url("one")) as viewer,
        Viewer(healthy.url("two")) as other,
    ):
        viewer.wait_for_frames()
        other.wait_for_frames()
        size = viewer.camera.status().size
        began = time.time()
        server.stall() if trouble == "stall" else server.kill()
        wait_for(lambda: viewer.state == "lost", 8, "losing the camera")
        lost_at = time.time()
        time.sleep(3)  # an outage has to last
        assert not viewer.came_after(lost_at), "frames were made up"
        assert viewer.camera.status().error
        if trouble == "stall":
            server.resume()
        else:
            server.clips = {"one": clips["large" if trouble == "resolution" else "small"]}
            server.start()
        assert viewer.wait_for_frames() < BACK_WITHIN_S
        assert viewer.state == "live"
        assert sum(viewer.camera.status().reconnects.values()) >= 1
        expected = (480, 640) if trouble == "resolution" else size
        assert viewer.frames[-1][1].to_rgb().shape[:2] == viewer.camera.status().size == expected
        assert other.longest_gap(began) < 1, "the other camera was held up"
        assert other.camera.status().reconnects == {}


def test_a_stall_that_ends_in_time_costs_no_connection(server: RtspServer) -> None:
    with Viewer(server.url("one"), stalled_after_s=0.3, read_timeout_s=10) as viewer:
        viewer.wait_for_frames()
        server.stall()
        wait_for(lambda: viewer.state == "stalled", 3, "stalling")
        server.resume()
        wait_for(lambda: viewer.state == "live", BACK_WITHIN_S, "going on")
        assert viewer.camera.status().reconnects == {}


@pytest.mark.parametrize("password", ["s3cret", "p@ss:w/rd#%41"])
def test_signing_in(
    clips: dict[str, Path], password: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("CAM_PASSWORD", password)
    with RtspServer({"one": clips["small"]}, user="bob", password=password) as server:
        with Viewer(server.url("one"), username="bob", password_env="CAM_PASSWORD") as viewer:
            viewer.wait_for_frames()
            shown = f"{viewer.camera.status()} {viewer.camera!r}"
            assert password not in str(vars(viewer.camera))
        with Viewer(server.url("one", "bob:wr0ng@")) as viewer:
            wait_for(lambda: viewer.state == "lost", 10, "being refused")
            status = viewer.camera.status()
            assert status.reconnects == {"unauthorized": 1}
            shown += f"{status} {vars(viewer.camera)}"
    shown += caplog.text + repr(caplog.records) + str(capfd.readouterr())
    for secret in (password, "wr0ng", "bob"):
        assert secret not in shown


def test_a_stream_that_the_server_does_not_know(server: RtspServer) -> None:
    with Viewer(server.url("absent")) as viewer:
        wait_for(lambda: viewer.state == "lost", 10, "being refused")
        assert viewer.camera.status().reconnects == {"not_found": 1}


def test_stop_leaves_no_thread_and_no_socket(server: RtspServer) -> None:
    def held() -> tuple[set[threading.Thread], int]:
        return set(threading.enumerate()), len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(2):  # the first time loads libraries
        threads, files = held()
        with Viewer(server.url("one")) as viewer:
            viewer.wait_for_frames()
            began = time.monotonic()
        assert time.monotonic() - began < 2
    # What tests before this one have left may go meanwhile.
    wait_for(lambda: held()[0] <= threads and held()[1] <= files, 1, "letting go of everything")


def test_a_clip_from_outside(shared: Path, tmp_path: Path) -> None:
    clip = shared / "clips" / "intel_one-by-one-person-detection.mp4"
    if not clip.is_file():
        pytest.skip("needs ../shared/clips")
    folder = write_clip(tmp_path / "clip", 640, 360, seconds=3, clip=clip)
    with RtspServer({"one": folder}) as server, Viewer(server.url("one")) as viewer:
        viewer.wait_for_frames(count=2 * FPS)
        assert viewer.frames[-1][1].to_rgb().shape == (360, 640, 3)


@contextmanager
def far_network() -> Iterator[tuple[list[str], str, str]]:
    """Make a network of its own, joined to ours by a cable; gives a prefix, its address and the cable."""
    name, near, far, host = "densewatch-far", "dw-near", "dw-far", "10.203.7.2"
    steps = [
        f"ip netns add {name}",
        f"ip link add {near} type veth peer name {far} netns {name}",
        f"ip addr add 10.203.7.1/30 dev {near}",
        f"ip link set {near} up",
        f"ip -n {name} addr add {host}/30 dev {far}",
        f"ip -n {name} link set {far} up",
        f"ip -n {name} link set lo up",
    ]
    try:
        for step in steps:
            done = subprocess.run(step.split(), capture_output=True, text=True, check=False)
            if done.returncode != 0:
                pytest.skip(f"no network of its own here: {done.stderr.strip()}")
        yield ["ip", "netns", "exec", name], host, near
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", near], capture_output=True, check=False)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("ip") is None, reason="needs root and iproute2")
@pytest.mark.parametrize("seconds", [1, 7])
def test_a_camera_returns_when_the_cable_is_back(clips: dict[str, Path], seconds: int) -> None:
    with (
        far_network() as (prefix, host, cable),
        RtspServer({"one": clips["small"]}, host=host, prefix=prefix) as server,
        Viewer(server.url("one")) as viewer,
    ):
        viewer.wait_for_frames()
        subprocess.run(["ip", "link", "set", cable, "down"], check=True)
        cut_at = time.time()
        time.sleep(seconds)  # the cable is out
        late = [frame for moment, frame in viewer.came_after(cut_at + 0.5) if frame.time > cut_at + 0.5]
        assert not late, "frames were made up"
        subprocess.run(["ip", "link", "set", cable, "up"], check=True)
        assert viewer.wait_for_frames() < BACK_WITHIN_S
