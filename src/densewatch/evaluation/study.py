"""Everything that this room measures of one set of detections, in one go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from densewatch.evaluation.bootstrap import LEVEL, Difference, Intervals, ap_difference, intervals, resample
from densewatch.evaluation.coco_metrics import CocoMetrics, check_limits, coco_metrics, metric_name
from densewatch.evaluation.comparison import Comparison, Floats
from densewatch.evaluation.confusion import Confusion, confusion
from densewatch.evaluation.counting import (
    CountingError,
    counting_errors,
    total_counting_curve,
    total_counting_error,
)
from densewatch.evaluation.errors import ErrorKinds, ErrorReport, error_kinds, lost_to_nms, report_errors
from densewatch.evaluation.groups import Group, by_density, by_size
from densewatch.evaluation.lrp import GRID, Lrp, best_of_grid, mean_lrp_curve, optimal_lrp
from densewatch.evaluation.matching import AREAS, IOU_THRESHOLDS, Matches, found_ious, match, picture_counts
from densewatch.evaluation.overlaps import Overlaps, overlaps_by_class
from densewatch.evaluation.precision import average_precisions


@dataclass(frozen=True)
class StudySettings:
    """How detections are measured.

    Attributes:
        operating_threshold: score from which on an object would be reported: for counts, kinds of errors,
            confusion; AP and oLRP look at all scores.
        max_detections: as `evaluate_coco` has them.
        resamples: of the pictures, for intervals; 0 is none.
        seed: of the resampling.
    """

    operating_threshold: float = 0.5
    max_detections: tuple[int, ...] = (1, 10, 100)
    resamples: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        check_limits(self.max_detections)
        if self.resamples < 0:
            raise ValueError(f"resamples must be at least 0, not {self.resamples}")


class Study:
    """What was measured of one set of detections; each figure is computed when it is asked for.

    Attributes:
        comparison: labels, and the detections that counted.
        settings: how they were measured.
    """

    def __init__(
        self,
        comparison: Comparison,
        settings: StudySettings,
        *,
        candidates: Comparison | None = None,
        against: Comparison | None = None,
    ) -> None:
        """Take what is to be measured.

        Args:
            comparison: labels and detections.
            settings: how they are measured.
            candidates: the same labels, and what the detector gives without NMS from the operating threshold
                on; None where that is not known.
            against: the same labels, and other detections, that these are compared with.
        """
        self.settings = settings
        self.comparison = comparison.limited(settings.max_detections[-1])
        self._everything = comparison
        self._candidates = candidates
        self._against = against

    @cached_property
    def coco(self) -> CocoMetrics:
        """COCO's numbers."""
        return coco_metrics(self._everything, self.settings.max_detections)

    @cached_property
    def matches(self) -> Matches:
        """Which detection finds which object."""
        return match(self.comparison, self._overlaps)

    @cached_property
    def precisions(self) -> Floats:
        """Average precision, float64 [T, C]; NaN for classes without objects."""
        (values,) = average_precisions(self.comparison, self.matches)
        return np.asarray(values, np.float64)

    @cached_property
    def lrp(self) -> list[Lrp | None]:
        """The optimum of each class."""
        return optimal_lrp(self.comparison, self.matches, self._ious)

    @cached_property
    def mean_lrp_curve(self) -> Floats | None:
        """The mean LRP over classes at each of `lrp.GRID`; None where there is no object."""
        return mean_lrp_curve(self.comparison, self.matches, self._ious)

    @property
    def best_common_threshold(self) -> float | None:
        """The threshold of `lrp.GRID`, the same for all classes, at which their mean LRP is lowest."""
        curve = self.mean_lrp_curve
        return None if curve is None else best_of_grid(curve)

    @cached_property
    def total_counting_curve(self) -> Floats | None:
        """The mean absolute error of the total count at each of `lrp.GRID`; None without pictures."""
        return total_counting_curve(self.comparison, self.matches, GRID)

    @cached_property
    def counting(self) -> list[CountingError]:
        """Counting error of each class at the operating threshold."""
        return counting_errors(self.comparison, self.matches, self.settings.operating_threshold)

    @cached_property
    def total_counting(self) -> CountingError:
        """Counting error of all classes together."""
        return total_counting_error(self.comparison, self.matches, self.settings.operating_threshold)

    @cached_property
    def error_kinds(self) -> ErrorKinds:
        """What is wrong with each detection."""
        return error_kinds(self.comparison, self.matches)

    @cached_property
    def lost(self) -> Floats | None:
        """Of each object that NMS lost, the best score of its candidates; None where that is not known."""
        if self._candidates is None:
            return None
        return lost_to_nms(self.comparison, self.matches, self._candidates, self.settings.operating_threshold)

    @cached_property
    def errors(self) -> ErrorReport:
        """Errors in numbers."""
        threshold = self.settings.operating_threshold
        return report_errors(self.comparison, self.matches, self.error_kinds, threshold, self.lost)

    @cached_property
    def confusion(self) -> Confusion:
        """Which class is taken for which."""
        threshold = self.settings.operating_threshold
        return confusion(self.comparison, self.matches, self.error_kinds, threshold)

    @cached_property
    def density(self) -> list[Group]:
        """Pictures with few and with many objects."""
        return by_density(self.comparison, self.matches, self.settings.operating_threshold)

    @cached_property
    def sizes(self) -> list[Group]:
        """Small, medium and large objects."""
        matches = {name: match(self.comparison, self._overlaps, areas=areas) for name, areas in AREAS.items()}
        return by_size(self.comparison, matches, self.settings.operating_threshold)

    @cached_property
    def intervals(self) -> Intervals | None:
        """Intervals of AP and AP50; None where they are not wanted."""
        return None if self._resampled is None else intervals(self.precisions, self._resampled)

    @cached_property
    def against(self) -> dict[str, Difference] | None:
        """How much better AP and AP50 are than those of the other detections; None where there are none."""
        if self._against is None:
            return None
        other = self._against.limited(self.settings.max_detections[-1])
        matches = match(other)
        theirs = average_precisions(other, matches)[0]
        resampled = None if self._weights is None else average_precisions(other, matches, self._weights)
        ours = self._resampled
        both = None if resampled is None or ours is None else (ours, resampled)
        return {
            "AP": ap_difference(
                self.precisions.mean(axis=0),
                theirs.mean(axis=0),
                both and (both[0].mean(axis=1), both[1].mean(axis=1)),
            ),
            "AP50": ap_difference(self.precisions[0], theirs[0], both and (both[0][:, 0], both[1][:, 0])),
        }

    @cached_property
    def _overlaps(self) -> Overlaps:
        return overlaps_by_class(self.comparison, float(IOU_THRESHOLDS[0]))

    @cached_property
    def _ious(self) -> Floats:
        return found_ious(self.comparison, self.matches, self._overlaps)

    @cached_property
    def _weights(self) -> Floats | None:
        if not self.settings.resamples:
            return None
        pictures = len(self.comparison.image_ids)
        return resample(pictures, self.settings.resamples, self.settings.seed)

    @cached_property
    def _resampled(self) -> Floats | None:
        if self._weights is None:
            return None
        return average_precisions(self.comparison, self.matches, self._weights)

    def name(self, metric: str) -> str:
        """Return a metric's name, which says how many detections counted: `AP`, or `AP@500`."""
        return metric_name(metric, self.settings.max_detections[-1])

    def mean_lrp(self) -> dict[str, float | None]:
        """Return the means over classes of oLRP and of its parts, each over the classes that have it."""
        known = [item.to_dict() for item in self.lrp if item is not None]
        names = ("oLRP", "oLRP_localisation", "oLRP_FP", "oLRP_FN")
        return {name: _mean([item[name] for item in known]) for name in names}

    def per_class(self) -> dict[str, dict[str, Any]]:
        """Return everything that is known of each class, by its name, ready for JSON."""
        objects = self.comparison.objects().sum(axis=0)
        nothing = dict.fromkeys(("oLRP", "oLRP_localisation", "oLRP_FP", "oLRP_FN", "oLRP_threshold"))
        rows: dict[str, dict[str, Any]] = {}
        for label, name in enumerate(self.comparison.names):
            best = self.lrp[label]
            rows[name] = {
                **self.coco.per_class[name],
                "objects": int(objects[label]),
                **(nothing if best is None else best.to_dict()),
                "counting": self.counting[label].to_dict(),
                **self._class_intervals(label),
            }
        return rows

    def _class_intervals(self, label: int) -> dict[str, Any]:
        if self.intervals is None:
            return {}
        both = {"AP": self.intervals.class_ap[label], "AP50": self.intervals.class_ap50[label]}
        return {"intervals": {self.name(name): item and item.to_list() for name, item in both.items()}}

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as plain values, ready for JSON."""
        document = {
            **self.coco.to_dict(),
            "per_class": self.per_class(),
            "operating_threshold": self.settings.operating_threshold,
            "best_common_threshold": self.best_common_threshold,
            **self.mean_lrp(),
            "counting": self.total_counting.to_dict(),
            "density": [self._group(group) for group in self.density],
            "sizes": [self._group(group) for group in self.sizes],
            "errors": self.errors.to_dict(),
            "confusions": self.confusion.mistakes(),
        }
        if self.intervals is not None:
            document["intervals"] = {
                "level": LEVEL,
                "resamples": self.settings.resamples,
                "seed": self.settings.seed,
                self.name("AP"): self.intervals.ap and self.intervals.ap.to_list(),
                self.name("AP50"): self.intervals.ap50 and self.intervals.ap50.to_list(),
            }
        if self.against is not None:
            document["against"] = {self.name(name): item.to_dict() for name, item in self.against.items()}
        return document

    def _group(self, group: Group) -> dict[str, Any]:
        names = {"AP": self.name("AP"), "AP50": self.name("AP50")}
        return {names.get(key, key): value for key, value in group.to_dict().items()}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def picture_errors(study: Study) -> Mapping[str, list[int]]:
    """Return, of each picture at the operating threshold, how many objects it has, are missed, are false.

    `objects`, `missed` and `false`, each a list in the order of `Comparison.image_ids`.
    """
    comparison, matches = study.comparison, study.matches
    certain = comparison.found.scores >= study.settings.operating_threshold
    missed = matches.positives & ~matches.objects_found(among=certain)
    pictures = len(comparison.image_ids)
    return {
        "objects": np.bincount(comparison.truth.images[matches.positives], minlength=pictures).tolist(),
        "missed": np.bincount(comparison.truth.images[missed], minlength=pictures).tolist(),
        "false": picture_counts(comparison, matches.wrong[0] & certain).tolist(),
    }
