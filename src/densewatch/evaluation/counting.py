"""How far off the counts are: objects reported from a threshold on, against objects labelled, by picture."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from densewatch.evaluation.comparison import Bools, Comparison, Floats, Ints, ranks_within
from densewatch.evaluation.matching import Matches


@dataclass(frozen=True)
class CountingError:
    """How far off the counts of a class, or of all classes together, are.

    A picture in which the class was not labelled exhaustively is left out, since nobody knows its count.
    Detections that lie in a crowd, or find a difficult object, are not counted; nor are these labels.

    Attributes:
        pictures: how many were compared.
        labelled: objects in them.
        reported: detections in them from the threshold on.
        mean_absolute: mean of |reported − labelled| over the pictures.
        relative: Σ |reported − labelled| / Σ labelled; None where nothing is labelled.
        bias: mean of reported − labelled; above 0 where too many are counted.
        best_threshold: from which on detections should count for the lowest `mean_absolute`; None where it is
            best to count nothing.
        best_mean_absolute: `mean_absolute` there.
    """

    pictures: int
    labelled: int
    reported: int
    mean_absolute: float | None
    relative: float | None
    bias: float | None
    best_threshold: float | None
    best_mean_absolute: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class _Tally:
    """What is counted: objects int64 [I] of the pictures that count, bool [I], and detections, best first.

    `scores` float64 [N] and `images` int64 [N] of the detections.
    """

    objects: Ints
    counted: Bools
    scores: Floats
    images: Ints

    def errors(self, threshold: float) -> CountingError:
        """Compare the counts at a threshold, and find the best one."""
        pictures, labelled = int(self.counted.sum()), int(self.objects[self.counted].sum())
        if not pictures:
            return CountingError(0, 0, 0, None, None, None, None, None)
        reported = np.bincount(self.images[self.scores >= threshold], minlength=len(self.objects))
        differences = (reported - self.objects)[self.counted]
        scores, sums = self.sums()
        best = int(sums.argmin())  # of equal ones the highest threshold
        return CountingError(
            pictures=pictures,
            labelled=labelled,
            reported=int(reported[self.counted].sum()),
            mean_absolute=float(np.abs(differences).mean()),
            relative=float(np.abs(differences).sum() / labelled) if labelled else None,
            bias=float(differences.mean()),
            best_threshold=float(scores[best]) if best else None,
            best_mean_absolute=int(sums[best]) / pictures,
        )

    def sums(self) -> tuple[Floats, Ints]:
        """Return |reported − labelled| summed over the pictures, after each score that occurs.

        Counting one detection more takes 1 from a picture's error while it has fewer than it should, and adds
        1 from there on.

        Returns:
            The scores, falling, after infinity, at which nothing counts: float64 [S]. The sums: int64 [S].
        """
        steps = np.where(ranks_within(self.images) < self.objects[self.images], -1, 1)
        different = np.append(self.scores[1:] != self.scores[:-1], True)
        last = np.flatnonzero(different[: len(self.scores)])
        nothing = int(self.objects[self.counted].sum())
        sums = nothing + np.append(0, np.cumsum(steps)[last])
        return np.append(np.inf, self.scores[last]), sums


def counting_errors(comparison: Comparison, matches: Matches, threshold: float) -> list[CountingError]:
    """Return the counting error of each class.

    Args:
        comparison: what was matched.
        matches: of it, whose first IoU threshold decides what lies in a crowd.
        threshold: lowest score that counts.
    """
    objects = comparison.objects()
    errors = []
    for label, rows in enumerate(comparison.class_slices()):
        counted = ~comparison.unlabelled[:, label]
        tally = _tally(comparison, matches, np.arange(rows.start, rows.stop), objects[:, label], counted)
        errors.append(tally.errors(threshold))
    return errors


def total_counting_error(comparison: Comparison, matches: Matches, threshold: float) -> CountingError:
    """Return the counting error of all classes together, over pictures where all were labelled exhaustively.

    Args:
        comparison: as in `counting_errors`, and the next two.
        matches: likewise.
        threshold: likewise.
    """
    return _total(comparison, matches).errors(threshold)


def total_counting_curve(comparison: Comparison, matches: Matches, thresholds: Floats) -> Floats | None:
    """Return `mean_absolute` of all classes together at each of `thresholds`; None without such pictures.

    Args:
        comparison: as in `total_counting_error`, and the next.
        matches: likewise.
        thresholds: float64 [N].
    """
    tally = _total(comparison, matches)
    scores, sums = tally.sums()
    reached = np.searchsorted(-scores, -thresholds, side="right") - 1
    return sums[reached] / tally.counted.sum() if tally.counted.any() else None


def _total(comparison: Comparison, matches: Matches) -> _Tally:
    best_first = np.argsort(-comparison.found.scores, kind="stable")
    counted = np.logical_not(comparison.unlabelled.any(axis=1))
    objects = comparison.objects().sum(axis=1)
    return _tally(comparison, matches, best_first, objects, counted)


def _tally(comparison: Comparison, matches: Matches, rows: Ints, objects: Ints, counted: Bools) -> _Tally:
    """Collect the detections `rows`, best first, that count in the pictures that count."""
    images = comparison.found.images
    rows = rows[~matches.ignored[0, rows] & counted[images[rows]]]
    return _Tally(objects, counted, comparison.found.scores[rows], images[rows])
