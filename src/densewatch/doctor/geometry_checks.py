"""The objects that geometry loses, with the worst cases: no anchor, collisions, NMS, limits of a level."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from densewatch.data.dataset import Dataset
from densewatch.doctor.coverage import NOWHERE
from densewatch.doctor.crowding import overlapping_pairs
from densewatch.doctor.findings import Case, Finding, Severity, box_of, spread
from densewatch.doctor.setup import Outcome, Setup

_TOPK = 1000
"""Candidates that a level passes on unless `densewatch export --topk` says otherwise."""
_WARN_SHARE = 0.01


def check_geometry(dataset: Dataset, outcome: Outcome, setup: Setup, split: str) -> Iterator[Finding]:
    """Give what anchors, NMS and limits lose of a data set."""
    yield _without_anchor(dataset, outcome, setup, split)
    yield _lost_to_overlap(dataset, outcome, setup, split)
    yield _crowded_levels(outcome, setup, split)


def _crowded_levels(outcome: Outcome, setup: Setup, split: str) -> Finding:
    levels = len(setup.level_names)
    topk = setup.topk or (_TOPK,) * levels
    places = outcome.coverage.low_quality_place
    crowd = np.bincount(places[places != NOWHERE], minlength=levels)
    place = np.flatnonzero(crowd > np.array(topk)[np.arange(len(crowd)) % levels])
    told = " or ".join(str(count) for count in sorted(set(topk)))
    return Finding(
        "crowded-level",
        "warning",
        split,
        len(np.unique(place // levels)),
        f"pictures with more than {told} objects on one pyramid level, which passes on no more candidates",
        f"export with --topk {int(crowd.max()) * 2}",
    )


def _severity(count: int, objects: int) -> Severity:
    return "warning" if count > _WARN_SHARE * objects else "note"


def _without_anchor(dataset: Dataset, outcome: Outcome, setup: Setup, split: str) -> Finding:
    coverage, objects, sides = outcome.coverage, outcome.scaled.objects, outcome.scaled.sides
    rows = np.flatnonzero(~coverage.learned & ~coverage.ignored)
    rows = rows[np.argsort(coverage.best_iou[rows], kind="stable")]
    cases = []
    for row, path in spread(dataset, objects, rows.tolist()):
        name = dataset.names[int(objects.labels[row])]
        level = setup.level_names[int(coverage.best_level[row])]
        size = f"{sides[row, 0]:.0f}×{sides[row, 1]:.0f} px at this size"
        caption = f"{name}, {size}, best anchor IoU {coverage.best_iou[row]:.2f} on {level}"
        cases.append(Case((path,), (box_of(objects, row),), caption))
    return Finding(
        "no-anchor",
        _severity(len(rows), len(objects)),
        split,
        len(rows),
        f"objects that no anchor learns at IoU {setup.config.loss.foreground_iou:g}",
        "see what to change",
        tuple(cases),
    )


def _lost_to_overlap(dataset: Dataset, outcome: Outcome, setup: Setup, split: str) -> Finding:
    objects = outcome.scaled.objects
    iou = setup.limits.iou_nms
    first, second, ious = overlapping_pairs(outcome.scaled.boxes, objects.groups, iou)
    lost = outcome.coverage.learned & ~outcome.by_iou.found
    rival: dict[int, tuple[int, float]] = {}
    for position in np.argsort(-ious, kind="stable").tolist():
        one, other = int(first[position]), int(second[position])
        for row, partner in ((one, other), (other, one)):
            if lost[row] and not lost[partner]:
                rival.setdefault(row, (partner, float(ious[position])))
    cases = []
    for row, path in spread(dataset, objects, rival):
        partner, overlap = rival[row]
        name = dataset.names[int(objects.labels[row])]
        boxes = (box_of(objects, row), box_of(objects, partner))
        cases.append(Case((path,), boxes, f"two of {name}, IoU {overlap:.2f}"))
    return Finding(
        "deleted-by-nms",
        _severity(outcome.by_iou.deleted_by_nms, len(objects)),
        split,
        outcome.by_iou.deleted_by_nms,
        f"objects that NMS at IoU {iou:g} deletes even from an oracle that gives exactly the labelled boxes",
        "see what to change",
        tuple(cases),
    )
