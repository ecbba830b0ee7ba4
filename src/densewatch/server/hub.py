"""From the loop to the viewers: each camera's newest result, encoded once for all who look at it."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from densewatch.imaging.encode import encode_jpeg
from densewatch.live.results import CameraState, CameraStatus, FrameResult
from densewatch.live.settings import CameraSettings

WIDTHS = (320, 480, 640, 960, 1280)
"""How wide pictures for viewers are at most; few steps, so that viewers share what is encoded."""

_QUALITY = 80
_ENCODERS = 2
_JUST_NOW_S = 0.5
_OF_THE_MOMENT = ("state", "stale", "age_ms")  # of sending, which may be long after a result came


@dataclass(frozen=True)
class Published:
    """A result, and when it came.

    Attributes:
        number: rises with each result of any camera.
        result: the result.
        at: `time.monotonic()` when it came.
    """

    number: int
    result: FrameResult
    at: float

    @property
    def waited_s(self) -> float:
        """How long ago it came, in seconds."""
        return time.monotonic() - self.at

    @property
    def age_ms(self) -> float:
        """How old the frame is now, in milliseconds."""
        return self.result.age_ms + self.waited_s * 1000


@dataclass(eq=False)
class Viewer:
    """Somebody who looks at cameras; used on the event loop alone.

    Attributes:
        cameras: what it wants to see.
        max_width: widest picture that it wants, in pixels.
        max_fps: most pictures a second and camera.
        woken: there may be something new.
        seen: number of the last result that it got, by camera.
        due: when the next one may be sent, on the monotonic clock, by camera.
    """

    cameras: frozenset[str]
    max_width: int = WIDTHS[-1]
    max_fps: float = 30.0
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    seen: dict[str, int] = field(default_factory=dict)
    due: dict[str, float] = field(default_factory=dict)

    def want(self, cameras: Collection[str], max_width: int, max_fps: float) -> None:
        """Look at something else from now on."""
        self.cameras, self.max_width, self.max_fps = frozenset(cameras), max_width, max_fps
        self.seen = {camera: number for camera, number in self.seen.items() if camera in self.cameras}
        self.due.clear()
        self.woken.set()


class Hub:
    """Keeps each camera's newest result, and gives it to viewers as they are ready for it.

    A viewer takes; nothing is queued for it. So whatever a slow viewer gets is the newest, its slowness costs
    nobody anything, and memory holds one result a camera, in at most `len(WIDTHS)` sizes.
    """

    def __init__(
        self,
        statuses: Callable[[], Mapping[str, CameraStatus]],
        settings: Callable[[str], CameraSettings],
    ) -> None:
        """Begin without results.

        Args:
            statuses: returns how each camera is; asked when a result is sent that did not come just now.
            settings: returns a camera's.
        """
        self._statuses = statuses
        self._settings = settings
        self._numbers = itertools.count()
        self._newest: dict[str, Published] = {}
        self._encoded: dict[str, tuple[int, dict[int, asyncio.Future[tuple[bytes, bytes]]]]] = {}
        self._viewers: set[Viewer] = set()
        self._lock = threading.Lock()
        self._told: set[str] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._encoders: ThreadPoolExecutor | None = None

    def open(self) -> None:
        """Begin to serve viewers; called on the event loop that they live on."""
        self._encoders = ThreadPoolExecutor(_ENCODERS, thread_name_prefix="densewatch-encode")
        with self._lock:
            self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        """Serve no viewers any more; results may still come."""
        with self._lock:
            self._loop = None
            self._told.clear()
        if self._encoders is not None:
            self._encoders.shutdown(wait=True, cancel_futures=True)
            self._encoders = None
        self._encoded.clear()

    def publish(self, result: FrameResult) -> None:
        """Take a camera's newest result; quick, from any thread."""
        with self._lock:
            self._newest[result.camera] = Published(next(self._numbers), result, time.monotonic())
            if self._loop is None or result.camera in self._told:
                return
            self._told.add(result.camera)
            self._loop.call_soon_threadsafe(self._tell, result.camera)

    def newest(self, camera: str) -> Published | None:
        """Return a camera's newest result; None before the first."""
        return self._newest.get(camera)

    def forget(self, camera: str) -> None:
        """Show nobody what a camera saw until now; for pictures that have got a mask since."""
        with self._lock:
            self._newest.pop(camera, None)

    @property
    def viewers(self) -> int:
        """How many look."""
        return len(self._viewers)

    def join(self, viewer: Viewer) -> None:
        """Take a viewer in."""
        self._viewers.add(viewer)
        viewer.woken.set()

    def leave(self, viewer: Viewer) -> None:
        """Let a viewer go; the last one of a camera takes along what was encoded of it."""
        self._viewers.discard(viewer)
        watched = frozenset[str]().union(*(other.cameras for other in self._viewers))
        for camera in set(self._encoded) - watched:
            del self._encoded[camera]

    async def next(self, viewer: Viewer) -> bytes:
        """Wait for the next message for a viewer: of its cameras the one whose turn it is.

        Returns:
            4 bytes, big-endian: the length of the header; the header, JSON; the JPEG. Boxes are in pixels of
            the header's `width` and `height`, whatever the JPEG's size; `state`, `stale` and `age_ms` are as
            of `sent`, in Unix seconds, and the picture is late once its age is beyond `late_after_ms`.
        """
        while True:
            viewer.woken.clear()
            published, wait_s = self._choose(viewer)
            if published is not None:
                start, jpeg = await self._encode(published, viewer.max_width)
                return self._message(published, start, jpeg)
            try:
                async with asyncio.timeout(wait_s):
                    await viewer.woken.wait()
            except TimeoutError:
                continue

    def _message(self, published: Published, start: bytes, jpeg: bytes) -> bytes:
        """Return a message whose header ends with what is so at this moment."""
        settings = self._settings(published.result.camera)
        age_ms = published.age_ms
        pause_ms = 0.0 if settings.max_fps is None else 1000 / settings.max_fps
        now = {
            "state": self._state(published),
            "stale": age_ms > settings.max_age_ms,
            "age_ms": round(age_ms, 1),
            "late_after_ms": round(settings.max_age_ms + pause_ms),
            "sent": round(time.time(), 3),
        }
        header = start + b"," + json.dumps(now, separators=(",", ":")).encode()[1:]
        return len(header).to_bytes(4, "big") + header + jpeg

    def _state(self, published: Published) -> CameraState:
        if published.waited_s < _JUST_NOW_S:  # spares asking all cameras for each picture
            return "live"
        return self._statuses()[published.result.camera].state

    def _tell(self, camera: str) -> None:
        with self._lock:
            self._told.discard(camera)
        for viewer in self._viewers:
            if camera in viewer.cameras:
                viewer.woken.set()

    def _choose(self, viewer: Viewer) -> tuple[Published | None, float | None]:
        """Return the result to send next; or None and for how long none can be due, without end as None."""
        now = time.monotonic()
        fresh = [
            (viewer.due.get(camera, 0.0), newest)
            for camera in viewer.cameras
            if (newest := self._newest.get(camera)) is not None and newest.number != viewer.seen.get(camera)
        ]
        if not fresh:
            return None, None
        due, published = min(fresh, key=lambda waiting: waiting[0])
        if due > now:
            return None, due - now
        # A frame that comes a little late does not make the next one late too.
        interval = 1 / viewer.max_fps
        viewer.due[published.result.camera] = max(due, now - interval / 2) + interval
        viewer.seen[published.result.camera] = published.number
        return published, None

    async def _encode(self, published: Published, max_width: int) -> tuple[bytes, bytes]:
        """Return the beginning of the header and the JPEG, encoded once for all who want that width."""
        camera = published.result.camera
        number, by_width = self._encoded.get(camera, (-1, {}))
        if number != published.number:
            by_width = {}
            self._encoded[camera] = (published.number, by_width)
        width = step(published.result.image.shape[1], max_width)
        if width not in by_width:
            assert self._encoders is not None, "a hub serves viewers between open and close"
            loop = asyncio.get_running_loop()
            by_width[width] = loop.run_in_executor(self._encoders, _encode, published.result, width)
        return await asyncio.shield(
            by_width[width]
        )  # one viewer that leaves must not take it from the others


def step(width: int, max_width: int) -> int:
    """Return how wide a picture of `width` pixels is sent to a viewer that wants at most `max_width`."""
    below = [known for known in WIDTHS if known <= max_width]
    return min(width, below[-1] if below else WIDTHS[0])


def _encode(result: FrameResult, width: int) -> tuple[bytes, bytes]:
    """Return the header without its end, and the JPEG, `width` pixels wide."""
    told = result.to_dict()
    for name in _OF_THE_MOMENT:
        del told[name]
    start = json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()[:-1]
    return start, encode_jpeg(_scaled(result.image, width), quality=_QUALITY)


def _scaled(image: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.uint8]:
    """Return a picture, uint8 [H, W, 3], scaled down to `width` pixels; as it is where it is no wider."""
    height, old_width = image.shape[:2]
    if width >= old_width:
        return image
    size = (width, max(1, round(height * width / old_width)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
