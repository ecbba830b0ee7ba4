"""What waits to be written: bounded, the newest version of each event, and bins before events."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from typing import Literal

from densewatch.records import Bin, Event

Dropped = Literal["snapshots", "events", "bins"]


@dataclass(frozen=True)
class Batch:
    """Some of what waited.

    Attributes:
        events: in the order in which they came.
        bins: likewise.
        oldest: the lowest number among them, see `Waiting.last`.
    """

    events: tuple[Event, ...]
    bins: tuple[Bin, ...]
    oldest: int

    def __len__(self) -> int:
        return len(self.events) + len(self.bins)


class Waiting:
    """A queue that never grows beyond its bounds; not safe to use from many threads at once.

    Where it is full, the oldest event goes; a bin goes only where no event is left. Where snapshots take too
    much memory, the oldest event loses its own.

    Attributes:
        last: number of the last thing that was added.
        dropped: how many of each kind were lost.
    """

    def __init__(self, capacity: int, snapshot_bytes: int) -> None:
        """Begin empty.

        Args:
            capacity: most events and bins together, at least 1.
            snapshot_bytes: most bytes of all snapshots.
        """
        self.last = 0
        self.dropped: dict[Dropped, int] = {"snapshots": 0, "events": 0, "bins": 0}
        self._capacity = capacity
        self._snapshot_bytes = snapshot_bytes
        self._bytes = 0
        self._events: OrderedDict[str, tuple[int, Event]] = OrderedDict()
        self._with_snapshot: OrderedDict[str, None] = OrderedDict()
        self._bins: deque[tuple[int, Bin]] = deque()

    def __len__(self) -> int:
        return len(self._events) + len(self._bins)

    def add_event(self, event: Event) -> None:
        """Add an event; it takes the place of an earlier version that still waits."""
        self.last += 1
        number = self.last
        if event.id in self._events:
            number, earlier = self._events[event.id]
            if event.snapshot is None:
                event = replace(event, snapshot=earlier.snapshot)
            self._forget_snapshot(earlier)
        self._events[event.id] = (number, event)
        if event.snapshot is not None:
            self._bytes += len(event.snapshot)
            self._with_snapshot[event.id] = None
        self._cut()

    def add_bin(self, part: Bin) -> None:
        """Add a time bin."""
        self.last += 1
        self._bins.append((self.last, part))
        self._cut()

    def oldest(self) -> int | None:
        """Return the lowest number of what waits, None where nothing does."""
        heads = [self._bins[0][0]] if self._bins else []
        if self._events:
            heads.append(next(iter(self._events.values()))[0])
        return min(heads, default=None)

    def take(self, most: int) -> Batch | None:
        """Return what is to be written next, and forget it; None where nothing waits."""
        oldest = self.oldest()
        if oldest is None:
            return None
        bins = [self._bins.popleft()[1] for _ in range(min(most, len(self._bins)))]
        events = [self._pop_event() for _ in range(min(most - len(bins), len(self._events)))]
        return Batch(tuple(events), tuple(bins), oldest)

    def _pop_event(self) -> Event:
        _, (_, event) = self._events.popitem(last=False)
        self._forget_snapshot(event)
        return event

    def _forget_snapshot(self, event: Event) -> None:
        if event.snapshot is not None:
            self._bytes -= len(event.snapshot)
            del self._with_snapshot[event.id]

    def _cut(self) -> None:
        while self._bytes > self._snapshot_bytes:
            number, event = self._events[next(iter(self._with_snapshot))]
            self._forget_snapshot(event)
            self._events[event.id] = (number, replace(event, snapshot=None))
            self.dropped["snapshots"] += 1
        while len(self) > self._capacity:
            if self._events:
                self._pop_event()
                self.dropped["events"] += 1
            else:
                self._bins.popleft()
                self.dropped["bins"] += 1
