"""When a frame was taken, told from what a stream says of itself and from when it arrived."""

from __future__ import annotations

import time
from threading import Event

from densewatch.live.frames import TimeSource

_CREEP = 0.0005  # of time: camera clocks are off by less than that
_LATE_S, _LATE_FOR_S, _LATE_WOBBLE_S = 1.0, 5.0, 0.2
_RTCP_AHEAD_S, _RTCP_BEHIND_S = 0.5, 3.0
_SET_BACK_S = 1.0
_GAP_S, _PATIENCE_S = 10.0, 0.5
_LEAST_STEP_S = 1e-6


class FrameClock:
    """Gives each frame of a live stream the time when it was taken.

    Best is the camera's own clock, which RTSP cameras send every few seconds (RTCP sender reports); it is
    believed where it agrees with this computer's clock to within what networks explain, and never later than
    now. Else time stamps (PTS) count from the quickest frame so far, which is taken to have been under way
    for no time at all: so no time is later than now. That anchor creeps forward by 0.5 ms a second, which is
    more than the clocks of cameras are wrong: time does not fall behind. Where a source paused, and its
    stamps do not know it, all frames are late by the same; after 5 s of that they are anchored anew. A delay
    that grows is a jam and shows as age. Without stamps, the time of arrival is all that there is.

    Times grow from frame to frame, also where the way of telling them changes. Only when this computer's own
    clock is set back do they go back too.
    """

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._offset: float | None = None
        self._at = 0.0
        self._last = float("-inf")
        self._last_pts: float | None = None
        self._late_since: float | None = None
        self._late_by = 0.0

    def stamp(
        self, pts: float | None, rtcp: float | None, now: float, waited: bool
    ) -> tuple[float, TimeSource]:
        """Return when a frame was taken, and how that is known.

        Args:
            pts: its time stamp in seconds, from anywhere.
            rtcp: the camera's clock at that frame, Unix seconds.
            now: this computer's clock, Unix seconds.
            waited: the frame had to be waited for, so none was queued before it.
        """
        if now < self._last - _SET_BACK_S:
            self._forget()
        guess, source = self._guess(pts, rtcp, now, waited)
        step = 0.0
        if pts is not None and self._last_pts is not None:
            step = max(0.0, pts - self._last_pts)
        self._last_pts = pts
        if guess <= self._last:  # half the speed, until the better way of telling has caught up
            guess = max(min(self._last + step / 2, now), self._last + _LEAST_STEP_S)
        self._last = guess
        return guess, source

    def _guess(
        self, pts: float | None, rtcp: float | None, now: float, waited: bool
    ) -> tuple[float, TimeSource]:
        by_pts = None if pts is None else self._by_pts(pts, now, waited)
        if rtcp is not None and now - _RTCP_BEHIND_S <= rtcp <= now + _RTCP_AHEAD_S:
            return min(rtcp, now), "rtcp"
        if by_pts is not None:
            return by_pts, "pts"
        return now, "arrival"

    def _by_pts(self, pts: float, now: float, waited: bool) -> float:
        fits = now - pts
        began_anew = self._last_pts is not None and pts < self._last_pts - _LATE_S
        if self._offset is None or began_anew:
            self._offset = fits
        self._offset = min(self._offset + _CREEP * (now - self._at), fits) if self._at else fits
        self._at = now
        if self._late_for_long(fits - self._offset, now, waited):
            self._offset = fits
        return pts + self._offset

    def _late_for_long(self, lag: float, now: float, waited: bool) -> bool:
        if lag < _LATE_S or not waited:
            self._late_since = None
        elif self._late_since is None or abs(lag - self._late_by) > _LATE_WOBBLE_S:
            self._late_since, self._late_by = now, lag
        elif now - self._late_since > _LATE_FOR_S:
            self._late_since = None
            return True
        return False


class Pacer:
    """Plays what is faster than time at the speed of time.

    Where the frames come too late, such as those of a server that is slow, time is moved for all that follow.
    """

    def __init__(self, stop: Event, speed: float = 1.0) -> None:
        """Prepare to play.

        Args:
            stop: ends waiting.
            speed: of playing; a little above 1 keeps what waits in a stream from becoming more.
        """
        self._stop = stop
        self._speed = speed
        self._zero: float | None = None
        self._last_pts = 0.0

    def wait(self, pts: float) -> float:
        """Wait until a frame is due, and return that moment, Unix seconds.

        Args:
            pts: the time stamp of the frame, in seconds.
        """
        now = time.monotonic()
        if self._zero is None or pts < self._last_pts or pts > self._last_pts + _GAP_S:
            self._zero = now - pts / self._speed
        self._last_pts = pts
        due = self._zero + pts / self._speed
        if due > now:
            self._stop.wait(due - now)
        elif now - due > _PATIENCE_S:
            self._zero += now - due
            due = now
        return due + time.time() - time.monotonic()
