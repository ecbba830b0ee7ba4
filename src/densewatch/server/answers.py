"""What the API answers, as the OpenAPI document shows it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from densewatch.live.frames import TimeSource
from densewatch.live.results import CameraState, CameraStatus
from densewatch.live.settings import CameraSettings, LineSettings, Polygon, ZoneSettings
from densewatch.records import Direction, Kind
from densewatch.server.access import Role
from densewatch.store.counts import CountSeries as StoredCounts
from densewatch.store.counts import CrossingSeries as StoredCrossings
from densewatch.store.events import StoredEvent
from densewatch.store.writer import WriterState

Seconds = Annotated[float, Field(description="Unix seconds")]
Observed = Annotated[
    float,
    Field(description="share of the bin, 0 to 1, in which this was watched; 0 is no data, never nobody"),
]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class Problem(_Answer):
    """Why a request failed."""

    detail: str = Field(description="a sentence for people")


class Session(_Answer):
    """Who is signed in."""

    name: str
    role: Role
    csrf: str | None = Field(
        description="to be sent as X-CSRF-Token with every POST, PUT, PATCH and DELETE; null for an API key"
    )
    expires: Seconds | None = Field(description="null: never, as an API key may be")


class Camera(_Answer):
    """A camera: how it is, and what is drawn in its picture."""

    id: str
    name: str = Field(description="for people")
    state: CameraState = Field(
        description="stalled: connected, no frames or results; lost: tries by itself; ended: a file is over"
    )
    since: Seconds = Field(description="when it got into this state, Unix seconds")
    address: str = Field(description="its source, without credentials")
    error: str | None = Field(description="why it is not live")
    age_ms: float | None = Field(description="age of the newest result now; null before the first")
    last_time: Seconds | None = Field(description="when the newest result's frame was taken")
    time_source: TimeSource | None = Field(description="how that time is known")
    size: tuple[int, int] | None = Field(description="height and width in pixels")
    fps_in: float = Field(description="frames a second that arrive")
    fps_out: float = Field(description="results a second")
    dropped: dict[str, int] = Field(description="frames that were not looked at, by reason")
    reconnects: dict[str, int] = Field(description="by reason of the failure")
    zones: dict[str, ZoneSettings] = Field(description="points as shares of width and height")
    lines: dict[str, LineSettings]
    masks: tuple[Polygon, ...] = Field(description="what is blackened before anything sees the frame")
    labels: tuple[str, ...] = Field(description="classes that may be seen here")

    @classmethod
    def of(cls, status: CameraStatus, settings: CameraSettings, names: tuple[str, ...]) -> Camera:
        """Put together what is known of a camera; `names` are the model's classes."""
        return cls(
            **status_dict(status),
            name=settings.name or status.id,
            zones=settings.zones,
            lines=settings.lines,
            masks=settings.masks,
            labels=settings.only or names,
        )


class Health(_Answer):
    """Whether a camera is live, for monitoring."""

    camera: str
    state: CameraState
    since: Seconds
    age_ms: float | None
    error: str | None


class CountBinAnswer(_Answer):
    """Objects of a class over the observed part of a bin."""

    start_time: int = Field(description="Unix seconds")
    observed: Observed
    minimum: int | None = Field(description="null: no data")
    mean: float | None = Field(description="over observed time; null: no data")
    maximum: int | None = Field(description="null: no data")


class CountSeries(_Answer):
    """A class's bins, without gaps in time."""

    label: str
    bins: list[CountBinAnswer]


class ObservedBin(_Answer):
    """How much of a bin was seen."""

    start_time: int = Field(description="Unix seconds")
    observed: Observed


class Counts(_Answer):
    """Counts over time."""

    camera: str
    zone: str | None = Field(description="null: the whole picture")
    seconds: int = Field(description="length of a bin: as asked for, or longer where the bins kept are")
    observed: list[ObservedBin] = Field(description="all bins, also where no class was seen")
    series: list[CountSeries]

    @classmethod
    def of(cls, found: StoredCounts) -> Counts:
        """Put together what the store found."""
        return cls(
            camera=found.camera,
            zone=found.zone,
            seconds=found.seconds,
            observed=_observed(found.observed),
            series=[
                CountSeries(
                    label=label, bins=[CountBinAnswer(**dataclasses.asdict(point)) for point in points]
                )
                for label, points in found.series.items()
            ],
        )


class LineBinAnswer(_Answer):
    """Crossings of a line in a bin."""

    start_time: int = Field(description="Unix seconds")
    observed: Observed
    entered: int | None = Field(description="null: no data")
    left: int | None = Field(description="null: no data")


class CrossingSeries(_Answer):
    """A class's bins, without gaps in time."""

    label: str
    bins: list[LineBinAnswer]


class Crossings(_Answer):
    """Crossings of a line over time."""

    camera: str
    line: str
    seconds: int = Field(description="length of a bin: as asked for, or longer where the bins kept are")
    observed: list[ObservedBin] = Field(description="all bins, also where nobody crossed")
    series: list[CrossingSeries]

    @classmethod
    def of(cls, found: StoredCrossings) -> Crossings:
        """Put together what the store found."""
        return cls(
            camera=found.camera,
            line=found.line,
            seconds=found.seconds,
            observed=_observed(found.observed),
            series=[
                CrossingSeries(
                    label=label, bins=[LineBinAnswer(**dataclasses.asdict(point)) for point in points]
                )
                for label, points in found.series.items()
            ],
        )


class EventAnswer(_Answer):
    """One object in view or in a zone, from first to last; or one that went over a line."""

    id: str
    camera: str
    kind: Kind
    label: str
    track: int
    zone: str | None = Field(description="the zone; the line of a crossing; null: the whole picture")
    direction: Direction | None
    start_time: Seconds
    end_time: Seconds | None = Field(description="null while it lasts")
    top_score: float
    box: tuple[float, float, float, float] = Field(description="xyxy as shares of the picture")
    has_snapshot: bool

    @classmethod
    def of(cls, stored: StoredEvent) -> EventAnswer:
        """Put together what is kept of an event."""
        told = {name: getattr(stored.event, name) for name in cls.model_fields if name != "has_snapshot"}
        return cls(**told, has_snapshot=stored.has_snapshot)


class Events(_Answer):
    """Events, newest first."""

    events: list[EventAnswer]
    next: str | None = Field(description="give it as `before` for the next, older ones; null: there are none")


class User(_Answer):
    """Who may sign in."""

    name: str
    role: Role


class ApiKey(_Answer):
    """A machine's key, without the key."""

    id: str
    name: str
    role: Role
    created: Seconds
    expires: Seconds | None = Field(description="null: never")
    last_used: Seconds | None


class NewApiKey(ApiKey):
    """A key that was made just now."""

    key: str = Field(description="shown this once; send it as Authorization: Bearer …")


class WriterAnswer(_Answer):
    """Whether events and counts are kept."""

    state: WriterState = Field(description="full_disk and failing try again by themselves")
    since: Seconds
    queued: int
    dropped: dict[str, int] = Field(description="what was lost since the start")
    last_write: Seconds | None
    error: str | None = Field(description="for admins; null for others")


class Disk(_Answer):
    """The disk that things are kept on."""

    total_bytes: int
    free_bytes: int


class System(_Answer):
    """What runs here."""

    version: str
    model: str
    labels: tuple[str, ...] = Field(description="classes that the model knows")
    cameras: int
    viewers: int = Field(description="open live views")
    threads: int
    since: Seconds
    writer: WriterAnswer
    disk: Disk | None


class Alive(_Answer):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Ready(_Answer):
    """Whether the service does its work. A camera that is lost does not make it unready."""

    ready: bool
    model: bool = Field(description="loaded")
    store: bool = Field(description="can be written")
    cameras: dict[str, CameraState]


def status_dict(status: CameraStatus) -> dict[str, Any]:
    """Return a camera's status ready for JSON; times and rates rounded to what they are worth."""
    return {
        "id": status.id,
        "state": status.state,
        "since": round(status.since, 3),
        "address": status.address,
        "error": status.error,
        "age_ms": None if status.age_ms is None else round(status.age_ms, 1),
        "last_time": None if status.last_time is None else round(status.last_time, 3),
        "time_source": status.time_source,
        "size": status.size,
        "fps_in": round(status.fps_in, 2),
        "fps_out": round(status.fps_out, 2),
        "dropped": dict(status.dropped),
        "reconnects": dict(status.reconnects),
    }


def _observed(shares: Mapping[int, float]) -> list[ObservedBin]:
    return [ObservedBin(start_time=start, observed=share) for start, share in shares.items()]
