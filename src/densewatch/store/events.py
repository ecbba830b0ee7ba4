"""Events: written, found, and given page by page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, case, delete, func, select, tuple_, update

from densewatch.records import Direction, Event, Kind
from densewatch.store.database import Database, check_text
from densewatch.store.schema import EventRow, ObservationRow
from densewatch.store.snapshots import Snapshots, check_event_id, is_event_id

MAX_EVENTS = 1000
"""Most events of one page."""


@dataclass(frozen=True)
class EventQuery:
    """Which events are wanted; None leaves a point open.

    Attributes:
        camera: the camera's id.
        zone: the id of the zone or line.
        label: class name.
        kind: `presence` or `crossing`.
        start: Unix seconds; events that began then or later.
        end: Unix seconds; events that began before.
    """

    camera: str | None = None
    zone: str | None = None
    label: str | None = None
    kind: Kind | None = None
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True)
class StoredEvent:
    """An event as it is kept: without its snapshot, which is read by `Store.snapshot`."""

    event: Event
    has_snapshot: bool


@dataclass(frozen=True)
class EventPage:
    """Some events, newest first.

    Attributes:
        events: those of this page.
        next: give it as `before` for the next page; None at the end.
    """

    events: tuple[StoredEvent, ...]
    next: str | None


def write_events(
    database: Database, connection: Connection, snapshots: Snapshots, events: Iterable[Event]
) -> None:
    """Write events; one that is there already is brought up to date, and keeps its beginning.

    Raises:
        ValueError: an id or a number makes no sense.
        StoreError: a snapshot cannot be written.
    """
    newest = {event.id: event for event in events}
    if not newest:
        return
    for event in newest.values():
        _check(event)
    there = select(EventRow.id, EventRow.start_time).where(EventRow.id.in_(list(newest)))
    begun = {row.id: row.start_time for row in connection.execute(there)}
    for event in newest.values():
        if event.snapshot:
            # The place of the file follows from the beginning that is kept.
            snapshots.write(event.id, begun.get(event.id, event.start_time), event.snapshot)
    statement = database.insert(EventRow)
    given = statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[EventRow.id],
            set_={
                **{name: given[name] for name in ("end_time", "top_score", "x1", "y1", "x2", "y2")},
                "snapshot_bytes": case(
                    (given.snapshot_bytes > 0, given.snapshot_bytes), else_=EventRow.snapshot_bytes
                ),
            },
        ),
        [_to_row(event) for event in newest.values()],
    )


def read_events(database: Database, query: EventQuery, limit: int, before: str | None) -> EventPage:
    """Return a page of events, newest first.

    Args:
        database: where they are.
        query: which.
        limit: most events of the page, 1 to `MAX_EVENTS`.
        before: `next` of the page before; None for the first. New events do not shift pages.

    Raises:
        ValueError: `limit` or `before` makes no sense.
        StoreError: the database cannot be read.
    """
    if not 1 <= limit <= MAX_EVENTS:
        raise ValueError(f"limit must be from 1 to {MAX_EVENTS}")
    conditions = _conditions(query)
    if before is not None:
        conditions.append(tuple_(EventRow.start_time, EventRow.id) < _from_cursor(before))
    statement = (
        select(EventRow.__table__)
        .where(*conditions)
        .order_by(EventRow.start_time.desc(), EventRow.id.desc())
        .limit(limit + 1)
    )
    with database.reading() as connection:
        rows = connection.execute(statement).all()
    page = tuple(_from_row(row) for row in rows[:limit])
    more = len(rows) > limit
    return EventPage(page, _to_cursor(page[-1].event) if more else None)


def read_event(database: Database, event_id: str) -> StoredEvent | None:
    """Return one event, or None where there is none of this id."""
    if not is_event_id(event_id):
        return None
    with database.reading() as connection:
        row = connection.execute(select(EventRow.__table__).where(EventRow.id == event_id)).one_or_none()
    return None if row is None else _from_row(row)


def read_snapshot(database: Database, snapshots: Snapshots, event_id: str) -> bytes | None:
    """Return an event's JPEG, or None where there is none."""
    if not is_event_id(event_id):
        return None
    with database.reading() as connection:
        found = connection.execute(
            select(EventRow.start_time, EventRow.snapshot_bytes).where(EventRow.id == event_id)
        ).one_or_none()
    if found is None or not found.snapshot_bytes:
        return None
    return snapshots.read(event_id, found.start_time, found.snapshot_bytes)


def delete_events(database: Database, snapshots: Snapshots, begun: dict[str, float]) -> int:
    """Delete events and their snapshots.

    Args:
        database: where they are.
        snapshots: where their pictures are.
        begun: the beginning of each, by id.

    Returns:
        How many were there.
    """
    with database.writing() as connection:
        number = connection.execute(delete(EventRow).where(EventRow.id.in_(list(begun)))).rowcount
    # After the rows: a kill in between leaves files that retention sweeps up, never events without theirs.
    for event_id, start_time in begun.items():
        snapshots.delete(event_id, start_time)
    return number


def end_open_events(database: Database, cameras: Sequence[str]) -> int:
    """End events that a kill left open, when data of their camera last came in, or else when they began.

    Args:
        database: where they are.
        cameras: ids; those of other cameras may belong to a process that runs.

    Returns:
        How many were open.
    """
    last = (
        select(func.max(ObservationRow.start_time + ObservationRow.seconds))
        .where(ObservationRow.camera == EventRow.camera, ObservationRow.observed > 0)
        .scalar_subquery()
    )
    begun = EventRow.start_time
    statement = (
        update(EventRow)
        .where(EventRow.end_time.is_(None), EventRow.camera.in_(list(cameras)))
        .values(end_time=case((last > begun, last), else_=begun))
    )
    with database.writing() as connection:
        return connection.execute(statement).rowcount


def _check(event: Event) -> None:
    check_event_id(event.id)
    numbers = (event.start_time, event.end_time or 0.0, event.top_score, *event.box)
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError(f"event {event.id} holds a value that is not a number")


def _conditions(query: EventQuery) -> list[ColumnElement[bool]]:
    check_text(query.camera, query.zone, query.label)
    if not all(math.isfinite(time) for time in (query.start, query.end) if time is not None):
        raise ValueError("start and end must be Unix seconds")
    conditions: list[ColumnElement[bool]] = [
        column == value
        for column, value in (
            (EventRow.camera, query.camera),
            (EventRow.zone, query.zone),
            (EventRow.label, query.label),
            (EventRow.kind, query.kind),
        )
        if value is not None
    ]
    if query.start is not None:
        conditions.append(EventRow.start_time >= query.start)
    if query.end is not None:
        conditions.append(EventRow.start_time < query.end)
    return conditions


def _to_cursor(event: Event) -> str:
    return f"{event.start_time!r}_{event.id}"


def _from_cursor(cursor: str) -> tuple[float, str]:
    start_time, _, event_id = cursor.partition("_")
    try:
        check_event_id(event_id)
        number = float(start_time)
        if not math.isfinite(number):
            raise ValueError(start_time)
    except ValueError:
        raise ValueError(f"before={cursor[:80]!r} is not what a page gave as next") from None
    return number, event_id


def _to_row(event: Event) -> dict[str, Any]:
    x1, y1, x2, y2 = event.box
    return {
        "id": event.id,
        "camera": event.camera,
        "kind": event.kind,
        "label": event.label,
        "track": event.track,
        "zone": event.zone,
        "direction": event.direction,
        "start_time": event.start_time,
        "end_time": event.end_time,
        "top_score": event.top_score,
        "x1": x1,
        "y1": y1,
        "x2": x2,
        "y2": y2,
        "snapshot_bytes": len(event.snapshot or b""),
    }


def _from_row(row: Row[Any]) -> StoredEvent:
    kind: Kind = "crossing" if row.kind == "crossing" else "presence"
    direction: Direction | None = row.direction
    event = Event(
        id=row.id,
        camera=row.camera,
        kind=kind,
        label=row.label,
        track=row.track,
        zone=row.zone,
        direction=direction,
        start_time=row.start_time,
        end_time=row.end_time,
        top_score=row.top_score,
        box=(row.x1, row.y1, row.x2, row.y2),
    )
    return StoredEvent(event, has_snapshot=row.snapshot_bytes > 0)
