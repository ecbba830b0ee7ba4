"""One object from frame to frame: what is known of it, and whether it is there."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

CONFIRM_S = 0.39
"""An object is sure once it was followed for so long; 5, 10 and 30 fps reach just this together."""

GONE_AT_BORDER_S = 0.39
"""What was last seen on its way out of the picture is waited for no longer than this."""

_SCORE_MEMORY_S = 1.0
_ROUNDING = 1e-6  # scores are float32
_SEEN_SHARE = 0.5  # of the frames until an object is sure
_BORDER = 0.01
_OUTWARDS_PER_S = 0.05

Box = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sighting:
    """A detection that belongs to a track.

    Attributes:
        index: its place among the frame's detections.
        box: xyxy as shares of the picture.
        label: index of its class.
        score: 0 to 1.
        strength: `score` as a multiple of the lowest threshold that any rule has for its class.
    """

    index: int
    box: Box
    label: int
    score: float
    strength: float


@dataclass(eq=False)
class Track:
    """An object that was seen at least twice.

    Attributes:
        plane: index of the class that it was first seen as; the tracker follows it under this one.
        label: index of its class: the one with the most score so far.
        box: where it was last seen, xyxy, as shares of the picture.
        first_s: when it was first seen, by the camera's clock.
        first_box: where that was.
        last_s: when it was last seen.
        number: unique for the camera; -1 while it is not sure.
        index: which of this frame's detections it is; None where it is not seen.
        score: the best that the mean score of about a second ever was, 0 to 1.
        area: its size of late, as a share of the picture's area.
        frames: how many frames came since it is a track.
    """

    plane: int
    label: int
    box: Box
    first_s: float
    first_box: Box
    last_s: float
    number: int = -1
    index: int | None = None
    score: float = 0.0
    area: float = 0.0
    frames: int = 0
    _hits: int = 0
    _mean: float = 0.0
    _strength: float = 0.0
    _drift: Box = field(default_factory=lambda: np.zeros(4))
    _votes: dict[int, float] = field(default_factory=dict)

    @property
    def sure(self) -> bool:
        """Whether it counts as an object."""
        return self.number >= 0

    @property
    def new(self) -> bool:
        """Whether this frame is the second in which it is seen, which makes it a track."""
        return self.frames == 0

    @property
    def ripe(self) -> bool:
        """Whether it was seen for long enough, often enough and well enough to be sure of it."""
        seen = self._hits >= _SEEN_SHARE * self.frames
        return self.last_s - self.first_s >= CONFIRM_S and seen and self._strength >= 1 - _ROUNDING

    def see(self, sighting: Sighting, now_s: float) -> None:
        """Go on with a detection of the frame at `now_s`."""
        passed_s = now_s - self.last_s
        self._hits += 1
        # The mean of all sightings at first, and of about a second later, at any number of frames a second.
        weight = max(1 / self._hits, 1 - math.exp(-passed_s / _SCORE_MEMORY_S))
        self._mean += (sighting.score - self._mean) * weight
        self._strength += (sighting.strength - self._strength) * weight
        left, top, right, bottom = sighting.box
        self.area += ((right - left) * (bottom - top) - self.area) * weight
        self._drift += ((sighting.box - self.box) / passed_s - self._drift) / min(self._hits, 2)
        self._votes[sighting.label] = self._votes.get(sighting.label, 0.0) + sighting.score
        self.label = max(self._votes, key=self._votes.__getitem__)
        self.box, self.last_s, self.index = sighting.box, now_s, sighting.index
        if self.last_s - self.first_s >= CONFIRM_S:
            self.score = max(self.score, self._mean)

    def expected(self, now_s: float) -> Box:
        """Return where its box should be at `now_s`."""
        return self.box + self._drift * (now_s - self.last_s)

    def present(self, now_s: float, memory_s: float, usual_s: float) -> bool:
        """Return whether it is there: seen, or hidden for no longer than `memory_s`.

        Args:
            now_s: by the camera's clock.
            memory_s: how long it may be hidden.
            usual_s: how far apart frames usually are.
        """
        return self._hidden_s(now_s, usual_s) <= max(memory_s, usual_s)

    def left(self, now_s: float, usual_s: float) -> bool:
        """Return whether it has left the picture: its number must not go to who comes in there."""
        hidden_s = self._hidden_s(now_s, usual_s)
        return hidden_s > max(GONE_AT_BORDER_S, usual_s) and self._was_leaving(now_s)

    def _hidden_s(self, now_s: float, usual_s: float) -> float:
        """Return for how long it is hidden.

        It hid half an interval after it was last seen, on the average, as it came half an interval before it
        was first seen: so it is there for as long at few frames a second as at many, and one may miss it.
        """
        return now_s - self.last_s - usual_s / 2

    def _was_leaving(self, now_s: float) -> bool:
        """Return whether it should be outside by now, or was seen at a border and its inner side moved on."""
        expected = self.expected(now_s)
        center = (expected[:2] + expected[2:]) / 2
        if center.min() < 0 or center.max() > 1:
            return True
        left, top, right, bottom = self.box
        to_right, to_bottom, to_left, to_top = self._drift * (1, 1, -1, -1)
        return bool(
            (right > 1 - _BORDER and to_right > _OUTWARDS_PER_S)
            or (bottom > 1 - _BORDER and to_bottom > _OUTWARDS_PER_S)
            or (left < _BORDER and to_left > _OUTWARDS_PER_S)
            or (top < _BORDER and to_top > _OUTWARDS_PER_S)
        )
