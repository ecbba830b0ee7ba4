"""Capture times for the frames of a video, whatever kind it is."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING

from densewatch.live.frames import TimeSource
from densewatch.live.sources.clock import FrameClock, Pacer

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame

    from densewatch.live.sources.decoding import VideoPacket

_UNTIMED = frozenset({"mpjpeg", "mjpeg", "h264", "hevc"})  # their time stamps are FFmpeg's invention
_WALL_CLOCK = struct.Struct("<q")  # the first field of FFmpeg's AVProducerReferenceTime: µs since 1970
_LEAST_STEP_S = 1e-6


class CameraWall:
    """The camera's own clock, as RTSP carries it in sender reports: wall time for time stamps."""

    def __init__(self) -> None:
        self._offset: float | None = None

    def at(self, packet: VideoPacket, frame: VideoFrame) -> float | None:
        """Return the time of a frame by the camera's clock, Unix seconds; None before the first report."""
        if packet.pts is not None and packet.has_sidedata("prft"):
            microseconds = _WALL_CLOCK.unpack_from(bytes(packet.get_sidedata("prft")))[0]
            self._offset = microseconds / 1e6 - float(packet.pts * packet.time_base)
        if self._offset is None or frame.pts is None:
            return None
        return self._offset + frame.time


class Timing:
    """Tells when the frames of one connection were taken.

    A live stream tells by its clocks. What comes faster than time is held back until it is due. The frames of
    a file that is read as fast as it goes count from the moment when it was opened.

    Attributes:
        last: time of the newest frame, Unix seconds; every time is later than the one before.
        step_s: how far apart frames are by the frame rate.
    """

    def __init__(self, container: InputContainer, pacer: Pacer | None, *, live: bool, last: float) -> None:
        """Prepare for the first frame.

        Args:
            container: what is played.
            pacer: holds frames back until they are due; None lets them through as they come.
            live: frames come when they are taken, or soon after.
            last: time of the newest frame before these, Unix seconds.
        """
        rate = container.streams.video[0].average_rate
        self.last = last
        self.step_s = 1 / float(rate) if rate else 0.04
        self._pacer = pacer
        self._live = live
        self._untimed = container.format.name in _UNTIMED
        self._clock = FrameClock()
        self._wall = CameraWall()
        self._start = max(time.time(), last)
        self._first_pts: float | None = None
        self._pts = -self.step_s

    def of(self, frame: VideoFrame, packet: VideoPacket, waited: bool) -> tuple[float, TimeSource]:
        """Return when the next frame was taken, Unix seconds, and how that is known; waits until it is due.

        Args:
            frame: the frame.
            packet: from which it came.
            waited: the packet had to be waited for.
        """
        source: TimeSource = "pts"
        if self._pacer is not None:
            when = max(self._pacer.wait(self._since_first(frame)), self.last + _LEAST_STEP_S)
        elif not self._live:
            when = max(self._start + self._since_first(frame), self.last + _LEAST_STEP_S)
        else:
            pts = None if self._untimed or frame.pts is None else frame.time
            when, source = self._clock.stamp(pts, self._wall.at(packet, frame), time.time(), waited)
        self.last = when
        return when, source

    def _since_first(self, frame: VideoFrame) -> float:
        """Return the time stamp in seconds from the first frame; by the frame rate, where there is none."""
        if frame.pts is None:
            self._pts += self.step_s
        else:
            if self._first_pts is None:
                self._first_pts = frame.time
            self._pts = frame.time - self._first_pts
        return self._pts
