"""How closely a picture can be looked at within a deadline, from what looking has cost so far."""

from __future__ import annotations

import re
import threading
from collections import deque
from dataclasses import dataclass

import numpy as np

from densewatch.imaging.resize import padded_size, resized_size
from densewatch.metadata import ModelInfo, ResizePolicy
from densewatch.runtime.tiles import Plan, plan_ladder, plan_tiles

_REDUCED = (0.5, 0.7)  # of the model's own resolution; below a half little is found
_LEAST_SIDE_PX = 96
_REMEMBERED = 32  # pictures; what the machine did long ago says nothing about now
_MARGIN = 0.85  # of the deadline is planned with: times vary from picture to picture
_UNITS_MS = {"ms": 1.0, "s": 1000.0}


class DeadlineError(ValueError):
    """A text that is no deadline; the message says what would be one."""


@dataclass(frozen=True)
class Look:
    """A way of looking at a picture.

    Attributes:
        plan: the parts that the network sees.
        policy: how each is prepared.
        share: of the model's own resolution that the policy keeps.
    """

    plan: Plan
    policy: ResizePolicy
    share: float = 1.0

    @property
    def title(self) -> str:
        """What people call it, such as `3x2 tiles` or `50% of the resolution`."""
        if self.share < 1:
            return f"{self.share:.0%} of the resolution"
        if len(self.plan) == 1:
            return "the whole picture at full resolution"
        columns = len({tile.x for tile in self.plan[1:]})
        return f"{columns}x{(len(self.plan) - 1) // columns} tiles"

    @property
    def pixels(self) -> int:
        """Of the network's input, over all parts; what looking costs grows with it."""
        sides = (
            padded_size(resized_size((part.height, part.width), self.policy), self.policy.multiple)
            for part in self.plan
        )
        return sum(height * width for height, width in sides)


def parse_deadline(text: str) -> float:
    """Return the milliseconds of `100ms` or `0.5s`.

    Raises:
        DeadlineError: it is neither, or no time at all.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s)", text.strip())
    if match is None or float(match[1]) == 0:
        raise DeadlineError(f"a deadline is a time such as 100ms or 0.5s, not {text!r}")
    return float(match[1]) * _UNITS_MS[match[2]]


def looks(size: tuple[int, int], info: ModelInfo, tiles: str) -> list[Look]:
    """Return the ways to look at a picture, from coarse to fine.

    First the whole of it at a reduced resolution, then at the model's own, then in more and more tiles up to
    `tiles`.

    Args:
        size: (height, width) of the picture in pixels.
        info: of the model.
        tiles: `off`, `auto` or `COLSxROWS`, see `plan_tiles`.
    """
    finest = plan_tiles(size, info, tiles)
    whole = plan_tiles(size, info, "off")
    if info.resize.mode == "none":
        reduced = []
    else:
        sides = [(share, round(info.resize.size * share)) for share in _REDUCED]
        reduced = [
            Look(whole, _at_side(info.resize, side, share), share)
            for share, side in sides
            if side >= _LEAST_SIDE_PX
        ]
    closest = Look(finest, info.resize)
    coarser = [Look(plan, info.resize) for plan in plan_ladder(size, info)]
    return [*reduced, *(look for look in coarser if look.pixels < closest.pixels), closest]


class Cost:
    """What pictures have cost lately, by how many pixels of the network's input they had."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: deque[tuple[int, float]] = deque(maxlen=_REMEMBERED)

    @property
    def known(self) -> bool:
        """Whether anything was measured."""
        return bool(self._seen)

    def add(self, pixels: int, milliseconds: float) -> None:
        """Note what a picture cost, from its pixels to boxes."""
        with self._lock:
            self._seen.append((pixels, milliseconds))

    def of(self, pixels: int) -> float:
        """Return what a picture of so many input pixels is expected to cost, in milliseconds.

        In proportion to the nearest that was measured: small pictures cost a little more a pixel than large
        ones, so that what is larger than all measured ones is not underestimated.
        """
        with self._lock:
            seen = np.array(self._seen)
        distance = np.abs(np.log(seen[:, 0] / pixels))
        nearest = seen[distance <= distance.min() + 1e-9]
        return float(np.median(nearest[:, 1] / nearest[:, 0]) * pixels)


def choose(ways: list[Look], cost: Cost, deadline_ms: float) -> Look:
    """Return the finest way that is expected to be done in time; the coarsest where none is."""
    in_time = [way for way in ways if cost.of(way.pixels) <= _MARGIN * deadline_ms]
    return max(in_time, key=lambda way: way.pixels) if in_time else ways[0]


def _at_side(policy: ResizePolicy, side: int, share: float) -> ResizePolicy:
    longest = None if policy.max_size is None else round(policy.max_size * share)
    return policy.model_copy(update={"size": side, "max_size": longest})
