"""What is wrong with each detection, by hand after TIDE's definitions, and what mending it brings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from densewatch.data.coco_schema import load_instances
from densewatch.evaluation.comparison import Comparison, compare
from densewatch.evaluation.errors import KINDS, error_kinds, lost_to_nms, report_errors
from densewatch.evaluation.matching import match
from densewatch.evaluation.study import Study, StudySettings
from evaluation_sets import comparison, sets, truth

PERSON, CHAIR = 1, 2
BOX, AWAY, FAR = (0, 0, 100, 100), (200, 0, 100, 100), (0, 250, 100, 100)


def shifted(box: tuple[int, int, int, int], iou: float) -> tuple[float, float, float, float]:
    """Return a box of the same size, moved to the right until the IoU is `iou`."""
    x, y, width, height = box
    return (x + width * (1 - iou) / (1 + iou), y, width, height)


def kinds(case: Comparison) -> list[str]:
    """Return the kind of each detection, by falling score."""
    order = np.argsort(-case.found.scores, kind="stable")
    values = error_kinds(case, match(case)).kinds[order]
    return [KINDS[value] if value >= 0 else "-" for value in values]


@pytest.mark.parametrize(
    ("report", "kind"),
    [
        ((1, PERSON, BOX, 0.9), "-"),
        ((1, PERSON, shifted(BOX, 0.51), 0.9), "-"),
        ((1, PERSON, shifted(BOX, 0.49), 0.9), "localisation"),
        ((1, PERSON, shifted(BOX, 0.11), 0.9), "localisation"),
        ((1, PERSON, shifted(BOX, 0.09), 0.9), "background"),
        ((1, PERSON, FAR, 0.9), "background"),
        ((2, PERSON, BOX, 0.9), "background"),  # a picture without labels
        ((1, CHAIR, BOX, 0.9), "class"),
        ((1, CHAIR, shifted(BOX, 0.51), 0.9), "class"),
        ((1, CHAIR, shifted(BOX, 0.49), 0.9), "both"),
        ((1, CHAIR, shifted(BOX, 0.09), 0.9), "background"),
    ],
)
def test_the_kinds_of_one_detection(report: tuple[int, int, Any, float], kind: str) -> None:
    assert kinds(comparison(truth([(1, PERSON, BOX)]), report)) == [kind]


def test_a_second_find_is_a_duplicate() -> None:
    reports = [
        (1, PERSON, BOX, 0.9),
        (1, PERSON, shifted(BOX, 0.8), 0.8),
        (1, PERSON, shifted(BOX, 0.3), 0.7),
    ]
    assert kinds(comparison(truth([(1, PERSON, BOX)]), *reports)) == ["-", "duplicate", "localisation"]


def test_what_is_neither_right_nor_wrong_is_no_error() -> None:
    content = truth([(1, PERSON, BOX), (1, CHAIR, AWAY)], crowds=[0], not_exhaustive={1: [CHAIR]})
    case = comparison(content, (1, PERSON, BOX, 0.9), (1, PERSON, BOX, 0.8), (1, CHAIR, FAR, 0.7))
    assert kinds(case) == ["-", "-", "-"]
    # A crowd is no object that a chair could be mistaken for.
    assert kinds(comparison(truth([(1, PERSON, BOX)], crowds=[0]), (1, CHAIR, BOX, 0.9))) == ["background"]


def report(case: Comparison, threshold: float = 0.5, candidates: Comparison | None = None) -> Any:
    settings = StudySettings(operating_threshold=threshold, resamples=0)
    return Study(case, settings, candidates=candidates).errors


def test_objects_and_reports_are_counted_from_the_operating_threshold_on() -> None:
    content = truth([(1, PERSON, BOX), (1, PERSON, AWAY), (1, CHAIR, FAR), (2, PERSON, BOX)])
    case = comparison(
        content,
        (1, PERSON, BOX, 0.9),
        (1, PERSON, shifted(AWAY, 0.4), 0.8),
        (1, PERSON, FAR, 0.7),
        (2, PERSON, BOX, 0.3),
    )
    high = report(case)
    assert high.reported == {
        "right": 1,
        "localisation": 1,
        "class": 1,
        "both": 0,
        "duplicate": 0,
        "background": 0,
    }
    assert high.objects == {"found": 1, "localisation": 1, "class": 1, "missed": 1}
    assert report(case, 0.2).objects == {"found": 2, "localisation": 1, "class": 1, "missed": 0}


def test_gains_by_hand() -> None:
    """Two persons; T(0.9) L(0.8): AP50 is 51/101, and 1 once the box is mended or the other is not missed."""
    case = comparison(
        truth([(1, PERSON, BOX), (1, PERSON, AWAY)]),
        (1, PERSON, BOX, 0.9),
        (1, PERSON, shifted(AWAY, 0.4), 0.8),
        (1, PERSON, shifted(AWAY, 0.3), 0.7),
    )
    gains = report(case).ap50_gains
    assert gains["localisation"] == pytest.approx(50 / 101)
    assert gains["false_negatives"] == pytest.approx(50 / 101)
    zero = ("class", "both", "duplicate", "background", "missed", "false_positives")
    assert [gains[name] for name in zero] == pytest.approx([0] * 6)
    assert "lost_to_nms" not in gains


def test_a_wrong_class_is_mended_once_an_object() -> None:
    """The chair of score 0.9 is a person; the one of 0.8, on the same object, goes away."""
    content = truth([(1, PERSON, BOX), (1, CHAIR, AWAY)])
    case = comparison(content, (1, CHAIR, BOX, 0.9), (1, CHAIR, BOX, 0.8), (1, CHAIR, AWAY, 0.7))
    # AP50: person 0, chair 1/3; mended: person 1, chair 1.
    assert report(case).ap50_gains["class"] == pytest.approx(1 - (1 / 3) / 2)


def test_false_positives_missed_objects_and_duplicates_by_hand() -> None:
    """F(0.9) T(0.8) D(0.7) T(0.6), and one of three objects missed."""
    case = comparison(
        truth([(1, PERSON, BOX), (1, PERSON, AWAY), (2, PERSON, FAR)]),
        (1, PERSON, FAR, 0.9),
        (1, PERSON, BOX, 0.8),
        (1, PERSON, BOX, 0.7),
        (1, PERSON, AWAY, 0.6),
    )
    gains = report(case).ap50_gains
    base = 67 * 0.5 / 101  # recall 2/3 at precision 1/2
    assert gains["duplicate"] == pytest.approx((67 * 2 / 3) / 101 - base)
    assert gains["background"] == pytest.approx((34 + 33 * 2 / 3) / 101 - base)
    assert gains["missed"] == pytest.approx(0.5 - base)
    assert gains["false_positives"] == pytest.approx(67 / 101 - base)


def test_what_nms_deleted_is_told_from_what_was_never_seen() -> None:
    neighbour = shifted(BOX, 0.6)
    content = truth([(1, PERSON, BOX), (1, PERSON, neighbour), (2, PERSON, AWAY)])
    kept = [(1, PERSON, BOX, 0.9)]
    case = comparison(content, *kept)
    candidates = comparison(
        content,
        *kept,
        (1, PERSON, shifted(BOX, 0.98), 0.85),  # another one for the object that is found
        (1, PERSON, neighbour, 0.8),
        (1, PERSON, neighbour, 0.7),
        (2, PERSON, AWAY, 0.4),  # not sure enough
    )
    lost = lost_to_nms(case, match(case), candidates, 0.5)
    assert lost.tolist() == pytest.approx([np.nan, 0.8, np.nan], nan_ok=True)
    errors = report(case, candidates=candidates)
    assert errors.objects == {"found": 1, "lost_to_nms": 1, "localisation": 0, "class": 0, "missed": 1}
    assert errors.ap50_gains["lost_to_nms"] == pytest.approx((67 - 34) / 101)
    # A threshold that leaves even less: the first is not found any more, but has a candidate.
    assert lost_to_nms(case, match(case), candidates, 0.95).tolist() == pytest.approx(
        [np.nan] * 3, nan_ok=True
    )


def test_an_object_that_is_found_late_is_not_found_twice() -> None:
    """NMS keeps a box of score 0.3, and has deleted one of 0.8: mended, the object is found once, at 0.8."""
    content = truth([(1, PERSON, BOX)])
    case = comparison(content, (2, PERSON, FAR, 0.5), (1, PERSON, BOX, 0.3))
    candidates = comparison(content, (1, PERSON, BOX, 0.8))
    assert report(case, candidates=candidates).ap50_gains["lost_to_nms"] == pytest.approx(0.5)


@settings(max_examples=40)
@given(sets(exhaustive=False))
def test_every_detection_and_every_object_is_counted_once(
    drawn: tuple[dict[str, Any], list[dict[str, Any]]],
) -> None:
    case = compare(load_instances(drawn[0]), drawn[1])
    matches = match(case)
    errors = report_errors(case, matches, error_kinds(case, matches), 0.4)
    certain = case.found.scores >= 0.4
    assert sum(errors.reported.values()) == int((certain & ~matches.ignored[0]).sum())
    assert sum(errors.objects.values()) == int(matches.positives.sum())
    for name in (*KINDS, "false_positives"):  # to mend a kind never makes AP worse
        gain = errors.ap50_gains[name]
        assert gain is None or gain >= -1e-12
