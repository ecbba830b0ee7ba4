"""Standard output with a thread of its own: who does not read what we write stops nothing else."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Mapping
from functools import partial

from densewatch.cli.console import OUTPUT_THREAD
from densewatch.cli.watch_output import Output
from densewatch.live.results import CameraStatus, FrameResult

_WAITING = 16  # results, and each holds its picture
_LOOK_S = 0.1
_PATIENCE_S = 2.0


class Writer:
    """Hands results to an output from a thread, in order.

    Attributes:
        failure: why no more is written; None while all is well.
    """

    def __init__(self, output: Output, on_failure: Callable[[OSError], None]) -> None:
        """Prepare to write.

        Args:
            output: where results go.
            on_failure: is told, once, when the output can take no more.
        """
        self.failure: OSError | None = None
        self._output = output
        self._on_failure = on_failure
        self._jobs: queue.Queue[Callable[[], None]] = queue.Queue(_WAITING)
        self._done = 0
        self._last: Callable[[], None]
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=OUTPUT_THREAD, daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def add(self, result: FrameResult, *, wait: bool) -> None:
        """Write a frame's result.

        Args:
            result: what was seen.
            wait: where the reader is slow, wait for it until `finish`; else the result is left out.
        """
        job = partial(self._output.add, result)
        while self.failure is None and not self._ending.is_set():
            try:
                self._jobs.put(job, timeout=_LOOK_S if wait else None, block=wait)
            except queue.Full:
                if not wait:
                    return
            else:
                return

    def show(self, statuses: Mapping[str, CameraStatus], latest: Mapping[str, FrameResult]) -> None:
        """Write how all cameras are, unless the reader is behind anyway."""
        with contextlib.suppress(queue.Full):
            self._jobs.put_nowait(partial(self._output.show, statuses, latest))

    def finish(self, statuses: Mapping[str, CameraStatus], latest: Mapping[str, FrameResult]) -> None:
        """Write what waits, and how all cameras are now; a reader who takes nothing for 2 s is left."""
        self._last = partial(self._output.show, statuses, latest)
        self._ending.set()
        while self._thread.is_alive():
            before = self._done
            self._thread.join(_PATIENCE_S)
            if self._thread.is_alive() and self._done == before:
                self._fail(OSError("nobody reads it"))
                return

    def _run(self) -> None:
        try:
            self._output.start()
            while self._next():
                self._done += 1
            self._last()
            self._output.finish()
        except OSError as error:
            self._fail(error)

    def _next(self) -> bool:
        """Do the next job; return whether there may be more."""
        try:
            job = self._jobs.get(timeout=_LOOK_S)
        except queue.Empty:
            return not self._ending.is_set()
        job()
        return True

    def _fail(self, error: OSError) -> None:
        if self.failure is None:
            self.failure = error
            self._on_failure(error)
