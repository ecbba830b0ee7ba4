"""Which detection finds which object: COCO's greedy rule, for many pictures and IoU thresholds at a time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from densewatch.evaluation.comparison import Bools, Comparison, Floats, Ints, ranks_within
from densewatch.evaluation.overlaps import Overlaps, overlaps_by_class

IOU_THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
"""COCO's, 0.50:0.05:0.95."""

AREAS: dict[str, tuple[float, float]] = {
    "all": (0, 1e10),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 1e10),
}
"""COCO's ranges of areas in pixels, both ends included."""


@dataclass(frozen=True, eq=False)
class Matches:
    """What became of each detection at each IoU threshold.

    Attributes:
        matched: int32 [T, D], the label that a detection found, or -1.
        ignored: bool [T, D], neither right nor wrong: it found a label that need not be found, or nothing
            where its class was not labelled exhaustively or its own area is out of range.
        positives: bool [G], labels that should be found.
    """

    matched: npt.NDArray[np.int32]
    ignored: Bools
    positives: Bools

    @property
    def correct(self) -> Bools:
        """Return bool [T, D]: detections that found an object."""
        right: Bools = (self.matched >= 0) & ~self.ignored
        return right

    @property
    def wrong(self) -> Bools:
        """Return bool [T, D]: detections that found nothing and should have."""
        return (self.matched < 0) & ~self.ignored

    def objects_found(self, threshold: int = 0, among: Bools | None = None) -> Bools:
        """Return bool [G]: objects that a detection found.

        Args:
            threshold: position of the IoU threshold.
            among: bool [D], detections that count. Default: all.
        """
        rows = self.correct[threshold] if among is None else self.correct[threshold] & among
        found = np.zeros(len(self.positives), np.bool_)
        found[self.matched[threshold, rows]] = True
        return found


def match(
    comparison: Comparison,
    overlaps: Overlaps | None = None,
    *,
    thresholds: Floats = IOU_THRESHOLDS,
    areas: tuple[float, float] = AREAS["all"],
) -> Matches:
    """Match detections with labels as COCO's evaluator does.

    In each picture and class the detections choose by falling score: each takes the free label that it
    overlaps most, of those that should be found if there is one, else of the others. A crowd is always free.
    What is done depends on better detections only, so leaving out all below some score changes nothing above.

    Args:
        comparison: what is matched.
        overlaps: its pairs of one class, down to the lowest threshold, where they are known already.
        thresholds: float64 [T], IoU, rising.
        areas: labels of another area need not be found, in pixels.
    """
    truth, found = comparison.truth, comparison.found
    edges = overlaps or overlaps_by_class(comparison, float(thresholds[0]))
    outside = (truth.areas < areas[0]) | (truth.areas > areas[1])
    positives = ~(truth.ignored | outside)
    matched = np.full((len(thresholds), len(found)), -1, np.int32)
    _choose(comparison, edges, thresholds, positives, matched)
    own_areas = found.boxes[:, 2] * found.boxes[:, 3]
    unjudged = (own_areas < areas[0]) | (own_areas > areas[1])
    unjudged |= comparison.unlabelled[found.images, found.labels]
    of_ignored = np.append(~positives, False)[matched]  # -1 is the last
    return Matches(matched, np.where(matched >= 0, of_ignored, unjudged), positives)


def _choose(
    comparison: Comparison,
    edges: Overlaps,
    thresholds: Floats,
    positives: Bools,
    matched: npt.NDArray[np.int32],
) -> None:
    """Let detections choose, and write down what they chose into `matched`.

    Groups (a class in a picture) do not influence each other: the best detection of every group chooses, then
    the second of every group, and so on. A detection's pairs are in rising order of preference.
    """
    found, crowd = comparison.found, comparison.truth.ignored
    choosers, of_chooser = np.unique(edges.found, return_inverse=True)
    turns = ranks_within(found.labels[choosers], found.images[choosers])[of_chooser]
    order = np.lexsort((edges.truth, edges.ious, positives[edges.truth], edges.found, turns))
    edges, turns = edges[order], turns[order]
    taken = np.zeros((len(positives), len(thresholds)), np.bool_)
    bounds = np.searchsorted(turns, np.arange(turns[-1] + 2)) if len(turns) else np.zeros(0, np.int64)
    for begin, end in pairwise(bounds.tolist()):
        rows, labels = edges.found[begin:end], edges.truth[begin:end]
        free = ~taken[labels] | crowd[labels, None]
        free &= edges.ious[begin:end, None] >= thresholds
        starts = np.flatnonzero(np.append(True, rows[1:] != rows[:-1]))
        preferred = np.maximum.reduceat(np.where(free, np.arange(end - begin)[:, None], -1), starts, axis=0)
        chooser, threshold = np.nonzero(preferred >= 0)
        chosen = labels[preferred[chooser, threshold]]
        matched[threshold, rows[starts[chooser]]] = chosen
        taken[chosen, threshold] = True


def found_ious(comparison: Comparison, matches: Matches, overlaps: Overlaps, threshold: int = 0) -> Floats:
    """Return the IoU of each detection with the label that it found, float64 [D]; 0 where it found none."""
    ious = np.zeros(len(comparison.found))
    own = matches.matched[threshold, overlaps.found] == overlaps.truth
    ious[overlaps.found[own]] = overlaps.ious[own]
    return ious


def picture_counts(comparison: Comparison, rows: Bools | Ints) -> Ints:
    """Count the given detections in each picture, int64 [I]."""
    counts: Ints = np.bincount(comparison.found.images[rows], minlength=len(comparison.image_ids))
    return counts
