"""The one thread that writes: in batches, never in the way of those who watch."""

from __future__ import annotations

import logging
import math
import random
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from densewatch.records import Bin, Event
from densewatch.store.errors import DiskFullError, RefusedError, StoreError
from densewatch.store.retention import Retention
from densewatch.store.store import Store
from densewatch.store.waiting import Batch, Dropped, Waiting

WriterState = Literal["ok", "full_disk", "failing"]
"""`full_disk`: nothing is written until there is room. `failing`: the database is away or broken. Both try
again by themselves."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WriterSettings:
    """How the writer works.

    Attributes:
        reserve_bytes: of the disk, below which nothing is written; so much stays for everybody else.
        interval_s: longest time that something waits while all is well, in seconds.
        batch: most events and bins of one transaction.
        capacity: most events and bins that wait in memory.
        snapshot_bytes: most bytes of snapshots that wait in memory.
        room_every_s: how often a full disk is tried again, in seconds.
        longest_pause_s: between attempts while the database fails, in seconds; the first pause is a second.
        clean_every_s: how often retention works, in seconds.
    """

    reserve_bytes: int = 256 << 20
    interval_s: float = 0.5
    batch: int = 200
    capacity: int = 5000
    snapshot_bytes: int = 64 << 20
    room_every_s: float = 3.0
    longest_pause_s: float = 30.0
    clean_every_s: float = 60.0


@dataclass(frozen=True)
class WriterStatus:
    """How the writer is.

    Attributes:
        state: see `WriterState`.
        since: Unix seconds when it got into this state.
        queued: events and bins that wait.
        dropped: how many were lost since the start, by kind: `snapshots`, `events`, `bins`.
        last_write: Unix seconds of the last transaction that was kept; None before the first.
        error: why it does not write; may name paths and hosts. None while it is ok.
    """

    state: WriterState
    since: float
    queued: int
    dropped: Mapping[Dropped, int]
    last_write: float | None
    error: str | None


@dataclass(frozen=True)
class _Unit:
    """What goes into one transaction, under a number that is never used again."""

    number: int
    batch: Batch


class Writer:
    """Writes events and bins of all cameras, from a thread of its own; retention works there too."""

    def __init__(
        self,
        store: Store,
        *,
        retention: Retention | None = None,
        settings: WriterSettings | None = None,
    ) -> None:
        """Prepare; nothing is written before `start`.

        Args:
            store: open; it must stay so until `close` returns.
            retention: how long things are kept; None is its defaults.
            settings: how to work; None is their defaults.
        """
        self._store = store
        self._settings = settings or WriterSettings()
        self._cleaner = store.cleaner(retention or Retention())
        self._id = secrets.token_hex(16)
        self._changed = threading.Condition()
        self._waiting = Waiting(self._settings.capacity, self._settings.snapshot_bytes)
        self._first_added: float | None = None
        self._flush_to = 0
        self._closing_at: float | None = None
        self._state: WriterState = "ok"
        self._since = time.time()
        self._error: str | None = None
        self._last_write: float | None = None
        # Only the thread uses what follows; `_units` is read under the lock by others.
        self._units: deque[_Unit] = deque()
        self._numbers = 0
        self._failures = 0
        self._retry_at = 0.0
        self._clean_at = 0.0
        self._round: Iterator[None] | None = None
        self._thread = threading.Thread(target=self._run, name="densewatch-writer", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def add_event(self, event: Event) -> None:
        """Take an event to be written; returns at once, whatever the database does."""
        with self._changed:
            if self._closing_at is None:
                self._waiting.add_event(event)
                self._note_added()
            else:
                self._waiting.dropped["events"] += 1

    def add_bin(self, bin: Bin) -> None:
        """Take a time bin to be written; returns at once, whatever the database does."""
        with self._changed:
            if self._closing_at is None:
                self._waiting.add_bin(bin)
                self._note_added()
            else:
                self._waiting.dropped["bins"] += 1

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until all that was added before is kept; tell whether it is."""
        with self._changed:
            wanted = self._waiting.last
            self._flush_to = max(self._flush_to, wanted)
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._oldest() > wanted, timeout_s)

    def close(self, timeout_s: float = 10.0) -> bool:
        """Write what waits, then end the thread; tell whether all was written.

        Args:
            timeout_s: after so long what is left is given up, and counted as dropped.
        """
        with self._changed:
            if self._closing_at is None:
                self._closing_at = time.monotonic() + timeout_s
            self._retry_at = 0.0
            self._changed.notify_all()
        if self._thread.ident is not None:
            # The last attempt may take a little longer than the limit.
            self._thread.join(timeout_s + 2.0)
        with self._changed:
            left = [unit.batch for unit in self._units]
            while (batch := self._waiting.take(self._settings.batch)) is not None:
                left.append(batch)
            self._units.clear()
            for batch in left:
                self._count_dropped(batch)
        if left:
            _log.error("%d events and bins could not be written at the end", sum(map(len, left)))
        return not left

    def status(self) -> WriterStatus:
        """Return how the writer is, at once."""
        with self._changed:
            return WriterStatus(
                self._state,
                self._since,
                len(self._waiting) + sum(len(unit.batch) for unit in self._units),
                dict(self._waiting.dropped),
                self._last_write,
                self._error,
            )

    def _note_added(self) -> None:
        if self._first_added is None:
            self._first_added = time.monotonic()
            self._changed.notify_all()
        elif len(self._waiting) == self._settings.batch:
            self._changed.notify_all()

    def _oldest(self) -> float:
        """Return the lowest number that is not kept yet."""
        numbers = [unit.batch.oldest for unit in self._units]
        waiting = self._waiting.oldest()
        return min(numbers if waiting is None else [*numbers, waiting], default=math.inf)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait(max(0.0, self._due_at() - time.monotonic()))
                now = time.monotonic()
                if self._closing_at is not None and (self._oldest() == math.inf or now >= self._closing_at):
                    return
                must_write, may_clean = now >= self._write_at(), now >= self._next_clean()
            try:
                if must_write:
                    self._write()
                if may_clean:
                    self._clean()
            except Exception as error:
                # A mistake of ours must not end the recording for good.
                _log.exception("the writer stumbled")
                self._fail(error)

    def _due_at(self) -> float:
        """Return the monotonic time at which there is something to do."""
        due = min(self._write_at(), self._next_clean())
        return due if self._closing_at is None else min(due, self._closing_at)

    def _write_at(self) -> float:
        """Return the monotonic time at which to write, or to look whether one could again."""
        if self._state != "ok":
            return self._retry_at
        if self._units or self._closing_at is not None or self._oldest() <= self._flush_to:
            return 0.0
        if self._first_added is None:
            return math.inf
        is_full = len(self._waiting) >= self._settings.batch
        return 0.0 if is_full else self._first_added + self._settings.interval_s

    def _next_clean(self) -> float:
        """Return the monotonic time at which retention may work: never while the database fails."""
        return math.inf if self._state == "failing" or self._closing_at is not None else self._clean_at

    def _write(self) -> None:
        with self._changed:
            if not self._units:
                batch = self._waiting.take(self._settings.batch)
                self._first_added = time.monotonic() if len(self._waiting) else None
                if batch is not None:
                    self._units.append(self._unit(batch))
            unit = self._units[0] if self._units else None
        try:
            self._check_room()
            if unit is None:
                self._store.check()
            else:
                self._store.write(unit.batch.events, unit.batch.bins, (self._id, unit.number))
        except RefusedError as error:
            self._split(error)
        except StoreError as error:
            self._fail(error)
        except Exception as error:
            if unit is None:
                raise
            # Such as a number that is too large: the same batch would fail for ever.
            self._split(error)
        else:
            self._succeed(wrote=unit is not None)

    def _unit(self, batch: Batch) -> _Unit:
        self._numbers += 1
        return _Unit(self._numbers, batch)

    def _succeed(self, *, wrote: bool) -> None:
        with self._changed:
            if wrote:
                self._units.popleft()
                self._last_write = time.time()
            self._failures = 0
            self._set_state("ok", None)
            self._changed.notify_all()

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._failures += 1
            if isinstance(error, DiskFullError):
                pause = self._settings.room_every_s
            else:
                longest = min(self._settings.longest_pause_s, 2.0 ** min(self._failures - 1, 10))
                # Many that wait for one database should not come back all at once.
                pause = longest * random.uniform(0.5, 1.0)
            self._retry_at = time.monotonic() + pause
            self._set_state("full_disk" if isinstance(error, DiskFullError) else "failing", str(error))

    def _split(self, error: Exception) -> None:
        """Find out what of a batch is refused, by writing each thing alone; drop what is alone already."""
        with self._changed:
            batch = self._units.popleft().batch
            if len(batch) > 1:
                alone = [Batch((), (part,), batch.oldest) for part in batch.bins]
                alone += [Batch((event,), (), batch.oldest) for event in batch.events]
                self._units = deque(map(self._unit, (*alone, *(unit.batch for unit in self._units))))
                return
            self._count_dropped(batch)
            self._set_state("ok", None)
            self._changed.notify_all()
        unforeseen = None if isinstance(error, RefusedError) else error
        _log.error("what the store refuses is dropped: %s", error, exc_info=unforeseen)

    def _count_dropped(self, batch: Batch) -> None:
        self._waiting.dropped["events"] += len(batch.events)
        self._waiting.dropped["bins"] += len(batch.bins)

    def _set_state(self, state: WriterState, error: str | None) -> None:
        if state != self._state:
            self._state, self._since = state, time.time()
            if state == "ok":
                _log.info("the store is written again")
            else:
                _log.warning("the store is not written (%s): %s", state, error)
        self._error = error

    def _check_room(self) -> None:
        for folder in self._store.folders:
            try:
                free = shutil.disk_usage(folder).free
            except OSError as error:
                # A disk that is no longer mounted: writing on would fill the one below.
                raise StoreError(f"{folder} is gone: {error.strerror}") from error
            if free < self._settings.reserve_bytes:
                raise DiskFullError(
                    f"less than {self._settings.reserve_bytes >> 20} MiB are free on the disk of {folder}"
                )

    def _clean(self) -> None:
        """Do a piece of retention's work."""
        self._clean_at = time.monotonic() + self._settings.clean_every_s
        try:
            if self._round is None:
                self._round = self._cleaner.round()
            next(self._round)
        except StopIteration:
            self._round = None
        except StoreError as error:
            self._round = None
            # A full disk is told by writing; deleting may work there, or not yet.
            if not isinstance(error, DiskFullError):
                self._fail(error)
        else:
            # Soon more, but readers and other processes get their turn.
            self._clean_at = time.monotonic() + 0.02
