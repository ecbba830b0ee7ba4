"""COCO's numbers for boxes, equal to those of pycocotools, and per class.

In a picture whose `not_exhaustive_category_ids` name a class, that class was not labelled completely. As in
LVIS (arXiv 1908.03195), detections of it that match no label are neither right nor wrong there. A difficult
object, as in Pascal VOC, counts as a crowd does: it need not be found.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from densewatch.data.coco_schema import InstancesFile, load_instances
from densewatch.evaluation.comparison import Comparison, Floats, compare
from densewatch.evaluation.matching import AREAS, IOU_THRESHOLDS, Matches, match
from densewatch.evaluation.overlaps import overlaps_by_class
from densewatch.evaluation.precision import average_precisions, mean_known

COCO_LIMIT = 100
"""How many detections of one class in one picture count where a name does not say another number."""


@dataclass(frozen=True)
class CocoMetrics:
    """What `evaluate_coco` measured; `metrics["AP50"]` is one number.

    A number is None where the data has no object that it could speak of, such as `APs` without small objects.
    Where the last of `max_detections` is not COCO's 100, names say so: `AP@500`, `AP50@500`, `ARs@500`.

    Attributes:
        numbers: AP, AP50, AP75, APs, APm, APl, one AR for each of `max_detections` (AR1, AR10, AR100), ARs,
            ARm and ARl; 0 to 1.
        per_class: class name → AP and AP50, for every category of the data.
        max_detections: most detections of one class in one picture that counted, rising; all but the ARs with
            a number in their name take the last.
        cut_detections: how many detections the last of them left out.
    """

    numbers: Mapping[str, float | None]
    per_class: Mapping[str, Mapping[str, float | None]]
    max_detections: tuple[int, ...]
    cut_detections: int

    def __getitem__(self, name: str) -> float | None:
        return self.numbers[name]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, ready for JSON."""
        return {
            **self.numbers,
            "per_class": {name: dict(values) for name, values in self.per_class.items()},
            "max_detections": list(self.max_detections),
            "cut_detections": self.cut_detections,
        }


def metric_name(name: str, limit: int) -> str:
    """Return a number's name, which says how many detections counted: `AP50`, or `AP50@500`."""
    return name if limit == COCO_LIMIT else f"{name}@{limit}"


def evaluate_coco(
    annotations: Path | InstancesFile | Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    *,
    image_ids: Collection[int | str] | None = None,
    max_detections: Sequence[int] = (1, 10, COCO_LIMIT),
) -> CocoMetrics:
    """Compare detections with labels, as COCO does.

    Args:
        annotations: COCO instances, a file or its content.
        results: COCO results, `{"image_id", "category_id", "bbox" xywh, "score"}` an object.
        image_ids: measure on these pictures only. Default: all.
        max_detections: rising; see `CocoMetrics`. Raise the last for pictures with more objects of a class.

    Raises:
        DataError: the annotations or a result cannot be used, or there is no such picture.
        ValueError: `max_detections` does not rise from at least 1.
    """
    limits = check_limits(max_detections)
    return coco_metrics(compare(load_instances(annotations), results, image_ids), limits)


def check_limits(max_detections: Sequence[int]) -> tuple[int, ...]:
    """Return the limits, or raise `ValueError` unless they rise from at least 1."""
    limits = tuple(max_detections)
    if not limits or limits[0] < 1 or list(limits) != sorted(set(limits)):
        raise ValueError(f"max_detections {limits} must rise, from at least 1")
    return limits


def coco_metrics(comparison: Comparison, limits: tuple[int, ...]) -> CocoMetrics:
    """Return COCO's numbers.

    Args:
        comparison: labels, and all detections.
        limits: rising; see `CocoMetrics.max_detections`.
    """
    counted = comparison.limited(limits[-1])
    overlaps = overlaps_by_class(counted, float(IOU_THRESHOLDS[0]))
    matches = {name: match(counted, overlaps, areas=areas) for name, areas in AREAS.items()}
    precisions = {name: average_precisions(counted, found)[0] for name, found in matches.items()}
    everywhere = precisions["all"]
    sizes = [name for name in AREAS if name != "all"]
    numbers = {
        "AP": mean_known(everywhere),
        "AP50": mean_known(everywhere[0]),
        "AP75": mean_known(everywhere[5]),
        **{f"AP{size[0]}": mean_known(precisions[size]) for size in sizes},
    }
    ars = {f"AR{limit}": mean_known(_recalls(counted, matches["all"], limit)) for limit in limits}
    ar_sizes = {f"AR{size[0]}": mean_known(_recalls(counted, matches[size], limits[-1])) for size in sizes}
    return CocoMetrics(
        numbers=_named(numbers, limits[-1]) | ars | _named(ar_sizes, limits[-1]),
        per_class={
            name: _named(
                {"AP": mean_known(everywhere[:, label]), "AP50": mean_known(everywhere[:1, label])},
                limits[-1],
            )
            for label, name in enumerate(comparison.names)
        },
        max_detections=limits,
        cut_detections=len(comparison.found) - len(counted.found),
    )


def _named(numbers: Mapping[str, float | None], limit: int) -> dict[str, float | None]:
    return {metric_name(name, limit): value for name, value in numbers.items()}


def _recalls(comparison: Comparison, matches: Matches, limit: int) -> Floats:
    """Return the recall of each IoU threshold and class with at most `limit` detections: float64 [T, C]."""
    classes = len(comparison.names)
    counted = comparison.found.ranks < limit
    right = np.stack(
        [
            np.bincount(comparison.found.labels[correct & counted], minlength=classes)
            for correct in matches.correct
        ]
    )
    objects = comparison.objects(matches.positives).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(objects > 0, right / objects, np.nan)
