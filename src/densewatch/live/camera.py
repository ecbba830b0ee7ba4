"""A camera: a thread that keeps its source open and its newest frame at hand."""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass

from densewatch.live.address import address_of
from densewatch.live.backoff import Backoff
from densewatch.live.frames import Frame, FrameSource, SourceError
from densewatch.live.policy import SourcePolicy
from densewatch.live.rate import Rate
from densewatch.live.results import CameraState
from densewatch.live.settings import CameraSettings
from densewatch.live.sources.open import open_source

_log = logging.getLogger(__name__)
_JOIN_S = 5.0


@dataclass(frozen=True)
class SourceStatus:
    """How a source is; the fields are those of `CameraStatus`.

    Attributes:
        since_mono: `since` on the monotonic clock, which nobody sets.
    """

    state: CameraState
    since: float
    since_mono: float
    address: str
    error: str | None
    size: tuple[int, int] | None
    fps_in: float
    dropped: Mapping[str, int]
    reconnects: Mapping[str, int]


class Camera:
    """Keeps a source open, come what may, and holds its newest frame.

    `connecting` until the first frame or failure, `live` while frames come, `stalled` when none has come for
    `stalled_after_s` though the source is open, `lost` from a failure to the next frame, `ended` when a file
    that is not repeated is through. A lost source is tried again for ever; see `Backoff`.

    Attributes:
        id: the camera's id.
        live: time goes on by itself; False for a file that is read as fast as its frames are taken.
    """

    def __init__(
        self, id: str, settings: CameraSettings, policy: SourcePolicy, *, on_frame: Callable[[Camera], None]
    ) -> None:
        """Prepare; nothing is opened before `start`.

        Args:
            id: the camera's id.
            settings: of its source.
            policy: what sources may be opened.
            on_frame: called from the camera's thread when there is a frame to take, or the state is another;
                must be quick.

        Raises:
            SourceError: the address is none, or not allowed.
        """
        address = address_of(settings)
        policy.check(address)
        self.id = id
        self.live = settings.loop or address.kind not in ("file", "folder")
        self._address = str(address)
        self._settings = settings
        self._policy = policy
        self._on_frame = on_frame
        self._changed = threading.Condition()
        self._stopping = False
        self._slot: Frame | None = None
        self._source: FrameSource | None = None
        self._state: CameraState = "connecting"
        self._since, self._since_mono = time.time(), time.monotonic()
        self._error: str | None = None
        self._size: tuple[int, int] | None = None
        self._frame_at = 0.0
        self._rate = Rate()
        self._dropped: Counter[str] = Counter()
        self._reconnects: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, name=f"densewatch-camera-{id}", daemon=True)

    @property
    def ended(self) -> bool:
        """Whether the source is through for good."""
        return self._state == "ended"

    def start(self) -> None:
        """Open the source, in a thread of its own."""
        self._thread.start()

    def close_soon(self) -> None:
        """Let the thread end, without waiting for it; harmless when called twice."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            source = self._source
        if source is not None:
            source.close()

    def stop(self) -> None:
        """Close the source; returns within a few seconds, even where a driver or a name server hangs."""
        self.close_soon()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_S)
            if self._thread.is_alive():
                _log.warning("camera %s: its source hangs and is left to itself", self.id)

    def take(self) -> Frame | None:
        """Return the newest frame, once; None where it was taken already.

        A source that is not live waits for this: none of its frames is left out.
        """
        with self._changed:
            frame, self._slot = self._slot, None
            self._changed.notify_all()
        return frame

    def status(self) -> SourceStatus:
        """Return how the source is now."""
        with self._changed:
            state, since, since_mono = self._state, self._since, self._since_mono
            now = time.monotonic()
            stalled_at = self._frame_at + self._settings.stalled_after_s
            if state == "live" and self.live and now > stalled_at:
                state, since, since_mono = "stalled", time.time() - (now - stalled_at), stalled_at
            broken = 0 if self._source is None else self._source.broken
            return SourceStatus(
                state=state,
                since=since,
                since_mono=since_mono,
                address=self._address,
                error="no picture has come for a while" if state == "stalled" else self._error,
                size=self._size,
                fps_in=self._rate.per_second(),
                dropped=dict(self._dropped + Counter(broken=broken)),
                reconnects=dict(self._reconnects),
            )

    def _run(self) -> None:
        backoff = Backoff(time.monotonic())
        while True:
            failure = self._watch(backoff)
            with self._changed:
                if self._stopping:
                    return
            if not self.live:
                self._enter("ended", None if failure is None else str(failure))
                return
            failure = failure or SourceError(f"{self._address}: the stream ended", "ended")
            with self._changed:
                self._reconnects[failure.reason] += 1
            self._enter("lost", str(failure))
            with self._changed:
                if self._changed.wait_for(lambda: self._stopping, backoff.failed(time.monotonic())):
                    return

    def _watch(self, backoff: Backoff) -> SourceError | None:
        """Take frames until the source ends, and return why it did; None for a plain end."""
        try:
            source = self._opened()
            with closing(source.frames()) as frames:
                for frame in frames:
                    backoff.frame(time.monotonic())
                    if not self._offer(frame):
                        break
        except SourceError as error:
            # Its traceback would hold the source, a decoded frame among it, until Python looks for cycles:
            # a process that does little else may not do that for hours.
            return error.with_traceback(None)
        except Exception as error:
            # Without the error's text, which may hold an address with its password.
            where = "".join(traceback.format_tb(error.__traceback__))
            _log.error("camera %s: unexpected %s\n%s", self.id, type(error).__name__, where)
            return SourceError(f"{self._address}: unexpected {type(error).__name__}", "error")
        finally:
            self._let_go()
        return None

    def _opened(self) -> FrameSource:
        source = open_source(self._settings, self._policy)
        with self._changed:
            self._source = source
            stopping = self._stopping
        if stopping:
            source.close()
        return source

    def _let_go(self) -> None:
        with self._changed:
            source, self._source = self._source, None
            if source is not None:
                self._dropped["broken"] += source.broken
        if source is not None:
            source.close()

    def _offer(self, frame: Frame) -> bool:
        """Put a frame into the slot; return whether to go on."""
        with self._changed:
            if not self.live:
                self._changed.wait_for(lambda: self._stopping or self._slot is None)
            if self._stopping:
                return False
            self._dropped["newer"] += self._slot is not None
            self._slot = frame
            self._size = frame.size
            self._frame_at = time.monotonic()
        self._rate.add()
        self._enter("live", None)
        return True

    def _enter(self, state: CameraState, error: str | None) -> None:
        """Go into a state, if it is another, and tell who listens."""
        with self._changed:
            news = (state, error) != (self._state, self._error)
            if state != self._state:
                self._since, self._since_mono = time.time(), time.monotonic()
            self._state, self._error = state, error
        if news:
            level = logging.WARNING if error else logging.INFO
            _log.log(level, "camera %s is %s%s", self.id, state, f": {error}" if error else "")
        try:
            self._on_frame(self)
        except Exception:
            _log.exception("camera %s: who listens to its frames failed", self.id)
