"""One run of `watch`: from its start to the moment when the sources, the user or a limit end it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from densewatch.cli.console import report_error
from densewatch.cli.watch_output import Output
from densewatch.live.results import FrameResult
from densewatch.live.watcher import Watcher

_SHOW_EVERY_S = 0.2


@dataclass(frozen=True)
class Limits:
    """When to stop: after so many frames of all cameras together, or seconds; None is never."""

    frames: int | None = None
    seconds: float | None = None


class Run:
    """Passes results on until a limit is reached; give `take` to the watcher as its listener."""

    def __init__(self, output: Output, limits: Limits) -> None:
        self._output = output
        self._limits = limits
        self._lock = threading.Lock()
        self._full = threading.Event()
        self._frames = 0

    def take(self, result: FrameResult) -> None:
        """Write a result, unless the limit of frames is reached; safe to call from several threads."""
        with self._lock:
            if self._full.is_set():
                return
            self._frames += 1
            try:
                self._output.add(result)
            except BrokenPipeError:  # who read our results has enough of them
                self._full.set()
            if self._frames == self._limits.frames:
                self._full.set()

    def until_done(self, watcher: Watcher) -> bool:
        """Watch, and return whether all sources were seen; the watcher is started and stopped here."""
        started = time.monotonic()
        self._output.start()
        watcher.start()
        try:
            while not self._full.is_set() and not watcher.wait(_SHOW_EVERY_S):
                self._show(watcher)
                if self._limits.seconds is not None and time.monotonic() - started >= self._limits.seconds:
                    break
        finally:
            self._full.set()
            watcher.stop()
            self._show(watcher)
            self._output.finish()
        return _all_seen(watcher)

    def _show(self, watcher: Watcher) -> None:
        statuses = watcher.statuses()
        latest: Mapping[str, FrameResult | None] = {id: watcher.latest(id) for id in statuses}
        with self._lock:
            self._output.show(statuses, {id: result for id, result in latest.items() if result is not None})


def _all_seen(watcher: Watcher) -> bool:
    """Return whether each source gave at least one frame; name those that did not."""
    missing = [status for status in watcher.statuses().values() if watcher.latest(status.id) is None]
    for status in missing:
        report_error(f"{status.address}: {status.error or 'no frame came'}")
    return not missing
