"""The loop: one detector for many cameras, whose newest frames it looks at, the most urgent first."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from densewatch.live.frames import Frame
from densewatch.live.policy import SourcePolicy
from densewatch.live.post import Post
from densewatch.live.results import CameraStatus, FrameResult
from densewatch.live.settings import CameraSettings
from densewatch.records import Bin, Event
from densewatch.runtime.detector import Detector

_log = logging.getLogger(__name__)
_TICK_S = 0.5


@dataclass(frozen=True)
class Listeners:
    """Who is told what; called from the loop's threads, for one camera in order, so they must be quick.

    Attributes:
        on_result: each frame's result.
        on_event: the beginning and the end of what happens.
        on_bin: each time bin that is over.
    """

    on_result: Callable[[FrameResult], None]
    on_event: Callable[[Event], None]
    on_bin: Callable[[Bin], None]


class Watcher:
    """Watches cameras.

    As many frames are under way as keep the detector busy, of one camera never more than one. Whoever is free
    takes the newest frame of the camera whose deadline is next: the moment from which it has had a frame
    waiting, and its `max_age_ms`. Nobody waits for a camera that has none.

    Attributes:
        names: the detector's class names.
    """

    def __init__(
        self,
        detector: Detector,
        cameras: Mapping[str, CameraSettings],
        *,
        policy: SourcePolicy,
        listeners: Listeners,
        bin_seconds: int = 60,
    ) -> None:
        """Prepare to watch; nothing is opened yet.

        Args:
            detector: finds the objects.
            cameras: settings by camera id.
            policy: what sources may be opened.
            listeners: who is told.
            bin_seconds: length of the time bins.

        Raises:
            UnknownNameError: settings have a class name that the detector does not know.
            SourceError: the policy does not allow a source.
        """
        self.names = detector.names
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._over = threading.Event()
        self._posts = {
            id: Post(id, settings, detector, policy, listeners, bin_seconds, self._wake)
            for id, settings in cameras.items()
        }
        workers = min(detector.workers, len(self._posts))
        jobs = [(self._tick, "densewatch-clock")]
        jobs += [(self._work, f"densewatch-loop-{number}") for number in range(workers)]
        self._threads = [threading.Thread(target=job, name=name, daemon=True) for job, name in jobs]

    def start(self) -> None:
        """Open the cameras, and look at what they show until `stop`."""
        for post in self._posts.values():
            post.camera.start()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End all threads, close the cameras, hand out what is open; returns when that is done."""
        self._stopping.set()
        self._over.set()
        self._wake()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        for post in self._posts.values():
            post.camera.close_soon()
        for post in self._posts.values():
            post.camera.stop()
            self._guarded(post, post.close)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of all sources, which cameras have not, or for `stop`; False after a time-out."""
        return self._over.wait(timeout)

    def statuses(self) -> dict[str, CameraStatus]:
        """Return how each camera is now."""
        return {id: post.status() for id, post in self._posts.items()}

    def settings(self, camera: str) -> CameraSettings:
        """Return a camera's settings; raises KeyError where there is no such camera."""
        return self._posts[camera].settings

    def replace(self, camera: str, settings: CameraSettings) -> None:
        """Change zones, lines, masks, thresholds and limits of a camera while it is watched.

        Raises:
            KeyError: there is no such camera.
            ValueError: the source would change, or a class name is unknown.
        """
        self._posts[camera].replace(settings)

    def latest(self, camera: str) -> FrameResult | None:
        """Return a camera's newest result, None before the first; KeyError if there is no such camera."""
        return self._posts[camera].latest

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _work(self) -> None:
        while (chosen := self._next()) is not None:
            post, frame = chosen
            try:
                post.look_at(frame)
            except Exception:
                post.drop("error")
                _log.exception("camera %s: a frame was given up", post.id)
            finally:
                with self._changed:
                    post.busy = False
                    self._changed.notify_all()

    def _next(self) -> tuple[Post, Frame] | None:
        """Return the most urgent camera, busy now, and its frame; None when it is time to stop."""
        with self._changed:
            while not self._stopping.is_set():
                waiting = [post for post in self._posts.values() if post.waiting and not post.busy]
                for post in sorted(waiting, key=lambda post: post.deadline):
                    frame = post.take()
                    if frame is not None:
                        post.busy = True
                        return post, frame
                if all(post.ended for post in self._posts.values()):
                    self._over.set()
                self._changed.wait()
        return None

    def _tick(self) -> None:
        while not self._stopping.wait(_TICK_S):
            for post in self._posts.values():
                self._guarded(post, partial(post.tick, time.time()))

    @staticmethod
    def _guarded(post: Post, job: Callable[[], None]) -> None:
        """Do a camera's job; where a listener fails at it, the other cameras' jobs are done all the same."""
        try:
            job()
        except Exception:
            _log.exception("camera %s: who listens to it failed", post.id)
