"""What a user may set of a camera, its zones and its lines; one schema for the site file, flags and API."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from densewatch.live.polygons import fault

Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
"""Of a camera, a zone or a line: it stands in addresses, file names and figures."""

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Point = tuple[Share, Share]
"""x, y as shares of width and height, from the top left: they outlive a change of resolution."""


def _one_area(points: tuple[Point, ...]) -> tuple[Point, ...]:
    if (why := fault(points)) is not None:
        raise ValueError(why)
    return points


Polygon = Annotated[tuple[Point, ...], Field(min_length=3, max_length=100), AfterValidator(_one_area)]
"""The corners of one area, in their order around it."""

VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Z_][A-Z0-9_]{0,99}$")]
"""Of an environment variable. Capitals: most passwords that are put here by mistake are refused."""

Score = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Labels = Annotated[tuple[str, ...], Field(min_length=1)]


class _Settings(BaseModel):
    # Inputs may hold passwords: they stay out of errors' texts.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, allow_inf_nan=False)


class _Filters(_Settings):
    """Which objects count."""

    only: Labels | None = Field(None, description="class names that count; all where it is left out")
    threshold: Score | None = Field(None, description="lowest score")
    thresholds: dict[str, Score] = Field(default_factory=dict, description="lowest score by class name")
    min_area: Share = Field(0.0, description="smallest box, as a share of the picture's area")
    max_area: Share = Field(1.0, description="largest box, as a share of the picture's area")

    @model_validator(mode="after")
    def _some_size_is_left(self) -> Self:
        if self.min_area > self.max_area:
            raise ValueError(
                f"min_area {self.min_area:g} is above max_area {self.max_area:g}: nothing would count"
            )
        return self


class ZoneSettings(_Filters):
    """A part of the picture in which objects are counted."""

    points: Polygon = Field(description="corners, x and y as shares of width and height from the top left")
    anchor: Literal["bottom", "center"] = Field(
        "bottom", description="which point of a box must lie inside; of a bay it is always the center"
    )
    bay: bool = Field(False, description="a parking bay: it is free, or taken by one object")


class LineSettings(_Filters):
    """A line that objects go over. Who looks from `start` to `end` sees `in` go to the right."""

    start: Point = Field(description="x and y as shares of width and height from the top left")
    end: Point = Field(description="as start")
    anchor: Literal["bottom", "center"] = Field("center", description="which point of a box crosses")
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
        min_length=1,
        repr=False,  # may hold a password
        description="rtsp(s)://, http(s)://, a device such as /dev/video0, a file, a folder",
    )
    name: str | None = Field(None, description="for people; the id where it is left out")
    username: str | None = Field(None, repr=False, description="of the camera's account")
    password_env: VariableName | None = Field(
        None, description="name of the environment variable that holds the password"
    )
    password_file: str | None = Field(None, description="file that holds the password")
    max_fps: float | None = Field(None, gt=0, description="look at no more frames a second than this")
    max_age_ms: float = Field(1000, gt=0, description="an older result is marked stale")
    stalled_after_s: float = Field(2.0, gt=0, description="stalled when no frame or result came for so long")
    open_timeout_s: float = Field(10.0, gt=0, description="give up a source that does not open in this time")
    read_timeout_s: float = Field(5.0, gt=0, description="give up a source that is silent for so long")
    tiles: str = Field(
        "off",
        pattern=r"^(off|auto|[1-9][0-9]?x[1-9][0-9]?)$",
        description="look closer for far objects: off, auto or COLSxROWS such as 4x3",
    )
    verify_tls: bool = Field(True, description="rtsps and https: the server's certificate must be trusted")
    loop: bool = Field(True, description="a file begins anew when it ends, and plays in real time")
    motion: MotionSettings | None = Field(None, description="spare the network while nothing moves")
    masks: tuple[Polygon, ...] = Field((), description="blackened before anything else sees the frame")
    zones: dict[Id, ZoneSettings] = Field(
        default_factory=dict, description="in which objects are counted, by id"
    )
    lines: dict[Id, LineSettings] = Field(default_factory=dict, description="that objects cross, by id")
    snapshots: bool = Field(True, description="keep a picture of each event")
    track_memory_s: float = Field(
        1.0, gt=0, description="how long an object may be hidden and keep its number"
    )

    @model_validator(mode="after")
    def _one_password(self) -> CameraSettings:
        if self.password_env is not None and self.password_file is not None:
            raise ValueError("password_env and password_file are both given; one is enough")
        return self

    @model_validator(mode="after")
    def _ids_differ(self) -> CameraSettings:
        for id in self.lines:
            if id in self.zones:
                raise PydanticCustomError(
                    "same_id",
                    "a zone of this camera has the same id; give the line another",
                    {"at": ("lines", id)},
                )
        return self
