"""The recall of an oracle that gives exactly the labelled boxes: what anchors, NMS and limits leave."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from densewatch.doctor.coverage import NOWHERE
from densewatch.doctor.crowding import best_survivors
from densewatch.doctor.objects import Bools, Ints, Scaled


@dataclass(frozen=True)
class Limits:
    """What cuts the results of a detector.

    Attributes:
        iou_nms: objects of one class that overlap more than this are taken for one.
        max_detections: how many objects of one class in one picture count, as in COCO's AR.
    """

    iou_nms: float = 0.5
    max_detections: int = 100


@dataclass(frozen=True, eq=False)
class Ceiling:
    """What is left of N objects.

    An oracle, which gives the labelled box of its object for every matched anchor, and scores them as well as
    can be, has this recall at every IoU from 0.50 to 0.95. So `ar` is its AR. A real detector stays below it
    but for luck: it may find what it was not taught, and NMS may spare boxes that are less than exact.

    Attributes:
        objects: how many there are.
        without_anchor: how many no anchor learns, those that training ignores among them.
        deleted_by_nms: of those that an anchor learns, how many NMS deletes.
        beyond_limit: how many more `max_detections` leaves out.
        found: bool [N].
        ar: COCO's AR at `max_detections`: recall, averaged over the classes that have objects; None without
            objects.
    """

    objects: int
    without_anchor: int
    deleted_by_nms: int
    beyond_limit: int
    found: Bools
    ar: float | None

    @property
    def recall(self) -> float | None:
        """The share of all objects, whatever their class, that can be found."""
        return float(self.found.mean()) if self.objects else None


def ceiling(scaled: Scaled, places: Ints, limits: Limits) -> Ceiling:
    """Return what anchors, NMS and limits leave.

    Args:
        scaled: the objects.
        places: int64 [N], as `Coverage.place` or `Coverage.low_quality_place`.
        limits: what cuts results.
    """
    objects = scaled.objects
    learned = np.flatnonzero(places != NOWHERE)
    kept = learned[best_survivors(scaled.boxes[learned], objects.groups[learned], limits.iou_nms)]
    counted = kept[ranks(objects.groups[kept]) < limits.max_detections]
    found = np.zeros(len(objects), np.bool_)
    found[counted] = True
    return Ceiling(
        objects=len(objects),
        without_anchor=len(objects) - len(learned),
        deleted_by_nms=len(learned) - len(kept),
        beyond_limit=len(kept) - len(counted),
        found=found,
        ar=_mean_over_classes(found, objects.labels, objects.num_classes),
    )


def _mean_over_classes(found: Bools, labels: Ints, num_classes: int) -> float | None:
    totals = np.bincount(labels, minlength=num_classes)
    if not totals.any():
        return None
    recalls = np.bincount(labels[found], minlength=num_classes)[totals > 0] / totals[totals > 0]
    return float(recalls.mean())


def ranks(groups: Ints) -> Ints:
    """Return how many earlier rows are of the same group, int64 [N]."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    ranks = np.empty(len(groups), np.int64)
    ranks[order] = np.arange(len(groups)) - np.searchsorted(ordered, ordered, "left")
    return ranks
