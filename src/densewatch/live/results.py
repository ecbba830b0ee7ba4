"""What the loop says: a result for each frame, and the state of each camera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from densewatch.detections import Detections
from densewatch.live.frames import TimeSource
from densewatch.records import Direction

CameraState = Literal["connecting", "live", "stalled", "lost", "ended"]
"""`stalled`: connected, but no frame, or no result of the detector, for a while. `lost`: not connected; tries
again by itself. `ended`: a file is through."""


@dataclass(frozen=True)
class ZoneCount:
    """What is in a zone now.

    Attributes:
        counts: objects by class name.
        taken: of a parking bay: whether an object stands in it; None for other zones.
        dwell_s: how long each object has been in it, by track, in seconds.
    """

    counts: Mapping[str, int]
    taken: bool | None = None
    dwell_s: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Crossing:
    """An object went over a line in this frame."""

    line: str
    direction: Direction
    label: str
    track: int


@dataclass(frozen=True)
class FrameResult:
    """What was found in one frame of one camera.

    Attributes:
        camera: the camera's id.
        frame: number of the frame among the camera's results, from 0.
        time: when the frame was taken, Unix seconds.
        time_source: how `time` is known.
        age_ms: how old the frame was when the result was ready, in milliseconds.
        stale: the result is older than the camera's limit.
        detections: objects with tracks (-1: not yet sure), after thresholds and filters.
        counts: sure objects by class name, whole picture.
        zones: by zone id.
        lines: crossings so far since the start, by line id and direction.
        crossings: those of this frame.
        image: uint8 [H, W, 3] RGB with privacy masks.
        detected: False where the motion gate spared the network: the objects are those of the last frame.
        detector_ms: how long the detector took; 0 where it was spared.
        dwell_s: how long each object of `counts` was seen so far, by track, in seconds.
    """

    camera: str
    frame: int
    time: float
    time_source: TimeSource
    age_ms: float
    stale: bool
    detections: Detections
    counts: Mapping[str, int]
    zones: Mapping[str, ZoneCount]
    lines: Mapping[str, Mapping[Direction, int]]
    crossings: tuple[Crossing, ...]
    image: npt.NDArray[np.uint8]
    detected: bool = True
    detector_ms: float = 0.0
    dwell_s: Mapping[int, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the result ready for JSON, without its picture."""
        return {
            "camera": self.camera,
            "frame": self.frame,
            "time": round(self.time, 3),
            "time_source": self.time_source,
            "age_ms": round(self.age_ms, 1),
            "state": "live",
            "stale": self.stale,
            "detected": self.detected,
            "width": self.detections.size[1],
            "height": self.detections.size[0],
            "saturated": self.detections.saturated,
            "detections": self.detections.to_dicts(),
            "counts": dict(self.counts),
            "zones": {
                name: {
                    "counts": dict(zone.counts),
                    "taken": zone.taken,
                    "dwell_s": {str(track): round(seconds, 2) for track, seconds in zone.dwell_s.items()},
                }
                for name, zone in self.zones.items()
            },
            "lines": {name: dict(line) for name, line in self.lines.items()},
        }


@dataclass(frozen=True)
class CameraStatus:
    """How a camera is.

    Attributes:
        id: the camera's id.
        state: see `CameraState`.
        since: Unix seconds when it got into this state.
        address: its source without credentials.
        error: why it is not live, without credentials; None where it is.
        age_ms: age of the newest result, now; None before the first.
        last_time: capture time of the newest result, Unix seconds.
        time_source: of that result.
        size: (height, width) in pixels of the newest frame.
        fps_in: frames a second that arrive.
        fps_out: results a second.
        dropped: frames that were not looked at, by reason: `newer` (a newer one came first), `limit` (the fps
            limit), `broken` (did not decode), `engine` and `error` (the detector, or what follows, failed).
        reconnects: by reason of the failure.
    """

    id: str
    state: CameraState
    since: float
    address: str
    error: str | None
    age_ms: float | None
    last_time: float | None
    time_source: TimeSource | None
    size: tuple[int, int] | None
    fps_in: float
    fps_out: float
    dropped: Mapping[str, int]
    reconnects: Mapping[str, int]
