"""A loop without cameras: boxes that move over a drawn picture; for tests of the server."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from densewatch.detections import Detections
from densewatch.live.results import CameraStatus, FrameResult, ZoneCount
from densewatch.live.settings import CameraSettings, ZoneSettings
from densewatch.records import Bin, CountBin, Event, Observation

NAMES = ("person", "chair", "car")
SIZE = (240, 320)
LOST_ERROR = "no route to the camera"


def hall_and_yard() -> dict[str, CameraSettings]:
    """Return settings of two cameras; the fake's `yard` is lost."""
    door = ZoneSettings(points=((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0)))
    return {
        "hall": CameraSettings(source="demo", name="Great hall", zones={"door": door}),
        "yard": CameraSettings(source="rtsp://user:secret@camera.example/stream"),
    }


class FakeWatcher:
    """Says what a `Watcher` would, `fps` times a second; the second camera is lost.

    Attributes:
        names: class names.
        published: how many results there were.
    """

    def __init__(
        self,
        cameras: Mapping[str, CameraSettings],
        *,
        on_result: Callable[[FrameResult], None],
        on_event: Callable[[Event], None],
        on_bin: Callable[[Bin], None],
        fps: float = 20.0,
        lost: str | None = "yard",
        size: tuple[int, int] = SIZE,
    ) -> None:
        self.names = NAMES
        self.published = 0
        self._settings = dict(cameras)
        self._on_result, self._on_event, self._on_bin = on_result, on_event, on_bin
        self._fps = fps
        self._lost = lost
        self._size = size
        self._since = time.time()
        self._newest: dict[str, FrameResult] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fake-watcher", daemon=True)

    def start(self) -> None:
        self._write_history()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def statuses(self) -> dict[str, CameraStatus]:
        return {id: self._status(id) for id in self._settings}

    def settings(self, camera: str) -> CameraSettings:
        return self._settings[camera]

    def replace(self, camera: str, settings: CameraSettings) -> None:
        for zone in settings.zones.values():
            for label in zone.only or ():
                if label not in self.names:
                    raise ValueError(f"unknown class {label!r}")
        self._settings[camera] = settings

    def latest(self, camera: str) -> FrameResult | None:
        return self._newest.get(camera)

    def show(self, camera: str = "hall") -> FrameResult:
        """Give one more result of a camera, now."""
        result = frame_result(camera, self.published, self._settings[camera], self._size)
        self.published += 1
        self._newest[camera] = result
        self._on_result(result)
        return result

    def _run(self) -> None:
        while not self._stopping.wait(1 / self._fps):
            for camera in self._settings:
                if camera != self._lost:
                    self.show(camera)

    def _status(self, id: str) -> CameraStatus:
        newest, is_lost = self._newest.get(id), id == self._lost
        return CameraStatus(
            id=id,
            state="lost" if is_lost else "live",
            since=self._since,
            address="rtsp://camera.example/stream" if is_lost else "demo",
            error=LOST_ERROR if is_lost else None,
            age_ms=None if newest is None else (time.time() - newest.time) * 1000,
            last_time=None if newest is None else newest.time,
            time_source=None if newest is None else newest.time_source,
            size=None if is_lost else self._size,
            fps_in=0.0 if is_lost else self._fps,
            fps_out=0.0 if is_lost else self._fps,
            dropped={} if is_lost else {"newer": 3},
            reconnects={"timeout": 2} if is_lost else {},
        )

    def _write_history(self) -> None:
        """Give an hour of bins, with a gap of ten minutes, and some events."""
        minute = int(time.time()) // 60 * 60
        for camera in self._settings:
            for back in range(60, 0, -1):
                self._on_bin(_bin(camera, minute - back * 60, observed=0.0 if 20 <= back < 30 else 1.0))
        picture = cv2.imencode(".jpg", draw(0, SIZE))[1].tobytes()
        for number in range(12):
            self._on_event(_event(number, minute - number * 240, picture))


def frame_result(
    camera: str, number: int, settings: CameraSettings, size: tuple[int, int] = SIZE
) -> FrameResult:
    """Return what a camera sees in frame `number`: a person that walks, and two chairs."""
    _, width = size
    x = (number * 4) % (width - 60)
    boxes = np.array(
        [[x, 60, x + 40, 160], [40, 150, 80, 200], [width - 90, 150, width - 50, 200]], np.float32
    )
    detections = Detections(
        boxes, np.array([0.9, 0.8, 0.55]), np.array([0, 1, 1]), NAMES, size, np.array([1, 2, 3])
    )
    zones = {
        id: ZoneCount({"person": 1, "chair": 1}, taken=True if zone.bay else None, dwell_s={1: number / 20})
        for id, zone in settings.zones.items()
    }
    lines = {id: {"in": number // 50, "out": number // 80} for id in settings.lines}
    return FrameResult(
        camera=camera,
        frame=number,
        time=time.time() - 0.05,
        time_source="arrival",
        age_ms=50.0,
        stale=False,
        detections=detections,
        counts={"chair": 2, "person": 1},
        zones=zones,
        lines=lines,  # type: ignore[arg-type]
        crossings=(),
        image=draw(number, size),
    )


def draw(number: int, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return a room, uint8 [H, W, 3], with a figure where frame `number` has it."""
    height, width = size
    image = np.full((height, width, 3), (200, 205, 210), np.uint8)
    image[height * 3 // 5 :] = (120, 110, 100)
    x = (number * 4) % (width - 60)
    cv2.rectangle(image, (x + 8, 80), (x + 32, 160), (40, 60, 160), -1)
    cv2.circle(image, (x + 20, 70), 10, (220, 180, 150), -1)
    for left in (40, width - 90):
        cv2.rectangle(image, (left, 150), (left + 40, 200), (150, 90, 40), -1)
    return image


def _bin(camera: str, start: int, observed: float) -> Bin:
    whole = Observation(camera, start, 60, observed)
    if not observed:
        return Bin(whole)
    people = 1 + start // 60 % 4
    person = CountBin(camera, None, "person", start, 60, 0, people / 2, people, observed)
    return Bin(
        whole, (person, replace(person, zone="door"), replace(person, label="chair", mean=2.0, maximum=2))
    )


def _event(number: int, start: float, picture: bytes) -> Event:
    return Event(
        id=f"hall-{number}",
        camera="hall",
        kind="presence",
        label="person" if number % 3 else "chair",
        track=number,
        zone="door" if number % 2 else None,
        direction=None,
        start_time=start,
        end_time=None if number == 0 else start + 30,
        top_score=0.9,
        box=(0.1, 0.25, 0.25, 0.66),
        snapshot=picture if number != 5 else None,
    )
