"""A teacher's boxes, COCO results JSON of another detector, for what nobody labelled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from densewatch.data.boxes import BoxTable
from densewatch.data.checks import Findings
from densewatch.data.coco_schema import RESULTS, parse_json
from densewatch.data.dataset import DataError, Dataset, Sample
from densewatch.data.labels import describe_record

_SAME_OBJECT_IOU = 0.5


def add_teacher(
    dataset: Dataset,
    results: Path,
    *,
    min_score: float = 0.5,
    ignore_score: float = 0.25,
    weighted: bool = False,
) -> Dataset:
    """Fill in the classes that nobody labelled with the boxes of a teacher, another detector.

    Only a picture's `unlabelled_classes` are filled in: boxes with a score of at least `min_score` become
    labels, those with at least `ignore_score` become ignored regions, the rest is dropped. A teacher's box
    that overlaps a human's box of the same class (IoU > 0.5) is that object, and is dropped too. Afterwards
    the picture counts as labelled: what the teacher doubts is ignored, what it does not see is background.

    Args:
        dataset: as read by `read_dataset`; pictures without any human label need `unlabelled=True` there.
        results: COCO results JSON with the dataset's image and category ids.
        min_score: a box with this score is an object.
        ignore_score: a box with this score may be an object.
        weighted: whether an object that the teacher found counts in the loss as much as its score, not as
            much as one that people found.

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
                f"{results}: {describe_record(row, record)}: score {record.score} is not between 0 and 1"
            )
    findings = Findings(results)
    table = BoxTable.of(
        records, dataset.samples, {item.id: label for label, item in enumerate(dataset.classes)}, findings
    )
    scores = np.array([record.score for record in records], np.float64)[table.records]
    samples = [
        _teach(sample, table.boxes[rows], table.labels[rows], scores[rows], min_score, ignore_score, weighted)
        for sample, rows in zip(dataset.samples, table.rows_by_image(len(dataset)), strict=True)
    ]
    return Dataset(tuple(samples), dataset.classes, {**dataset.warnings, **findings.warnings()})


def _teach(
    sample: Sample,
    boxes: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    scores: npt.NDArray[np.float64],
    min_score: float,
    ignore_score: float,
    weighted: bool,
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
        weights=np.concatenate([sample.weights, scores[sure] if weighted else np.ones(sure.sum())]),
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
