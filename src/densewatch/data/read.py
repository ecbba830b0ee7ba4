"""From labels on disk, in any format, to a `Dataset` that is checked and ready to learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from densewatch.data.boxes import BoxTable
from densewatch.data.checks import Findings, check_pictures
from densewatch.data.coco_schema import AnnotationRecord, CategoryRecord, ImageRecord
from densewatch.data.dataset import DataError, Dataset, Sample
from densewatch.data.formats import read_labels
from densewatch.data.labels import Labels
from densewatch.metadata import ClassInfo
from densewatch.suggest import suggest


def read_dataset(
    path: Path,
    images: Path | None = None,
    *,
    split: str | None = None,
    classes: tuple[ClassInfo, ...] | None = None,
    check_images: bool = True,
    strict: bool = False,
    unlabelled: bool = False,
) -> Dataset:
    """Read labelled pictures, in whatever format they are: `read_labels`, then `make_dataset`.

    Args:
        path: file or folder of the labels.
        images: folder of the pictures; by default where the format has it.
        split: `train`, `val` or `test`, for a format that has several.
        classes: as in `make_dataset`, and the next three.
        check_images: likewise.
        strict: likewise.
        unlabelled: likewise.

    Raises:
        DataError: the labels cannot be read or used, or pictures are missing, broken or of another size than
            recorded.
    """
    labels = read_labels(path, images, split=split)
    return make_dataset(
        labels, classes=classes, check_images=check_images, strict=strict, unlabelled=unlabelled
    )


def make_dataset(
    labels: Labels,
    *,
    classes: tuple[ClassInfo, ...] | None = None,
    check_images: bool = True,
    strict: bool = False,
    unlabelled: bool = False,
) -> Dataset:
    """Check labels, and turn them into samples.

    Labels are contiguous, in the order of the category ids, or in that of `classes`. Regions with `iscrowd`
    and `difficult` objects become ignored regions. Pictures without objects are kept.
    `not_exhaustive_category_ids` of a picture, as in LVIS, become its `unlabelled_classes`. Boxes that reach
    out of their picture are clipped, and boxes without an area or outside their picture are left out;
    `Dataset.warnings` counts them, and names the first.

    Args:
        labels: as `read_labels` gives them.
        classes: what decides the labels, such as the classes of a model. Each class of the labels must be one
            of them, by name; those that the labels lack count as unlabelled in every picture.
        check_images: look whether each picture exists, is whole, and has the recorded size when upright. Few
            pictures are decoded for that: wrong bits inside one are found when it is.
        strict: raise instead of mending or leaving out a box, unless clipping by at most 1 px mends it.
        unlabelled: nobody labelled these pictures: every class is unlabelled in each of them.

    Raises:
        DataError: the labels have a class that `classes` lacks, or pictures are missing, broken or of another
            size than recorded; or something was mended, and `strict` is on.
    """
    if strict and labels.warnings:
        raise DataError(next(iter(labels.warnings)))
    categories = sorted(labels.content.categories, key=lambda category: category.id)
    if classes is None:
        classes = tuple(ClassInfo(name=category.name, id=category.id) for category in categories)
    label_of = _labels_by_id(categories, classes, labels.source)
    listed = set() if unlabelled else set(label_of.values())
    never_labelled = set(range(len(classes))) - listed
    samples = [
        _empty_sample(record, labels.folder, label_of, never_labelled) for record in labels.content.images
    ]
    findings = Findings(labels.source, strict)
    samples = _add_annotations(samples, labels.content.annotations, label_of, findings)
    if check_images and not labels.sizes_are_measured:
        check_pictures(samples, labels.source)
    return Dataset(tuple(samples), classes, {**labels.warnings, **findings.warnings()})


def _labels_by_id(
    categories: Sequence[CategoryRecord], classes: Sequence[ClassInfo], source: Path
) -> dict[int, int]:
    """Return category id → label, matched by name."""
    label_of_name = {item.name: label for label, item in enumerate(classes)}
    for category in categories:
        if category.name not in label_of_name:
            raise DataError(
                f"{source}: category {category.id} is {category.name!r}, which is none of the wanted "
                f"classes: {suggest(category.name, list(label_of_name))}"
            )
    return {category.id: label_of_name[category.name] for category in categories}


def _empty_sample(
    record: ImageRecord, folder: Path, label_of: Mapping[int, int], never_labelled: set[int]
) -> Sample:
    unlabelled = never_labelled | {
        label_of[category_id] for category_id in record.not_exhaustive_category_ids
    }
    return Sample(
        record.id,
        folder / record.file_name,
        (record.height, record.width),
        unlabelled_classes=np.array(sorted(unlabelled), np.int64),
        attributes=record.model_extra or {},
    )


def _add_annotations(
    samples: Sequence[Sample],
    records: Sequence[AnnotationRecord],
    label_of: Mapping[int, int],
    findings: Findings,
) -> list[Sample]:
    table = BoxTable.of(records, samples, label_of, findings)
    ignored = np.array([record.iscrowd or record.difficult for record in records], np.bool_)[table.records]
    labelled = []
    for sample, rows in zip(samples, table.rows_by_image(len(samples)), strict=True):
        objects, regions = rows[~ignored[rows]], rows[ignored[rows]]
        labelled.append(
            replace(
                sample,
                boxes=table.boxes[objects],
                labels=table.labels[objects],
                ignore_boxes=table.boxes[regions],
                ignore_labels=table.labels[regions],
            )
        )
    return labelled
