"""What to do about what was measured, in sentences."""

from __future__ import annotations

from densewatch.evaluation.lrp import GRID
from densewatch.evaluation.study import Study

_WORTH_SAYING = 0.02
"""Of the objects, or of an error: less is not worth a sentence."""


def advice(study: Study) -> list[str]:
    """Return sentences about thresholds, counts, NMS and limits; only about what would make a difference."""
    return [*_thresholds(study), *_counts(study), *_losses(study), *_limits(study)]


def _thresholds(study: Study) -> list[str]:
    curve, best = study.mean_lrp_curve, study.best_common_threshold
    if curve is None or best is None:
        return []
    now = study.settings.operating_threshold
    here = float(curve[int(abs(GRID - now).argmin())])
    lowest = float(curve.min())
    if here - lowest <= _WORTH_SAYING * here:
        return [f"One threshold for all classes: {now:g} is as good as any (mean LRP {here:.3f})."]
    return [
        f"One threshold for all classes: {best:.2f} is best (mean LRP {lowest:.3f}; at {now:g} it is "
        f"{here:.3f}). The table of classes has the best one of each."
    ]


def _counts(study: Study) -> list[str]:
    total = study.total_counting
    if total.mean_absolute is None or total.best_mean_absolute is None:
        return []
    now = study.settings.operating_threshold
    sentence = f"Counts at {now:g} are off by {total.mean_absolute:.2f} objects a picture"
    if total.bias:
        sentence += f", {abs(total.bias):.2f} too {'many' if total.bias > 0 else 'few'} on average"
    gain = total.mean_absolute - total.best_mean_absolute
    if total.best_threshold is not None and gain > _WORTH_SAYING * total.mean_absolute:
        sentence += f"; at {total.best_threshold:.2f} they would be off by {total.best_mean_absolute:.2f}"
    return [sentence + "."]


def _losses(study: Study) -> list[str]:
    objects = study.errors.objects
    lost, total = objects.get("lost_to_nms", 0), sum(objects.values())
    if lost < _WORTH_SAYING * total or not lost:
        return []
    return [
        f"NMS deletes {lost} of {total} objects, although the network sees them: try a higher --iou, or "
        "detect with --nms soft."
    ]


def _limits(study: Study) -> list[str]:
    limit = study.settings.max_detections[-1]
    crowded = int((study.comparison.objects() * 2 > limit).any(axis=1).sum())
    if not crowded:
        return []
    where = "1 picture has" if crowded == 1 else f"{crowded} pictures have"
    return [
        f"{where} so many objects of a class that {limit} detections of it may be too few: "
        f"measure with --max-detections {limit * 5}."
    ]
