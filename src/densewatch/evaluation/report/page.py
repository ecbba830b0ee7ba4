"""The report as one HTML file: no network, no script, nothing beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from densewatch.evaluation.lrp import Lrp
from densewatch.evaluation.report import charts
from densewatch.evaluation.report.advice import advice
from densewatch.evaluation.report.pictures import ShownPicture, picture_figures
from densewatch.evaluation.study import Study

MARK = '<meta name="generator" content="densewatch evaluate">'
"""By which a page is known to be a report, which a newer one may replace."""

_WORST_PICTURES = 12
_CONFUSIONS = 12
_UNKNOWN = "\N{EN DASH}"


def write_page(
    target: Path,
    study: Study,
    *,
    title: str,
    facts: Mapping[str, str],
    show: Callable[[int | str], ShownPicture],
) -> None:
    """Write the report.

    Args:
        target: the HTML file.
        study: what was measured.
        title: what was measured, in a few words.
        facts: what was measured with what: name → value.
        show: gives the picture with an id.

    Raises:
        ImportError: matplotlib or jinja2 is missing.
        OSError: the file cannot be written.
    """
    target.write_text(render_page(study, title=title, facts=facts, show=show), encoding="utf-8")


def render_page(
    study: Study, *, title: str, facts: Mapping[str, str], show: Callable[[int | str], ShownPicture]
) -> str:
    """Return the report as HTML; see `write_page`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("densewatch.evaluation.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"digits": _digits, "percent": _percent, "range": _interval}
    return environment.get_template("page.html").render(
        mark=MARK,
        title=title,
        facts=facts,
        study=study,
        threshold=study.settings.operating_threshold,
        cards=_cards(study),
        advice=advice(study),
        classes=_class_rows(study),
        confusions=study.confusion.mistakes()[:_CONFUSIONS],
        fate_words=charts.FATE_WORDS,
        kind_words=charts.KIND_WORDS,
        charts={
            "precision_recall": charts.precision_recall(study),
            "confusion": charts.confusion_matrix(study),
            "errors": charts.error_split(study),
            "groups": charts.group_bars(study),
            "thresholds": charts.thresholds(study),
        },
        pictures=picture_figures(study, show, _WORST_PICTURES),
    )


def _cards(study: Study) -> list[dict[str, str]]:
    """Return the headline figures: name, value and what stands below it."""
    intervals, coco, total = study.intervals, study.coco, study.total_counting
    ap, ap50 = study.name("AP"), study.name("AP50")
    recall = f"AR{study.settings.max_detections[-1]}"
    objects = study.errors.objects
    in_all = sum(objects.values())
    return [
        {"name": ap, "value": _digits(coco[ap]), "note": _interval(intervals and intervals.ap)},
        {"name": ap50, "value": _digits(coco[ap50]), "note": _interval(intervals and intervals.ap50)},
        {"name": recall, "value": _digits(coco[recall]), "note": "mean recall over IoU 0.50:0.95"},
        {"name": "oLRP", "value": _digits(study.mean_lrp()["oLRP"]), "note": "0 is perfect, 1 finds nothing"},
        {
            "name": "found",
            "value": _percent(objects["found"] / in_all if in_all else None),
            "note": f"of {in_all} objects, at score {study.settings.operating_threshold:g}",
        },
        {
            "name": "counts off by",
            "value": _digits(total.mean_absolute, 2),
            "note": f"objects a picture, over {total.pictures} pictures",
        },
    ]


def _class_rows(study: Study) -> list[dict[str, Any]]:
    """Return a row for each class that has objects, those with most first."""
    labels = charts.frequent_classes(study, len(study.comparison.names))
    objects = study.comparison.objects().sum(axis=0)
    rows = []
    for label in labels:
        name = study.comparison.names[label]
        numbers = study.coco.per_class[name]
        lrp: Lrp | None = study.lrp[label]
        rows.append(
            {
                "name": name,
                "objects": int(objects[label]),
                "ap": numbers[study.name("AP")],
                "ap50": numbers[study.name("AP50")],
                "interval": study.intervals and study.intervals.class_ap[label],
                "lrp": lrp,
                "counting": study.counting[label],
            }
        )
    return rows


def _digits(value: float | None, digits: int = 3) -> str:
    return _UNKNOWN if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{100 * value:.0f} %"


def _interval(interval: Any) -> str:
    return "" if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"
