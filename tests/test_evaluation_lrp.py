"""LRP of hand-made cases, with values from paper, and its optimum against trying every threshold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from densewatch.data.coco_schema import load_instances
from densewatch.evaluation.comparison import Comparison, compare
from densewatch.evaluation.lrp import GRID, Lrp
from densewatch.evaluation.matching import match
from densewatch.evaluation.study import Study, StudySettings
from evaluation_sets import comparison, sets, truth

FIRST, SECOND, AWAY = (0, 0, 100, 100), (200, 0, 100, 100), (0, 200, 100, 100)
HALF_OFF = (0, 0, 100, 80)  # IoU 0.8 with FIRST


def study(case: Comparison) -> Study:
    return Study(case, StudySettings(resamples=0))


def test_a_perfect_detector_has_no_error() -> None:
    case = comparison(truth([(1, 1, FIRST), (2, 1, SECOND)]), (1, 1, FIRST, 0.9), (2, 1, SECOND, 0.4))
    assert study(case).lrp == [Lrp(0.0, 0.0, 0.0, 0.0, 0.4), None]
    assert study(case).mean_lrp() == dict.fromkeys(("oLRP", "oLRP_localisation", "oLRP_FP", "oLRP_FN"), 0.0)


def test_localisation_false_positives_and_false_negatives_by_hand() -> None:
    """Right at IoU 0.8, wrong, and one object missed: (0.2 / 0.5 + 1 + 1) / 3."""
    case = comparison(truth([(1, 1, FIRST), (1, 1, SECOND)]), (1, 1, AWAY, 0.9), (1, 1, HALF_OFF, 0.6))
    best = study(case).lrp[0]
    assert best is not None
    assert best.error == pytest.approx(2.4 / 3)
    assert best.localisation == pytest.approx(0.2)
    assert (best.false_positives, best.false_negatives, best.threshold) == (0.5, 0.5, 0.6)


@pytest.mark.parametrize(
    ("late_score", "error", "threshold"),
    [
        (0.5, 0.4 / 2 + 0.5, 0.8),  # one right at IoU 0.8, one missed; the wrong one at 0.7 is left out
        (0.75, (0.4 + 0.0) / 2, 0.75),  # the second is right above the wrong one
    ],
)
def test_the_best_threshold_weighs_one_against_the_other(
    late_score: float, error: float, threshold: float
) -> None:
    wrong = [(1, 1, AWAY, 0.7), (2, 1, AWAY, 0.7), (2, 1, FIRST, 0.7), (2, 1, SECOND, 0.7)]
    case = comparison(
        truth([(1, 1, FIRST), (1, 1, SECOND)]),
        (1, 1, HALF_OFF, 0.8),
        (1, 1, SECOND, late_score),
        *wrong,
    )
    best = study(case).lrp[0]
    assert best is not None
    assert best.error == pytest.approx(error)
    assert best.threshold == threshold


def test_scores_that_are_equal_are_not_parted() -> None:
    """Right and wrong at one score: 1 of 1 found with one wrong, (0 + 1 + 0) / 2; never 0."""
    case = comparison(truth([(1, 1, FIRST)]), (1, 1, FIRST, 0.5), (2, 1, AWAY, 0.5))
    assert study(case).lrp[0] == Lrp(0.5, 0.0, 0.5, 0.0, 0.5)


def test_where_nothing_helps_the_error_is_one_and_there_is_no_threshold() -> None:
    nothing = Lrp(1.0, None, None, 1.0, None)
    assert study(comparison(truth([(1, 1, FIRST)]))).lrp == [nothing, None]
    assert study(comparison(truth([(1, 1, FIRST)]), (1, 1, AWAY, 0.9))).lrp == [nothing, None]


def test_what_need_not_be_found_does_not_count() -> None:
    """A detection in a crowd, and one of a class that was not labelled exhaustively, are no mistakes."""
    content = truth([(1, 1, FIRST), (1, 1, AWAY)], crowds=[1], not_exhaustive={2: [1]})
    case = comparison(content, (1, 1, AWAY, 0.9), (2, 1, SECOND, 0.8), (1, 1, FIRST, 0.7))
    assert study(case).lrp[0] == Lrp(0.0, 0.0, 0.0, 0.0, 0.7)


def plain_lrp(case: Comparison, label: int, threshold: float) -> float:
    """Return LRP as the paper has it, from a matching of its own for this threshold."""
    part = case.above(threshold)
    matches = match(part)
    own = part.found.labels == label
    right = matches.correct[0] & own
    wrong = int((matches.wrong[0] & own).sum())
    objects = int(part.objects()[:, label].sum())
    distance = 0.0
    for row in np.flatnonzero(right):
        (x, y, w, h), (a, b, c, d) = part.found.boxes[row], part.truth.boxes[matches.matched[0, row]]
        shared = (min(x + w, a + c) - max(x, a)) * (min(y + h, b + d) - max(y, b))
        distance += 1 - shared / (w * h + c * d - shared)
    missed = objects - int(right.sum())
    return float((distance / 0.5 + wrong + missed) / (right.sum() + wrong + missed))


@settings(max_examples=40)
@given(sets(exhaustive=False))
def test_the_optimum_is_the_best_of_all_thresholds(
    drawn: tuple[dict[str, Any], list[dict[str, Any]]],
) -> None:
    content, results = drawn
    case = compare(load_instances(content), results)
    measured = study(case)
    thresholds = sorted({*case.found.scores.tolist(), 1.0})
    for label, best in enumerate(measured.lrp):
        if best is not None:
            assert best.error == pytest.approx(min(plain_lrp(case, label, t) for t in thresholds))
            at = 1.0 if best.threshold is None else best.threshold
            assert best.error == pytest.approx(plain_lrp(case, label, at))
    curve = measured.mean_lrp_curve
    labels = [label for label, best in enumerate(measured.lrp) if best is not None]
    if curve is not None:
        for place in (0, 10, 30, 31, 90):
            mean = np.mean([plain_lrp(case, label, float(GRID[place])) for label in labels])
            assert curve[place] == pytest.approx(mean)
        assert curve.min() == curve[round(100 * (measured.best_common_threshold or 0))]
