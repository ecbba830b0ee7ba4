"""What is in a part of the picture, and for how long; parking bays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from densewatch.detections import Detections
from densewatch.live.clock import Clock
from densewatch.live.filters import Filter, relative_boxes
from densewatch.live.results import ZoneCount
from densewatch.live.settings import ZoneSettings
from densewatch.live.track import Box, Track

ENTER_S = 0.39
"""An object counts once it was inside for so long; 5, 10 and 30 fps reach just this together."""

LEAVE_S = 0.59
"""An object has left once it was outside for so long: to and fro on the border is inside."""

BAY_TAKEN_S = 1.0
"""A bay is taken once something stood in it for so long: what drives through does not take it."""

BAY_FREE_S = 2.0
"""A bay is free once nothing was seen in it for so long."""

_PATIENCE_FRAMES = 1.5  # however few frames a second there are, one may miss what stands in a bay


def anchor_point(box: Box, anchor: str) -> tuple[float, float]:
    """Return the point of a box, xyxy, that says where it is: the middle of its `bottom`, or its `center`."""
    left, top, right, bottom = box.tolist()
    return (left + right) / 2, bottom if anchor == "bottom" else (top + bottom) / 2


class Zone:
    """A part of a camera's picture.

    Points are tested exactly, in relative coordinates, so a zone outlives a change of resolution;
    supervision's zones are masks of the pixels of one resolution.
    """

    def __init__(self, settings: ZoneSettings, rule: Filter) -> None:
        """Begin with nobody inside."""
        self._stays: dict[Track, _Stay] = {}
        self._bay = _Bay()
        self.replace(settings, rule)

    def replace(self, settings: ZoneSettings, rule: Filter) -> None:
        """Take over new settings; who is inside the new borders too stays inside."""
        self.settings = settings
        self.rule = rule
        self._anchor = "center" if settings.bay else settings.anchor
        self._points = np.array(settings.points, np.float32)

    def contains(self, box: Box) -> bool:
        """Return whether a box, xyxy as shares of the picture, is inside; the border is inside."""
        return bool(cv2.pointPolygonTest(self._points, anchor_point(box, self._anchor), False) >= 0)

    def update(
        self, tracks: Sequence[Track], there: Collection[Track], detections: Detections, clock: Clock
    ) -> ZoneCount:
        """Go on to a frame and return what is inside.

        Args:
            tracks: all that are followed, sure or not.
            there: those of them that are sure and present.
            detections: of the frame; what stands in a bay takes it, followed or not.
            clock: already at this frame.
        """
        now_s = clock.now_s
        kept = {track: self._stays[track] for track in tracks if track in self._stays}
        self._stays = kept
        for track in tracks:
            if track.index is not None:
                self._see(track, now_s)
        self._stays = {track: stay for track, stay in kept.items() if not stay.is_over(now_s)}
        inside = [
            track
            for track, stay in self._stays.items()
            if stay.counts and track in there and self.rule.accepts(track.label, track.score, track.area)
        ]
        counts: dict[str, int] = dict(Counter(detections.names[track.label] for track in inside))
        taken = None
        if self.settings.bay:
            taken, counts = self._bay.update(self._standing(tracks, detections), detections.names, clock)
        return ZoneCount(
            counts, taken, {track.number: self._stays[track].lasted_s(track.last_s) for track in inside}
        )

    def _see(self, track: Track, now_s: float) -> None:
        stay = self._stays.get(track)
        if not self.contains(track.box):
            if stay is not None and stay.outside_s is None:
                stay.outside_s = now_s
        elif stay is None:
            from_start = track.new and self.contains(track.first_box)
            self._stays[track] = _Stay(track.first_s if from_start else now_s)
        else:
            stay.outside_s = None
        stay = self._stays.get(track)
        if stay is not None and stay.outside_s is None and now_s - stay.since_s >= ENTER_S:
            stay.counts = True

    def _standing(self, tracks: Sequence[Track], detections: Detections) -> list[int]:
        """Return the classes of what is seen inside: what passes by itself, and tracks with a low score."""
        boxes = relative_boxes(detections)
        labels = {
            int(index): int(detections.labels[index]) for index in np.flatnonzero(self.rule.mask(detections))
        }
        for track in tracks:
            if track.index is not None and self.rule.accepts(track.label, track.score, track.area):
                labels[track.index] = track.label
        return [label for index, label in labels.items() if self.contains(boxes[index])]


@dataclass
class _Stay:
    """One object in a zone: since when, since when it is outside again, whether it was in for long enough."""

    since_s: float
    outside_s: float | None = None
    counts: bool = False

    def is_over(self, now_s: float) -> bool:
        return self.outside_s is not None and now_s - self.outside_s >= LEAVE_S

    def lasted_s(self, last_s: float) -> float:
        """Return how long it was inside until it was last seen there."""
        return (last_s if self.outside_s is None else self.outside_s) - self.since_s


class _Bay:
    """Whether something stands in a bay."""

    def __init__(self) -> None:
        self._since_s: float | None = None
        self._last_s = 0.0
        self._frame_s = 0.0
        self._taken = False
        self._label = 0

    def update(
        self, standing: Sequence[int], names: Sequence[str], clock: Clock
    ) -> tuple[bool, dict[str, int]]:
        """Go on to a frame in which these classes stand there; return whether it is taken, and by what."""
        patience_s = max(BAY_FREE_S, _PATIENCE_FRAMES * clock.usual_s)
        blind_s, self._frame_s = clock.now_s - self._frame_s, clock.now_s
        if blind_s >= patience_s or (not standing and clock.now_s - self._last_s >= patience_s):
            self._since_s, self._taken = None, False
        if standing:
            self._since_s = clock.now_s if self._since_s is None else self._since_s
            self._last_s, self._label = clock.now_s, standing[0]
            self._taken = self._taken or self._last_s - self._since_s >= BAY_TAKEN_S
        return self._taken, {names[self._label]: 1} if self._taken else {}
