"""Counts, crossings and events as files, made piece by piece: CSV and Parquet."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from densewatch.store.counts import (
    CountQuery,
    CrossingQuery,
    check_range,
    count_labels,
    counts_on_grid,
    crossing_labels,
    crossings_on_grid,
    on_grid,
)
from densewatch.store.database import Database
from densewatch.store.events import MAX_EVENTS, EventQuery, StoredEvent, read_events

Format = Literal["csv", "parquet"]
Columns = Mapping[str, type]
"""Names of the columns, and whether they hold text, whole numbers, numbers or truths."""

MAX_EXPORT_BINS = 5_000_000
"""Most bins of one export: ten years of minutes."""

_PIECE_BINS = 1000
_ROWS = 1000
_BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")

COUNT_COLUMNS: Columns = {
    "camera": str,
    "zone": str,
    "label": str,
    "start": str,
    "start_time": int,
    "seconds": int,
    "observed": float,
    "minimum": int,
    "mean": float,
    "maximum": int,
}
CROSSING_COLUMNS: Columns = {
    "camera": str,
    "line": str,
    "label": str,
    "start": str,
    "start_time": int,
    "seconds": int,
    "observed": float,
    "entered": int,
    "left": int,
}
EVENT_COLUMNS: Columns = {
    "id": str,
    "camera": str,
    "kind": str,
    "label": str,
    "track": int,
    "zone": str,
    "direction": str,
    "start": str,
    "start_time": float,
    "end": str,
    "end_time": float,
    "top_score": float,
    "x1": float,
    "y1": float,
    "x2": float,
    "y2": float,
    "has_snapshot": bool,
}


def export_counts(database: Database, query: CountQuery, format: Format) -> Iterator[bytes]:
    """Return counts as a file; `start` and `start_time` say the same time, gaps are rows without numbers.

    Where no class was seen at all, `label` is empty: `observed` still tells "nobody there" from "no data".

    Args:
        database: where they are.
        query: which; a range may have up to `MAX_EXPORT_BINS` bins.
        format: `csv` or `parquet`.

    Returns:
        The file, in pieces.

    Raises:
        ValueError: the query makes no sense.
        StoreError: the database cannot be read; while the pieces are made, too.
    """
    query = _checked(database, query)
    with database.reading() as connection:
        labels = count_labels(connection, query)
    return _write(format, COUNT_COLUMNS, _count_rows(database, query, labels))


def export_crossings(database: Database, query: CrossingQuery, format: Format) -> Iterator[bytes]:
    """Return crossings as a file; see `export_counts`."""
    query = _checked(database, query)
    with database.reading() as connection:
        labels = crossing_labels(connection, query)
    return _write(format, CROSSING_COLUMNS, _crossing_rows(database, query, labels))


def export_events(database: Database, query: EventQuery, format: Format) -> Iterator[bytes]:
    """Return events as a file, newest first; see `export_counts`. Those that begin later are not in it."""
    page = read_events(database, query, MAX_EVENTS, None)

    def rows() -> Iterator[Sequence[Any]]:
        given = page
        while True:
            yield from map(_event_row, given.events)
            if given.next is None:
                return
            given = read_events(database, query, MAX_EVENTS, given.next)

    return _write(format, EVENT_COLUMNS, rows())


def _checked(database: Database, query: Any) -> Any:
    check_range(query)
    with database.reading() as connection:
        query = on_grid(connection, query)
    bins = int(query.end - query.start) // query.seconds
    if bins > MAX_EXPORT_BINS:
        raise ValueError(f"from start to end there are {bins} bins; a file has at most {MAX_EXPORT_BINS}")
    return query


def _pieces(query: Any) -> Iterator[Any]:
    """Give the query in parts that follow each other."""
    step = query.seconds * _PIECE_BINS
    for start in range(int(query.start), int(query.end), step):
        yield replace(query, start=start, end=min(start + step, int(query.end)))


def _count_rows(database: Database, query: CountQuery, labels: list[str]) -> Iterator[Sequence[Any]]:
    for piece in _pieces(query):
        with database.reading() as connection:
            found = counts_on_grid(connection, piece, labels or [""])
        for label, points in found.series.items():
            for point in points:
                yield (
                    query.camera,
                    query.zone,
                    label or None,
                    _iso(point.start_time),
                    point.start_time,
                    query.seconds,
                    point.observed,
                    point.minimum,
                    point.mean,
                    point.maximum,
                )


def _crossing_rows(database: Database, query: CrossingQuery, labels: list[str]) -> Iterator[Sequence[Any]]:
    for piece in _pieces(query):
        with database.reading() as connection:
            found = crossings_on_grid(connection, piece, labels or [""])
        for label, points in found.series.items():
            for point in points:
                yield (
                    query.camera,
                    query.line,
                    label or None,
                    _iso(point.start_time),
                    point.start_time,
                    query.seconds,
                    point.observed,
                    point.entered,
                    point.left,
                )


def _event_row(stored: StoredEvent) -> Sequence[Any]:
    event = stored.event
    return (
        event.id,
        event.camera,
        event.kind,
        event.label,
        event.track,
        event.zone,
        event.direction,
        _iso(event.start_time),
        event.start_time,
        None if event.end_time is None else _iso(event.end_time),
        event.end_time,
        event.top_score,
        *event.box,
        stored.has_snapshot,
    )


def _iso(time: float) -> str:
    """Return a Unix time as 2026-01-31T12:00:00.000Z."""
    moment = datetime.fromtimestamp(math.floor(time * 1000 + 0.5) / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _write(format: Format, columns: Columns, rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    if format == "csv":
        return _write_csv(columns, rows)
    if format == "parquet":
        return _write_parquet(columns, rows)
    raise ValueError(f"unknown format {format!r}: known are csv and parquet")


def _batches(rows: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    batch = []
    for row in rows:
        batch.append(row)
        if len(batch) == _ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def _write_csv(columns: Columns, rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    for batch in _batches(rows):
        writer.writerows([[_cell(value) for value in row] for row in batch])
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()
    if buffer.getvalue():
        yield buffer.getvalue().encode()


def _cell(value: Any) -> Any:
    # Spreadsheets would run a class name such as =1+1.
    return f"'{value}" if isinstance(value, str) and value.startswith(_BEGINS_A_FORMULA) else value


class _Pipe(io.RawIOBase):
    """A file that is taken away while it is written."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._length += len(part)
        return len(part)

    def tell(self) -> int:
        return self._length

    def take(self) -> bytes:
        """Return what was written since the last time."""
        data = b"".join(self._parts)
        self._parts.clear()
        return data


def _write_parquet(columns: Columns, rows: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    # A large library that only this needs.
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    pipe = _Pipe()
    with pq.ParquetWriter(pipe, schema) as writer:
        for batch in _batches(rows):
            by_column = zip(*batch, strict=True)
            values = [pa.array(column, field.type) for column, field in zip(by_column, schema, strict=True)]
            writer.write_batch(pa.record_batch(values, schema=schema))
            if part := pipe.take():
                yield part
    yield pipe.take()
