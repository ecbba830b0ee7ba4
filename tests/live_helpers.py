"""What tests of live sources share: clips, servers that behave badly, waiting with a limit."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from densewatch.live.frames import Frame, FrameSource, SourceError
from densewatch.live.policy import SourcePolicy
from densewatch.live.settings import CameraSettings
from densewatch.live.sources.open import open_source

ALL = SourcePolicy.permissive()


def wait_for(condition: Callable[[], object], seconds: float, what: str = "it") -> float:
    """Wait until a condition holds, and return how long that took; fail after `seconds`."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"{what} did not happen within {seconds} s"
        time.sleep(0.01)
    return time.monotonic() - began


def write_video(
    path: Path, count: int = 20, size: tuple[int, int] = (96, 128), fps: int = 25, codec: str = "libx264",
    rotation: int = 0, format: str | None = None,
) -> Path:  # fmt: skip
    """Write a clip whose left half gets brighter from frame to frame; `size` is (height, width)."""
    with av.open(str(path), "w", format=format) as container:
        stream: Any = container.add_stream(codec, rate=fps)
        stream.height, stream.width = size
        stream.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p")
        stream.codec_context.time_base = Fraction(1, fps)
        if codec == "libx264":
            exact = "keyint=10:min-keyint=10:scenecut=0:bframes=0:sliced-threads=0:slices=1"
            stream.options = {"x264-params": exact}
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(count):
            image = np.zeros((*size, 3), np.uint8)
            image[:, : size[1] // 2] = 40 + 5 * number
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@contextmanager
def answering(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """Listen on this computer, and let `talk` handle each connection in a thread; gives the port."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)

        def serve(visitor: socket.socket) -> None:
            with visitor:
                try:
                    talk(visitor)
                    over.wait()
                except OSError:
                    return

        def listen() -> None:
            while not over.is_set():
                try:
                    visitor = server.accept()[0]
                except TimeoutError:
                    continue
                visitor.settimeout(None)
                thread = threading.Thread(target=serve, args=(visitor,), name="bad-server", daemon=True)
                thread.start()

        listener = threading.Thread(target=listen, name="bad-server", daemon=True)
        listener.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            listener.join()


def source_of(text: str, *, policy: SourcePolicy = ALL, **fields: object) -> FrameSource:
    settings = {"open_timeout_s": 2, "read_timeout_s": 1, "loop": False, "source": text, **fields}
    return open_source(CameraSettings.model_validate(settings), policy)


def all_of(source: FrameSource) -> list[Frame]:
    with closing(source.frames()) as frames:
        return list(frames)


def first_of(source: FrameSource, count: int) -> list[Frame]:
    with closing(source.frames()) as frames:
        return list(itertools.islice(frames, count))


def failure_of(source: FrameSource) -> SourceError:
    with pytest.raises(SourceError) as caught:
        all_of(source)
    return caught.value
