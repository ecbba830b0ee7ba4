"""What one camera's detections mean: objects with numbers, counts, zones, lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from densewatch.detections import Detections
from densewatch.live.clock import Clock
from densewatch.live.filters import Filter, camera_filter, part_filter, relative_boxes, union
from densewatch.live.lines import Line
from densewatch.live.results import Crossing, ZoneCount
from densewatch.live.settings import CameraSettings, LineSettings, ZoneSettings
from densewatch.live.track import Track
from densewatch.live.tracking import LOW_SHARE, Tracking
from densewatch.live.zones import Zone
from densewatch.records import Direction


@dataclass(frozen=True)
class Analysed:
    """What one frame means.

    An object counts once it was followed for 0.4 s with a mean score of at least the threshold. It goes on
    counting while it is hidden for no longer than `track_memory_s`, or 0.4 s if it was on its way out of the
    picture; so `counts` may hold more than `detections`, which has only what is seen in this very frame.

    Attributes:
        detections: what is seen and passes the rules of the camera or of a zone that it is in, and what
            crosses a line now; with `track_ids`, -1 for what is not sure. A track has the class that had most
            score.
        counts: sure objects by class name, whole picture, by the camera's rules.
        zones: by zone id.
        lines: crossings so far, by line id and direction.
        crossings: those of this frame.
        dwell_s: how long each object of `counts` was seen so far, by track, in seconds.
    """

    detections: Detections
    counts: Mapping[str, int]
    zones: Mapping[str, ZoneCount]
    lines: Mapping[str, Mapping[Direction, int]]
    crossings: tuple[Crossing, ...]
    dwell_s: Mapping[int, float]


class Analysis:
    """Follows, filters and counts for one camera, whose frames come one after the other."""

    def __init__(self, camera: str, settings: CameraSettings, names: Sequence[str]) -> None:
        """Begin with nothing seen.

        Args:
            camera: the camera's id.
            settings: the camera's.
            names: class names of the detector, in label order.

        Raises:
            UnknownNameError: settings have a class name that is none of `names`.
        """
        self.camera = camera
        self._names = tuple(names)
        self._clock = Clock()
        self._zones: dict[str, Zone] = {}
        self._lines: dict[str, Line] = {}
        self._take(settings)
        self._tracking = Tracking(self._widest, settings.track_memory_s)

    @property
    def lowest_threshold(self) -> float:
        """What to ask the detector for: tracks go on with scores below the thresholds too."""
        return LOW_SHARE * float(self._widest.thresholds.min())

    def replace(self, settings: CameraSettings) -> None:
        """Take over new zones, lines and filters; objects keep their numbers, lines what they counted.

        Raises:
            UnknownNameError: as for a new one; nothing has changed then.
        """
        self._take(settings)
        self._tracking.rule = self._widest
        self._tracking.memory_s = settings.track_memory_s

    def update(self, detections: Detections, time: float) -> Analysed:
        """Go on to a frame.

        Args:
            detections: with scores down to `lowest_threshold`.
            time: when the frame was taken, Unix seconds.
        """
        self._clock.advance(time)
        now_s, usual_s = self._clock.now_s, self._clock.usual_s
        tracks = self._tracking.update(detections, self._clock)
        memory_s = self._tracking.memory_s
        there = {track for track in tracks if track.sure and track.present(now_s, memory_s, usual_s)}
        named = _with_tracks(detections, tracks)
        zones = {id: zone.update(tracks, there, named, self._clock) for id, zone in self._zones.items()}
        crossed = [
            (id, track, direction)
            for id, line in self._lines.items()
            for track, direction in line.update(tracks, detections.size, now_s)
        ]
        counted = [track for track in there if self._rule.accepts(track.label, track.score, track.area)]
        return Analysed(
            detections=named[self._shown(named, [track for _, track, _ in crossed])],
            counts=dict(Counter(self._names[track.label] for track in counted)),
            zones=zones,
            lines={id: dict(line.crossed) for id, line in self._lines.items()},
            crossings=tuple(
                Crossing(id, direction, self._names[track.label], track.number)
                for id, track, direction in crossed
            ),
            dwell_s={track.number: track.last_s - track.first_s for track in counted},
        )

    def _take(self, settings: CameraSettings) -> None:
        """Take over settings; all names are checked before anything changes."""
        rule = camera_filter(settings, self._names)
        rules = {id: part_filter(part, settings, self._names) for id, part in _parts(settings).items()}
        self._rule: Filter = rule
        self._widest = union([rule, *rules.values()])
        for id, zone in settings.zones.items():
            if id in self._zones:
                self._zones[id].replace(zone, rules[id])
            else:
                self._zones[id] = Zone(zone, rules[id])
        for id, line in settings.lines.items():
            if id in self._lines:
                self._lines[id].replace(line, rules[id])
            else:
                self._lines[id] = Line(line, rules[id])
        self._zones = {id: self._zones[id] for id in settings.zones}
        self._lines = {id: self._lines[id] for id in settings.lines}

    def _shown(self, detections: Detections, crossed: Collection[Track]) -> npt.NDArray[np.bool_]:
        """Return bool [N]: which detections the result holds."""
        shown = self._rule.mask(detections)
        boxes = relative_boxes(detections)
        for zone in self._zones.values():
            for index in np.flatnonzero(zone.rule.mask(detections) & ~shown):
                shown[index] = zone.contains(boxes[index])
        for track in crossed:
            shown[track.index] = True
        return shown


def _parts(settings: CameraSettings) -> dict[str, ZoneSettings | LineSettings]:
    """Return a camera's zones and lines, which share one space of ids."""
    return {**settings.zones, **settings.lines}


def _with_tracks(detections: Detections, tracks: Sequence[Track]) -> Detections:
    """Return all detections with the numbers and the classes of their tracks."""
    numbers = np.full(len(detections), -1, np.int64)
    labels = detections.labels.copy()
    for track in tracks:
        if track.index is not None:
            numbers[track.index], labels[track.index] = track.number, track.label
    return replace(detections, track_ids=numbers, labels=labels)
