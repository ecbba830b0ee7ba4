"""Localisation Recall Precision (LRP) and the threshold at which it is best, class by class.

Oksuz, Cam, Akbas and Kalkan, "Localization Recall Precision (LRP): A New Performance Metric for Object
Detection", ECCV 2018 (arXiv 1807.01696), and "One Metric to Measure Them All", TPAMI 2021 (arXiv 2011.10772).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from densewatch.evaluation.comparison import Bools, Comparison, Floats, Ints
from densewatch.evaluation.matching import Matches

LRP_IOU = 0.5
"""IoU from which on a detection finds an object: the first of `matching.IOU_THRESHOLDS`."""

GRID: Floats = np.round(np.linspace(0, 1, 101), 2)
"""Thresholds that are tried where all classes share one."""


@dataclass(frozen=True)
class Lrp:
    """The error of one class at one threshold; 0 is perfect, 1 is as bad as finding nothing.

    Attributes:
        error: (Σ (1 − IoU) / (1 − 0.5) over right detections + wrong ones + missed objects) / number of all
            three.
        localisation: mean of 1 − IoU over right detections; None where there is none.
        false_positives: part of the detections that are wrong; None where there is none.
        false_negatives: part of the objects that are missed.
        threshold: score from which on detections count; None where it is best to report nothing.
    """

    error: float
    localisation: float | None
    false_positives: float | None
    false_negatives: float
    threshold: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the optimum as plain values, under the names of the paper."""
        return {
            "oLRP": self.error,
            "oLRP_localisation": self.localisation,
            "oLRP_FP": self.false_positives,
            "oLRP_FN": self.false_negatives,
            "oLRP_threshold": self.threshold,
        }


@dataclass(frozen=True, eq=False)
class _Steps:
    """Detections of one class, best first; after each row, all of the same score have been counted.

    `right` int64 [S], `wrong` int64 [S], `distance` float64 [S] = Σ (1 − IoU), `scores` float64 [S].
    """

    right: Ints
    wrong: Ints
    distance: Floats
    scores: Floats

    @classmethod
    def of(cls, scores: Floats, correct: Bools, ious: Floats) -> _Steps:
        """Cumulate ranked detections; a threshold cannot part those of one score."""
        last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) if len(scores) else np.zeros(0, int)
        distance = np.cumsum(np.where(correct, 1 - ious, 0.0))
        return cls(np.cumsum(correct)[last], np.cumsum(~correct)[last], distance[last], scores[last])

    def errors(self, objects: int) -> Floats:
        """Return LRP at each step, float64 [S]."""
        return (self.distance / (1 - LRP_IOU) + self.wrong + objects - self.right) / (objects + self.wrong)

    def at(self, step: int | None, objects: int) -> Lrp:
        """Return LRP and its parts after a step; None is before the first."""
        if step is None:
            return Lrp(1.0, None, None, 1.0, None)
        right, wrong = int(self.right[step]), int(self.wrong[step])
        return Lrp(
            error=float(self.errors(objects)[step]),
            localisation=float(self.distance[step]) / right if right else None,
            false_positives=wrong / (right + wrong),
            false_negatives=1 - right / objects,
            threshold=float(self.scores[step]),
        )


def optimal_lrp(comparison: Comparison, matches: Matches, ious: Floats) -> list[Lrp | None]:
    """Return the lowest LRP that a threshold of its own gives each class; None for a class without objects.

    Every score that occurs is tried, so the optimum is exact. Of equal ones the highest threshold is taken.

    Args:
        comparison: what was matched.
        matches: of it, whose first IoU threshold is `LRP_IOU`.
        ious: float64 [D], of each detection with the label that it found.
    """
    best: list[Lrp | None] = []
    objects = comparison.objects().sum(axis=0).tolist()
    for steps, count in zip(_all_steps(comparison, matches, ious), objects, strict=True):
        if not count:
            best.append(None)
            continue
        errors = steps.errors(count)
        step = int(errors.argmin()) if len(errors) and errors.min() < 1 else None
        best.append(steps.at(step, count))
    return best


def mean_lrp_curve(comparison: Comparison, matches: Matches, ious: Floats) -> Floats | None:
    """Return the mean over classes of their LRP at each threshold of `GRID`, the same for all: float64 [101].

    None where there is no object.

    Args:
        comparison: as in `optimal_lrp`, and the next two.
        matches: likewise.
        ious: likewise.
    """
    objects = comparison.objects().sum(axis=0).tolist()
    curves = []
    for steps, count in zip(_all_steps(comparison, matches, ious), objects, strict=True):
        if count:
            reached = np.searchsorted(-steps.scores, -GRID, side="right")
            curves.append(np.append(1.0, steps.errors(count))[reached])
    return np.mean(curves, axis=0) if curves else None


def best_of_grid(curve: Floats) -> float:
    """Return the threshold of `GRID` at which a curve is lowest; of equal ones the highest."""
    return float(GRID[len(GRID) - 1 - int(curve[::-1].argmin())])


def _all_steps(comparison: Comparison, matches: Matches, ious: Floats) -> list[_Steps]:
    steps = []
    for rows in comparison.class_slices():
        counted = ~matches.ignored[0, rows]
        correct = matches.matched[0, rows][counted] >= 0
        steps.append(_Steps.of(comparison.found.scores[rows][counted], correct, ious[rows][counted]))
    return steps
