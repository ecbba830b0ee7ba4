"""What happened: who was in view and in each zone, from when to when, and who crossed a line."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from densewatch.live.clock import Clock
from densewatch.live.filters import relative_boxes
from densewatch.live.results import FrameResult
from densewatch.live.settings import CameraSettings
from densewatch.live.snapshots import Snapshot
from densewatch.records import Event, RelativeBox

NEW_PICTURE_GAIN = 0.05
"""A better score by less than this is not worth another picture."""

SILENCE_S = 2.0
"""Events end when data has ended for this long, beyond the time that objects may be hidden."""

_PATIENCE_FRAMES = 3.0  # however few frames a second there are

_Place = tuple[str | None, int]
"""Zone, None for the whole picture, and track."""


@dataclass
class _Open:
    """An event that lasts; `picture` was taken at `picture_score`."""

    id: str
    label: str
    start: float
    dwell_s: float
    top_score: float
    box: RelativeBox
    picture: bytes | None
    picture_score: float


class Events:
    """Turns one camera's results into events.

    An event begins with the first frame in which a sure object is counted and seen, and ends when it is
    counted no more; its times are those of its first and last sight. Only objects in view have a state here.
    """

    def __init__(
        self, camera: str, settings: CameraSettings, clock: Clock, on_event: Callable[[Event], None]
    ) -> None:
        """Begin with nothing in view.

        Args:
            camera: the camera's id.
            settings: the camera's.
            clock: the camera's, already at the frame that is added.
            on_event: gets each event when it begins and when it ends.
        """
        self._camera = camera
        self._clock = clock
        self._on_event = on_event
        self._open: dict[_Place, _Open] = {}
        self._last: float | None = None
        self._behind_s = 0.0
        self.replace(settings)

    def replace(self, settings: CameraSettings) -> None:
        """Take over new settings."""
        self._snapshots = settings.snapshots
        self._patience_s = settings.track_memory_s + SILENCE_S

    def add(self, result: FrameResult) -> None:
        """Go on to a frame."""
        self._last, self._behind_s = result.time, result.age_ms / 1000
        seen = _seen(result)
        picture = Snapshot(result.image)
        there: dict[_Place, float] = {(None, track): dwell_s for track, dwell_s in result.dwell_s.items()}
        for zone, count in result.zones.items():
            there |= {(zone, track): dwell_s for track, dwell_s in count.dwell_s.items()}
        for place in [place for place in self._open if place not in there]:
            self._end(place)
        for place, dwell_s in there.items():
            if place in self._open:
                self._open[place].dwell_s = dwell_s
            if place[1] in seen:
                self._see(place, dwell_s, seen[place[1]], result.time, picture)
        self._cross(result, seen, picture)

    def tick(self, now: float) -> None:
        """Let time go on without a frame: what was in view when data ended is over after a while."""
        patience_s = max(self._patience_s, _PATIENCE_FRAMES * self._clock.usual_s)
        if self._last is not None and now - self._behind_s - self._last > patience_s:
            self.close()

    def close(self) -> None:
        """End all events."""
        for place in list(self._open):
            self._end(place)

    def _see(self, place: _Place, dwell_s: float, sight: _Sight, time: float, picture: Snapshot) -> None:
        event = self._open.get(place)
        if event is None:
            start = time - dwell_s
            jpeg = picture.jpeg() if self._snapshots else None
            event = _Open(
                new_id(start), sight.label, start, dwell_s, sight.score, sight.box, jpeg, sight.score
            )
            self._open[place] = event
            self._tell(place, event, None)
            return
        event.label = sight.label
        if sight.score <= event.top_score:
            return
        event.top_score = sight.score
        if sight.score > event.picture_score + NEW_PICTURE_GAIN:
            event.box, event.picture_score = sight.box, sight.score
            event.picture = picture.jpeg() if self._snapshots else None

    def _end(self, place: _Place) -> None:
        event = self._open.pop(place)
        self._tell(place, event, event.start + event.dwell_s)

    def _tell(self, place: _Place, event: _Open, end: float | None) -> None:
        zone, track = place
        self._on_event(
            Event(
                id=event.id,
                camera=self._camera,
                kind="presence",
                label=event.label,
                track=track,
                zone=zone,
                direction=None,
                start_time=event.start,
                end_time=end,
                top_score=event.top_score,
                box=event.box,
                snapshot=event.picture,
            )
        )

    def _cross(self, result: FrameResult, seen: dict[int, _Sight], picture: Snapshot) -> None:
        for crossing in result.crossings:
            sight = seen[crossing.track]
            self._on_event(
                Event(
                    id=new_id(result.time),
                    camera=self._camera,
                    kind="crossing",
                    label=crossing.label,
                    track=crossing.track,
                    zone=crossing.line,
                    direction=crossing.direction,
                    start_time=result.time,
                    end_time=result.time,
                    top_score=sight.score,
                    box=sight.box,
                    snapshot=picture.jpeg() if self._snapshots else None,
                )
            )


@dataclass(frozen=True)
class _Sight:
    """An object as it is in this frame."""

    label: str
    score: float
    box: RelativeBox


def _seen(result: FrameResult) -> dict[int, _Sight]:
    """Return the objects that are seen in this very frame, by track."""
    detections = result.detections
    if detections.track_ids is None:
        return {}
    boxes = relative_boxes(detections).clip(0, 1).tolist()
    return {
        track: _Sight(detections.names[label], score, (box[0], box[1], box[2], box[3]))
        for track, label, score, box in zip(
            detections.track_ids.tolist(),
            detections.labels.tolist(),
            detections.scores.tolist(),
            boxes,
            strict=True,
        )
        if track >= 0
    }


def new_id(time: float) -> str:
    """Return an id that no other event ever gets; ids of later times sort later."""
    return f"{max(0, int(time * 1000)):012x}{secrets.token_hex(10)}"
