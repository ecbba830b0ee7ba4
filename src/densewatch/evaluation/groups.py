"""AP by how many objects a picture has, and by how large objects are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from densewatch.evaluation.comparison import Comparison
from densewatch.evaluation.matching import AREAS, Matches
from densewatch.evaluation.precision import average_precisions, mean_known

DENSITIES: tuple[tuple[int, int | None], ...] = ((1, 5), (6, 20), (21, 50), (51, None))
"""Groups of pictures by the number of their objects, of all classes, both ends included."""


@dataclass(frozen=True)
class Group:
    """What was measured on some of the pictures, or of the objects.

    Attributes:
        name: `6-20`, or `small`.
        pictures: how many have objects of the group.
        objects: how many.
        ap: AP; None where there is no object.
        ap50: AP50; likewise.
        found: part of the objects that are found at IoU 0.5 from the operating threshold on; likewise.
    """

    name: str
    pictures: int
    objects: int
    ap: float | None
    ap50: float | None
    found: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, ready for JSON."""
        return {
            "group": self.name,
            "pictures": self.pictures,
            "objects": self.objects,
            "AP": self.ap,
            "AP50": self.ap50,
            "found": self.found,
        }


def by_density(
    comparison: Comparison,
    matches: Matches,
    threshold: float,
    densities: Sequence[tuple[int, int | None]] = DENSITIES,
) -> list[Group]:
    """Measure pictures with few objects and with many apart; wrong detections count in their own group.

    Args:
        comparison: what was matched.
        matches: of it.
        threshold: operating threshold, for `Group.found`.
        densities: fewest and most objects of each group; None is no limit.
    """
    counts = comparison.objects().sum(axis=1)
    members = [(counts >= low) & (counts <= (high or counts.max())) for low, high in densities]
    precisions = average_precisions(comparison, matches, np.array(members, np.float64))
    found = matches.objects_found(among=comparison.found.scores >= threshold)
    groups = []
    for (low, high), inside, values in zip(densities, members, precisions, strict=True):
        name = f"{low}-{high}" if high is not None else f"over {low - 1}"
        own = matches.positives & inside[comparison.truth.images]
        groups.append(
            Group(
                name=name,
                pictures=int(inside.sum()),
                objects=int(own.sum()),
                ap=mean_known(values),
                ap50=mean_known(values[0]),
                found=float(found[own].mean()) if own.any() else None,
            )
        )
    return groups


def by_size(comparison: Comparison, matches: dict[str, Matches], threshold: float) -> list[Group]:
    """Measure small, medium and large objects apart, as COCO has them.

    Args:
        comparison: what was matched.
        matches: of it, by the name of the range of areas.
        threshold: operating threshold, for `Group.found`.
    """
    certain = comparison.found.scores >= threshold
    groups = []
    for name in AREAS:
        if name == "all":
            continue
        own = matches[name].positives
        values = average_precisions(comparison, matches[name])
        found = matches[name].objects_found(among=certain)
        groups.append(
            Group(
                name=name,
                pictures=len(np.unique(comparison.truth.images[own])),
                objects=int(own.sum()),
                ap=mean_known(values),
                ap50=mean_known(values[:, 0]),
                found=float(found[own].mean()) if own.any() else None,
            )
        )
    return groups
