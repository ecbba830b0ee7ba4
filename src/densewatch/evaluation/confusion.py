"""Which class is taken for which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from densewatch.evaluation.comparison import Comparison, Ints
from densewatch.evaluation.errors import KINDS, ErrorKinds
from densewatch.evaluation.matching import Matches


@dataclass(frozen=True, eq=False)
class Confusion:
    """What objects were reported as, from an operating threshold on.

    Each object is in one cell: found, reported as another class (by the best detection of another class that
    overlaps it by at least 0.5), or not found. Detections that stand for no such object are in the last row.

    Attributes:
        names: of the classes.
        counts: int64 [C + 1, C + 1]; rows are what is labelled, and last `nothing`; columns are what is
            reported, and last `nothing`.
    """

    names: tuple[str, ...]
    counts: Ints

    def mistakes(self) -> list[dict[str, Any]]:
        """Return pairs of classes that were taken for each other, the most frequent first."""
        among = self.counts[:-1, :-1].copy()
        np.fill_diagonal(among, 0)
        rows, columns = np.nonzero(among)
        order = np.argsort(-among[rows, columns], kind="stable")
        return [
            {
                "labelled": self.names[row],
                "reported": self.names[column],
                "count": int(among[row, column]),
            }
            for row, column in zip(rows[order], columns[order], strict=True)
        ]


def confusion(comparison: Comparison, matches: Matches, errors: ErrorKinds, threshold: float) -> Confusion:
    """Count which class was reported for each object.

    Args:
        comparison: what was matched.
        matches: of it, whose first IoU threshold is 0.5.
        errors: of it.
        threshold: operating threshold.
    """
    classes = len(comparison.names)
    truth, found = comparison.truth, comparison.found
    certain = found.scores >= threshold
    found_as = np.where(matches.objects_found(among=certain), truth.labels, classes)
    rows = np.flatnonzero(certain & (errors.kinds == KINDS.index("class")))
    rows = rows[found_as[errors.meant[rows]] == classes]
    rows = rows[np.argsort(-found.scores[rows], kind="stable")]
    meant, first = np.unique(errors.meant[rows], return_index=True)
    found_as[meant] = found.labels[rows[first]]
    counts = np.zeros((classes + 1, classes + 1), np.int64)
    objects = matches.positives
    np.add.at(counts, (truth.labels[objects], found_as[objects]), 1)
    spare = certain & matches.wrong[0]
    spare[rows[first]] = False
    counts[classes, :classes] = np.bincount(found.labels[spare], minlength=classes)
    return Confusion(comparison.names, counts)
