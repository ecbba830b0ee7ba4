"""`densewatch convert`: labelled pictures from one format into another."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from densewatch.cli.console import SOME_FAILED, progress_bar, say, stop, warn
from densewatch.cli.options import ImagesOption
from densewatch.cli.reports import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from densewatch.data.labels import Labels


def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="FROM",
            exists=True,
            help="Labels: COCO JSON, YOLO, Pascal VOC, CSV or Roboflow, a file or a folder.",
            show_default=False,
        ),
    ],
    target: Annotated[
        Path, typer.Argument(metavar="TO", help="Folder to make; it must not exist.", show_default=False)
    ],
    to: Annotated[
        Literal["coco", "yolo", "voc", "csv"],
        typer.Option("--to", help="Format to write.", show_default=False),
    ],
    images: ImagesOption = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="train|val|test", help="Only this part of the data.", show_default="all of them"
        ),
    ] = None,
    pictures: Annotated[
        Literal["copy", "link", "none"],
        typer.Option(help="Whether TO gets copies of the pictures, links to them, or labels only."),
    ] = "copy",
) -> None:
    """Convert labelled pictures to another format.

    Boxes, class names, ids, crowd and difficult flags and pictures without objects are kept. What the format
    has no place for goes into densewatch.json beside the labels, where densewatch finds it again; other tools
    do not read it, so a warning says what it holds.

    \b
    Examples:
      densewatch convert val.json shelves-yolo --to yolo
      densewatch convert VOC2012/ voc-coco --to coco --pictures link
      densewatch convert data.yaml cells --to csv --split train
    """
    from densewatch.data.dataset import DataError
    from densewatch.data.formats import write_labels

    try:
        labels = _read(source, images, split)
        total = sum(len(item.content.images) for item in labels.values())
        with progress_bar("copying" if pictures == "copy" else "linking", total) as bar:
            lost = write_labels(labels, target, to, pictures=pictures, on_picture=bar.advance)
    except (DataError, OSError) as error:
        stop(error, SOME_FAILED)
    _warn(lost)
    for name, item in labels.items():
        objects = counted(len(item.content.annotations), "object")
        number = len(item.content.categories)
        classes = "1 class" if number == 1 else f"{number} classes"
        say(f"{name}: {counted(len(item.content.images), 'picture')}, {objects}, {classes} ({item.format})")
    sys.stdout.write(f"{target}\n")


def _read(source: Path, images: Path | None, split: str | None) -> dict[str, Labels]:
    """Return the labels of each split; data without splits is one, called like its file or `train`."""
    from densewatch.data.formats import read_labels, split_name, splits_of

    wanted = splits_of(source) if split is None else (split,)
    labels: dict[str, Labels] = {}
    for name in wanted or (None,):
        item = read_labels(source, images, split=name)
        labels[item.split or split_name(source.stem) or "train"] = item
        _warn(item.warnings)
    return labels


def _warn(warnings: Mapping[str, int]) -> None:
    for text, count in warnings.items():
        warn(f"{text} ({counted(count, 'time')})")
