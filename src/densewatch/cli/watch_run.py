"""One run of `watch`: from its start to the moment when the sources, the user or a limit end it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from densewatch.cli.console import report_error
from densewatch.cli.watch_output import Output
from densewatch.cli.watch_writer import Writer
from densewatch.live.policy import SourcePolicy
from densewatch.live.results import CameraStatus, FrameResult
from densewatch.live.settings import CameraSettings
from densewatch.live.watcher import Listeners, Watcher
from densewatch.runtime.detector import Detector

_SHOW_EVERY_S = 0.2


@dataclass(frozen=True)
class Limits:
    """When to stop: after so many frames of all cameras together, or seconds; None is never."""

    frames: int | None = None
    seconds: float | None = None


class Run:
    """Passes results on until a limit is reached; give `take` to the watcher as its listener."""

    def __init__(self, output: Output, limits: Limits) -> None:
        self._writer = Writer(output, self._unwritable)
        self._limits = limits
        self._lock = threading.Lock()
        self._full = threading.Event()
        self._frames = 0
        self._failed = False

    def take(self, result: FrameResult, *, wait: bool = True) -> None:
        """Write a result, unless the limit of frames is reached; safe to call from several threads.

        Args:
            result: what was seen.
            wait: for a reader who is slow; else what does not fit is not written.
        """
        with self._lock:
            if self._full.is_set():
                return
            self._frames += 1
            self._writer.add(result, wait=wait)
            if self._frames == self._limits.frames:
                self._full.set()

    def stop(self) -> None:
        """End the run soon; from any thread, or a signal."""
        self._full.set()

    def until_done(self, watcher: Watcher) -> None:
        """Show what a watcher sees, which runs already, until the sources, a limit or the user end it."""
        started = time.monotonic()
        self._writer.start()
        try:
            while not self._full.is_set() and not watcher.wait(_SHOW_EVERY_S):
                self._writer.show(*_seen_by(watcher))
                if self._limits.seconds is not None and time.monotonic() - started >= self._limits.seconds:
                    break
        finally:
            self._full.set()
            self._writer.finish(*_seen_by(watcher))

    def _unwritable(self, error: OSError) -> None:
        """End the run, since what it finds can be written nowhere; say why, once."""
        if not isinstance(error, BrokenPipeError):  # else who reads our results has enough of them
            report_error(f"standard output: {error.strerror or error}")
            self._failed = True
        self._full.set()

    def went_well(self, watcher: Watcher) -> bool:
        """Return whether each source gave at least one result, and all was written; name what did not."""
        missing = [status for status in watcher.statuses().values() if status.last_time is None]
        for status in missing:
            report_error(status.error or f"{status.address}: no picture came")
        return not missing and not self._failed


def _seen_by(watcher: Watcher) -> tuple[dict[str, CameraStatus], dict[str, FrameResult]]:
    statuses = watcher.statuses()
    latest = {id: result for id in statuses if (result := watcher.latest(id)) is not None}
    return statuses, latest


def watch_until_done(
    run: Run, cameras: Mapping[str, CameraSettings], detector: Detector, policy: SourcePolicy
) -> bool:
    """Watch cameras until the sources, a limit or the user end it; return whether all were seen.

    Raises:
        SourceError: a source is none, or may not be opened.
        UnknownNameError: a class name is unknown.
    """
    listeners = Listeners(run.take, on_event=_forget, on_bin=_forget)
    watcher = Watcher(detector, cameras, policy=policy, listeners=listeners)
    watcher.start()
    try:
        run.until_done(watcher)
    finally:
        watcher.stop()
    return run.went_well(watcher)


def _forget(_: object) -> None:
    """Take events and bins where nothing is kept."""
