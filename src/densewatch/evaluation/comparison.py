"""Labels and detections side by side, as aligned arrays: what every measure of this room starts from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from densewatch.data.coco_schema import InstancesFile
from densewatch.data.dataset import DataError

_RESULT_KEYS = ("image_id", "category_id", "bbox", "score")

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Truth:
    """The labels, in the order of their file.

    Attributes:
        boxes: float64 [G, 4], xywh, pixels.
        areas: float64 [G], pixels, as the file has them; of the box where it has none.
        images: int64 [G], position of the picture.
        labels: int64 [G], position of the class.
        ignored: bool [G], crowds and difficult objects, which need not be found.
    """

    boxes: Floats
    areas: Floats
    images: Ints
    labels: Ints
    ignored: Bools


@dataclass(frozen=True, eq=False)
class Found:
    """The detections, by class, then by falling score, then by picture, then as they came.

    Attributes:
        boxes: float64 [D, 4], xywh, pixels.
        scores: float64 [D].
        images: int64 [D], position of the picture.
        labels: int64 [D], position of the class.
        ranks: int64 [D], place among the detections of the same class in the same picture, from 0.
    """

    boxes: Floats
    scores: Floats
    images: Ints
    labels: Ints
    ranks: Ints

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: Ints | Bools | slice) -> Found:
        return Found(*(getattr(self, field.name)[index] for field in fields(self)))


@dataclass(frozen=True, eq=False)
class Comparison:
    """Labels and detections of the same pictures.

    Attributes:
        image_ids: of the pictures that count, in order.
        names: of the classes, in the order of their category ids.
        truth: the labels.
        found: the detections.
        unlabelled: bool [I, C], classes that were not labelled exhaustively in a picture: detections of them
            that match no label are neither right nor wrong, as in LVIS (arXiv 1908.03195).
    """

    image_ids: tuple[int | str, ...]
    names: tuple[str, ...]
    truth: Truth
    found: Found
    unlabelled: Bools

    def limited(self, most: int) -> Comparison:
        """Keep the best `most` detections of each class in each picture."""
        return replace(self, found=self.found[self.found.ranks < most])

    def above(self, threshold: float) -> Comparison:
        """Keep detections with a score of at least `threshold`."""
        return replace(self, found=self.found[self.found.scores >= threshold])

    def class_slices(self) -> list[slice]:
        """Return where the detections of each class are."""
        ends = np.searchsorted(self.found.labels, np.arange(len(self.names) + 1))
        return [slice(start, end) for start, end in pairwise(ends.tolist())]

    def objects(self, positives: Bools | None = None) -> Ints:
        """Count the objects that should be found: int64 [I, C].

        Args:
            positives: bool [G], labels that count. Default: all but crowds and difficult ones.
        """
        counted = ~self.truth.ignored if positives is None else positives
        counts = np.zeros((len(self.image_ids), len(self.names)), np.int64)
        np.add.at(counts, (self.truth.images[counted], self.truth.labels[counted]), 1)
        return counts


def compare(
    content: InstancesFile,
    results: Sequence[Mapping[str, Any]],
    image_ids: Collection[int | str] | None = None,
) -> Comparison:
    """Put labels and detections side by side.

    Args:
        content: COCO instances.
        results: COCO results, `{"image_id", "category_id", "bbox" xywh, "score"}` an object.
        image_ids: pictures that count. Default: all.

    Raises:
        DataError: a label or a result cannot be used, or there is no such picture.
    """
    position_of = _number_images(content, image_ids)
    categories = sorted(content.categories, key=lambda category: category.id)
    label_of = {category.id: label for label, category in enumerate(categories)}
    unlabelled = np.zeros((len(position_of), len(categories)), np.bool_)
    for record in content.images:
        if record.id in position_of:
            known = [label_of[item] for item in record.not_exhaustive_category_ids if item in label_of]
            unlabelled[position_of[record.id], known] = True
    return Comparison(
        image_ids=tuple(position_of),
        names=tuple(category.name for category in categories),
        truth=_truth(content, position_of, label_of),
        found=_found(results, content, position_of, label_of),
        unlabelled=unlabelled,
    )


def _number_images(content: InstancesFile, image_ids: Collection[int | str] | None) -> dict[int | str, int]:
    """Number the pictures in the order of their ids, in which COCO's evaluator takes them."""
    known = {record.id for record in content.images}
    wanted = known if image_ids is None else set(image_ids)
    if strangers := wanted - known:
        raise DataError(
            f"{len(strangers)} of image_ids are not in the annotations, such as {min(strangers, key=str)!r}"
        )
    if not wanted:
        raise DataError("there is no picture to evaluate")
    ordered = sorted(wanted, key=lambda image_id: (isinstance(image_id, str), image_id))
    return {image_id: position for position, image_id in enumerate(ordered)}


def _truth(
    content: InstancesFile, position_of: Mapping[int | str, int], label_of: Mapping[int, int]
) -> Truth:
    known = {record.id for record in content.images}
    for row, record in enumerate(content.annotations):
        if record.category_id not in label_of or record.image_id not in known:
            where = f"category {record.category_id!r} or no image {record.image_id!r}"
            raise DataError(f"annotation {row}: there is no {where}")
    labels = [record for record in content.annotations if record.image_id in position_of]
    boxes = np.array([record.bbox for record in labels], np.float64).reshape(-1, 4)
    given = np.array([np.nan if record.area is None else record.area for record in labels], np.float64)
    return Truth(
        boxes=boxes,
        areas=np.where(np.isnan(given), boxes[:, 2] * boxes[:, 3], given),
        images=np.array([position_of[record.image_id] for record in labels], np.int64),
        labels=np.array([label_of[record.category_id] for record in labels], np.int64),
        ignored=np.array([record.iscrowd or record.difficult for record in labels], np.bool_),
    )


def _found(
    results: Sequence[Mapping[str, Any]],
    content: InstancesFile,
    position_of: Mapping[int | str, int],
    label_of: Mapping[int, int],
) -> Found:
    """Check all results, and take those of the numbered pictures."""
    known = {record.id for record in content.images}
    for row, result in enumerate(results):
        _check_result(row, result, known, label_of)
    taken = [result for result in results if result["image_id"] in position_of]
    return _in_order(
        boxes=np.array([result["bbox"] for result in taken], np.float64).reshape(-1, 4),
        scores=np.array([result["score"] for result in taken], np.float64),
        images=np.array([position_of[result["image_id"]] for result in taken], np.int64),
        labels=np.array([label_of[result["category_id"]] for result in taken], np.int64),
    )


def _check_result(
    row: int, result: Mapping[str, Any], images: Collection[int | str], categories: Collection[int]
) -> None:
    missing = [key for key in _RESULT_KEYS if key not in result]
    if missing:
        raise DataError(f"result {row} has no {missing[0]!r}")
    image_id, category_id, bbox, score = (result[key] for key in _RESULT_KEYS)
    if image_id not in images:
        raise DataError(f"result {row}: image_id {image_id!r} is not in the annotations")
    if category_id not in categories:
        raise DataError(f"result {row}: category_id {category_id!r} is not in the annotations")
    try:  # a sum is not finite as soon as one of its parts is not; this runs for millions of results
        usable = len(bbox) == 4 and abs(sum(bbox) + score) < np.inf
    except TypeError:
        usable = False
    if not usable:
        raise DataError(f"result {row}: bbox {bbox} and score {score} must be five finite numbers")


def _in_order(boxes: Floats, scores: Floats, images: Ints, labels: Ints) -> Found:
    order = np.lexsort((images, -scores, labels))  # stable: what is equal stays as it came
    images, labels = images[order], labels[order]
    return Found(boxes[order], scores[order], images, labels, ranks_within(labels, images))


def ranks_within(*keys: Ints) -> Ints:
    """Return each row's place, from 0, among the rows of which all keys are the same: int64 [N]."""
    order = np.lexsort(keys)
    same = np.ones(len(order), np.bool_)
    for key in keys:
        same[1:] &= key[order][1:] == key[order][:-1]
    starts = np.maximum.accumulate(np.where(same, 0, np.arange(len(order))))
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.arange(len(order)) - starts
    return ranks
