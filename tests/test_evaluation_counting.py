"""Counting errors by hand, and the best threshold against trying every one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from densewatch.data.coco_schema import load_instances
from densewatch.evaluation.comparison import compare
from densewatch.evaluation.counting import (
    counting_errors,
    total_counting_curve,
    total_counting_error,
)
from densewatch.evaluation.matching import match
from evaluation_sets import comparison, sets, truth

PLACES = [(x, 0, 30, 30) for x in (0, 50, 100, 150, 200)]


def test_errors_by_hand() -> None:
    """Picture 1: 3 labelled, 1 reported; picture 2: none labelled, 1 reported; picture 3: 1 and 1."""
    content = truth([(1, 1, place) for place in PLACES[:3]] + [(3, 1, PLACES[0])], pictures=3)
    case = comparison(
        content,
        (1, 1, PLACES[0], 0.9),
        (1, 1, PLACES[1], 0.4),
        (2, 1, PLACES[0], 0.6),
        (3, 1, PLACES[4], 0.5),  # at a wrong place: it counts all the same
    )
    person, chair = counting_errors(case, match(case), 0.5)
    assert (person.pictures, person.labelled, person.reported) == (3, 4, 3)
    assert person.mean_absolute == pytest.approx((2 + 1 + 0) / 3)
    assert person.relative == pytest.approx(3 / 4)
    assert person.bias == pytest.approx((-2 + 1 + 0) / 3)
    assert person.best_threshold == 0.4
    assert person.best_mean_absolute == pytest.approx((1 + 1 + 0) / 3)
    assert (chair.labelled, chair.mean_absolute, chair.relative, chair.best_threshold) == (0, 0, None, None)


def test_a_class_that_was_not_labelled_exhaustively_is_not_counted_there() -> None:
    content = truth([(1, 1, PLACES[0]), (2, 1, PLACES[0])], not_exhaustive={2: [1]})
    reports = [(2, 1, place, 0.9) for place in PLACES] + [(1, 1, PLACES[0], 0.9)]
    case = comparison(content, *reports)
    person, chair = counting_errors(case, match(case), 0.5)
    assert (person.pictures, person.labelled, person.mean_absolute) == (1, 1, 0)
    assert chair.pictures == 2
    assert total_counting_error(case, match(case), 0.5).pictures == 1
    nowhere = truth([(1, 1, PLACES[0])], not_exhaustive={1: [1], 2: [1]})
    nothing = comparison(nowhere, (1, 1, PLACES[0], 0.9))
    assert counting_errors(nothing, match(nothing), 0.5)[0].mean_absolute is None
    assert total_counting_curve(nothing, match(nothing), np.array([0.5])) is None


def test_crowds_and_difficult_objects_are_left_out_on_both_sides() -> None:
    content = truth([(1, 1, place) for place in PLACES[:3]], pictures=1, crowds=[1], difficult=[2])
    case = comparison(content, *((1, 1, place, 0.9) for place in PLACES[:3]))
    person, _ = counting_errors(case, match(case), 0.5)
    assert (person.labelled, person.reported, person.mean_absolute) == (1, 1, 0)


def test_all_classes_together_may_be_right_where_each_is_wrong() -> None:
    case = comparison(
        truth([(1, 1, PLACES[0]), (1, 2, PLACES[1])], pictures=1),
        *((1, 1, place, 0.9) for place in PLACES[:2]),
    )
    assert [item.bias for item in counting_errors(case, match(case), 0.5)] == [1, -1]
    assert total_counting_error(case, match(case), 0.5).mean_absolute == 0


@settings(max_examples=40)
@given(sets(exhaustive=False))
def test_the_best_threshold_is_the_best_of_all(drawn: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    case = compare(load_instances(drawn[0]), drawn[1])
    matches = match(case)
    grid = np.linspace(0, 1, 21)
    for label, error in enumerate(counting_errors(case, matches, 0.5)):
        tried = [counting_errors(case, matches, t)[label].mean_absolute for t in (*grid, 2.0)]
        known = [value for value in tried if value is not None]
        assert error.best_mean_absolute == (pytest.approx(min(known)) if known else None)
        if error.best_threshold is not None:
            there = counting_errors(case, matches, error.best_threshold)[label].mean_absolute
            assert there == pytest.approx(error.best_mean_absolute)
    curve = total_counting_curve(case, matches, grid)
    expected = [total_counting_error(case, matches, t).mean_absolute for t in grid]
    assert (None if curve is None else curve.tolist()) == (
        None if expected[0] is None else pytest.approx(expected)
    )
