"""Objects from frame to frame, by ByteTrack; what is decided on top depends on seconds, not on frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import supervision
from trackers import BIoU, ByteTrackTracker
from trackers.utils.state_representations import XYXYStateEstimator

from densewatch.detections import Detections
from densewatch.live.clock import Clock
from densewatch.live.filters import Filter, relative_areas, relative_boxes
from densewatch.live.labelling import Boxes, Labels, continues, taken_over, twins
from densewatch.live.track import Box, Sighting, Track

LOW_SHARE = 0.8
"""A track may go on with a box that has this share of the threshold, where there is no better one.

Lower boxes are mostly second boxes of a neighbour: the more frames a second, the more of them came, and kept
objects alive that were gone.
"""

_FPS = 30.0  # what the tracker's own noise is made for
_MEMORY_FRAMES = 2.5  # a track outlives as many usual intervals, however few frames a second there are
_MOST_STEPS = 300  # beyond so long a gap nothing is followed any more
_SIDE = 640.0  # the tracker's noise is in pixels: to it, each picture has this long side
_PLANE = 4 * _SIDE  # each class is followed in a plane of its own, so far to the right of the one before
_ROUNDING = 1e-6
_HIGH = 0.5  # what the tracker is told of a score that is just its threshold
_REACH_PER_S = 1.5  # boxes may be apart by this share of their sides, for each second between frames
_MOST_REACH = 0.5

_First = tuple[float, Box]
"""When, by the camera's clock, and where an object was seen first."""


class _SmallSteps(XYXYStateEstimator):
    """Predicts over a long interval as over many short ones.

    The package widens the noise of one long step so much that the speed, and with it the next prediction,
    overshoots: at 2 frames a second, people who stop lose their tracks.
    """

    def predict(self, frame_step: float = 1.0, frame_rate: float | None = None) -> None:
        """Go on by `frame_step` nominal frames."""
        steps = min(max(1, round(frame_step)), _MOST_STEPS)
        for _ in range(steps):
            super().predict(frame_step / steps, frame_rate)


class Tracking:
    """Gives objects numbers that they keep.

    Classes are followed apart: a chair never takes a person's number. A label that flickers stays one object,
    see `labelling`, whose class is the one with the most score.
    """

    def __init__(self, rule: Filter, memory_s: float) -> None:
        """Begin without objects.

        Args:
            rule: what may become a track.
            memory_s: how long an object may be hidden and keep its number.
        """
        self.rule = rule
        self.memory_s = memory_s
        self._reach = BIoU(0.0)
        self._tracker = ByteTrackTracker(
            frame_rate=_FPS,
            track_activation_threshold=_HIGH,
            high_conf_det_threshold=_HIGH,
            minimum_consecutive_frames=1,
            minimum_iou_threshold=0.1,
            state_estimator_class=_SmallSteps,
            iou=self._reach,
        )
        self._tracks: dict[int, Track] = {}
        self._firsts: dict[object, _First] = {}
        self._before_s = 0.0
        self._next_number = 1

    def update(self, detections: Detections, clock: Clock) -> Sequence[Track]:
        """Go on with a frame's detections and return the objects that are followed now, sure or not.

        Args:
            detections: with scores down to `LOW_SHARE` of the thresholds.
            clock: already at this frame.
        """
        for track in self._tracks.values():
            track.index = None
            track.frames += 1
        expected = np.array([track.expected(clock.now_s) for track in self._tracks.values()]).reshape(-1, 4)
        sightings = self._sightings(detections, expected)
        scale = _scale(detections.size)
        followed = self._follow(sightings, expected, scale, clock)
        tracklets = {tracklet.tracker_id: tracklet for tracklet in self._tracker.tracks}
        for key, sighting in followed:
            self._see(key, sighting, self._firsts.get(tracklets[key]), clock.now_s)
        left = {key for key, track in self._tracks.items() if track.left(clock.now_s, clock.usual_s)}
        self._tracker.tracks = [
            tracklet for tracklet in self._tracker.tracks if tracklet.tracker_id not in left
        ]
        self._tracks = {
            key: track for key, track in self._tracks.items() if key in tracklets and key not in left
        }
        self._remember_firsts(scale, clock.now_s)
        self._before_s = clock.now_s
        return list(self._tracks.values())

    def _sightings(self, detections: Detections, expected: Boxes) -> list[Sighting]:
        """Return the detections that may belong to tracks."""
        boxes = relative_boxes(detections)
        strengths = detections.scores / self.rule.thresholds[detections.labels]
        areas = relative_areas(boxes)
        fit = (strengths >= LOW_SHARE) & (areas >= self.rule.min_area) & (areas <= self.rule.max_area)
        low = fit & (strengths < 1 - _ROUNDING)
        fit[low] = continues(boxes[low], expected)
        fit[fit] = ~twins(boxes[fit], detections.labels[fit], strengths[fit])
        return [
            Sighting(
                int(index),
                boxes[index],
                int(detections.labels[index]),
                float(detections.scores[index]),
                float(strengths[index]),
            )
            for index in np.flatnonzero(fit)
        ]

    def _follow(
        self, sightings: list[Sighting], expected: Boxes, scale: npt.NDArray[np.float64], clock: Clock
    ) -> list[tuple[int, Sighting]]:
        """Ask the tracker which sightings belong to its tracks; a track is named by the tracker's number."""
        boxes = np.array([sighting.box for sighting in sightings]).reshape(-1, 4)
        scaled = boxes * scale
        scaled[:, [0, 2]] += self._planes(boxes, sightings, expected)[:, None] * _PLANE
        self._tracker.maximum_time_without_update = max(self.memory_s, _MEMORY_FRAMES * clock.usual_s)
        self._reach.buffer_ratio = min((clock.now_s - self._before_s) * _REACH_PER_S, _MOST_REACH)
        followed = self._tracker.update(
            supervision.Detections(
                xyxy=scaled,
                confidence=np.array([sighting.strength + _ROUNDING for sighting in sightings]) * _HIGH,
                data={"place": np.arange(len(sightings))},
            ),
            timestamp=clock.now_s,
        )
        keys = np.asarray(followed.tracker_id, np.int64)
        places = np.asarray(followed.data.get("place", []), np.int64)
        return [(int(key), sightings[place]) for key, place in zip(keys, places, strict=True) if key >= 0]

    def _planes(self, boxes: Boxes, sightings: list[Sighting], expected: Boxes) -> Labels:
        """Return [N]: the class under which each sighting is followed."""
        labels = np.array([sighting.label for sighting in sightings], np.int64)
        planes = np.array([track.plane for track in self._tracks.values()], np.int64)
        return taken_over(boxes, labels, expected, planes)

    def _see(self, key: int, sighting: Sighting, first: _First | None, now_s: float) -> None:
        track = self._tracks.get(key)
        if track is None:
            first_s, first_box = first or (self._before_s, sighting.box)
            track = Track(sighting.label, sighting.label, first_box, first_s, first_box, first_s)
            self._tracks[key] = track
        track.see(sighting, now_s)
        if not track.sure and track.ripe:
            track.number, self._next_number = self._next_number, self._next_number + 1

    def _remember_firsts(self, scale: npt.NDArray[np.float64], now_s: float) -> None:
        """Remember what was seen once: the tracker gives it a number when it is seen again."""
        firsts: dict[object, _First] = {}
        for tracklet in self._tracker.tracks:
            if tracklet.tracker_id >= 0:
                continue
            box = tracklet.get_state_bbox()
            plane = np.floor(box[0] / _PLANE + 0.5) * _PLANE
            firsts[tracklet] = self._firsts.get(tracklet, (now_s, (box - (plane, 0, plane, 0)) / scale))
        self._firsts = firsts


def _scale(size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return what makes relative boxes boxes of the tracker's picture."""
    height, width = size
    return np.array([width, height, width, height]) * (_SIDE / max(size))
