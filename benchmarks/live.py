"""How old results are when they are ready, and when a viewer has them; with decoding and an open dashboard.

python benchmarks/live.py --cameras 1 --fps 25 --seconds 60
python benchmarks/live.py --cameras 4 --fps 6 --seconds 60 --browser
"""

from __future__ import annotations

import argparse
import json
import resource
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin

from densewatch.benchmarking.machine import describe_machine
from densewatch.live.allocator import limit_arenas
from densewatch.live.policy import SourcePolicy
from densewatch.live.results import FrameResult
from densewatch.live.settings import CameraSettings
from densewatch.live.sources.demo import CYCLE_S, HEIGHT, WIDTH, DemoScene
from densewatch.live.watcher import Listeners, Watcher
from densewatch.loading import load
from densewatch.runtime.engine import describe_engine
from densewatch.server.serve import serving
from densewatch.server.service import Service
from densewatch.site.settings import ServerSettings, SiteSettings, StoreSettings
from densewatch.store.store import Store

NAME, PASSWORD, AGENT = "benchmark", secrets.token_urlsafe(20), "densewatch-benchmark"
SETTLE_S = 8.0
"""Not measured: connecting, and the network's compiling for the size of the pictures."""
NO_IMAGE = np.zeros((1, 1, 3), np.uint8)


def write_clip(path: Path, fps: int) -> None:
    """Write the demo scene once through, 640×480 px, as a camera sends it: H.264, no frame out of order."""
    scene = DemoScene()
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=fps)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, fps)
        stream.options = {"tune": "zerolatency", "crf": "23"}
        for number in range(round(CYCLE_S * fps)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene.at(number / fps), format="rgb24")))
        container.mux(stream.encode(None))


def view(address: str, cookie: str, seconds: float) -> None:
    """Look at all cameras as the dashboard does, and print how old each picture was when it came."""
    ages: list[float] = []
    with connect(
        address.replace("http", "ws", 1) + "api/v1/live",
        origin=Origin(address.rstrip("/")),
        additional_headers={"Cookie": cookie},
        user_agent_header=AGENT,
        max_size=None,
    ) as socket:
        end = time.monotonic() + seconds
        with suppress(TimeoutError, ConnectionClosed):
            while time.monotonic() < end:
                message = socket.recv(timeout=5)
                if isinstance(message, bytes):
                    length = int.from_bytes(message[:4], "big")
                    ages.append((time.time() - json.loads(message[4 : 4 + length])["time"]) * 1000)
    print(json.dumps(ages))


@contextmanager
def viewer(address: str, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """Sign in, and look in a process of its own."""
    with httpx.Client(
        base_url=address, headers={"User-Agent": AGENT, "Origin": address.rstrip("/")}
    ) as client:
        client.post("api/v1/session", json={"name": NAME, "password": PASSWORD}).raise_for_status()
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    command = [sys.executable, __file__, "--view", address, cookie, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


@contextmanager
def browser(address: str) -> Iterator[None]:
    """Open the dashboard in Chromium, which draws on the same cores."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = chromium.new_page()
        page.goto(address)
        page.get_by_label("Name").fill(NAME)
        page.get_by_label("Password").first.fill(PASSWORD)
        page.keyboard.press("Enter")
        yield
        chromium.close()


def quantiles(values: Sequence[float]) -> str:
    """Return p50, p95 and p99."""
    cuts = statistics.quantiles(values, n=100)
    return f"p50 {cuts[49]:6.1f}   p95 {cuts[94]:6.1f}   p99 {cuts[98]:6.1f} ms"


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    clip = folder / "demo.mp4"
    write_clip(clip, arguments.fps)
    detector = load(arguments.model, threads=arguments.threads, streams=arguments.cameras)
    cameras = {
        f"camera-{number}": CameraSettings(source=str(clip)) for number in range(1, arguments.cameras + 1)
    }
    site = SiteSettings.model_construct(
        cameras=cameras, store=StoreSettings(folder=folder), server=ServerSettings(port=0)
    )
    heard: list[FrameResult] = []

    def create_watcher(*, on_result: Any, on_event: Any, on_bin: Any) -> Watcher:
        def both(result: FrameResult) -> None:
            heard.append(replace(result, image=NO_IMAGE))
            on_result(result)

        return Watcher(
            detector,
            cameras,
            policy=SourcePolicy.permissive(),
            listeners=Listeners(both, on_event, on_bin),
        )

    store = Store.open(f"sqlite:///{folder / 'store.db'}", folder)
    store.accounts.add_user(NAME, PASSWORD, "viewer")
    service = Service(site, store, create_watcher, model=detector.info.name)
    with serving(service) as server, viewer(server.address, SETTLE_S + arguments.seconds) as looking:
        with browser(server.address) if arguments.browser else nullcontext():
            time.sleep(SETTLE_S)
            heard.clear()
            before, began = cpu_seconds(), time.monotonic()
            time.sleep(arguments.seconds)
            results, used = list(heard), cpu_seconds() - before
            span = time.monotonic() - began
        statuses = service.watcher.statuses()
        seen = json.loads(looking.communicate(timeout=30)[0])
    print(f"{arguments.cameras} camera(s), 640×480 px, {arguments.fps} frames a second, {span:.0f} s")
    machine = describe_machine()
    print(f"{machine.cpu}, {machine.cores} cores, {', '.join(machine.instruction_sets)}")
    print(f"{detector.info.name}, {describe_engine(detector.engine)}")
    print(f"results      {len(results) / span:6.1f} a second; {used / span:.2f} cores")
    print(f"age          {quantiles([result.age_ms for result in results])}")
    print(f"at a viewer  {quantiles(seen[len(seen) // 4 :])}")
    dropped = sum((Counter(status.dropped) for status in statuses.values()), Counter[str]())
    print(f"dropped      {dict(dropped) or 'nothing'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cameras", type=int, default=1)
    parser.add_argument("--fps", type=int, default=25)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--model")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--browser", action="store_true", help="open the dashboard in Chromium too")
    parser.add_argument("--view", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.view:
        address, cookie, seconds = arguments.view
        view(address, cookie, float(seconds))
        return
    limit_arenas()  # as `densewatch watch` does
    with tempfile.TemporaryDirectory() as folder:
        measure(arguments, Path(folder))


if __name__ == "__main__":
    main()
