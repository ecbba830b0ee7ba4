"""One camera at its post: its frames become results, events and bins."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from densewatch.detections import Detections
from densewatch.live.analysis import Analysis
from densewatch.live.camera import Camera, SourceStatus
from densewatch.live.frames import Frame, SourceError
from densewatch.live.masks import burn_in
from densewatch.live.motion import MotionGate
from densewatch.live.policy import SourcePolicy
from densewatch.live.rate import Rate
from densewatch.live.recorder import Recorder
from densewatch.live.results import CameraStatus, FrameResult
from densewatch.live.settings import CameraSettings
from densewatch.runtime.detector import Detector
from densewatch.runtime.engine import EngineError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from densewatch.live.watcher import Listeners

_log = logging.getLogger(__name__)

_MOST_PATIENCE_S = 60.0  # with a detector that is slow: one that hung and came back may hang again


class Post:
    """A camera and all that the loop remembers of it. One frame at a time: who sets `busy` may look at it.

    Attributes:
        id: the camera's id.
        camera: where frames come from.
        settings: as they are now.
        busy: a frame is under way.
        latest: the newest result.
    """

    def __init__(
        self,
        id: str,
        settings: CameraSettings,
        detector: Detector,
        policy: SourcePolicy,
        listeners: Listeners,
        bin_seconds: int,
        wake: Callable[[], None],
    ) -> None:
        self.id = id
        self.settings = settings
        self.camera = Camera(id, settings, policy, on_frame=self._frame_came)
        self.busy = False
        self.latest: FrameResult | None = None
        self._detector = detector
        self._listeners = listeners
        self._wake = wake
        self._analysis = Analysis(id, settings, detector.names)
        self._recorder = Recorder(
            id,
            settings,
            detector.names,
            bin_seconds=bin_seconds,
            on_event=listeners.on_event,
            on_bin=listeners.on_bin,
        )
        self._gate = _gate(settings)
        self._found: Detections | None = None
        self._waiting_since: float | None = None
        self._owed_since: float | None = None
        self._took_s = 0.0
        self._failure: str | None = None
        self._next_time = float("-inf")
        self._number = 0
        self._rate = Rate()
        self._dropped: Counter[str] = Counter()
        self._lock = threading.Lock()  # of analysis and recorder, which the clock and `replace` touch too

    def _frame_came(self, _: Camera) -> None:
        if self._waiting_since is None:
            self._waiting_since = time.monotonic()
        self._wake()

    @property
    def waiting(self) -> bool:
        """Whether there may be a frame to take."""
        return self._waiting_since is not None

    @property
    def deadline(self) -> float:
        """When the frame that waits becomes too old, on the monotonic clock."""
        since = self._waiting_since
        return float("inf") if since is None else since + self.settings.max_age_ms / 1000

    @property
    def ended(self) -> bool:
        """Whether the source is through, and all of its frames were looked at."""
        return self.camera.ended and not self.waiting and not self.busy

    def take(self) -> Frame | None:
        """Return the newest frame, if it is due: frames beyond `max_fps` are let go."""
        since, self._waiting_since = self._waiting_since, None
        frame = self.camera.take()
        if frame is None:
            return None
        if self.settings.max_fps is not None:
            interval = 1 / self.settings.max_fps
            early_s = self._next_time - frame.time
            if 0 < early_s < interval:  # more than that is a clock that went back
                self.drop("limit")
                return None
            on_time = -interval < early_s <= 0  # then the rate holds over several frames
            self._next_time = (self._next_time if on_time else frame.time) + interval
        if self._owed_since is None:
            self._owed_since = time.monotonic() if since is None else since
        return frame

    def look_at(self, frame: Frame) -> None:
        """Find, follow and count what a frame shows, and tell the listeners."""
        settings = self.settings
        try:
            image = burn_in(frame.to_rgb(), settings.masks)
            found, detector_ms = self._detect(image, frame.time)
        except SourceError as error:
            self.drop("broken")
            self._failure = str(error)
            return
        except EngineError as error:
            self.drop("engine")
            self._failure = str(error)
            _log.error("camera %s: %s", self.id, error)
            return
        with self._lock:
            if self.settings.masks != settings.masks:  # drawn meanwhile: nobody sees what lies below
                image = burn_in(image, self.settings.masks)
            result = self._result(frame, image, found, detector_ms)
            self._recorder.add(result)
            self.latest = result
            self._settle()
            self._rate.add()
            self._listeners.on_result(result)

    def _settle(self) -> None:
        """Note that a result has come."""
        if self._owed_since is not None and self._failure is None:
            self._took_s = time.monotonic() - self._owed_since
        self._owed_since = self._failure = None

    def _detect(self, image: npt.NDArray[np.uint8], at: float) -> tuple[Detections, float | None]:
        """Return what is in a picture, and the detector's milliseconds; None where nothing has moved."""
        if self._gate is not None and not self._gate.opens(image, at) and self._found is not None:
            return self._found, None
        began = time.perf_counter()
        self._found = None  # where the engine fails, the next picture is looked at, moved or not
        self._found = self._detector.detect(
            image, threshold=self._analysis.lowest_threshold, tiles=self.settings.tiles
        )
        return self._found, (time.perf_counter() - began) * 1000

    def _result(
        self, frame: Frame, image: npt.NDArray[np.uint8], found: Detections, detector_ms: float | None
    ) -> FrameResult:
        seen = self._analysis.update(found, frame.time)
        age_ms = self._age_ms(frame)
        number, self._number = self._number, self._number + 1
        return FrameResult(
            camera=self.id,
            frame=number,
            time=frame.time,
            time_source=frame.time_source,
            age_ms=age_ms,
            stale=age_ms > self.settings.max_age_ms,
            detections=seen.detections,
            counts=seen.counts,
            zones=seen.zones,
            lines=seen.lines,
            crossings=seen.crossings,
            image=image,
            detected=detector_ms is not None,
            detector_ms=detector_ms or 0.0,
            dwell_s=seen.dwell_s,
        )

    def _age_ms(self, frame: Frame) -> float:
        """Return how old a frame is; of a file that is read as fast as it goes, how long it waited here."""
        if self.camera.live:
            return max(0.0, time.time() - frame.time) * 1000
        return (time.monotonic() - frame.arrived) * 1000

    def tick(self, now: float) -> None:
        """Let time go on where no frames come; a file read as fast as it goes has a time of its own."""
        if self.camera.live:
            with self._lock:
                self._recorder.tick(now)

    def replace(self, settings: CameraSettings) -> None:
        """Take over new settings, those of the source excepted.

        Raises:
            ValueError: the source would change, or a class name is unknown.
        """
        if settings.source != self.settings.source:
            raise ValueError("the source of a camera changes in the site file, and by a restart")
        with self._lock:
            self._analysis.replace(settings)
            self._recorder.replace(settings)
            self._gate = _gate(settings)
            if settings.masks != self.settings.masks:
                self.latest = None
            self.settings = settings

    def drop(self, reason: str) -> None:
        """Count a frame that was not looked at."""
        self._dropped[reason] += 1

    def status(self) -> CameraStatus:
        """Return how the camera is now."""
        source = self._without_results(self.camera.status())
        latest = self.latest
        age_ms = None
        if latest is not None and self.camera.live:
            age_ms = max(0.0, time.time() - latest.time) * 1000
        elif latest is not None:
            age_ms = latest.age_ms
        return CameraStatus(
            id=self.id,
            state=source.state,
            since=source.since,
            address=source.address,
            error=source.error,
            age_ms=age_ms,
            last_time=None if latest is None else latest.time,
            time_source=None if latest is None else latest.time_source,
            size=source.size,
            fps_in=source.fps_in,
            fps_out=self._rate.per_second(),
            dropped=dict(Counter(source.dropped) + self._dropped),
            reconnects=source.reconnects,
        )

    def _without_results(self, source: SourceStatus) -> SourceStatus:
        """Return how a source is; `stalled` where its frames come, and no results of them for too long."""
        begun = [since for since in (self._owed_since, self._waiting_since) if since is not None]
        if source.state != "live" or not self.camera.live or not begun:
            return source
        # What is owed from before the camera was away does not count.
        owed_s = time.monotonic() - max(min(begun), source.since_mono)
        settings = self.settings
        # A detector that is slow but goes on has not stalled: it may take twice as long as the last time.
        patience_s = min(2 * self._took_s, _MOST_PATIENCE_S)
        over_s = owed_s - max(settings.stalled_after_s, settings.max_age_ms / 1000, patience_s)
        if over_s <= 0:
            return source
        error = self._failure or "frames come, but the detector has given no result of them for a while"
        return replace(source, state="stalled", since=time.time() - over_s, error=error)

    def close(self) -> None:
        """Hand out what is open, once nothing looks at frames any more."""
        with self._lock:
            self._recorder.close()


def _gate(settings: CameraSettings) -> MotionGate | None:
    return None if settings.motion is None else MotionGate(settings.motion)
