"""Anchors fitted to the objects of a data set."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from densewatch.doctor.anchor_places import Doubles, Nearest, level_shapes
from densewatch.doctor.objects import Ints, Scaled
from densewatch.models.config import AnchorConfig, RetinaNetConfig

_MOST_OBJECTS = 4000
_STEPS = (1.5, 1.2, 1.08, 1.03)
"""Factors by which sizes, scales and ratios are varied, coarse ones first."""
_LEAST_STRIDES, _MOST_STRIDES = 1.0, 8.0
"""A level's anchors are one to eight of its cells wide: finer ones lie too far apart, and larger ones see too
little of the picture. The paper's are 4 to 6.3."""
_LEAST_GAIN = 1e-4
_ROUNDING = 1e-9
_DIGITS = 3


def fit_anchors(scaled: Scaled, config: RetinaNetConfig, min_side_px: float = 0.0) -> AnchorConfig:
    """Return anchors that fit objects better, as many as there are now, rounded to three digits.

    What is sought is the largest sum of two numbers: the share of objects with an anchor at `foreground_iou`,
    and the mean IoU of the best anchors. Sizes, scales and ratios are varied one after the other, as long as
    that helps, from coarse to fine. Sizes leave what a level's cells allow no further than they did at the
    start. The search is the same each time.

    Args:
        scaled: the objects; of many, 4000 are looked at.
        config: of the network; what it starts from.
        min_side_px: training ignores objects with a shorter side; they are left out.
    """
    some = _sample(scaled, np.flatnonzero(~scaled.under(min_side_px)))
    if not len(some.objects):
        return config.anchors
    search = _Search(Nearest(some, config), config)
    best = _Shapes(config.anchors.sizes, config.anchors.scales, config.anchors.ratios)
    fitness, excess = search.fitness(best), best.excess(config.pyramid.strides)
    for step in _STEPS:
        gained = True
        while gained:
            gained = False
            for candidate in best.neighbours(step):
                outside = candidate.excess(config.pyramid.strides)
                if outside > excess + _ROUNDING:
                    continue
                value = search.fitness(candidate)
                if value > fitness + _LEAST_GAIN:
                    best, fitness, excess, gained = candidate, value, outside, True
    return best.rounded().configured(config.anchors)


def _sample(scaled: Scaled, rows: Ints) -> Scaled:
    """Return the objects of these rows, or some of them where they are many."""
    if len(rows) > _MOST_OBJECTS:
        rows = np.sort(np.random.default_rng(0).choice(rows, _MOST_OBJECTS, replace=False))
    objects = scaled.objects
    some = replace(
        objects, boxes=objects.boxes[rows], labels=objects.labels[rows], pictures=objects.pictures[rows]
    )
    return Scaled(some, scaled.boxes[rows], scaled.inputs)


@dataclass(frozen=True)
class _Shapes:
    """What is varied, as `AnchorConfig` has it."""

    sizes: tuple[float, ...]
    scales: tuple[float, ...]
    ratios: tuple[float, ...]

    def neighbours(self, step: float) -> Iterator[_Shapes]:
        """Give all that differ by a factor of `step` in one number or in all sizes; the first scale stays."""
        for factor in (step, 1 / step):
            yield replace(self, sizes=tuple(size * factor for size in self.sizes))
            for name, first in (("sizes", 0), ("scales", 1), ("ratios", 0)):
                values = getattr(self, name)
                for place in range(first, len(values)):
                    changed = (*values[:place], values[place] * factor, *values[place + 1 :])
                    yield replace(self, **{name: changed})

    def excess(self, strides: tuple[int, ...]) -> float:
        """Return how far sizes are from what they should be, as the sum of the logarithms of the factors.

        It is 0 where they do not fall from level to level, and lie within what a level's cells allow.
        """
        limits = [
            *((_LEAST_STRIDES * stride, size) for size, stride in zip(self.sizes, strides, strict=True)),
            *((size, _MOST_STRIDES * stride) for size, stride in zip(self.sizes, strides, strict=True)),
            *pairwise(self.sizes),
        ]
        return sum(max(0.0, math.log(low / high)) for low, high in limits)

    def rounded(self) -> _Shapes:
        """Return the same in order, with few digits."""
        return _Shapes(
            tuple(_round(size) for size in self.sizes),
            tuple(sorted(_round(scale) for scale in self.scales)),
            tuple(sorted(_round(ratio) for ratio in self.ratios)),
        )

    def configured(self, anchors: AnchorConfig) -> AnchorConfig:
        """Return `anchors` with these shapes."""
        return AnchorConfig.model_validate({**anchors.model_dump(), **vars(self)})


def _round(value: float) -> float:
    return round(value, _DIGITS - 1 - math.floor(math.log10(value)))


class _Search:
    """Tells how well shapes fit, and remembers levels that stay as they were."""

    def __init__(self, nearest: Nearest, config: RetinaNetConfig) -> None:
        self._nearest = nearest
        self._config = config
        self._known: dict[tuple[int, bytes], Doubles] = {}

    def fitness(self, shapes: _Shapes) -> float:
        """Return the share of objects with an anchor, plus the mean IoU of the best anchors."""
        best = np.zeros(len(self._nearest.sides))
        known: dict[tuple[int, bytes], Doubles] = {}
        for level, cell in enumerate(level_shapes(shapes.configured(self._config.anchors))):
            key = (level, cell.tobytes())
            known[key] = (
                self._known[key] if key in self._known else self._nearest.best_ious(level, cell).max(1)
            )
            best = np.maximum(best, known[key])
        if len(self._known) > 64:
            self._known.clear()
        self._known |= known
        return float((best >= self._config.loss.foreground_iou).mean() + best.mean())
