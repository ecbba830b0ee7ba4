"""Labels that are probably wrong, or that training will not use."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from densewatch.data.dataset import Dataset
from densewatch.doctor.crowding import overlapping_pairs
from densewatch.doctor.findings import MOST_CASES, Case, Finding, Severity, box_of, spread
from densewatch.doctor.objects import Bools, Floats, Ints, Scaled

NEAR_IDENTICAL_IOU = 0.9
FULL_SHARE = 0.95
"""Of both sides of the picture."""
EXTREME_RATIO = 10.0
BORDER_PX = 1.0


def check_labels(dataset: Dataset, scaled: Scaled, split: str, min_side_px: float) -> Iterator[Finding]:
    """Give what is odd about the boxes of a data set.

    Args:
        dataset: that the objects are of.
        scaled: its objects as the network sees them.
        split: what it is called.
        min_side_px: training ignores objects with a shorter side, in pixels of the network's input.
    """
    check = _Check(dataset, scaled, split)
    sides = scaled.sides
    shorter, longer = sides.min(axis=1), sides.max(axis=1)
    yield check.boxes(
        "tiny-boxes",
        "warning",
        shorter < min_side_px,
        shorter,
        f"boxes with a side under {min_side_px:g} px at this size: training ignores them",
        "train at a larger --imgsz, look at parts of pictures (--tiles), or lower augment.min_side",
        lambda row: f"{sides[row, 0]:.1f}×{sides[row, 1]:.1f} px at this size",
    )
    yield check.boxes(
        "extreme-shapes",
        "warning",
        longer > EXTREME_RATIO * shorter,
        -longer / shorter,
        f"boxes more than {EXTREME_RATIO:g} times as long as wide",
        "look whether they are slips; no anchor fits such objects",
        lambda row: f"{longer[row] / shorter[row]:.0f} times as long as wide",
    )
    yield _full_boxes(check)
    yield _border_boxes(check)
    yield from _near_identical(check)
    empty = [sample.path for sample in dataset if not len(sample.boxes)]
    yield Finding(
        "no-objects",
        "note",
        split,
        len(empty),
        "pictures without objects: they teach what is not an object",
        "see that they are not just unlabelled",
        tuple(Case((path,), (), "no object") for path in empty[:MOST_CASES]),
    )
    for text, count in dataset.warnings.items():
        yield Finding("mended-labels", "warning", split, count, text, "mend the labels")


class _Check:
    """Makes findings about boxes of one data set."""

    def __init__(self, dataset: Dataset, scaled: Scaled, split: str) -> None:
        self.dataset = dataset
        self.objects = scaled.objects
        self.split = split

    def boxes(
        self,
        kind: str,
        severity: Severity,
        found: Bools,
        order: Floats,
        text: str,
        advice: str,
        describe: Callable[[int], str],
    ) -> Finding:
        """Return a finding about the boxes that are `found` bool [N], those of least `order` [N] first."""
        rows = np.flatnonzero(found)
        rows = rows[np.argsort(order[rows], kind="stable")]
        cases = tuple(
            Case((path,), (box_of(self.objects, row),), f"{self.name(row)}, {describe(row)}")
            for row, path in spread(self.dataset, self.objects, rows.tolist())
        )
        return Finding(kind, severity, self.split, len(rows), text, advice, cases)

    def name(self, row: int) -> str:
        """Return the class of an object."""
        return self.dataset.names[int(self.objects.labels[row])]


def _full_boxes(check: _Check) -> Finding:
    objects = check.objects
    pictures = objects.sizes[objects.pictures][:, ::-1]
    shares = ((objects.boxes[:, 2:] - objects.boxes[:, :2]) / pictures).min(axis=1, initial=1)
    return check.boxes(
        "full-boxes",
        "warning",
        shares >= FULL_SHARE,
        -shares.astype(np.float32),
        "boxes that fill the picture",
        "look whether they mean the scene rather than an object",
        lambda row: f"{100 * shares[row]:.0f} % of the picture's sides",
    )


def _border_boxes(check: _Check) -> Finding:
    objects = check.objects
    pictures = objects.sizes[objects.pictures][:, ::-1]
    gaps = np.concatenate([objects.boxes[:, :2], pictures - objects.boxes[:, 2:]], axis=1)
    touching = gaps.min(axis=1, initial=np.inf) <= BORDER_PX
    share = 100 * touching.mean() if len(touching) else 0
    return Finding(
        "border-boxes",
        "note",
        check.split,
        int(touching.sum()),
        f"boxes at the border of their picture ({share:.0f} %): cut objects, if labels are right",
        "",
    )


def _near_identical(check: _Check) -> Iterator[Finding]:
    objects = check.objects
    first, second, ious = overlapping_pairs(objects.boxes, objects.pictures, NEAR_IDENTICAL_IOU)
    same = objects.labels[first] == objects.labels[second]
    yield _pairs(
        check,
        (first[same], second[same], ious[same]),
        "twice-labelled",
        f"pairs of boxes of one class with an IoU above {NEAR_IDENTICAL_IOU:g}: one object labelled twice?",
        "delete one of each pair: recall counts both, and no detector finds both",
    )
    yield _pairs(
        check,
        (first[~same], second[~same], ious[~same]),
        "two-classes",
        f"pairs of boxes of different classes with an IoU above {NEAR_IDENTICAL_IOU:g}: which one is it?",
        "decide on one class: an anchor learns only one of them",
    )


def _pairs(check: _Check, pairs: tuple[Ints, Ints, Floats], kind: str, text: str, advice: str) -> Finding:
    order = np.argsort(-pairs[2], kind="stable")
    first, second, ious = (values[order] for values in pairs)
    partner: dict[int, tuple[int, float]] = {}
    for row, other, iou in zip(first.tolist(), second.tolist(), ious.tolist(), strict=True):
        partner.setdefault(row, (other, iou))  # the best pair of a box comes first
    cases = []
    for row, path in spread(check.dataset, check.objects, partner):
        other, iou = partner[row]
        boxes = (box_of(check.objects, row), box_of(check.objects, other))
        cases.append(Case((path,), boxes, f"{check.name(row)} and {check.name(other)}, IoU {iou:.2f}"))
    return Finding(kind, "warning", check.split, len(first), text, advice, tuple(cases))
