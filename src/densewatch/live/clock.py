"""A clock made of capture times, which only goes forward."""

from __future__ import annotations

from collections import deque
from statistics import median

_KEPT = 15  # intervals; the usual one is their median, so that a few gaps do not change it
_TICK_S = 0.001
_FIRST_GUESS_S = 0.1


class Clock:
    """Counts seconds from frame to frame, whatever the camera's own clock does.

    A capture time that stands still or goes back, as when a camera's clock is set, counts as a thousandth of
    a second: what is followed by this clock lives on, and its times stay in order.
    """

    def __init__(self) -> None:
        self.now_s = 0.0
        """Seconds since the first frame."""
        self._last: float | None = None
        self._intervals: deque[float] = deque(maxlen=_KEPT)

    @property
    def usual_s(self) -> float:
        """How far apart frames usually are, in seconds."""
        return median(self._intervals) if self._intervals else _FIRST_GUESS_S

    def advance(self, time: float) -> float:
        """Go on to a frame's capture time, in Unix seconds, and return the seconds that passed."""
        if self._last is None:
            passed = 0.0
        elif time > self._last:
            passed = time - self._last
            self._intervals.append(passed)
        else:
            passed = _TICK_S
        self._last = time
        self.now_s += passed
        return passed
