"""What was: counts, crossings and events."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Depends, HTTPException, Path, Query, Response
from fastapi.responses import StreamingResponse

from densewatch.live.settings import Id
from densewatch.records import Kind
from densewatch.server import answers
from densewatch.server.access import Routes
from densewatch.server.asking import ServiceOf, check_camera
from densewatch.store.counts import CountQuery, CrossingQuery
from densewatch.store.events import MAX_EVENTS, EventQuery, StoredEvent
from densewatch.store.export import Format

routes = Routes("history", "/api/v1")

_DAY_S = 86_400
_LATEST = 4e10

_MEDIA_TYPES: dict[Format, str] = {"csv": "text/csv", "parquet": "application/vnd.apache.parquet"}
_FILES = tuple(_MEDIA_TYPES.values())

Time = Annotated[float, Query(ge=0, lt=_LATEST, allow_inf_nan=False)]
Label = Annotated[str, Query(max_length=200, pattern=r"^[^\x00-\x1f]+$", description="class name")]
Length = Annotated[int, Query(ge=1, le=366 * _DAY_S, description="length of the bins, in seconds")]
Start = Annotated[Time | None, Query(description="Unix seconds; a day before the end where it is left out")]
End = Annotated[Time | None, Query(description="Unix seconds; now where it is left out")]
EventId = Annotated[str, Path(max_length=128, description="the event's id")]


async def _count_query(
    service: ServiceOf,
    camera: Id,
    zone: Annotated[Id | None, Query(description="the whole picture where it is left out")] = None,
    label: Annotated[Label | None, Query(description="each class where it is left out")] = None,
    start: Start = None,
    end: End = None,
    seconds: Length | None = None,
) -> CountQuery:
    check_camera(service, camera)
    start, end = _range(start, end)
    return CountQuery(camera, start, end, seconds or service.site.store.bin_seconds, zone, label)


async def _crossing_query(
    service: ServiceOf,
    camera: Id,
    line: Id,
    label: Annotated[Label | None, Query(description="each class where it is left out")] = None,
    start: Start = None,
    end: End = None,
    seconds: Length | None = None,
) -> CrossingQuery:
    check_camera(service, camera)
    start, end = _range(start, end)
    return CrossingQuery(camera, line, start, end, seconds or service.site.store.bin_seconds, label)


async def _event_query(
    camera: Id | None = None,
    zone: Annotated[Id | None, Query(description="of a zone, or of a line")] = None,
    label: Label | None = None,
    kind: Kind | None = None,
    start: Annotated[Time | None, Query(description="Unix seconds; events that began then or later")] = None,
    end: Annotated[Time | None, Query(description="Unix seconds; events that began before")] = None,
) -> EventQuery:
    return EventQuery(camera, zone, label, kind, start, end)


CountsAsked = Annotated[CountQuery, Depends(_count_query)]
CrossingsAsked = Annotated[CrossingQuery, Depends(_crossing_query)]
EventsAsked = Annotated[EventQuery, Depends(_event_query)]


@routes.add("GET", "/counts", access="viewer", errors=(404, 422, 503))
def counts(service: ServiceOf, query: CountsAsked) -> answers.Counts:
    """Counts over time.

    Every bin of the time asked for is there; where nothing was observed, its numbers are null.
    """
    with _refused_plainly():
        found = service.store.counts(query)
    return answers.Counts.of(found)


@routes.add("GET", "/crossings", access="viewer", errors=(404, 422, 503))
def crossings(service: ServiceOf, query: CrossingsAsked) -> answers.Crossings:
    """Crossings of a line over time."""
    with _refused_plainly():
        found = service.store.crossings(query)
    return answers.Crossings.of(found)


@routes.add("GET", "/events", access="viewer", errors=(422, 503))
def events(
    service: ServiceOf,
    query: EventsAsked,
    limit: Annotated[int, Query(ge=1, le=MAX_EVENTS)] = 100,
    before: Annotated[str | None, Query(max_length=300, description="`next` of the page before")] = None,
) -> answers.Events:
    """Events, newest first, page by page."""
    with _refused_plainly():
        page = service.store.events(query, limit=limit, before=before)
    return answers.Events(events=[answers.EventAnswer.of(stored) for stored in page.events], next=page.next)


@routes.add("GET", "/events/{event}", access="viewer", errors=(404, 422, 503))
def event(service: ServiceOf, event: EventId) -> answers.EventAnswer:
    """One event."""
    return answers.EventAnswer.of(_found(service.store.event(event)))


@routes.add(
    "GET",
    "/events/{event}/snapshot.jpg",
    access="viewer",
    errors=(404, 422, 503),
    media_types=("image/jpeg",),
)
def snapshot(service: ServiceOf, event: EventId) -> Response:
    """An event's picture, at its best score."""
    jpeg = service.store.snapshot(event)
    if jpeg is None:
        raise HTTPException(404, "there is no such event, or it has no picture any more")
    return Response(jpeg, media_type="image/jpeg")


@routes.add("GET", "/exports/counts.{format}", access="viewer", errors=(404, 422, 503), media_types=_FILES)
def export_counts(service: ServiceOf, query: CountsAsked, format: Format) -> StreamingResponse:
    """Counts as a file, CSV or Parquet."""
    with _refused_plainly():
        return _file(service.store.export_counts(query, format), f"counts-{query.camera}", format)


@routes.add("GET", "/exports/crossings.{format}", access="viewer", errors=(404, 422, 503), media_types=_FILES)
def export_crossings(service: ServiceOf, query: CrossingsAsked, format: Format) -> StreamingResponse:
    """Crossings as a file, CSV or Parquet."""
    with _refused_plainly():
        return _file(service.store.export_crossings(query, format), f"crossings-{query.camera}", format)


@routes.add("GET", "/exports/events.{format}", access="viewer", errors=(404, 422, 503), media_types=_FILES)
def export_events(service: ServiceOf, query: EventsAsked, format: Format) -> StreamingResponse:
    """Events as a file, CSV or Parquet, newest first."""
    with _refused_plainly():
        return _file(service.store.export_events(query, format), "events", format)


@contextmanager
def _refused_plainly() -> Iterator[None]:
    """Answer with the store's own sentence where it refuses what was asked for."""
    try:
        yield
    except ValueError as error:
        raise HTTPException(422, str(error)) from error


def _range(start: float | None, end: float | None) -> tuple[float, float]:
    """Return what was asked for; where nothing was, the day until now."""
    end = time.time() if end is None else end
    return (max(0.0, end - _DAY_S) if start is None else start), end


def _found(stored: StoredEvent | None) -> StoredEvent:
    if stored is None:
        raise HTTPException(404, "there is no such event")
    return stored


def _file(pieces: Iterator[bytes], name: str, format: Format) -> StreamingResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}.{format}"'}
    return StreamingResponse(pieces, media_type=_MEDIA_TYPES[format], headers=headers)
