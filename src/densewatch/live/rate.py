"""How often something happens, lately."""

from __future__ import annotations

import threading
import time
from collections import deque

_WINDOW_S = 5.0
_MOST = 1000


class Rate:
    """Counts what happened in the last seconds; safe to use from several threads."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_MOST)
        self._lock = threading.Lock()

    def add(self) -> None:
        """Say that it happened."""
        with self._lock:
            self._times.append(time.monotonic())

    def per_second(self) -> float:
        """Return how often a second it happened lately; 0 where it was long ago."""
        now = time.monotonic()
        with self._lock:
            recent = [at for at in self._times if now - at <= _WINDOW_S]
        if len(recent) < 2:
            return 0.0
        # A pause since the last time counts too, once it is longer than the others.
        span_s = max(recent[-1] - recent[0], (now - recent[0]) * (len(recent) - 1) / len(recent))
        return (len(recent) - 1) / span_s if span_s > 0 else 0.0
