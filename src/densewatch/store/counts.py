"""Counts and crossings over time, from the bins: merged to the length asked for, with gaps left as gaps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, and_, func, select

from densewatch.records import Place, Watched, share_of
from densewatch.store.database import Database, check_text
from densewatch.store.schema import WHOLE_PICTURE, CountBinRow, LineBinRow, ObservationRow, WatchedRow
from densewatch.store.watched import from_text

MAX_BINS = 5000
"""Most bins of one query."""

MAX_POINTS = 120_000
"""Most bins × classes of one query: a day of minutes for the 80 classes of COCO, or the 240 bins of the
dashboard's chart for 500."""

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
    """How many objects there were in a bin; all None where nothing was observed.

    `observed` is the share of the bin in which the class was watched in the zone.
    """

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
        observed: start of each bin, and the share of it in which the zone was watched, or the class in it
            where one was asked for; also where no class was seen.
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
        ValueError: the range makes no sense, or has more than `MAX_BINS` bins or `MAX_POINTS` points.
        StoreError: the database cannot be read.
    """
    check_range(query)
    with database.reading() as connection:
        query = on_grid(connection, query)
        check_number_of_bins(query)
        labels = count_labels(connection, query)
        check_number_of_points(query, labels)
        return counts_on_grid(connection, query, labels)


def read_crossings(database: Database, query: CrossingQuery) -> CrossingSeries:
    """Return crossings over time; raises what `read_counts` does."""
    check_range(query)
    with database.reading() as connection:
        query = on_grid(connection, query)
        check_number_of_bins(query)
        labels = crossing_labels(connection, query)
        check_number_of_points(query, labels)
        return crossings_on_grid(connection, query, labels)


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


def check_number_of_points(query: CountQuery | CrossingQuery, labels: list[str]) -> None:
    """Raise a ValueError where a range on its grid has too many bins for so many classes."""
    bins = int(query.end - query.start) // query.seconds
    if bins * len(labels) > MAX_POINTS:
        raise ValueError(
            f"from start to end there are {bins} bins of {query.seconds} s for each of {len(labels)} classes"
            f"; at most {MAX_POINTS} in all are given at a time: ask for a shorter time, for longer bins, or "
            "for one class"
        )


def on_grid(connection: Connection, query: _Query) -> _Query:
    """Return the query with whole bins, none shorter than what is kept.

    A bin belongs to the one in which it begins; where the length of bins was changed to one that is no
    multiple, it may reach over by less than its own length.
    """
    start, of_camera = math.floor(query.start), ObservationRow.camera == query.camera
    # The bin in which the time begins may be the only one that is kept of it.
    newest_before = select(func.max(ObservationRow.start_time)).where(
        of_camera, ObservationRow.start_time <= start
    )
    longest = connection.execute(
        select(func.max(ObservationRow.seconds)).where(
            of_camera,
            ObservationRow.start_time >= func.coalesce(newest_before.scalar_subquery(), start),
            ObservationRow.start_time < math.ceil(query.end),
            ObservationRow.start_time + ObservationRow.seconds > start,
        )
    ).scalar_one()
    seconds = math.ceil(query.seconds / (longest or 1)) * (longest or 1)
    first, last = math.floor(query.start / seconds), math.ceil(query.end / seconds)
    return replace(query, seconds=seconds, start=first * seconds, end=last * seconds)


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
    """Return counts for a query that went through `on_grid`; the label "" is whatever counted there."""
    seen = _Seen(connection, query)
    bucket = _bucket(CountBinRow.start_time, query.seconds)
    weight = ObservationRow.observed * ObservationRow.seconds
    rows = connection.execute(
        select(
            CountBinRow.label,
            bucket,
            ObservationRow.watched,
            func.count(),
            func.min(CountBinRow.minimum),
            func.sum(CountBinRow.mean * weight),
            func.max(CountBinRow.maximum),
        )
        .join_from(CountBinRow, ObservationRow)
        .where(_counts_wanted(query))
        .group_by(CountBinRow.label, "bucket", ObservationRow.watched)
    )
    found: dict[tuple[str, int], list[_Numbers]] = {}
    for label, start, watched, number, minimum, weighted, maximum in rows:
        numbers = _Numbers(number, minimum, weighted * seen.share(watched, label), maximum)
        found.setdefault((label, int(start)), []).append(numbers)
    return CountSeries(
        query.camera,
        query.zone,
        query.seconds,
        seen.shares(query.label),
        {
            label: tuple(
                _count_point(start, query.seconds, looked, found.get((label, start), []))
                for start, looked in seen.of(label).items()
            )
            for label in labels
        },
    )


def crossings_on_grid(connection: Connection, query: CrossingQuery, labels: list[str]) -> CrossingSeries:
    """Return crossings for a query that went through `on_grid`; for the label "" see `counts_on_grid`."""
    seen = _Seen(connection, query)
    bucket = _bucket(LineBinRow.start_time, query.seconds)
    rows = connection.execute(
        select(LineBinRow.label, bucket, func.sum(LineBinRow.entered), func.sum(LineBinRow.left))
        .where(_lines_wanted(query))
        .group_by(LineBinRow.label, "bucket")
    )
    found = {(label, int(start)): (int(entered), int(left)) for label, start, entered, left in rows}
    return CrossingSeries(
        query.camera,
        query.line,
        query.seconds,
        seen.shares(query.label),
        {
            label: tuple(
                CrossingPoint(start, share, *(found.get((label, start), (0, 0)) if share else (None, None)))
                for start, share in seen.shares(label).items()
            )
            for label in labels
        },
    )


@dataclass(frozen=True)
class _Numbers:
    """What some bins of a class that has rows there sum up to; `weighted` is objects × seconds."""

    bins: int
    minimum: int
    weighted: float
    maximum: int


@dataclass(frozen=True)
class _Looked:
    """For how long something was watched in a bin of the grid, and in how many of the bins that are kept."""

    seconds: float = 0.0
    bins: int = 0


def _count_point(start: int, seconds: int, looked: _Looked, found: list[_Numbers]) -> CountPoint:
    if not looked.bins:
        return CountPoint(start, 0.0, None, None, None)
    share = min(1.0, looked.seconds / seconds)
    if not found:
        return CountPoint(start, share, 0, 0.0, 0)
    # In the bins that were watched and have no row there was none.
    is_everywhere = sum(numbers.bins for numbers in found) == looked.bins
    return CountPoint(
        start,
        share,
        min(numbers.minimum for numbers in found) if is_everywhere else 0,
        sum(numbers.weighted for numbers in found) / looked.seconds,
        max(numbers.maximum for numbers in found),
    )


class _Seen:
    """What was seen of a query's zone or line in each bin of its grid, class by class."""

    def __init__(self, connection: Connection, query: CountQuery | CrossingQuery) -> None:
        self._place: Place = ("zone", query.zone) if isinstance(query, CountQuery) else ("line", query.line)
        self._seconds = query.seconds
        self._grid = range(int(query.start), int(query.end), query.seconds)
        bucket = _bucket(ObservationRow.start_time, query.seconds)
        observed_s = func.sum(ObservationRow.observed * ObservationRow.seconds)
        wanted = and_(
            ObservationRow.camera == query.camera,
            ObservationRow.start_time >= int(query.start),
            ObservationRow.start_time < int(query.end),
            ObservationRow.observed > 0,
        )
        # As many were watched as there are changes of zones and lines: hardly ever two in a bin of the grid.
        self._rows = connection.execute(
            select(bucket, ObservationRow.watched, observed_s, func.count())
            .where(wanted)
            .group_by("bucket", ObservationRow.watched)
        ).all()
        texts = connection.execute(
            select(WatchedRow.id, WatchedRow.text).where(
                WatchedRow.id.in_(select(ObservationRow.watched).where(wanted))
            )
        )
        self._watched: dict[int | None, Watched | None] = {None: None}
        self._watched |= {id: from_text(text) for id, text in texts}
        self._known: dict[tuple[float, ...], dict[int, _Looked]] = {}

    def share(self, watched: int | None, label: str | None) -> float:
        """Return for how much of the observed time of bins that watched this a class was watched."""
        return share_of(self._watched[watched], self._place, label or None)

    def of(self, label: str | None) -> dict[int, _Looked]:
        """Return for how long a class was watched, by bin of the grid; None is whatever counted there."""
        shares = {watched: self.share(watched, label) for watched in self._watched}
        # Most classes are watched like all others: that is added up once.
        key = tuple(shares.values())
        if key not in self._known:
            self._known[key] = self._sum(shares)
        return self._known[key]

    def shares(self, label: str | None) -> dict[int, float]:
        """Return `of` as shares of the bins of the grid."""
        return {start: min(1.0, looked.seconds / self._seconds) for start, looked in self.of(label).items()}

    def _sum(self, shares: Mapping[int | None, float]) -> dict[int, _Looked]:
        found = dict.fromkeys(self._grid, _Looked())
        for start, watched, observed_s, bins in self._rows:
            if (share := shares[watched]) > 0:
                before = found[int(start)]
                found[int(start)] = _Looked(before.seconds + observed_s * share, before.bins + bins)
        return found


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
