"""A camera that dies, stalls and changes, beside one that does not, ten times as fast as life.

python benchmarks/soak.py --minutes 10 --settle 5

Needs a GStreamer RTSP server: tests/rtsp_server.py names Debian's packages. Exits with 1 past a limit.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from densewatch.live.allocator import limit_arenas
from densewatch.live.policy import SourcePolicy
from densewatch.live.results import FrameResult
from densewatch.live.settings import CameraSettings
from densewatch.live.watcher import Listeners, Watcher
from densewatch.loading import load
from densewatch.records import Bin
from densewatch.store.store import Store
from densewatch.store.writer import Writer

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from rtsp_server import RtspServer, missing, write_clip

BACK_WITHIN_S = 5.0
MB_AN_HOUR = 1.0
FLAWLESS_S = 12.0
"""Between two troubles: after less, the camera's waits go on growing, as they should where one flaps."""


@dataclass
class Seen:
    """What came of each camera, as it came."""

    last: dict[str, float] = field(default_factory=dict)
    longest_gap_s: dict[str, float] = field(default_factory=dict)
    results: dict[str, int] = field(default_factory=dict)
    made_up: int = 0

    def take(self, result: FrameResult) -> None:
        now, camera = time.monotonic(), result.camera
        gap_s = now - self.last.get(camera, now)
        self.longest_gap_s[camera] = max(self.longest_gap_s.get(camera, 0.0), gap_s)
        self.results[camera] = self.results.get(camera, 0) + 1
        self.last[camera] = now

    def take_bin(self, bin: Bin) -> None:
        self.made_up += bin.observation.observed == 0 and bool(bin.counts or bin.lines)


def memory_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def trouble(
    server: RtspServer, clips: list[Path], seen: Seen, ended: threading.Event, back: list[float]
) -> None:
    """Kill, stall and change a server, over and over, and note how long its camera takes to come back."""
    ways = itertools.cycle(("kill", "stall", "resize"))
    sizes = itertools.cycle(clips[1:] + clips[:1])
    while not ended.wait(FLAWLESS_S):
        way = next(ways)
        if way == "stall":
            server.stall()
        else:
            server.kill()
            if way == "resize":
                server.clips["troubled"] = next(sizes)
        ended.wait(4)
        returned = time.monotonic()
        if way == "stall":
            server.resume()
        else:
            server.start()
        while seen.last.get("troubled", 0) < returned and not ended.wait(0.02):
            if time.monotonic() - returned > 60:
                break
        back.append(time.monotonic() - returned)


def soak(minutes: float, settle: float, speed: int, folder: Path) -> bool:
    clips = [
        write_clip(folder / f"clip-{width}", width, height) for width, height in ((640, 480), (320, 240))
    ]
    detector = load(streams=2)
    store = Store.open(f"sqlite:///{folder / 'store.db'}", folder)
    writer = Writer(store)
    seen, ended, back = Seen(), threading.Event(), list[float]()

    def keep(bin: Bin) -> None:
        seen.take_bin(bin)
        writer.add_bin(bin)

    with (
        RtspServer({"steady": clips[0]}, speed=speed) as steady,
        RtspServer({"troubled": clips[0]}, speed=speed) as troubled,
    ):
        cameras = {
            "steady": CameraSettings(source=steady.url("steady")),
            "troubled": CameraSettings(source=troubled.url("troubled"), read_timeout_s=2.0),
        }
        watcher = Watcher(
            detector,
            cameras,
            policy=SourcePolicy.permissive(),
            listeners=Listeners(seen.take, writer.add_event, keep),
            bin_seconds=10,
        )
        writer.start()
        watcher.start()
        chaos = threading.Thread(target=trouble, args=(troubled, clips, seen, ended, back), name="trouble")
        chaos.start()
        begun, samples = time.monotonic(), list[tuple[float, float]]()
        while (at := time.monotonic() - begun) < (settle + minutes) * 60:
            samples.append((at / 3600, memory_mb()))
            time.sleep(1)
        ended.set()
        chaos.join()
        threads = threading.active_count()
        watcher.stop()
        writer.close()
        store.close()
    settled = np.array([(at, mb) for at, mb in samples if at * 60 >= settle])
    slope = float(np.polyfit(settled[:, 0], settled[:, 1], 1)[0])
    return report(settle + minutes, speed, seen, back, slope, [mb for _, mb in samples], threads)


def report(
    minutes: float, speed: int, seen: Seen, back: list[float], slope: float, memory: list[float], threads: int
) -> bool:
    print(f"{minutes:g} minutes, {speed} times as fast, {len(back)} troubles, {threads} threads at the end")
    print(f"results            {seen.results}")
    print(f"back after         median {np.median(back):.2f} s, longest {max(back):.2f} s")
    print(f"steady camera      longest gap {seen.longest_gap_s['steady'] * 1000:.0f} ms")
    print(f"made-up counts     {seen.made_up}")
    print(f"memory each minute {', '.join(f'{mb:.1f}' for mb in memory[60::60])} MB")
    print(f"slope              {slope:.2f} MB an hour; {slope / speed:.2f} MB an hour of the cameras' time")
    return max(back) < BACK_WITHIN_S and seen.made_up == 0 and slope / speed < MB_AN_HOUR


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument(
        "--settle",
        type=float,
        default=5,
        help="minutes before, in which engines compile and caches fill; memory counts from then on",
    )
    parser.add_argument("--speed", type=int, default=10)
    arguments = parser.parse_args()
    if (lack := missing()) is not None:
        sys.exit(lack)
    limit_arenas()  # as `densewatch watch` does
    with tempfile.TemporaryDirectory() as folder:
        well = soak(arguments.minutes, arguments.settle, arguments.speed, Path(folder))
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
