"""How long to wait before a lost source is tried again."""

from __future__ import annotations

import random

_FIRST_S, _LONGEST_S = 1.0, 60.0
_YOUNG_S, _YOUNG_LONGEST_S = 120.0, 2.5
_STEADY_S = 10.0
_JITTER = 0.25


class Backoff:
    """Waits longer and longer, 1 s to 60 s, each wait up to a quarter shorter by chance, without a last try.

    In the first two minutes of an outage no wait is longer than 2.5 s: with the time that connecting takes, a
    camera that somebody restarts or plugs in again is back within 5 s. After that the waits double. An outage
    is over when frames have come for 10 s: a source that dies soon after each start stays in the same outage,
    and is tried ever more rarely.
    """

    def __init__(self, now: float) -> None:
        """Begin with an outage, since nothing has come yet.

        Args:
            now: seconds on the monotonic clock, like every time here.
        """
        self._outage_since = now
        self._wait_s = _FIRST_S
        self._flowing_since: float | None = None

    def frame(self, now: float) -> None:
        """Take note of a frame."""
        if self._flowing_since is None:
            self._flowing_since = now
        elif now - self._flowing_since >= _STEADY_S:
            self._outage_since = now
            self._wait_s = _FIRST_S

    def failed(self, now: float) -> float:
        """Take note of a failure, and return how many seconds to wait."""
        self._flowing_since = None
        young = now - self._outage_since < _YOUNG_S
        wait = min(self._wait_s, _YOUNG_LONGEST_S if young else _LONGEST_S)
        self._wait_s = 2 * wait
        return wait * (1 - random.uniform(0, _JITTER))
