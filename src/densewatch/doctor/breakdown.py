"""Objects by size, by shape and by pyramid level, and how well each kind is covered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from densewatch.doctor.objects import Bools, Ints
from densewatch.doctor.setup import Outcome, Setup

_COCO_SIDES = (32, 96)
_INPUT_SIDES = (8, 16, 32, 64, 128, 256)
_RATIOS = (0.25, 0.5, 0.8, 1.25, 2, 4)


@dataclass(frozen=True)
class Kind:
    """Objects of one kind.

    Attributes:
        name: of the kind.
        objects: how many there are.
        ignored: how many are so small that training ignores them.
        uncovered: how many of the others have no anchor at `foreground_iou`.
        collided: how many have one, but each of their anchors learns another object.
        deleted: how many are learned, but not found: deleted by NMS, or beyond the limit.
        mean_best_iou: of their best anchors.
    """

    name: str
    objects: int
    ignored: int
    uncovered: int
    collided: int
    deleted: int
    mean_best_iou: float


def by_coco_size(outcome: Outcome) -> list[Kind]:
    """Divide by area in the pixels of the picture as COCO does, but by that of the box."""
    boxes = outcome.scaled.objects.boxes
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    names = ["small, under 32² px", "medium, under 96² px", "large"]
    return _divide(outcome, np.searchsorted(_COCO_SIDES, sides, "right"), names)


def by_input_size(outcome: Outcome) -> list[Kind]:
    """Divide by the root of the area, in pixels of the network's input."""
    sides = np.sqrt(outcome.scaled.sides.prod(axis=1))
    names = [f"under {_INPUT_SIDES[0]} px", *_between(_INPUT_SIDES, " px"), f"from {_INPUT_SIDES[-1]} px"]
    return _divide(outcome, np.searchsorted(_INPUT_SIDES, sides, "right"), names)


def by_shape(outcome: Outcome) -> list[Kind]:
    """Divide by height over width."""
    sides = outcome.scaled.sides
    names = ["wider than 4:1", "4:1 to 2:1", "2:1 to 5:4", "about square", "4:5 to 1:2", "1:2 to 1:4"]
    names.append("taller than 1:4")
    return _divide(outcome, np.searchsorted(_RATIOS, sides[:, 1] / sides[:, 0], "right"), names)


def by_level(outcome: Outcome, setup: Setup) -> list[Kind]:
    """Divide by the level of the best anchor."""
    return _divide(outcome, outcome.coverage.best_level, setup.level_names)


def _between(limits: Sequence[int], unit: str) -> list[str]:
    return [f"{low} to {high}{unit}" for low, high in pairwise(limits)]


def _divide(outcome: Outcome, kinds: npt.NDArray[np.intp] | Ints, names: Sequence[str]) -> list[Kind]:
    """Return the kinds that have objects; `kinds` [N] are indices of `names`."""
    coverage = outcome.coverage
    lost: Bools = coverage.learned & ~outcome.by_iou.found
    found = []
    for kind, name in enumerate(names):
        rows = np.flatnonzero(kinds == kind)
        if len(rows):
            found.append(
                Kind(
                    name,
                    len(rows),
                    int(coverage.ignored[rows].sum()),
                    int(coverage.uncovered[rows].sum()),
                    int(coverage.collided[rows].sum()),
                    int(lost[rows].sum()),
                    float(coverage.best_iou[rows].mean()),
                )
            )
    return found
