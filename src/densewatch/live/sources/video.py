"""Any video as frames: by PyAV, which is FFmpeg."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING

import av

from densewatch.live.frames import Frame, SourceError
from densewatch.live.sources.clock import Pacer
from densewatch.live.sources.decoding import KeyframeGate, as_frame, decode, packets, set_up
from densewatch.live.sources.feed import Feed, Input
from densewatch.live.sources.timing import Timing

if TYPE_CHECKING:
    from av.container import InputContainer

_STREAM_SPEED = 1.01  # so that what waits in a stream becomes less, not more
av.logging.set_level(None)  # FFmpeg's own log shows addresses with their passwords
_PATIENCE = 4  # read time-outs without one good frame, since some cameras send a keyframe every 10 s


class VideoSource:
    """A video: a camera's stream, a file, a webcam.

    Attributes:
        live: time goes on by itself.
        broken: frames that were not given because they did not decode, or were built on such.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Feed],
        *,
        live: bool,
        repeat: bool = False,
        open_timeout_s: float = 10.0,
        read_timeout_s: float = 5.0,
    ) -> None:
        """Prepare to open.

        Args:
            name: what errors call it; without credentials.
            connect: makes the feed.
            live: time goes on by itself.
            repeat: begin anew when it ends.
            open_timeout_s: most seconds until the first packets have come.
            read_timeout_s: after so many seconds without data the feed ends; after four times as many
                without a good frame this does.
        """
        self.live = live
        self.broken = 0
        self._name = name
        self._connect = connect
        self._repeat = repeat
        self._open_timeout_s = open_timeout_s
        self._read_timeout_s = read_timeout_s
        self._closed = threading.Event()
        self._feed: Feed | None = None
        self._pacer = Pacer(self._closed, 1.0 if repeat else _STREAM_SPEED)
        self._last = float("-inf")
        self._step_s = 0.0

    def frames(self) -> Generator[Frame]:
        """Open the video and give its frames; see `FrameSource`."""
        while not self._closed.is_set():
            before = self._last
            yield from self._play_once()
            if not self._repeat:
                return
            self._closed.wait(self._step_s)  # the last frame has its time too
            if self._last == before and not self._closed.is_set():
                raise SourceError(f"{self._name}: there is no picture in it", "invalid")

    def close(self) -> None:
        """End `frames`; see `FrameSource`."""
        self._closed.set()
        feed = self._feed
        if feed is not None:
            feed.close()

    def _play_once(self) -> Iterator[Frame]:
        feed = self._feed = self._connect()
        container: InputContainer | None = None
        failure: SourceError | None = None
        try:
            if self._closed.is_set():
                return
            container, given = self._open(feed)
            yield from self._decoded(container, feed, given)
            failure = feed.failure
        except av.FFmpegError as error:
            # The server's own answer says more than that the connection ended after it.
            known = None if isinstance(error, av.HTTPError) else feed.failure
            failure = known or self._why(error)
        except SourceError as error:
            failure = error
        finally:
            if container is not None:
                container.close()
            feed.close()
        # Raised out here, so that FFmpeg's own error, which shows address and password, does not go along.
        if failure is not None and not self._closed.is_set():
            raise failure

    def _open(self, feed: Feed) -> tuple[InputContainer, Input]:
        text = f"{self._name}: no video came within {self._open_timeout_s:g} s"
        timer = threading.Timer(self._open_timeout_s, feed.close, [SourceError(text, "timeout")])
        timer.name, timer.daemon = "densewatch-open", True
        timer.start()
        try:
            given = feed.open()
            container = av.open(
                given.file, "r", format=given.format, options=given.options, io_open=given.io_open
            )
        finally:
            timer.cancel()
        if not container.streams.video:
            container.close()
            raise SourceError(f"{self._name}: there is no video in it", "invalid")
        set_up(container.streams.video[0], live=self.live)
        return container, given

    def _decoded(self, container: InputContainer, feed: Feed, given: Input) -> Iterator[Frame]:
        gate = KeyframeGate()
        timing = Timing(container, self._pacer if given.paced else None, live=self.live, last=self._last)
        broken_before = self.broken
        good_at = time.monotonic()
        for packet, waited in packets(container, container.streams.video[0]):
            if self._closed.is_set() or feed.failure is not None:
                return
            if given.on_packet is not None:
                given.on_packet()
            gate.packet(feed.lost, packet.is_corrupt)
            for decoded in decode(packet, gate):
                self._last, source = timing.of(decoded, packet, waited)
                self._step_s = timing.step_s
                if self._closed.is_set():
                    return
                yield as_frame(decoded, self._last, source, self._name)
                good_at = time.monotonic()
            self.broken = broken_before + gate.stopped
            if self.live and time.monotonic() - good_at > _PATIENCE * self._read_timeout_s:
                raise SourceError(f"{self._name}: data come, but no picture that is whole", "broken")

    def _why(self, error: Exception) -> SourceError:
        """Say in words what FFmpeg means; its own text holds the address with the password."""
        reasons: list[tuple[type[Exception], str, str]] = [
            (av.HTTPUnauthorizedError, "it wants another user or password", "unauthorized"),
            (av.HTTPForbiddenError, "the server forbids that", "unauthorized"),
            (av.HTTPNotFoundError, "the server knows no such stream", "not_found"),
            (av.HTTPError, "the server answers with an error", "refused"),
            (av.EOFError, "the stream ended before it began", "ended"),
            (av.InvalidDataError, "it is no video that can be read", "invalid"),
            (PermissionError, "this user may not open it", "unreadable"),
            (OSError, "the connection broke, or the device does not answer", "broken"),
        ]
        for kind, text, reason in reasons:
            if isinstance(error, kind):
                return SourceError(f"{self._name}: {text}", reason)
        return SourceError(f"{self._name}: it cannot be played ({type(error).__name__})", "invalid")
