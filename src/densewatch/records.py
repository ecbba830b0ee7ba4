"""What is kept of a live scene: events, and counts by time bin. Made in one room, kept in another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["presence", "crossing"]
Direction = Literal["in", "out"]
RelativeBox = tuple[float, float, float, float]
"""xyxy as shares of the picture's width and height, 0 to 1."""


@dataclass(frozen=True)
class Event:
    """One object in view or in a zone, from its first to its last moment there; or one that crosses a line.

    An event is handed over when it begins, with `end_time` None, and again under the same `id` when it ends.

    Attributes:
        id: unique for all time.
        camera: the camera's id.
        kind: `presence` has a beginning and an end; a `crossing` is one moment.
        label: class name.
        track: the object's number; unique for this camera since it was started.
        zone: id of the zone, or of the line for a crossing; None is the whole picture.
        direction: of a crossing.
        start_time: Unix seconds.
        end_time: Unix seconds; None while it lasts. When data ended before the object was seen to leave, the
            last time that it was seen.
        top_score: the best score so far, 0 to 1.
        box: where the object was at its best score.
        snapshot: JPEG at the best score, with privacy masks; None where snapshots are not wanted.
    """

    id: str
    camera: str
    kind: Kind
    label: str
    track: int
    zone: str | None
    direction: Direction | None
    start_time: float
    end_time: float | None
    top_score: float
    box: RelativeBox
    snapshot: bytes | None = None


Place = tuple[Literal["zone", "line"], str | None]
"""A zone or a line, by its id; the zone None is the whole picture."""


@dataclass(frozen=True)
class Subject:
    """Something to watch.

    Attributes:
        place: where.
        labels: names of the classes that count there. They are named also where all of the model's count:
            nobody watched for a class that only a later model knows.
    """

    place: Place
    labels: frozenset[str]


Watched = Mapping[Subject, float]
"""For how much of a bin's observed time each subject was watched, as a share of that time; subjects that are
not named were not watched. One place has several subjects where its classes changed within the bin."""


@dataclass(frozen=True)
class Observation:
    """How much of a time bin a camera really delivered; the truth that counts are read against.

    Attributes:
        camera: the camera's id.
        start_time: Unix seconds, a multiple of `seconds`.
        seconds: length of the bin.
        observed: share of the bin, 0 to 1, in which pictures were seen. 0 is "no data", never "nobody there".
        watched: what was watched of that: of a zone, a line or a class that was added later there is no data.
            None where that is not known, as in bins of before this was kept: it counts as all watched.
    """

    camera: str
    start_time: int
    seconds: int
    observed: float
    watched: Watched | None = None


def share_of(watched: Watched | None, place: Place, label: str | None) -> float:
    """Return for how much of the observed time a class was watched in a place.

    Args:
        watched: None is everything, all the time.
        place: where.
        label: class name; None is whatever counted there.
    """
    if watched is None:
        return 1.0
    return sum(
        share
        for subject, share in watched.items()
        if subject.place == place and (label is None or label in subject.labels)
    )


@dataclass(frozen=True)
class CountBin:
    """How many objects of a class there were, over the observed part of a time bin.

    A class without a row was not seen: 0 where the bin was observed, no data where it was not.

    Attributes:
        camera: the camera's id.
        zone: the zone's id; None is the whole picture.
        label: class name.
        start_time: Unix seconds, a multiple of `seconds`.
        seconds: length of the bin.
        minimum: fewest at any observed moment.
        mean: over observed time, not over frames.
        maximum: most at any observed moment.
        observed: as in `Observation`.
    """

    camera: str
    zone: str | None
    label: str
    start_time: int
    seconds: int
    minimum: int
    mean: float
    maximum: int
    observed: float


@dataclass(frozen=True)
class LineBin:
    """How many objects of a class crossed a line in a time bin.

    Attributes:
        camera: the camera's id.
        line: the line's id.
        label: class name.
        start_time: Unix seconds, a multiple of `seconds`.
        seconds: length of the bin.
        entered: crossings `in`.
        left: crossings `out`.
        observed: as in `Observation`.
    """

    camera: str
    line: str
    label: str
    start_time: int
    seconds: int
    entered: int
    left: int
    observed: float


@dataclass(frozen=True)
class Bin:
    """All that is kept of one camera and one time bin; handed over once, when the bin is over."""

    observation: Observation
    counts: tuple[CountBin, ...] = ()
    lines: tuple[LineBin, ...] = ()
