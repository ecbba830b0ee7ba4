"""Who goes over a line, and which way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from densewatch.live.filters import Filter
from densewatch.live.settings import LineSettings
from densewatch.live.track import Box, Track
from densewatch.live.zones import anchor_point
from densewatch.records import Direction

PENDING_S = 2.0
"""A crossing waits this long for its object to become sure."""


class Line:
    """A line from `start` to `end`.

    Who looks along it sees `in` go from left to right. An object crosses when it gets from beyond the margin
    on one side to beyond the margin on the other, and its way passes between the two ends. To and fro within
    the margin is nothing, and neither is a first sight on the far side. The margin is a share of the
    picture's diagonal.

    Attributes:
        crossed: crossings so far, by direction.
    """

    def __init__(self, settings: LineSettings, rule: Filter) -> None:
        """Begin with no crossings."""
        self.crossed: dict[Direction, int] = {"in": 0, "out": 0}
        self.settings = settings
        self.rule = rule
        self._ways: dict[Track, _Way] = {}

    def replace(self, settings: LineSettings, rule: Filter) -> None:
        """Take over new settings; what was counted stays, ways begin anew where they mean something else."""
        if _course(settings) != _course(self.settings):
            self._ways = {}
        self.settings = settings
        self.rule = rule

    def update(
        self, tracks: Sequence[Track], size: tuple[int, int], now_s: float
    ) -> list[tuple[Track, Direction]]:
        """Go on to a frame and return who crossed, and which way.

        Args:
            tracks: all that are followed, sure or not.
            size: (height, width) of the frame.
            now_s: the camera's clock.
        """
        self._ways = {track: self._ways[track] for track in tracks if track in self._ways}
        found = []
        for track in tracks:
            if track.index is None:
                continue
            way = self._ways.setdefault(track, _Way())
            if track.new:
                self._go_on(way, track.first_box, size, track.first_s)
            self._go_on(way, track.box, size, now_s)
            if way.pending is None or not track.sure:
                continue
            if self.rule.accepts(track.label, track.score, track.area):
                found.append((track, way.pending))
                self.crossed[way.pending] += 1
                way.pending = None
        return found

    def _go_on(self, way: _Way, box: Box, size: tuple[int, int], now_s: float) -> None:
        across, along = self._place(anchor_point(box, self.settings.anchor), size)
        if way.across is not None and across * way.across < 0:
            share = way.across / (way.across - across)
            way.between_ends = 0 <= way.along + (along - way.along) * share <= 1
        if across != 0:
            way.across, way.along = across, along
        if way.pending is not None and now_s - way.pending_since_s > PENDING_S:
            way.pending = None
        if abs(across) <= self.settings.margin or across == 0:
            return
        side = 1 if across > 0 else -1
        if way.side == -side and way.between_ends:
            way.pending, way.pending_since_s = ("in" if side > 0 else "out"), now_s
        way.side = side

    def _place(self, point: tuple[float, float], size: tuple[int, int]) -> tuple[float, float]:
        """Return where a point is: how far right of the line, and how far along it (0 start, 1 end)."""
        pixels = np.array([size[1], size[0]])
        scale = pixels / np.hypot(*pixels)
        start = np.array(self.settings.start) * scale
        way = np.array(self.settings.end) * scale - start
        offset = np.array(point) * scale - start
        length = float(np.hypot(*way))
        # Pictures' y points down: a positive cross product is to the right.
        across = float(way[0] * offset[1] - way[1] * offset[0]) / length
        return across, float(way @ offset) / length**2


def _course(settings: LineSettings) -> tuple[object, ...]:
    """Return what ways near a line depend on."""
    return settings.start, settings.end, settings.anchor, settings.margin


@dataclass
class _Way:
    """One object's way near a line.

    Attributes:
        side: where it was last seen beyond the margin: 1 right, -1 left, 0 nowhere yet.
        across: how far right of the line it was last seen off it.
        along: how far along the line that was.
        between_ends: whether it passed between the ends when it last changed sides.
        pending: a crossing of an object that is not sure.
        pending_since_s: when that was.
    """

    side: int = 0
    across: float | None = None
    along: float = 0.0
    between_ends: bool = False
    pending: Direction | None = None
    pending_since_s: float = 0.0
