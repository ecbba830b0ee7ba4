"""Read labelled pictures from COCO instances JSON, and a teacher's boxes from COCO results JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from densewatch.data.checks import Findings, check_pictures, clip_boxes
from densewatch.data.coco_schema import (
    INSTANCES,
    RESULTS,
    AnnotationRecord,
    CategoryRecord,
    ImageRecord,
    ResultRecord,
    parse_json,
)
from densewatch.data.dataset import DataError, Dataset, Sample
from densewatch.metadata import ClassInfo
from densewatch.suggest import suggest

_SAME_OBJECT_IOU = 0.5


def read_coco(
    annotations: Path,
    images: Path | None = None,
    *,
    classes: tuple[ClassInfo, ...] | None = None,
    check_images: bool = True,
    strict: bool = False,
    unlabelled: bool = False,
) -> Dataset:
    """Read a COCO instances file.

    Labels are contiguous, in the order of the category ids, or in that of `classes`. Regions with `iscrowd`
    become ignored regions. Pictures without objects are kept. `not_exhaustive_category_ids` of a picture, as
    in LVIS, become its `unlabelled_classes`. Boxes that reach out of their picture are clipped, and boxes
    without an area or outside their picture are left out; `Dataset.warnings` counts them, and names the
    first.

    Args:
        annotations: the JSON file.
        images: folder that `file_name` is relative to. Default: the folder beside the file that is named like
            it, else the folder of the file.
        classes: classes of a model, which decide the labels. Each category of the file must be one of them,
            by id and by name; those that the file lacks count as unlabelled in every picture.
        check_images: look whether each picture exists, is whole, and has the recorded size when upright. Few
            pictures are decoded for that: wrong bits inside one are found when it is.
        strict: raise instead of mending or leaving out a box, unless clipping by at most 1 px mends it.
        unlabelled: nobody labelled these pictures: every class is unlabelled in each of them.

    Raises:
        DataError: the file is not COCO instances JSON, contradicts itself or the classes, or pictures are
            missing, broken or of another size than recorded.
    """
    annotations = Path(annotations)
    content = parse_json(annotations, INSTANCES)
    _check_categories(content.categories, classes, annotations)
    if classes is None:
        ordered = sorted(content.categories, key=lambda category: category.id)
        classes = tuple(ClassInfo(name=category.name, id=category.id) for category in ordered)
    label_of = _labels_by_id(classes)
    listed = set() if unlabelled else {category.id for category in content.categories}
    never_labelled = {label for category_id, label in label_of.items() if category_id not in listed}
    folder = _image_folder(annotations, images)
    samples = [
        _empty_sample(record, folder, label_of, never_labelled, annotations) for record in content.images
    ]
    findings = Findings(annotations, strict)
    samples = _add_annotations(samples, content.annotations, label_of, findings)
    if check_images:
        check_pictures(samples, annotations)
    return Dataset(tuple(samples), classes, findings.warnings())


def add_teacher(
    dataset: Dataset, results: Path, *, min_score: float = 0.5, ignore_score: float = 0.25
) -> Dataset:
    """Fill in the classes that nobody labelled with the boxes of a teacher, another detector.

    Only a picture's `unlabelled_classes` are filled in: boxes with a score of at least `min_score` become
    labels, those with at least `ignore_score` become ignored regions, the rest is dropped. A teacher's box
    that overlaps a human's box of the same class (IoU > 0.5) is that object, and is dropped too. Afterwards
    the picture counts as labelled: what the teacher doubts is ignored, what it does not see is background.

    Args:
        dataset: as read by `read_coco`; pictures without any human label need `unlabelled=True` there.
        results: COCO results JSON with the dataset's image and category ids.
        min_score: a box with this score is an object.
        ignore_score: a box with this score may be an object.

    Raises:
        DataError: the file is not COCO results JSON, or names an image or category that the dataset lacks.
        ValueError: the scores are not 0 <= ignore_score <= min_score.
    """
    if not 0 <= ignore_score <= min_score:
        raise ValueError(f"ignore_score {ignore_score} must be between 0 and min_score {min_score}")
    results = Path(results)
    records = parse_json(results, RESULTS)
    for row, record in enumerate(records):
        if not 0 <= record.score <= 1:
            raise DataError(
                f"{results}: {_describe(row, record)}: score {record.score} is not between 0 and 1"
            )
    findings = Findings(results)
    table = _BoxTable.of(records, dataset.samples, _labels_by_id(dataset.classes), findings)
    scores = np.array([record.score for record in records], np.float64)[table.records]
    samples = [
        _teach(sample, table.boxes[rows], table.labels[rows], scores[rows], min_score, ignore_score)
        for sample, rows in zip(dataset.samples, table.rows_by_image(len(dataset)), strict=True)
    ]
    return Dataset(tuple(samples), dataset.classes, {**dataset.warnings, **findings.warnings()})


def _labels_by_id(classes: Iterable[ClassInfo]) -> dict[int, int]:
    return {item.id: label for label, item in enumerate(classes)}


def _check_categories(
    categories: Sequence[CategoryRecord], classes: Sequence[ClassInfo] | None, file: Path
) -> None:
    """Raise unless there are categories, each unique, and each one of `classes` where these are given."""
    if not categories:
        raise DataError(f"{file}: `categories` is empty, so no box can have a class")
    for key in ("id", "name"):
        value, count = Counter(getattr(category, key) for category in categories).most_common(1)[0]
        if count > 1:
            raise DataError(f"{file}: {count} categories have the {key} {value!r}; it must be unique")
    if classes is None:
        return
    name_of = {item.id: item.name for item in classes}
    for category in categories:
        if name_of.get(category.id) != category.name:
            raise DataError(
                f"{file}: category {category.id} is {category.name!r}, {_contrast(category, classes)}"
            )


def _contrast(category: CategoryRecord, classes: Sequence[ClassInfo]) -> str:
    """Return how the model's classes differ from a category, and what to do about it."""
    ids = {item.name: item.id for item in classes}
    names = {item.id: item.name for item in classes}
    if category.name in ids:
        wanted = ids[category.name]
        return f"but the model knows {category.name!r} as {wanted}: give it id {wanted} in the file"
    if category.id in names:
        return f"but the model calls {category.id} {names[category.id]!r}: rename one or give it another id"
    return f"which is no class of the model: {suggest(category.name, list(ids))}"


def _image_folder(annotations: Path, images: Path | None) -> Path:
    if images is None:
        beside = annotations.with_suffix("")
        return beside if beside.is_dir() else annotations.parent
    if not Path(images).is_dir():
        raise DataError(f"{images}: is not a folder, so it cannot hold the pictures of {annotations}")
    return Path(images)


def _empty_sample(
    record: ImageRecord, folder: Path, label_of: dict[int, int], never_labelled: set[int], file: Path
) -> Sample:
    name = f"{file}: image {record.id!r} ({record.file_name})"
    if record.width < 1 or record.height < 1:
        raise DataError(f"{name}: its size {record.width}x{record.height} is not positive")
    unlabelled = set(never_labelled)
    for category_id in record.not_exhaustive_category_ids:
        if category_id not in label_of:
            raise DataError(f"{name}: not_exhaustive_category_ids has the unknown category {category_id}")
        unlabelled.add(label_of[category_id])
    return Sample(
        record.id,
        folder / record.file_name,
        (record.height, record.width),
        unlabelled_classes=np.array(sorted(unlabelled), np.int64),
        attributes=record.model_extra or {},
    )


@dataclass(frozen=True)
class _BoxTable:
    """The usable boxes of a file, as aligned arrays.

    Attributes:
        boxes: float32 [N, 4], xyxy, inside their pictures.
        labels: int64 [N].
        images: int64 [N], index of the sample.
        records: int64 [N], index of the record that a box came from.
    """

    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    images: npt.NDArray[np.int64]
    records: npt.NDArray[np.int64]

    @classmethod
    def of(
        cls,
        records: Sequence[AnnotationRecord | ResultRecord],
        samples: Sequence[Sample],
        label_of: dict[int, int],
        findings: Findings,
    ) -> _BoxTable:
        """Resolve ids, clip boxes, and leave out those that are none."""
        index_of = {sample.image_id: index for index, sample in enumerate(samples)}
        if len(index_of) < len(samples):
            twice = Counter(sample.image_id for sample in samples).most_common(1)[0][0]
            raise DataError(
                f"{findings.file}: image id {twice!r} occurs twice in the data set; ids must be unique"
            )
        for row, record in enumerate(records):
            if record.image_id not in index_of:
                raise DataError(f"{findings.file}: {_describe(row, record)}: there is no such image")
            if record.category_id not in label_of:
                name = _describe(row, record)
                raise DataError(f"{findings.file}: {name}: there is no category {record.category_id}")
        images = np.array([index_of[record.image_id] for record in records], np.int64)
        labels = np.array([label_of[record.category_id] for record in records], np.int64)
        xywh = np.array([record.bbox for record in records], np.float64).reshape(-1, 4)
        sizes = np.array([sample.size for sample in samples], np.float64).reshape(-1, 2)[images]
        boxes, kept = clip_boxes(xywh, sizes, findings, lambda row: _describe(row, records[row]))
        return cls(boxes[kept], labels[kept], images[kept], np.flatnonzero(kept))

    def rows_by_image(self, num_images: int) -> list[npt.NDArray[np.int64]]:
        """Return the rows of each image, in file order."""
        order = np.argsort(self.images, kind="stable")
        starts = np.searchsorted(self.images[order], np.arange(num_images + 1))
        return [order[start:end] for start, end in pairwise(starts)]


def _describe(row: int, record: AnnotationRecord | ResultRecord) -> str:
    if isinstance(record, ResultRecord):
        name = f"result {row}"
    else:
        name = f"annotation {row if record.id is None else repr(record.id)}"
    return f"{name} of image {record.image_id!r}, bbox {list(record.bbox)}"


def _add_annotations(
    samples: Sequence[Sample],
    records: Sequence[AnnotationRecord],
    label_of: dict[int, int],
    findings: Findings,
) -> list[Sample]:
    table = _BoxTable.of(records, samples, label_of, findings)
    is_crowd = np.array([record.iscrowd for record in records], np.bool_)[table.records]
    labelled = []
    for sample, rows in zip(samples, table.rows_by_image(len(samples)), strict=True):
        objects, crowds = rows[~is_crowd[rows]], rows[is_crowd[rows]]
        labelled.append(
            replace(
                sample,
                boxes=table.boxes[objects],
                labels=table.labels[objects],
                ignore_boxes=table.boxes[crowds],
                ignore_labels=table.labels[crowds],
            )
        )
    return labelled


def _teach(
    sample: Sample,
    boxes: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    scores: npt.NDArray[np.float64],
    min_score: float,
    ignore_score: float,
) -> Sample:
    """Return the sample with a teacher's boxes [T, 4] in its unlabelled classes, which are labelled then."""
    overlaps = _iou(boxes, sample.boxes) > _SAME_OBJECT_IOU
    same_object = (overlaps & (labels[:, None] == sample.labels)).any(axis=1)
    useful = np.isin(labels, sample.unlabelled_classes) & ~same_object
    sure = useful & (scores >= min_score)
    doubtful = useful & (scores >= ignore_score) & (scores < min_score)
    return replace(
        sample,
        boxes=np.concatenate([sample.boxes, boxes[sure]]),
        labels=np.concatenate([sample.labels, labels[sure]]),
        ignore_boxes=np.concatenate([sample.ignore_boxes, boxes[doubtful]]),
        ignore_labels=np.concatenate([sample.ignore_labels, labels[doubtful]]),
        unlabelled_classes=np.zeros(0, np.int64),
    )


def _iou(boxes: npt.NDArray[np.float32], others: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the intersection over union [N, M] of xyxy boxes [N, 4] and [M, 4] that have an area."""
    top_left = np.maximum(boxes[:, None, :2], others[None, :, :2])
    bottom_right = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared_px = np.clip(bottom_right - top_left, 0, None).prod(axis=2)
    boxes_px = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    others_px = (others[:, 2:] - others[:, :2]).prod(axis=1)
    iou: npt.NDArray[np.float32] = shared_px / (boxes_px[:, None] + others_px[None] - shared_px)
    return iou
