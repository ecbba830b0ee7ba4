"""Which objects count: by class, score and size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from densewatch.detections import Detections, class_index
from densewatch.live.settings import CameraSettings, LineSettings, ZoneSettings

DEFAULT_THRESHOLD = 0.5
_ROUNDING = 1e-6  # scores are float32: a score of 0.7 must pass a threshold of 0.7


@dataclass(frozen=True, eq=False)
class Filter:
    """A rule for objects.

    Attributes:
        thresholds: float64 [C], lowest score of each class; infinite for classes that do not count.
        min_area: smallest box, as a share of the picture's area.
        max_area: largest box, as a share of the picture's area.
    """

    thresholds: npt.NDArray[np.float64]
    min_area: float
    max_area: float

    def accepts(self, label: int, score: float, area: float) -> bool:
        """Return whether an object counts.

        Args:
            label: index of its class.
            score: 0 to 1.
            area: of its box, as a share of the picture's.
        """
        return bool(score >= self.thresholds[label] - _ROUNDING) and self.min_area <= area <= self.max_area

    def mask(self, detections: Detections) -> npt.NDArray[np.bool_]:
        """Return bool [N]: which detections count."""
        areas = relative_areas(relative_boxes(detections))
        sized = (areas >= self.min_area) & (areas <= self.max_area)
        return sized & (detections.scores >= self.thresholds[detections.labels] - _ROUNDING)


def camera_filter(settings: CameraSettings, names: Sequence[str]) -> Filter:
    """Return a camera's rule.

    Args:
        settings: the camera's.
        names: class names of the detector, in label order.

    Raises:
        UnknownNameError: a class name is none of `names`.
    """
    base = DEFAULT_THRESHOLD if settings.threshold is None else settings.threshold
    thresholds = np.full(len(names), base)
    _set_by_class(thresholds, settings.thresholds, names)
    return Filter(_only(thresholds, settings.only, names), settings.min_area, settings.max_area)


def part_filter(part: ZoneSettings | LineSettings, camera: CameraSettings, names: Sequence[str]) -> Filter:
    """Return the rule of a zone or a line: its own settings, and the camera's where it has none.

    Its `threshold` outdoes the camera's thresholds by class; a smallest area of 0 and a largest of 1 are the
    camera's.

    Raises:
        UnknownNameError: a class name is none of `names`.
    """
    base = DEFAULT_THRESHOLD if camera.threshold is None else camera.threshold
    thresholds = np.full(len(names), base)
    _set_by_class(thresholds, camera.thresholds, names)
    if part.threshold is not None:
        thresholds[:] = part.threshold
    _set_by_class(thresholds, part.thresholds, names)
    only = camera.only if part.only is None else part.only
    min_area = part.min_area if part.min_area > 0 else camera.min_area
    max_area = part.max_area if part.max_area < 1 else camera.max_area
    return Filter(_only(thresholds, only, names), min_area, max_area)


def union(filters: Sequence[Filter]) -> Filter:
    """Return the narrowest rule that accepts whatever one of `filters` accepts."""
    return Filter(
        np.min([rule.thresholds for rule in filters], axis=0),
        min(rule.min_area for rule in filters),
        max(rule.max_area for rule in filters),
    )


def relative_boxes(detections: Detections) -> npt.NDArray[np.float64]:
    """Return boxes [N, 4], xyxy, as shares of the picture's width and height."""
    height, width = detections.size
    return detections.boxes.astype(np.float64) / (width, height, width, height)


def relative_areas(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the areas [N] of relative boxes [N, 4], as shares of the picture's area."""
    areas: npt.NDArray[np.float64] = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return areas


def _set_by_class(
    thresholds: npt.NDArray[np.float64], by_class: dict[str, float], names: Sequence[str]
) -> None:
    for name, threshold in by_class.items():
        thresholds[class_index(name, names)] = threshold


def _only(
    thresholds: npt.NDArray[np.float64], only: Sequence[str] | None, names: Sequence[str]
) -> npt.NDArray[np.float64]:
    if only is None:
        return thresholds
    wanted = [class_index(name, names) for name in only]
    limited = np.full(len(names), np.inf)
    limited[wanted] = thresholds[wanted]
    return limited
