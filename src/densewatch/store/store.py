"""The store: one object for all that is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from argon2 import PasswordHasher
from sqlalchemy import Connection, select

from densewatch.records import Bin, Event
from densewatch.store.accounts import Accounts
from densewatch.store.audit import AuditEntry, AuditLog
from densewatch.store.bins import write_bins
from densewatch.store.counts import (
    CountQuery,
    CountSeries,
    CrossingQuery,
    CrossingSeries,
    read_counts,
    read_crossings,
)
from densewatch.store.database import Database
from densewatch.store.events import (
    EventPage,
    EventQuery,
    StoredEvent,
    delete_events,
    end_open_events,
    read_event,
    read_events,
    read_snapshot,
    write_events,
)
from densewatch.store.export import Format, export_counts, export_crossings, export_events
from densewatch.store.migrate import migrate
from densewatch.store.retention import Cleaner, Retention
from densewatch.store.schema import WriterRow
from densewatch.store.snapshots import Snapshots

Mark = tuple[str, int]
"""Who writes, and the number of the batch: numbers of a writer rise."""


class Store:
    """Events, counts and accounts in a database, and snapshots in a folder; safe to use from many threads.

    Every method raises `StoreError` where the database does not do its part, and `ValueError` for questions
    that make no sense.

    Attributes:
        accounts: users, sessions, API keys.
        media: the folder of snapshots.
    """

    def __init__(
        self, database: Database, snapshots: Snapshots, accounts: Accounts, clock: Callable[[], float]
    ) -> None:
        self.accounts = accounts
        self.media = snapshots.folder
        self._database = database
        self._snapshots = snapshots
        self._audit = AuditLog(database, clock=clock)
        self._clock = clock

    @classmethod
    def open(
        cls,
        url: str,
        media: Path,
        *,
        hasher: PasswordHasher | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Store:
        """Open a store; make it where there is none, and bring an older one to the newest tables.

        Args:
            url: `sqlite:///path` or `postgresql+psycopg://user:password@host/name`.
            media: the folder of snapshots.
            hasher: how passwords are hashed; None is argon2-cffi's own choice.
            clock: gives Unix seconds.

        Raises:
            StoreError: the address is wrong, the database is broken, away, or made by a newer densewatch, or
                the folder cannot be made. The message names which, without passwords.
        """
        snapshots = Snapshots(media)
        database = Database.connect(url)
        try:
            migrate(database)
        except BaseException:
            database.close()
            raise
        return cls(database, snapshots, Accounts(database, hasher=hasher, clock=clock), clock)

    @property
    def place(self) -> str:
        """What users know the database by, without its password."""
        return self._database.place

    @property
    def folders(self) -> tuple[Path, ...]:
        """The folders that grow: of snapshots, and of the database where it is a file."""
        file = self._database.file
        return (self.media,) if file is None else (self.media, file.absolute().parent)

    def check(self) -> None:
        """Ask the database for an answer; raises StoreError where there is none."""
        self._database.check()

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    def add_event(self, event: Event) -> None:
        """Write an event, or bring the one of this id up to date; a snapshot stays until a new one comes."""
        self.write([event], [])

    def add_bin(self, bin: Bin) -> None:
        """Write a time bin; one that is there already is merged with it, as parts of the same bin."""
        self.write([], [bin])

    def write(self, events: Sequence[Event], bins: Sequence[Bin], mark: Mark | None = None) -> None:
        """Write all of this, or nothing.

        Args:
            events: as for `add_event`.
            bins: as for `add_bin`.
            mark: a batch that is there already is not written again. When a connection ends during a commit,
                nobody knows whether it was done; trying once more must not count anybody twice.

        Raises:
            RefusedError: the database does not take a value.
            DiskFullError: there is no room.
        """
        with self._database.writing() as connection:
            if mark is None or self._is_new(connection, mark):
                write_bins(self._database, connection, bins)
                write_events(self._database, connection, self._snapshots, events)

    def _is_new(self, connection: Connection, mark: Mark) -> bool:
        writer, batch = mark
        last = connection.execute(select(WriterRow.batch).where(WriterRow.id == writer)).scalar_one_or_none()
        if last is not None and last >= batch:
            return False
        row = {"batch": batch, "time": self._clock()}
        connection.execute(
            self._database.insert(WriterRow)
            .values(id=writer, **row)
            .on_conflict_do_update(index_elements=[WriterRow.id], set_=row)
        )
        return True

    def counts(self, query: CountQuery) -> CountSeries:
        """Return counts over time, with gaps where nothing was observed."""
        return read_counts(self._database, query)

    def crossings(self, query: CrossingQuery) -> CrossingSeries:
        """Return crossings over time, with gaps where nothing was observed."""
        return read_crossings(self._database, query)

    def events(self, query: EventQuery, *, limit: int = 100, before: str | None = None) -> EventPage:
        """Return a page of events, newest first; `before` is `next` of the page before."""
        return read_events(self._database, query, limit, before)

    def event(self, event_id: str) -> StoredEvent | None:
        """Return an event, or None where there is none of this id."""
        return read_event(self._database, event_id)

    def snapshot(self, event_id: str) -> bytes | None:
        """Return an event's JPEG, or None where there is none."""
        return read_snapshot(self._database, self._snapshots, event_id)

    def delete_event(self, event_id: str) -> bool:
        """Delete an event and its snapshot; tell whether it was there."""
        stored = read_event(self._database, event_id)
        if stored is None:
            return False
        return delete_events(self._database, self._snapshots, {event_id: stored.event.start_time}) > 0

    def end_open_events(self, cameras: Sequence[str]) -> int:
        """End events that a kill left open, before these cameras start; return how many there were."""
        return end_open_events(self._database, cameras)

    def export_counts(self, query: CountQuery, format: Format) -> Iterator[bytes]:
        """Return counts as a file in pieces, CSV or Parquet."""
        return export_counts(self._database, query, format)

    def export_crossings(self, query: CrossingQuery, format: Format) -> Iterator[bytes]:
        """Return crossings as a file in pieces, CSV or Parquet."""
        return export_crossings(self._database, query, format)

    def export_events(self, query: EventQuery, format: Format) -> Iterator[bytes]:
        """Return events as a file in pieces, CSV or Parquet, newest first."""
        return export_events(self._database, query, format)

    def audit(self, who: str, what: str, detail: str = "") -> None:
        """Write down who did what; no secrets, and what is too long is cut."""
        self._audit.add(who, what, detail)

    def audit_entries(self, limit: int = 100, before: int | None = None) -> list[AuditEntry]:
        """Return what was done last, newest first; only what is older than the entry of the id `before`."""
        return self._audit.entries(limit, before)

    def latest_audit_entries(self, what: str, since: float) -> list[AuditEntry]:
        """Return the last of each `who` and `detail` where `what` was done since a time, newest first."""
        return self._audit.latest(what, since)

    def cleaner(self, retention: Retention) -> Cleaner:
        """Return what deletes all that may not stay longer."""
        return Cleaner(self._database, self._snapshots, retention, clock=self._clock)
