"""What a user may set of a camera, its zones and its lines; one schema for the site file, flags and API."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
"""Of a camera, a zone or a line: it stands in addresses, file names and figures."""

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Point = tuple[Share, Share]
"""x, y as shares of width and height, from the top left: they outlive a change of resolution."""

Polygon = Annotated[tuple[Point, ...], Field(min_length=3, max_length=100)]
Score = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Labels = Annotated[tuple[str, ...], Field(min_length=1)]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Filters(_Settings):
    """Which objects count."""

    only: Labels | None = Field(None, description="class names that count; all where it is left out")
    threshold: Score | None = Field(None, description="lowest score")
    thresholds: dict[str, Score] = Field(default_factory=dict, description="lowest score by class name")
    min_area: Share = Field(0.0, description="smallest box, as a share of the picture's area")
    max_area: Share = Field(1.0, description="largest box, as a share of the picture's area")


class ZoneSettings(_Filters):
    """A part of the picture in which objects are counted."""

    points: Polygon
    anchor: Literal["bottom", "center"] = Field("bottom", description="which point of a box must lie inside")
    bay: bool = Field(False, description="a parking bay: it is free, or taken by one object")


class LineSettings(_Filters):
    """A line that objects go over. Who looks from `start` to `end` sees `in` go to the right."""

    start: Point
    end: Point
    anchor: Literal["bottom", "center"] = "center"
    margin: Share = Field(
        0.01, description="how far beyond the line, as a share of the diagonal, counts as over"
    )

    @model_validator(mode="after")
    def _has_a_length(self) -> LineSettings:
        if self.start == self.end:
            raise ValueError("start and end are the same point; a line needs two")
        return self


class MotionSettings(_Settings):
    """Spares the network while nothing moves."""

    min_area: Share = Field(0.001, description="share of the picture that must change")
    at_least_every_s: float = Field(2.0, gt=0, description="look all the same after so long")


class CameraSettings(_Filters):
    """A camera, or what stands for one."""

    source: str = Field(
        min_length=1, description="rtsp(s)://, http(s)://, a device such as /dev/video0, a file, a folder"
    )
    name: str | None = Field(None, description="for people; the id where it is left out")
    username: str | None = None
    password_env: str | None = Field(
        None, description="name of the environment variable that holds the password"
    )
    password_file: str | None = Field(None, description="file that holds the password")
    max_fps: float | None = Field(None, gt=0, description="look at no more frames a second than this")
    max_age_ms: float = Field(1000, gt=0, description="an older result is marked stale")
    stalled_after_s: float = Field(2.0, gt=0)
    open_timeout_s: float = Field(10.0, gt=0)
    read_timeout_s: float = Field(5.0, gt=0)
    tiles: str = Field("off", description="look closer for far objects: off, auto or COLSxROWS")
    loop: bool = Field(True, description="a file begins anew when it ends, and plays in real time")
    motion: MotionSettings | None = None
    masks: tuple[Polygon, ...] = Field((), description="blackened before anything else sees the frame")
    zones: dict[Id, ZoneSettings] = Field(default_factory=dict)
    lines: dict[Id, LineSettings] = Field(default_factory=dict)
    snapshots: bool = Field(True, description="keep a picture of each event")
    track_memory_s: float = Field(
        1.0, gt=0, description="how long an object may be hidden and keep its number"
    )

    @model_validator(mode="after")
    def _one_password(self) -> CameraSettings:
        if self.password_env is not None and self.password_file is not None:
            raise ValueError("password_env and password_file are both given; one is enough")
        return self
