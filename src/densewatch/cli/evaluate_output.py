"""What `evaluate` prints: a few tables and lines for people."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from densewatch.cli.reports import counted
from densewatch.cli.writers import results_console, results_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from densewatch.evaluation.bootstrap import Difference, Interval
    from densewatch.evaluation.study import Study

_FATES = {
    "lost_to_nms": "lost to NMS",
    "localisation": "box too far off",
    "class": "reported as another class",
    "missed": "missed",
}
_KINDS = {
    "localisation": "box too far off",
    "class": "another class",
    "both": "box and class",
    "duplicate": "duplicate",
    "background": "nothing there",
}


def print_table(study: Study, title: str) -> None:
    """Print COCO's numbers, a line a class, and what else was measured in a few lines."""
    console = results_console(sys.stdout)
    console.print(title, style="bold", soft_wrap=True)
    coco = study.coco
    numbers = results_table(console, list(coco.numbers))
    numbers.add_row(*(_digits(value) for value in coco.numbers.values()))
    console.print(numbers)
    ap, ap50 = study.name("AP"), study.name("AP50")
    headings = ["class", ap, ap50, "objects", "oLRP", "best threshold", "count off by"]
    per_class = results_table(console, headings, text=["class"])
    for name, row in study.per_class().items():
        per_class.add_row(
            name,
            _digits(row[ap]),
            _digits(row[ap50]),
            str(row["objects"]),
            _digits(row["oLRP"]),
            _digits(row["oLRP_threshold"], 2),
            _digits(row["counting"]["mean_absolute"], 2),
        )
    console.print(per_class)
    for line in _lines(study):
        console.print(line, soft_wrap=True)


def _lines(study: Study) -> Iterator[str]:
    ap, ap50 = study.name("AP"), study.name("AP50")
    if study.intervals is not None:
        both = f"{ap} {_range(study.intervals.ap)}, {ap50} {_range(study.intervals.ap50)}"
        yield f"95 % intervals: {both}"
    if study.against is not None:
        parts = [f"{study.name(name)} {_difference(item)}" for name, item in study.against.items()]
        yield f"against the other results: {', '.join(parts)}"
    at = study.settings.operating_threshold
    objects, reported = study.errors.objects, study.errors.reported
    parts = [f"{objects[key]} {words}" for key, words in _FATES.items() if objects.get(key)]
    found = f"{objects['found']} of {counted(sum(objects.values()), 'object')} found"
    yield f"at {at:g}: {', '.join([found, *parts])}"
    parts = [f"{reported[key]} {words}" for key, words in _KINDS.items() if reported[key]]
    right = f"{reported['right']} of {counted(sum(reported.values()), 'report')} right"
    yield f"at {at:g}: {', '.join([right, *parts])}"
    yield from _counting(study)


def _counting(study: Study) -> Iterator[str]:
    total = study.total_counting
    if total.mean_absolute is None:
        yield "counts: in no picture are all classes labelled exhaustively; each class has its own above"
        return
    share = "" if total.relative is None else f" ({100 * total.relative:.0f} %)"
    line = (
        f"counts at {study.settings.operating_threshold:g} are off by {total.mean_absolute:.2f} objects a "
        f"picture{share}, bias {_signed(total.bias, 2)}"
    )
    if total.best_threshold is not None:
        line += (
            f"; at {total.best_threshold:.2f}, where they are best, by {_digits(total.best_mean_absolute, 2)}"
        )
    yield line


def _difference(item: Difference) -> str:
    if item.interval is None:
        return _signed(item.value)
    return f"{_signed(item.value)} ({_signed(item.interval.low)} to {_signed(item.interval.high)})"


def _digits(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _signed(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:+.{digits}f}"


def _range(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"
