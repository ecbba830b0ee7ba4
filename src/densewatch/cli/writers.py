"""The output formats of `detect`: each writes pictures as they come, or one document at the end."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from densewatch.cli.reports import PictureReport, counted, counts_in_words

if TYPE_CHECKING:
    from densewatch.metadata import ModelInfo

DetectFormat = Literal["table", "json", "jsonl", "csv", "coco"]

# Rich cuts what does not fit; a pipe or a file has no width.
_NO_WIDTH_LIMIT = 100_000


class Writer(Protocol):
    """Writes what was found."""

    def add(self, report: PictureReport) -> None:
        """Take one picture."""

    def fail(self, source: str, error: str) -> None:
        """Take a picture that could not be done, and the sentence that says why."""

    def finish(self) -> None:
        """Write what can only be written when all pictures are known."""


def create_writer(output_format: DetectFormat, info: ModelInfo, out: TextIO) -> Writer:
    """Return the writer of a format.

    Args:
        output_format: as given on the command line.
        info: of the model that finds the objects.
        out: where to write.
    """
    writers: dict[DetectFormat, Callable[[], Writer]] = {
        "table": lambda: TableWriter(out),
        "json": lambda: JsonWriter(out, info.name),
        "jsonl": lambda: JsonLinesWriter(out),
        "csv": lambda: CsvWriter(out),
        "coco": lambda: CocoWriter(out, info.category_ids),
    }
    return writers[output_format]()


def results_console(out: TextIO) -> Console:
    """Return a console for tables: coloured and fitted on a terminal, plain and never cut elsewhere."""
    plain = not out.isatty()
    return Console(
        file=out,
        force_terminal=not plain,
        color_system=None if plain else "auto",
        width=_NO_WIDTH_LIMIT if plain else None,
        highlight=False,
        markup=False,
        emoji=False,
    )


def results_table(console: Console, headings: Sequence[str], *, text: Sequence[str] = ()) -> Table:
    """Return an empty table in the one style that all verbs use.

    Args:
        console: that will print it.
        headings: of all columns.
        text: headings of the columns that hold words; the others hold numbers, and are set flush right.
    """
    boxed = console.is_terminal
    table = Table(box=SIMPLE_HEAD if boxed else None, header_style="bold", pad_edge=boxed)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in text else "right")
    return table


class TableWriter:
    """For people: every object with score and position, then the counts, then the time.

    Failed pictures are on standard error, which people read too.
    """

    def __init__(self, out: TextIO) -> None:
        self._console = results_console(out)
        self._counts: Counter[str] = Counter()
        self._pictures = 0

    def add(self, report: PictureReport) -> None:
        """Print the picture's table."""
        height, width = report.detections.size
        self._console.print(f"{report.source}  {width}×{height} px", style="bold", soft_wrap=True)
        if len(report.detections):
            self._console.print(self._objects(report))
        counts = report.detections.counts()
        timing = report.timing.to_dict()
        stages = ", ".join(f"{stage} {timing[stage]:.1f}" for stage in timing if stage != "total")
        self._console.print(counts_in_words(counts), soft_wrap=True)
        self._console.print(f"{timing['total']:.1f} ms: {stages}\n", soft_wrap=True)
        self._counts.update(counts)
        self._pictures += 1

    def fail(self, source: str, error: str) -> None:
        """Write nothing."""

    def finish(self) -> None:
        """Print the sum over several pictures."""
        if self._pictures > 1:
            in_all = counts_in_words(dict(self._counts.most_common()))
            self._console.print(
                f"{counted(self._pictures, 'picture')}, {in_all}", style="bold", soft_wrap=True
            )

    def _objects(self, report: PictureReport) -> Table:
        headings = ["#", "object", "score", "left", "top", "width", "height"]
        table = results_table(self._console, headings, text=["object"])
        for number, row in enumerate(report.detections.to_dicts(), start=1):
            left, top, right, bottom = row["box"]
            numbers = (f"{value:.0f}" for value in (left, top, right - left, bottom - top))
            table.add_row(str(number), row["label"], f"{row['score']:.2f}", *numbers)
        return table


class JsonWriter:
    """One JSON document, `{"model", "images": […], "failed": [{"source", "error"}]}`."""

    def __init__(self, out: TextIO, model: str) -> None:
        self._out = out
        self._document: dict[str, Any] = {"model": model, "images": [], "failed": []}

    def add(self, report: PictureReport) -> None:
        """Keep the picture's record."""
        self._document["images"].append(report.to_dict())

    def fail(self, source: str, error: str) -> None:
        """Keep the failed picture's record."""
        self._document["failed"].append({"source": source, "error": error})

    def finish(self) -> None:
        """Write the document."""
        json.dump(self._document, self._out, indent=2)
        self._out.write("\n")


class JsonLinesWriter:
    """One JSON record a line, one line a picture, as soon as it is done.

    A failed picture has the line `{"source", "error"}`.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def add(self, report: PictureReport) -> None:
        """Write the picture's line."""
        self._write(report.to_dict())

    def fail(self, source: str, error: str) -> None:
        """Write the failed picture's line."""
        self._write({"source": source, "error": error})

    def _write(self, record: dict[str, Any]) -> None:
        self._out.write(json.dumps(record) + "\n")
        self._out.flush()

    def finish(self) -> None:
        """Nothing is left to write."""


class CsvWriter:
    """One row an object; pictures without objects, and failed ones, have no row."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._rows = csv.writer(out, lineterminator="\n")
        self._rows.writerow(["source", "label", "score", "x1", "y1", "x2", "y2"])

    def add(self, report: PictureReport) -> None:
        """Write the picture's rows."""
        for row in report.detections.to_dicts():
            self._rows.writerow([report.source, row["label"], row["score"], *row["box"]])
        self._out.flush()

    def fail(self, source: str, error: str) -> None:
        """Write nothing."""

    def finish(self) -> None:
        """Nothing is left to write."""


class CocoWriter:
    """COCO results: a list of `{"image_id", "category_id", "bbox", "score", "file_name"}`.

    `image_id` is the number in the file's name where every picture has its own, as in COCO's
    `000000397133.jpg`; otherwise it is the picture's position in the command, from 1. `file_name` is not part
    of the format, but readers let it pass, and it says which picture is meant: it is the `source` of the
    other formats, the path as it was given or found.
    """

    def __init__(self, out: TextIO, category_ids: Sequence[int]) -> None:
        self._out = out
        self._category_ids = category_ids
        self._reports: list[PictureReport] = []

    def add(self, report: PictureReport) -> None:
        """Keep the picture: its id depends on all the others."""
        self._reports.append(report)

    def fail(self, source: str, error: str) -> None:
        """Write nothing: the format has no place for it."""

    def finish(self) -> None:
        """Write the list."""
        results = [
            {**result, "file_name": report.source}
            for report, image_id in zip(self._reports, _image_ids(self._reports), strict=True)
            for result in report.detections.to_coco(image_id, self._category_ids)
        ]
        json.dump(results, self._out)
        self._out.write("\n")


def _image_ids(reports: Sequence[PictureReport]) -> list[int]:
    stems = [PurePath(report.source).stem for report in reports]
    if all(stem.isdecimal() for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers):
            return numbers
    return [report.position for report in reports]
