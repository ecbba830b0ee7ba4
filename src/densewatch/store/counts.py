"""Counts and crossings over time, from the bins: merged to the length asked for, with gaps left as gaps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, and_, func, select

from densewatch.store.database import Database, check_text
from densewatch.store.schema import WHOLE_PICTURE, CountBinRow, LineBinRow, ObservationRow

MAX_BINS = 5000
"""Most bins of one query."""

MAX_SECONDS = 366 * 86400
"""Longest bin of a query."""


@dataclass(frozen=True)
class CountQuery:
    """Which counts are wanted.

    Attributes:
        camera: the camera's id.
        start: Unix seconds; the bin in which it lies is the first.
        end: Unix seconds; the bin that it begins is no longer wanted.
        seconds: length of the bins.
        zone: the zone's id; None is the whole picture.
        label: class name; None is each class.
    """

    camera: str
    start: float
    end: float
    seconds: int
    zone: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class CrossingQuery:
    """Which crossings are wanted; see `CountQuery`."""

    camera: str
    line: str
    start: float
    end: float
    seconds: int
    label: str | None = None


@dataclass(frozen=True)
class CountPoint:
    """How many objects there were in a bin; all None where nothing was observed."""

    start_time: int
    observed: float
    minimum: int | None
    mean: float | None
    maximum: int | None


@dataclass(frozen=True)
class CrossingPoint:
    """How many objects crossed in a bin; None where nothing was observed."""

    start_time: int
    observed: float
    entered: int | None
    left: int | None


@dataclass(frozen=True)
class CountSeries:
    """Counts over time.

    Attributes:
        camera: the camera's id.
        zone: the zone's id; None is the whole picture.
        seconds: length of the bins: as asked for, or longer where the bins kept are.
        observed: start of each bin, and the share of it that was observed, also where no class was seen.
        series: by class name, one point a bin, in the order of time.
    """

    camera: str
    zone: str | None
    seconds: int
    observed: Mapping[int, float]
    series: Mapping[str, tuple[CountPoint, ...]]


@dataclass(frozen=True)
class CrossingSeries:
    """Crossings over time; see `CountSeries`."""

    camera: str
    line: str
    seconds: int
    observed: Mapping[int, float]
    series: Mapping[str, tuple[CrossingPoint, ...]]


_Query = TypeVar("_Query", CountQuery, CrossingQuery)


def read_counts(database: Database, query: CountQuery) -> CountSeries:
    """Return counts over time.

    Raises:
        ValueError: the range makes no sense, or has more than `MAX_BINS` bins.
        StoreError: the database cannot be read.
    """
    check_range(query)
    with database.reading() as connection:
        query = on_grid(connection, query)
        check_number_of_bins(query)
        return counts_on_grid(connection, query, count_labels(connection, query))


def read_crossings(database: Database, query: CrossingQuery) -> CrossingSeries:
    """Return crossings over time; raises what `read_counts` does."""
    check_range(query)
    with database.reading() as connection:
        query = on_grid(connection, query)
        check_number_of_bins(query)
        return crossings_on_grid(connection, query, crossing_labels(connection, query))


def check_range(query: CountQuery | CrossingQuery) -> None:
    """Raise a ValueError where a range or a name makes no sense."""
    thing = query.zone if isinstance(query, CountQuery) else query.line
    check_text(query.camera, thing, query.label)
    if not 1 <= query.seconds <= MAX_SECONDS:
        raise ValueError(f"seconds must be from 1 to {MAX_SECONDS}, a year")
    # Beyond a thousand years, somebody took milliseconds for seconds. What is not a number fails here too.
    if not (0 <= query.start < 4e10 and 0 <= query.end < 4e10):
        raise ValueError("start and end must be Unix seconds")
    if query.end <= query.start:
        raise ValueError("end must lie after start")


def check_number_of_bins(query: CountQuery | CrossingQuery) -> None:
    """Raise a ValueError where a range on its grid has too many bins."""
    bins = int(query.end - query.start) // query.seconds
    if bins > MAX_BINS:
        raise ValueError(
            f"from start to end there are {bins} bins of {query.seconds} s; at most {MAX_BINS} are given at "
            "a time: ask for a shorter time, or for longer bins"
        )


def on_grid(connection: Connection, query: _Query) -> _Query:
    """Return the query with whole bins, none shorter than what is kept.

    A bin belongs to the one in which it begins; where the length of bins was changed to one that is no
    multiple, it may reach over by less than its own length.
    """
    longest = connection.execute(
        select(func.max(ObservationRow.seconds)).where(
            ObservationRow.camera == query.camera,
            ObservationRow.start_time >= math.floor(query.start),
            ObservationRow.start_time < query.end,
        )
    ).scalar_one()
    seconds = math.ceil(query.seconds / (longest or 1)) * (longest or 1)
    start = math.floor(query.start / seconds) * seconds
    return replace(query, seconds=seconds, start=start, end=math.ceil(query.end / seconds) * seconds)


def count_labels(connection: Connection, query: CountQuery) -> list[str]:
    """Return the classes that a query is about: the one asked for, or all that were seen."""
    if query.label is not None:
        return [query.label]
    wanted = select(CountBinRow.label).distinct().where(_counts_wanted(query))
    return sorted(connection.execute(wanted).scalars())


def crossing_labels(connection: Connection, query: CrossingQuery) -> list[str]:
    """Return the classes that a query is about: the one asked for, or all that crossed."""
    if query.label is not None:
        return [query.label]
    wanted = select(LineBinRow.label).distinct().where(_lines_wanted(query))
    return sorted(connection.execute(wanted).scalars())


def counts_on_grid(connection: Connection, query: CountQuery, labels: list[str]) -> CountSeries:
    """Return counts for a query that went through `on_grid`."""
    times, parts = _observed(connection, query)
    bucket = _bucket(CountBinRow.start_time, query.seconds)
    weight = ObservationRow.observed * ObservationRow.seconds
    rows = connection.execute(
        select(
            CountBinRow.label,
            bucket,
            func.count(),
            func.min(CountBinRow.minimum),
            func.sum(CountBinRow.mean * weight),
            func.max(CountBinRow.maximum),
        )
        .join_from(CountBinRow, ObservationRow)
        .where(_counts_wanted(query))
        .group_by(CountBinRow.label, "bucket")
    )
    found = {(label, int(start)): numbers for label, start, *numbers in rows}
    return CountSeries(
        query.camera,
        query.zone,
        query.seconds,
        _shares(times, query.seconds),
        {
            label: tuple(
                _count_point(start, seconds, query.seconds, parts[start], found.get((label, start)))
                for start, seconds in times.items()
            )
            for label in labels
        },
    )


def crossings_on_grid(connection: Connection, query: CrossingQuery, labels: list[str]) -> CrossingSeries:
    """Return crossings for a query that went through `on_grid`."""
    times, _ = _observed(connection, query)
    bucket = _bucket(LineBinRow.start_time, query.seconds)
    rows = connection.execute(
        select(LineBinRow.label, bucket, func.sum(LineBinRow.entered), func.sum(LineBinRow.left))
        .where(_lines_wanted(query))
        .group_by(LineBinRow.label, "bucket")
    )
    found = {(label, int(start)): (int(entered), int(left)) for label, start, entered, left in rows}
    shares = _shares(times, query.seconds)
    return CrossingSeries(
        query.camera,
        query.line,
        query.seconds,
        shares,
        {
            label: tuple(
                CrossingPoint(start, share, *(found.get((label, start), (0, 0)) if share else (None, None)))
                for start, share in shares.items()
            )
            for label in labels
        },
    )


def _count_point(
    start: int, observed_s: float, seconds: int, parts: int, numbers: list[Any] | None
) -> CountPoint:
    share = min(1.0, observed_s / seconds)
    if not parts:
        return CountPoint(start, 0.0, None, None, None)
    if numbers is None:
        return CountPoint(start, share, 0, 0.0, 0)
    rows, minimum, weighted, maximum = numbers
    # In the observed parts without a row there was none.
    return CountPoint(start, share, minimum if rows == parts else 0, weighted / observed_s, maximum)


def _observed(
    connection: Connection, query: CountQuery | CrossingQuery
) -> tuple[dict[int, float], dict[int, int]]:
    """Return, for each bin of the grid, how many seconds were observed, and in how many parts."""
    bucket = _bucket(ObservationRow.start_time, query.seconds)
    rows = connection.execute(
        select(bucket, func.sum(ObservationRow.observed * ObservationRow.seconds), func.count())
        .where(
            ObservationRow.camera == query.camera,
            ObservationRow.start_time >= int(query.start),
            ObservationRow.start_time < int(query.end),
            ObservationRow.observed > 0,
        )
        .group_by("bucket")
    )
    grid = range(int(query.start), int(query.end), query.seconds)
    times = dict.fromkeys(grid, 0.0)
    parts = dict.fromkeys(grid, 0)
    for start, seconds, number in rows:
        times[int(start)] = seconds
        parts[int(start)] = number
    return times, parts


def _shares(times: Mapping[int, float], seconds: int) -> dict[int, float]:
    return {start: min(1.0, observed / seconds) for start, observed in times.items()}


def _bucket(start_time: Any, seconds: int) -> ColumnElement[int]:
    bucket: ColumnElement[int] = (start_time - start_time % seconds).label("bucket")
    return bucket


def _counts_wanted(query: CountQuery) -> ColumnElement[bool]:
    wanted = [
        CountBinRow.camera == query.camera,
        CountBinRow.start_time >= int(query.start),
        CountBinRow.start_time < int(query.end),
        CountBinRow.zone == (WHOLE_PICTURE if query.zone is None else query.zone),
    ]
    if query.label is not None:
        wanted.append(CountBinRow.label == query.label)
    return and_(*wanted)


def _lines_wanted(query: CrossingQuery) -> ColumnElement[bool]:
    wanted = [
        LineBinRow.camera == query.camera,
        LineBinRow.start_time >= int(query.start),
        LineBinRow.start_time < int(query.end),
        LineBinRow.line == query.line,
    ]
    if query.label is not None:
        wanted.append(LineBinRow.label == query.label)
    return and_(*wanted)
