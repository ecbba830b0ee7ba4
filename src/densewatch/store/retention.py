"""What is too old, or too much, is deleted: in small pieces, so that writing never waits long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, and_, delete, func, or_, select, tuple_, update

from densewatch.store.accounts import Accounts
from densewatch.store.audit import FAILED_SIGN_IN
from densewatch.store.database import Database
from densewatch.store.events import delete_events
from densewatch.store.schema import AuditRow, EventRow, ObservationRow, WriterRow
from densewatch.store.snapshots import Snapshots, is_event_id
from densewatch.store.watched import delete_unused

DAY_S = 86400.0
MAX_AUDIT_ROWS = 100_000
"""Most entries of who did what, failed sign-ins aside: of those, a tenth of it on top."""

_PIECE = 200
_PAGES = 500
_SPARE_PAGES = 256
_YOUNG_S = 3600.0
_ORPHAN_S = 90 * DAY_S
"""How much longer than others an event that has no end stays: what still lasts would be written again when
it ends, but nobody ends the events of a camera that was taken out of the site."""


@dataclass(frozen=True)
class Retention:
    """How long things are kept, and how much room they may take; None is no limit.

    Attributes:
        events_days: events, from their end on; those that last stay.
        snapshots_days: pictures of events, likewise.
        counts_days: time bins.
        audit_days: who did what.
        max_bytes: snapshots and the SQLite file together; the oldest snapshots go first, then the oldest
            events, counts last; what belongs to events that last stays. With PostgreSQL only snapshots count
            and go.
    """

    events_days: float | None = 90
    snapshots_days: float | None = 30
    counts_days: float | None = 730
    audit_days: float | None = 365
    max_bytes: int | None = 10 << 30


class Cleaner:
    """Deletes what `Retention` does not let stay."""

    def __init__(
        self,
        database: Database,
        snapshots: Snapshots,
        retention: Retention,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take what there is, and for how long.

        Args:
            database: with its tables.
            snapshots: the events' pictures.
            retention: what may stay.
            clock: gives Unix seconds.
        """
        self._database = database
        self._snapshots = snapshots
        self._retention = retention
        self._clock = clock
        self._swept: float | None = None

    def round(self) -> Iterator[None]:
        """Do all that is to be done, a piece for each item of the iterator.

        Raises:
            StoreError: something could not be deleted; the next round tries again.
        """
        kept = self._retention
        yield from self._events_before(self._cut(kept.events_days))
        yield from self._snapshots_before(self._cut(kept.snapshots_days))
        yield from self._bins_before(self._cut(kept.counts_days))
        self._small_tables()
        yield
        yield from self._by_size()
        while self._database.shrink(_PAGES, _SPARE_PAGES):
            yield
        if self._swept is None or self._clock() - self._swept >= DAY_S:
            yield from self._sweep()
            self._swept = self._clock()

    def _cut(self, days: float | None) -> float | None:
        return None if days is None else self._clock() - days * DAY_S

    def _events_before(self, cut: float | None) -> Iterator[None]:
        while cut is not None and self._delete_events(cut):
            yield

    def _delete_events(self, before: float | None) -> bool:
        """Delete some of the oldest events that are over; tell whether there were any."""
        oldest = (
            select(EventRow.id, EventRow.start_time)
            .where(self._over(before))
            .order_by(EventRow.start_time)
            .limit(_PIECE)
        )
        with self._database.reading() as connection:
            begun = {row.id: row.start_time for row in connection.execute(oldest)}
        if begun:
            delete_events(self._database, self._snapshots, begun)
        return bool(begun)

    def _over(self, before: float | None) -> ColumnElement[bool]:
        """Return which events ended before a time, in Unix seconds; None is all that have ended."""
        longest_open = (self._clock() if before is None else before) - _ORPHAN_S
        orphaned = and_(EventRow.end_time.is_(None), EventRow.start_time < longest_open)
        if before is None:
            return or_(EventRow.end_time.is_not(None), orphaned)
        # That it also began before says nothing new, but is what there is an index for.
        return and_(EventRow.start_time < before, or_(EventRow.end_time < before, orphaned))

    def _snapshots_before(self, cut: float | None) -> Iterator[None]:
        while cut is not None and self._delete_snapshots(before=cut):
            yield

    def _delete_snapshots(self, *, before: float | None = None, amount: int | None = None) -> bool:
        """Delete some of the oldest pictures, as many as free `amount` bytes; tell whether there were any.

        Those of events that last stay: an event's end brings its picture along once more.
        """
        oldest = (
            select(EventRow.id, EventRow.start_time, EventRow.snapshot_bytes)
            .where(EventRow.snapshot_bytes > 0, self._over(before))
            .order_by(EventRow.start_time)
            .limit(_PIECE)
        )
        with self._database.reading() as connection:
            rows = connection.execute(oldest).all()
        begun: dict[str, float] = {}
        freed = 0
        for row in rows:
            if amount is not None and freed >= amount:
                break
            begun[row.id] = row.start_time
            freed += row.snapshot_bytes
        if begun:
            with self._database.writing() as connection:
                connection.execute(
                    update(EventRow).where(EventRow.id.in_(list(begun))).values(snapshot_bytes=0)
                )
            for event_id, start_time in begun.items():
                self._snapshots.delete(event_id, start_time)
        return bool(begun)

    def _bins_before(self, cut: float | None) -> Iterator[None]:
        while cut is not None and self._delete_bins(cut):
            yield

    def _delete_bins(self, before: float | None) -> bool:
        """Delete some of the oldest time bins; tell whether there were any."""
        key = (ObservationRow.camera, ObservationRow.start_time, ObservationRow.seconds)
        oldest = select(*key).order_by(ObservationRow.start_time).limit(_PIECE)
        if before is not None:
            oldest = oldest.where(ObservationRow.start_time < before)
        with self._database.writing() as connection:
            deleted = connection.execute(delete(ObservationRow).where(tuple_(*key).in_(oldest))).rowcount
            if deleted:
                delete_unused(connection)
        return deleted > 0

    def _small_tables(self) -> None:
        Accounts(self._database, clock=self._clock).purge_expired()
        cut = self._cut(self._retention.audit_days)
        with self._database.writing() as connection:
            connection.execute(delete(WriterRow).where(WriterRow.time < self._clock() - DAY_S))
            if cut is not None:
                connection.execute(delete(AuditRow).where(AuditRow.time < cut))
            # Whoever reaches the page of signing in can add failures: they push out only each other.
            _keep_newest(connection, AuditRow.what != FAILED_SIGN_IN, MAX_AUDIT_ROWS)
            _keep_newest(connection, AuditRow.what == FAILED_SIGN_IN, MAX_AUDIT_ROWS // 10)

    def _by_size(self) -> Iterator[None]:
        limit = self._retention.max_bytes
        while limit is not None:
            over = self._media_bytes() + self._database.used_bytes() - limit
            if over <= 0 or not self._make_room(over):
                return
            yield

    def _make_room(self, amount: int) -> bool:
        if self._delete_snapshots(amount=amount):
            return True
        # The size of a PostgreSQL database does not fall with what is deleted: that would end with nothing.
        return self._database.is_sqlite and (self._delete_events(None) or self._delete_bins(None))

    def _media_bytes(self) -> int:
        total = select(func.coalesce(func.sum(EventRow.snapshot_bytes), 0)).where(EventRow.snapshot_bytes > 0)
        with self._database.reading() as connection:
            return int(connection.execute(total).scalar_one())

    def _sweep(self) -> Iterator[None]:
        """Delete files that no event knows: a kill, or a database put back, leaves them."""
        files = self._snapshots.files()
        while entries := list(islice(files, _PIECE)):
            self._sweep_files([Path(entry.path) for entry in entries])
            yield

    def _sweep_files(self, paths: list[Path]) -> None:
        # Of a file that is as young, the event may be on its way.
        born_before = self._clock() - _YOUNG_S
        ids = {path: _event_of(path) for path in paths}
        wanted = [event_id for event_id in ids.values() if event_id is not None]
        with self._database.reading() as connection:
            rows = connection.execute(
                select(EventRow.id, EventRow.start_time).where(
                    EventRow.id.in_(wanted), EventRow.snapshot_bytes > 0
                )
            )
            known = {self._snapshots.path(row.id, row.start_time) for row in rows}
        for path, event_id in ids.items():
            if event_id is not None and path not in known:
                self._snapshots.delete_file(path, born_before)


def _keep_newest(connection: Connection, kind: ColumnElement[bool], most: int) -> None:
    """Delete the entries of one kind of who did what that are more than `most`, the oldest."""
    ids = select(AuditRow.id).where(kind).order_by(AuditRow.id.desc())
    newest_too_many = ids.offset(most).limit(1).scalar_subquery()
    connection.execute(delete(AuditRow).where(kind, AuditRow.id <= newest_too_many))


def _event_of(path: Path) -> str | None:
    """Return the id of the event that a file is for; None where the file is somebody else's."""
    name = path.name
    if name.startswith(".") and name.endswith(".part"):
        event_id = name[1 : -len(".part")]
    elif name.endswith(".jpg"):
        event_id = name[: -len(".jpg")]
    else:
        return None
    return event_id if is_event_id(event_id) else None
