"""Read labels in whatever format they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from densewatch.data.dataset import DataError
from densewatch.data.formats.coco import read_coco
from densewatch.data.formats.csv import read_csv
from densewatch.data.formats.recognise import Found, recognise
from densewatch.data.formats.splits import split_name
from densewatch.data.formats.voc import read_voc
from densewatch.data.formats.yolo import read_yolo
from densewatch.data.labels import Labels
from densewatch.suggest import suggest


def splits_of(path: Path) -> tuple[str, ...]:
    """Return the splits that a data set has, of `train`, `val` and `test`; none where it has no splits.

    Args:
        path: file or folder of the labels.

    Raises:
        DataError: the format cannot be told.
    """
    return tuple(recognise(Path(path)).splits)


def choose_split(path: Path, wanted: str | None, default: str) -> str | None:
    """Return the split to read: `wanted`, or `default` where the data set has splits.

    Args:
        path: file or folder of the labels.
        wanted: what the user asked for, if anything.
        default: what is meant otherwise.

    Raises:
        DataError: the format cannot be told, or nothing was asked for and there is no split `default`.
    """
    if wanted is not None:
        return wanted
    splits = splits_of(path)
    if splits and default not in splits:
        raise DataError(f"{path}: has no {default} split; it has {' and '.join(splits)}: choose one of them")
    return default if splits else None


def read_labels(path: Path, images: Path | None = None, *, split: str | None = None) -> Labels:
    """Read labelled pictures; the format is told from the path.

    Args:
        path: COCO JSON file or a folder with one; YOLO's `data.yaml` or its folder; a folder of Pascal VOC
            XML; keras-retinanet's CSV file or a folder with some; a folder that Roboflow exported.
        images: folder of the pictures; by default where the format has it.
        split: `train`, `val` (or `valid`) or `test`. Needed where there are several, refused where there are
            none.

    Raises:
        DataError: the labels cannot be read or contradict themselves, the format cannot be told, or the split
            is missing or none of the data set's.
    """
    found = recognise(Path(path))
    if images is not None and not Path(images).is_dir():
        raise DataError(f"{images}: is not a folder, so it cannot hold the pictures of {path}")
    chosen = _chosen_split(found, split)
    labels = _read(found, chosen, None if images is None else Path(images))
    return replace(labels, split=chosen)


def _read(found: Found, split: str | None, images: Path | None) -> Labels:
    entry = found.entry if split is None else found.splits[split]
    if found.config is not None and split is not None:
        return read_yolo(found.config, split, images)
    if found.format == "voc":
        return read_voc(found.entry, found.splits, split, images)
    if found.format == "csv":
        return read_csv(entry, images, found.splits)
    return read_coco(entry, images, found.format)


def _chosen_split(found: Found, split: str | None) -> str | None:
    """Return the split to read, or None where there are none."""
    known = tuple(found.splits)
    if split is None:
        if len(known) > 1:
            raise DataError(f"{found.path}: has the splits {', '.join(known)}: choose one of them")
        return known[0] if known else None
    if not known:
        raise DataError(f"{found.path}: has no splits, so there is no {split!r} to choose")
    name = split_name(split) or split
    if name not in known:
        raise DataError(f"{found.path}: has no split {split!r}: {suggest(split, known)}")
    return name
