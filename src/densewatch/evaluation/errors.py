"""What kinds of errors there are, and what mending each kind would bring.

After Bolya, Foley, Hays and Hoffman, "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV
2020 (arXiv 2008.08115), section 2; and with one kind more, what NMS deletes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from densewatch.evaluation.comparison import Bools, Comparison, Floats, Ints
from densewatch.evaluation.matching import Matches
from densewatch.evaluation.overlaps import Overlaps, overlaps_by_class, overlaps_by_picture
from densewatch.evaluation.precision import Ranking, average_precision

FOREGROUND_IOU, BACKGROUND_IOU = 0.5, 0.1

Kind = Literal["localisation", "class", "both", "duplicate", "background"]
"""Of a wrong detection, the first that fits. `localisation`: it overlaps an object of its class by 0.1 to
0.5; `class`: by at least 0.5 an object of another class; `duplicate`: by at least 0.5 an object of its class
that a better one found; `background`: none by more than 0.1; `both`: what is left, place and class are wrong.
"""

KINDS: tuple[Kind, ...] = get_args(Kind)
_LOCALISATION, _CLASS, _BOTH, _DUPLICATE, _BACKGROUND = range(len(KINDS))


@dataclass(frozen=True, eq=False)
class ErrorKinds:
    """Of each wrong detection, what is wrong, and the object that it was meant for.

    Attributes:
        kinds: int8 [D], position in `KINDS`; -1 of detections that are right, or neither right nor wrong.
        meant: int64 [D], the label that it overlaps most, of its class where its place is wrong, of another
            where its class is; else -1.
    """

    kinds: npt.NDArray[np.int8]
    meant: Ints


@dataclass(frozen=True)
class ErrorReport:
    """Errors in numbers.

    Attributes:
        reported: detections from the operating threshold on: `right`, and how many of each kind are wrong.
        objects: what became of the objects there: `found`, `lost_to_nms` where candidates were looked at,
            `localisation` and `class` where a wrong detection was meant for them, else `missed`.
        ap50_gains: how much AP50 would rise if one kind of error were mended: each of `KINDS`, `missed`,
            `lost_to_nms` where candidates were looked at, and all `false_positives` and `false_negatives`.
    """

    reported: Mapping[str, int]
    objects: Mapping[str, int]
    ap50_gains: Mapping[str, float | None]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, ready for JSON."""
        return {
            "reported": dict(self.reported),
            "objects": dict(self.objects),
            "AP50_gains": dict(self.ap50_gains),
        }


def error_kinds(comparison: Comparison, matches: Matches) -> ErrorKinds:
    """Tell of each wrong detection, at IoU 0.5, what is wrong.

    Args:
        comparison: what was matched.
        matches: of it, whose first IoU threshold is 0.5.
    """
    wrong = matches.wrong[0]
    rows = np.flatnonzero(wrong)
    near = overlaps_by_picture(replace(comparison, found=comparison.found[rows]), BACKGROUND_IOU)
    near = near[matches.positives[near.truth]]
    truth, found = comparison.truth, comparison.found
    same = truth.labels[near.truth] == found.labels[rows][near.found]
    taken = matches.objects_found()[near.truth]
    own, own_iou = _nearest(near[same], len(rows))
    other, other_iou = _nearest(near[~same], len(rows))
    _, taken_iou = _nearest(near[same & taken], len(rows))
    nearest_iou = np.maximum(own_iou, other_iou)
    tests = [
        (own_iou >= BACKGROUND_IOU) & (own_iou <= FOREGROUND_IOU),
        other_iou >= FOREGROUND_IOU,
        taken_iou >= FOREGROUND_IOU,
        nearest_iou <= BACKGROUND_IOU,
    ]
    choices = [_LOCALISATION, _CLASS, _DUPLICATE, _BACKGROUND]
    kinds = np.full(len(found), -1, np.int8)
    kinds[rows] = np.select(tests, choices, default=_BOTH)
    meant = np.full(len(found), -1, np.int64)
    meant[rows] = np.select(tests[:2], [own, other], default=-1)
    return ErrorKinds(kinds, meant)


def lost_to_nms(comparison: Comparison, matches: Matches, candidates: Comparison, threshold: float) -> Floats:
    """Return the best score of a candidate that NMS deleted of each object that is not found: float64 [G].

    A candidate is one for the object of its class that it overlaps most, by at least 0.5. NaN where there is
    none, or where the object is found from the threshold on.

    Args:
        comparison: what was matched, after NMS.
        matches: of it, whose first IoU threshold is 0.5.
        candidates: labels and what the detector gives without NMS, of the same pictures.
        threshold: lowest score of a detection or a candidate.
    """
    candidates = candidates.above(threshold)
    overlaps = overlaps_by_class(candidates, FOREGROUND_IOU)
    overlaps = overlaps[matches.positives[overlaps.truth]]
    meant, _ = _nearest(overlaps, len(candidates.found))
    rows = np.flatnonzero(meant >= 0)
    scores = np.full(len(matches.positives), -np.inf)
    np.maximum.at(scores, meant[rows], candidates.found.scores[rows])
    found = matches.objects_found(among=comparison.found.scores >= threshold)
    return np.where(found | np.isinf(scores), np.nan, scores)


def report_errors(
    comparison: Comparison,
    matches: Matches,
    errors: ErrorKinds,
    threshold: float,
    lost: Floats | None = None,
) -> ErrorReport:
    """Count errors from a threshold on, and measure what mending each kind would bring over all scores.

    Args:
        comparison: what was matched.
        matches: of it, whose first IoU threshold is 0.5.
        errors: of it.
        threshold: operating threshold.
        lost: as `lost_to_nms` gives it; None where candidates were not looked at.
    """
    certain = comparison.found.scores >= threshold
    right = matches.correct[0] & certain
    reported = {"right": int(right.sum())}
    reported |= {kind: int((certain & (errors.kinds == place)).sum()) for place, kind in enumerate(KINDS)}
    fates = object_fates(matches, errors, certain, lost)
    names = [name for name in FATES if name != "lost_to_nms" or lost is not None]
    objects = {name: int((fates == FATES.index(name)).sum()) for name in names}
    return ErrorReport(reported, objects, _gains(comparison, matches, errors, lost))


FATES = ("found", "lost_to_nms", "localisation", "class", "missed")
"""What becomes of an object, see `ErrorReport.objects`; the first that fits."""


def object_fates(
    matches: Matches, errors: ErrorKinds, among: Bools, lost: Floats | None = None
) -> npt.NDArray[np.int8]:
    """Return what became of each object: int8 [G], position in `FATES`; -1 of labels that need not be found.

    Args:
        matches: whose first IoU threshold is 0.5.
        errors: of the same detections.
        among: bool [D], detections that count.
        lost: as `lost_to_nms` gives it.
    """
    found = matches.objects_found(among=among)
    tests = [
        ~matches.positives,
        found,
        np.zeros_like(found) if lost is None else ~np.isnan(lost),
        _meant_for(errors, _LOCALISATION, among, len(found)),
        _meant_for(errors, _CLASS, among, len(found)),
    ]
    return np.select(tests, [-1, 0, 1, 2, 3], default=4).astype(np.int8)


def _nearest(overlaps: Overlaps, rows: int) -> tuple[Ints, Floats]:
    """Return the label that each detection overlaps most, and the IoU: [rows] each; -1 and 0 for none.

    Of equal ones the first.
    """
    order = np.lexsort((-overlaps.truth, overlaps.ious, overlaps.found))
    nearest, ious = np.full(rows, -1, np.int64), np.zeros(rows)
    nearest[overlaps.found[order]] = overlaps.truth[order]  # of several, the last one stays
    ious[overlaps.found[order]] = overlaps.ious[order]
    return nearest, ious


def _meant_for(errors: ErrorKinds, kind: int, among: Bools, labels: int) -> Bools:
    """Return bool [G]: labels that a detection with this kind of error was meant for."""
    meant = np.zeros(labels, np.bool_)
    meant[errors.meant[(errors.kinds == kind) & among]] = True
    return meant


@dataclass(frozen=True, eq=False)
class _Scored:
    """Detections that are right or wrong, and the objects of each class, as AP50 needs them.

    `labels` int64 [N], `scores` float64 [N], `correct` bool [N], `objects` int64 [C].
    """

    labels: Ints
    scores: Floats
    correct: Bools
    objects: Ints

    def mean_ap(self) -> float | None:
        """Return AP50; a class without objects is left out."""
        order = np.lexsort((-self.scores, self.labels))
        labels, correct = self.labels[order], self.correct[order]
        bounds = np.searchsorted(labels, np.arange(len(self.objects) + 1))
        values = []
        for label, count in enumerate(self.objects.tolist()):
            own = correct[bounds[label] : bounds[label + 1]]
            if count:
                ranking = Ranking(own, np.zeros(len(own), np.int64), np.array([count]))
                values.append(float(average_precision(ranking)[0]))
        return float(np.mean(values)) if values else None


def _gains(
    comparison: Comparison, matches: Matches, errors: ErrorKinds, lost: Floats | None
) -> dict[str, float | None]:
    """Return how much AP50 rises when each kind of error is mended, and no other."""
    objects = comparison.objects().sum(axis=0)
    kept = ~matches.ignored[0]
    everything = np.ones(len(kept), np.bool_)
    scored = _Scored(comparison.found.labels, comparison.found.scores, matches.correct[0], objects)
    mended: dict[str, _Scored] = {
        kind: _mend(comparison, matches, errors, scored, place) for place, kind in enumerate(KINDS)
    }
    fates = object_fates(matches, errors, everything)
    missed = _count(comparison, fates == FATES.index("missed"))
    mended["missed"] = _select(replace(scored, objects=objects - missed), kept)
    if lost is not None:
        # One that is found with a lower score than its candidate's must not be found twice.
        again = matches.correct[0] & np.append(~np.isnan(lost), False)[matches.matched[0]]
        mended["lost_to_nms"] = _with_lost(comparison, _select(scored, kept & ~again), lost)
    mended["false_positives"] = _select(scored, kept & scored.correct)
    found = matches.objects_found()
    mended["false_negatives"] = _select(replace(scored, objects=_count(comparison, found)), kept)
    base = _select(scored, kept).mean_ap()
    return {
        name: None if base is None or (value := item.mean_ap()) is None else value - base
        for name, item in mended.items()
    }


def _mend(
    comparison: Comparison, matches: Matches, errors: ErrorKinds, scored: _Scored, kind: int
) -> _Scored:
    """Make the best detection that was meant for each object not found right; the others of the kind go."""
    kept = ~matches.ignored[0] & (errors.kinds != kind)
    rows = np.flatnonzero((errors.kinds == kind) & (errors.meant >= 0))
    rows = rows[~matches.objects_found()[errors.meant[rows]]]
    rows = rows[np.argsort(-scored.scores[rows], kind="stable")]
    _, first = np.unique(errors.meant[rows], return_index=True)
    best = rows[first]
    labels, correct = scored.labels.copy(), scored.correct.copy()
    labels[best] = comparison.truth.labels[errors.meant[best]]
    correct[best] = True
    kept[best] = True
    return _select(replace(scored, labels=labels, correct=correct), kept)


def _select(scored: _Scored, kept: Bools) -> _Scored:
    return replace(
        scored, labels=scored.labels[kept], scores=scored.scores[kept], correct=scored.correct[kept]
    )


def _with_lost(comparison: Comparison, scored: _Scored, lost: Floats) -> _Scored:
    rows = np.flatnonzero(~np.isnan(lost))
    return replace(
        scored,
        labels=np.concatenate([scored.labels, comparison.truth.labels[rows]]),
        scores=np.concatenate([scored.scores, lost[rows]]),
        correct=np.concatenate([scored.correct, np.ones(len(rows), np.bool_)]),
    )


def _count(comparison: Comparison, chosen: Bools) -> Ints:
    counts: Ints = np.bincount(comparison.truth.labels[chosen], minlength=len(comparison.names))
    return counts
