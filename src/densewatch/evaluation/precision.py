"""Average precision over ranked detections, for many weightings of the pictures at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from densewatch.evaluation.comparison import Bools, Comparison, Floats, Ints
from densewatch.evaluation.matching import Matches

RECALLS: Floats = np.linspace(0, 1, 101)
"""Where COCO reads precision."""

_CELLS_AT_ONCE = 1 << 23


@dataclass(frozen=True, eq=False)
class Ranking:
    """Detections of one class at one IoU threshold, best first; those neither right nor wrong are left out.

    Attributes:
        correct: bool [N].
        images: int64 [N], position of the picture.
        objects: int64 [I], how many there are to find in each picture.
    """

    correct: Bools
    images: Ints
    objects: Ints


def rankings(comparison: Comparison, matches: Matches, threshold: int) -> Iterator[Ranking]:
    """Give the ranking of each class.

    Args:
        comparison: what was matched.
        matches: of it.
        threshold: position of the IoU threshold.
    """
    objects = comparison.objects(matches.positives)
    for label, rows in enumerate(comparison.class_slices()):
        counted = ~matches.ignored[threshold, rows]
        correct = matches.matched[threshold, rows][counted] >= 0
        yield Ranking(correct, comparison.found.images[rows][counted], objects[:, label])


def average_precision(ranking: Ranking, weights: Floats | None = None) -> Floats:
    """Return COCO's average precision, float64 [B]; NaN where there is nothing to find.

    Precision can only be highest, for a recall, at a detection that is right: these alone are looked at, with
    what is wrong before them.

    Args:
        ranking: of one class.
        weights: float64 [B, I], how often each picture counts; a resampling of the pictures is one row.
            Default: each once, B = 1.
    """
    right, wrong, total = _cumulated(ranking, weights)
    if not right.shape[1]:
        return np.where(total > 0, 0.0, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        reached = np.searchsorted(RECALLS, right / total[:, None], side="right")
    points = np.diff(reached, axis=1, prepend=0)
    means = (_envelope(right, wrong) * points).sum(axis=1) / len(RECALLS)
    return np.where(total > 0, means, np.nan)


def precision_curve(ranking: Ranking) -> Floats:
    """Return the precision at each of `RECALLS`, float64 [101]; 0 where the recall is not reached."""
    right, wrong, total = _cumulated(ranking, None)
    places = np.searchsorted(right[0] / max(total[0], 1), RECALLS, side="left")
    curve: Floats = np.append(_envelope(right, wrong)[0], 0.0)[places]
    return curve


def average_precisions(comparison: Comparison, matches: Matches, weights: Floats | None = None) -> Floats:
    """Return `average_precision` of each IoU threshold and class: float64 [B, T, C]."""
    per_threshold = []
    for threshold in range(len(matches.matched)):
        ranked = rankings(comparison, matches, threshold)
        per_threshold.append(np.stack([average_precision(item, weights) for item in ranked], axis=1))
    return np.stack(per_threshold, axis=1)


def mean_known(values: Floats) -> float | None:
    """Return the mean of the values that are not NaN; None where there is none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else None


def _cumulated(ranking: Ranking, weights: Floats | None) -> tuple[Floats, Floats, Floats]:
    """Return, at each right detection, the weight of what is right so far, and of what is wrong: [B, K] each.

    And the weight of all objects, [B].
    """
    places = np.flatnonzero(ranking.correct)
    if weights is None:
        right = np.arange(1.0, len(places) + 1)
        wrong = places + 1 - right
        return right[None], wrong[None], np.array([float(ranking.objects.sum())])
    right = np.cumsum(weights[:, ranking.images[places]], axis=1)
    wrong = np.cumsum(_wrong_between(ranking, places, weights), axis=1)
    return right, wrong, weights @ ranking.objects


def _wrong_between(ranking: Ranking, places: Ints, weights: Floats) -> Floats:
    """Return the weight of what is wrong between each right detection and the one before: [B, K].

    As a product of matrices, from how many such there are in each picture: pictures are far fewer than
    detections.
    """
    pictures = weights.shape[1]
    after = np.cumsum(ranking.correct)  # how many right ones precede a wrong one
    counted = ~ranking.correct & (after < len(places))
    after, images = after[counted], ranking.images[counted]
    portion = max(1, _CELLS_AT_ONCE // pictures)
    parts = [np.zeros((len(weights), 0))]
    for begin in range(0, len(places), portion):
        end = min(begin + portion, len(places))
        some = slice(*np.searchsorted(after, [begin, end]))
        cells = (after[some] - begin) * pictures + images[some]
        counts = np.bincount(cells, minlength=(end - begin) * pictures).reshape(end - begin, pictures)
        parts.append(weights @ counts.T.astype(np.float64))
    return np.concatenate(parts, axis=1)


def _envelope(right: Floats, wrong: Floats) -> Floats:
    """Return the highest precision at each right detection or after it: [B, K]."""
    precision = np.divide(right, wrong + right, out=np.zeros_like(right), where=right > 0)
    return np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
