"""Counts by time bin: over observed time, not over frames; what was not observed is no data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from densewatch.live.clock import Clock
from densewatch.live.results import FrameResult
from densewatch.live.settings import CameraSettings
from densewatch.records import Bin, CountBin, LineBin, Observation, Place, Subject, share_of

HOLD_S = 2.0
"""A frame speaks for the time until the next one, if that comes within this time."""

_HOLD_FRAMES = 3.0  # or within as many usual intervals, where frames are further apart
GRACE_S = 1.0
"""How long after a frame could still have spoken for it a bin waits for late frames."""

_CLOCK_WAS_SET_S = 5.0
_MOST_EMPTY = (
    60  # bins in a row without data; after a longer pause, as of a computer that slept, the rest is left out
)

_Counted = tuple[str | None, str]
"""Zone, None for the whole picture, and class name."""


@dataclass
class _Count:
    """One class in one place in one bin; `total` is objects × seconds."""

    minimum: int
    maximum: int
    total: float = 0.0


@dataclass
class _Open:
    """The bin that time is in."""

    start: int
    seen_s: float = 0.0
    watched_s: dict[Subject, float] = field(default_factory=dict)
    counts: dict[_Counted, _Count] = field(default_factory=dict)
    crossings: dict[tuple[str, str], list[int]] = field(default_factory=dict)


class Bins:
    """Collects one camera's counts in bins of equal length, which begin at multiples of it.

    A frame's counts hold until the next frame. Where that comes later than two seconds and three usual
    intervals, the frame speaks for one usual interval only: the rest of the gap was not observed. A frame
    speaks for the zones, lines and classes of its moment: before they were drawn, nobody watched them.
    """

    def __init__(
        self, camera: str, settings: CameraSettings, names: Sequence[str], seconds: int, clock: Clock
    ) -> None:
        """Begin; the first bin is that of the first frame or tick.

        Args:
            camera: the camera's id.
            settings: the camera's.
            names: class names of the detector; all of them count where settings name none.
            seconds: length of a bin.
            clock: the camera's, already at the frame that is added.
        """
        self._camera = camera
        self._names = frozenset(names)
        self._seconds = seconds
        self._clock = clock
        self._open: _Open | None = None
        self._last: float | None = None
        self._state: dict[_Counted, int] = {}
        self._watching: Mapping[Place, Subject] = {}
        self._behind_s = 0.0
        self.replace(settings)

    def replace(self, settings: CameraSettings) -> None:
        """Take over new settings; they hold from the next frame on."""
        self._subjects = _subjects(settings, self._names)

    def add(self, result: FrameResult) -> list[Bin]:
        """Go on to a frame and return the bins that are over with it."""
        self._behind_s = result.age_ms / 1000
        done, time = self._in_order(result.time)
        done += self._observe(time)
        done += self._go_to(time)
        self._last = time
        self._watching = self._subjects
        self._state = {key: number for key, number in _state(result).items() if self._watches(key)}
        self._cross(result)
        return done

    def tick(self, now: float) -> list[Bin]:
        """Let time go on without a frame and return the bins for which none can come any more.

        Args:
            now: Unix seconds. The camera's own clock may be late: it is as late as its last frame was.
        """
        if self._open is None:
            return self._go_to(now)
        silent_since = now - self._behind_s - self._hold_s - GRACE_S
        if self._open.start + self._seconds > silent_since:
            return []
        done = self._observe(silent_since + self._hold_s + GRACE_S)
        self._last, self._state = None, {}
        return done + self._go_to(silent_since)

    def close(self) -> list[Bin]:
        """End: return the bin that is open, with what was observed of it."""
        if self._open is None:
            return []
        if self._last is not None:
            end = self._open.start + self._seconds
            self._count(self._open, min(self._clock.usual_s, end - self._last))
        done = [self._bin(self._open)]
        self._open, self._last, self._state = None, None, {}
        return done

    @property
    def _hold_s(self) -> float:
        return max(HOLD_S, _HOLD_FRAMES * self._clock.usual_s)

    def _in_order(self, time: float) -> tuple[list[Bin], float]:
        """Return a time that is not before what was counted, and the bins that end if a clock was set."""
        earliest = self._last if self._last is not None else self._open.start if self._open else time
        if time >= earliest:
            return [], time
        if earliest - time <= _CLOCK_WAS_SET_S:
            return [], earliest
        return self.close(), time

    def _observe(self, until: float) -> list[Bin]:
        """Count what the last frame speaks for, and return the bins that are over with it."""
        done: list[Bin] = []
        if self._last is None or self._open is None:
            return done
        gap_s = until - self._last
        start, end = self._last, self._last + (gap_s if gap_s <= self._hold_s else self._clock.usual_s)
        while start < end:
            border = self._open.start + self._seconds
            self._count(self._open, min(end, border) - start)
            start = min(end, border)
            if start >= border:
                done.append(self._bin(self._open))
                self._open = _Open(border)
        return done

    def _go_to(self, time: float) -> list[Bin]:
        """Open the bin of a time, and return those before it."""
        target = int(time // self._seconds) * self._seconds
        done: list[Bin] = []
        if self._open is None:
            self._open = _Open(target)
        while self._open.start < target:
            done.append(self._bin(self._open))
            following = self._open.start + self._seconds
            self._open = _Open(following if len(done) < _MOST_EMPTY else target)
        return done

    def _count(self, bin: _Open, seconds: float) -> None:
        """Let the last frame's counts hold for so long."""
        for key in filter(self._watches, self._state.keys() | bin.counts.keys()):
            number = self._state.get(key, 0)
            count = bin.counts.get(key)
            if count is None:
                # Nobody was there in what was watched before.
                count = bin.counts[key] = _Count(0 if _watched_s(bin, key) else number, number)
            count.minimum, count.maximum = min(count.minimum, number), max(count.maximum, number)
            count.total += number * seconds
        for subject in self._watching.values():
            bin.watched_s[subject] = bin.watched_s.get(subject, 0.0) + seconds
        bin.seen_s += seconds

    def _watches(self, counted: _Counted) -> bool:
        """Return whether the last frame speaks for a class in a zone."""
        zone, label = counted
        subject = self._watching.get(("zone", zone))
        return subject is not None and label in subject.labels

    def _cross(self, result: FrameResult) -> None:
        for crossing in result.crossings:
            assert self._open is not None
            entered_left = self._open.crossings.setdefault((crossing.line, crossing.label), [0, 0])
            entered_left[0 if crossing.direction == "in" else 1] += 1

    def _bin(self, bin: _Open) -> Bin:
        observed = min(1.0, bin.seen_s / self._seconds)
        counts = (
            CountBin(
                self._camera,
                zone,
                label,
                bin.start,
                self._seconds,
                count.minimum,
                min(max(count.total / _watched_s(bin, (zone, label)), count.minimum), count.maximum),
                count.maximum,
                observed,
            )
            for (zone, label), count in bin.counts.items()
        )
        lines = (
            LineBin(self._camera, line, label, bin.start, self._seconds, entered, left, observed)
            for (line, label), (entered, left) in bin.crossings.items()
        )
        watched = {subject: watched_s / bin.seen_s for subject, watched_s in bin.watched_s.items()}
        whole = Observation(self._camera, bin.start, self._seconds, observed, watched)
        return Bin(whole, tuple(counts), tuple(lines))


def _subjects(settings: CameraSettings, names: frozenset[str]) -> dict[Place, Subject]:
    """Return what is watched with these settings; zones and lines count the camera's classes or their own."""
    labels = frozenset(settings.only or names)
    parts: dict[Place, tuple[str, ...] | None] = {("zone", None): None}
    parts |= {("zone", id): zone.only for id, zone in settings.zones.items()}
    parts |= {("line", id): line.only for id, line in settings.lines.items()}
    return {place: Subject(place, frozenset(only) if only else labels) for place, only in parts.items()}


def _watched_s(bin: _Open, counted: _Counted) -> float:
    """Return for how many seconds of a bin so far a class was watched in a zone."""
    zone, label = counted
    return share_of(bin.watched_s, ("zone", zone), label)


def _state(result: FrameResult) -> dict[_Counted, int]:
    """Return how many of each class are in each place."""
    places: list[tuple[str | None, Mapping[str, int]]] = [(None, result.counts)]
    places += [(id, zone.counts) for id, zone in result.zones.items()]
    return {(place, label): number for place, counts in places for label, number in counts.items() if number}
