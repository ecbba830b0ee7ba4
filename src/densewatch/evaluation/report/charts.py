"""The charts of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from densewatch.evaluation.comparison import Floats
from densewatch.evaluation.errors import KINDS
from densewatch.evaluation.groups import Group
from densewatch.evaluation.lrp import GRID, best_of_grid
from densewatch.evaluation.matching import IOU_THRESHOLDS
from densewatch.evaluation.precision import RECALLS, precision_curve, rankings
from densewatch.evaluation.report.svg import BAD, GOOD, INK, MUTED, SERIES, WARN, chart
from densewatch.evaluation.study import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_CLASSES_IN_MATRIX = 15
_CURVE_IOUS = (0.5, 0.75, 0.9)

PANEL_WIDTH = 4.6
"""Inches; as wide as a phone, so that its type is as large as the text around it."""

FATE_WORDS = {
    "found": "found",
    "lost_to_nms": "lost to NMS",
    "localisation": "box too far off",
    "class": "reported as another class",
    "missed": "missed",
}
"""What the page calls the fates of objects."""

KIND_WORDS = {
    "right": "right",
    "localisation": "box too far off",
    "class": "another class",
    "both": "box and class",
    "duplicate": "duplicate",
    "background": "nothing there",
}
"""What the page calls the kinds of wrong detections."""


def frequent_classes(study: Study, most: int) -> list[int]:
    """Return the classes with the most objects, most first; those without any are left out."""
    objects = study.comparison.objects().sum(axis=0)
    order = np.argsort(-objects, kind="stable")[:most]
    return [int(label) for label in order if objects[label]]


def precision_recall(study: Study) -> list[str]:
    """Return the curves of all classes at three IoUs, and of the most frequent classes at IoU 0.5."""
    places = [int(np.argmin(np.abs(IOU_THRESHOLDS - iou))) for iou in _CURVE_IOUS]
    curves = [_curves(study, place) for place in places]
    known = [values[~np.isnan(values).any(axis=1)] for values in curves]
    overall = {
        f"IoU {iou:g}: {values.mean():.3f}": values.mean(axis=0)
        for iou, values in zip(_CURVE_IOUS, known, strict=True)
        if len(values)
    }
    classes = {
        f"{study.comparison.names[label]}: {curves[0][label].mean():.3f}": curves[0][label]
        for label in frequent_classes(study, len(SERIES))
    }
    return [
        _curve_panel("pr-all", "Mean over all classes", overall),
        _curve_panel("pr-classes", "The most frequent classes, IoU 0.5", classes),
    ]


def _curve_panel(name: str, title: str, curves: Mapping[str, Floats]) -> str:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set_title(title)
        for (label, curve), colour in zip(curves.items(), SERIES, strict=False):
            axes.plot(RECALLS, curve, color=colour, label=label)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
        if curves:
            figure.legend(loc="outside lower center", ncols=2)

    words = f"Precision over recall. {title}: {', '.join(curves)}."
    return chart(draw, name=name, text=words, size=(PANEL_WIDTH, 4.2))


def _curves(study: Study, place: int) -> Floats:
    """Return the precision of each class at `RECALLS`, float64 [C, 101]; NaN where there is no object."""
    ranked = rankings(study.comparison, study.matches, place)
    return np.array(
        [precision_curve(item) if item.objects.any() else np.full(len(RECALLS), np.nan) for item in ranked]
    )


def confusion_matrix(study: Study) -> str:
    """Return the confusion matrix of the most frequent classes."""
    labels = frequent_classes(study, _MOST_CLASSES_IN_MATRIX)
    counts = study.confusion.counts
    others = [label for label in range(len(study.comparison.names)) if label not in labels]
    columns = counts[:, [*labels, -1]]
    columns = np.insert(columns, -1, counts[:, others].sum(axis=1), axis=1)
    shown = columns[[*labels, -1]]
    names = [study.comparison.names[label] for label in labels]
    totals = shown.sum(axis=1, keepdims=True)
    parts = shown / np.maximum(totals, 1)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.grid(visible=False)
        for (row, column), count in np.ndenumerate(shown):
            if count:
                colour = _cell_colour(row, column, len(labels))
                share = 0.12 + 0.6 * float(parts[row, column])
                axes.fill(*_square(column, row), color=colour, alpha=share, linewidth=0)
                axes.text(column, row, str(count), ha="center", va="center", fontsize=8)
        axes.set_xticks(
            range(len(labels) + 2),
            [*names, "other", "nothing"],
            rotation=45,
            ha="right",
            rotation_mode="anchor",
        )
        axes.set_yticks(range(len(labels) + 1), [*names, "nothing"])
        axes.set(
            xlim=(-0.5, len(labels) + 1.5),
            ylim=(len(labels) + 0.5, -0.5),
            xlabel="reported",
            ylabel="labelled",
        )

    side = 2.2 + 0.36 * (len(labels) + 2)
    return chart(
        draw,
        name="confusion",
        text="Confusion matrix: rows are what is labelled, columns what is reported. The classes that are "
        "most often taken for each other are listed below.",
        size=(max(4.5, side + 0.6), max(3.2, side - 0.4)),
    )


def _square(x: float, y: float) -> tuple[Sequence[float], Sequence[float]]:
    half = 0.47
    return [x - half, x + half, x + half, x - half], [y - half, y - half, y + half, y + half]


def _cell_colour(row: int, column: int, classes: int) -> str:
    if row == classes or column == classes + 1:
        return WARN
    return GOOD if row == column else BAD


def error_split(study: Study) -> list[str]:
    """Return what became of objects, what reports were, and what mending each kind of error would bring."""
    report = study.errors
    words = {**KIND_WORDS, "missed": "missed", "lost_to_nms": "lost to NMS"}
    gains = {
        words[key]: value
        for key in (*KINDS, "missed", "lost_to_nms")
        if (value := report.ap50_gains.get(key)) is not None
    }
    objects = {FATE_WORDS[key]: float(count) for key, count in report.objects.items()}
    reported = {KIND_WORDS[key]: float(count) for key, count in report.reported.items()}
    return [
        _bar_panel("objects", "Objects", objects, "{:.0f}"),
        _bar_panel("reports", "Reports", reported, "{:.0f}"),
        _bar_panel("gains", f"{study.name('AP50')}, if mended", gains, "{:+.3f}", first=SERIES[0]),
    ]


def _bar_panel(name: str, title: str, values: Mapping[str, float], form: str, first: str = GOOD) -> str:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set_title(title)
        _bars(axes, list(values), list(values.values()), form, first)

    words = ", ".join(f"{key} {form.format(value)}" for key, value in values.items())
    return chart(draw, name=name, text=f"{title}: {words}.", size=(PANEL_WIDTH, 0.5 + 0.32 * len(values)))


def _bars(axes: Axes, names: Sequence[str], values: Sequence[float], form: str, first: str) -> None:
    """Draw bars from top to bottom; the first is the good one, unless there is none."""
    places = range(len(names))
    colours = [first] + [BAD if first == GOOD else first] * (len(names) - 1)
    axes.barh(places, values, color=colours, height=0.68)
    top = max([*values, 1e-9])
    for place, value in zip(places, values, strict=True):
        axes.text(max(value, 0) + top * 0.02, place, form.format(value), va="center", fontsize=9)
    axes.set_yticks(places, names)
    axes.set(ylim=(len(names) - 0.4, -0.6), xlim=(min([0.0, *values]), top * 1.25))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)


def group_bars(study: Study) -> list[str]:
    """Return AP and AP50 by density and by size."""
    highest = max([group.ap50 or 0.0 for group in (*study.density, *study.sizes)])
    return [
        _group_panel("density", "By objects in the picture", study.density, study, highest),
        _group_panel("sizes", "By size of the object", study.sizes, study, highest),
    ]


def _group_panel(name: str, title: str, groups: Sequence[Group], study: Study, highest: float) -> str:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set_title(title)
        _group_axes(axes, groups, study)
        axes.set_ylim(0, max(highest * 1.12, 0.01))
        figure.legend(loc="outside lower center", ncols=2)

    words = f"{study.name('AP50')} and {study.name('AP')}. {title}; the figures are in the table below."
    return chart(draw, name=name, text=words, size=(PANEL_WIDTH, 3.1))


def _group_axes(axes: Axes, groups: Sequence[Group], study: Study) -> None:
    places = np.arange(len(groups))
    series = (
        (-0.2, SERIES[0], "AP50", [group.ap50 for group in groups]),
        (0.2, SERIES[1], "AP", [group.ap for group in groups]),
    )
    for shift, colour, name, values in series:
        heights = [value or 0.0 for value in values]
        axes.bar(places + shift, heights, width=0.38, color=colour, label=study.name(name))
        for place, value in zip(places, values, strict=True):
            if value is not None:
                axes.text(place + shift, value, f"{value:.2f}", ha="center", va="bottom", fontsize=8)
    axes.set_xticks(places, [group.name for group in groups])
    axes.grid(visible=False, axis="x")


def thresholds(study: Study) -> list[str]:
    """Return how the mean LRP and the count of all objects depend on one threshold for all classes."""
    curves = {
        "lrp": ("Mean LRP over classes", "error", study.mean_lrp_curve, SERIES[0]),
        "counts": (
            "Count of all objects",
            "off by, objects a picture",
            study.total_counting_curve,
            SERIES[1],
        ),
    }
    return [
        _threshold_panel(name, title, label, curve, study.settings.operating_threshold, colour)
        for name, (title, label, curve, colour) in curves.items()
        if curve is not None
    ]


def _threshold_panel(name: str, title: str, label: str, curve: Floats, now: float, colour: str) -> str:
    best = best_of_grid(curve)
    lowest = float(curve.min())

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.set_title(title)
        axes.set(xlim=(0, 1), xlabel="threshold", ylabel=label)
        axes.axvline(now, color=MUTED, linewidth=1, linestyle="--")
        axes.plot(GRID, curve, color=colour)
        axes.plot(best, lowest, "o", color=INK, markersize=5)
        axes.annotate(f"{best:.2f}", (best, lowest), (0, -14), textcoords="offset points", ha="center")
        # At low thresholds counts run into the thousands, which would flatten what matters.
        span = max(float(curve[-1]) - lowest, 1e-3)
        axes.set_ylim(lowest - 0.2 * span, float(curve[-1]) + 0.35 * span)

    words = f"{title} over the threshold: lowest at {best:.2f}, {lowest:.3f}. A dashed line marks {now:g}."
    return chart(draw, name=name, text=words, size=(PANEL_WIDTH, 2.9))
