"""COCO's numbers for boxes, equal to those of pycocotools, and per class.

In a picture whose `not_exhaustive_category_ids` name a class, that class was not labelled completely. As in
LVIS (arXiv 1908.03195), detections of it that match no label are neither right nor wrong there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from densewatch.data.coco_schema import InstancesFile, load_instances
from densewatch.data.dataset import DataError
from densewatch.extras import how_to_install

_RESULT_KEYS = ("image_id", "category_id", "bbox", "score")


@dataclass(frozen=True)
class CocoMetrics:
    """What `evaluate_coco` measured; `metrics["AP50"]` is one number.

    A number is None where the data has no object that it could speak of, such as `APs` without small objects.

    Attributes:
        numbers: AP, AP50, AP75, APs, APm, APl, one AR for each of `max_detections` (AR1, AR10, AR100), ARs,
            ARm and ARl; 0 to 1.
        per_class: class name → AP and AP50, for every category of the data.
        max_detections: most detections of one class in one picture that counted, rising; all but the ARs with
            a number in their name take the last.
        cut_detections: how many detections the last of them left out.
    """

    numbers: Mapping[str, float | None]
    per_class: Mapping[str, Mapping[str, float | None]]
    max_detections: tuple[int, ...]
    cut_detections: int

    def __getitem__(self, name: str) -> float | None:
        return self.numbers[name]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values, ready for JSON."""
        return {
            **self.numbers,
            "per_class": {name: dict(values) for name, values in self.per_class.items()},
            "max_detections": list(self.max_detections),
            "cut_detections": self.cut_detections,
        }


def evaluate_coco(
    annotations: Path | Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    *,
    image_ids: Collection[int | str] | None = None,
    max_detections: Sequence[int] = (1, 10, 100),
) -> CocoMetrics:
    """Compare detections with labels, as COCO does.

    Args:
        annotations: COCO instances, a file or its content.
        results: COCO results, `{"image_id", "category_id", "bbox" xywh, "score"}` an object.
        image_ids: measure on these pictures only. Default: all.
        max_detections: rising; see `CocoMetrics`. Raise the last for pictures with more objects of a class.

    Raises:
        DataError: the annotations or a result cannot be used, or there is no such picture.
        ImportError: faster-coco-eval is not installed.
        ValueError: `max_detections` does not rise from at least 1.
    """
    limits = tuple(max_detections)
    if not limits or limits[0] < 1 or list(limits) != sorted(set(limits)):
        raise ValueError(f"max_detections {limits} must rise, from at least 1")
    content = load_instances(annotations)
    number_of = _number_images(content, image_ids)
    found = _select_results(results, content, number_of)
    evaluation = _run(_select_labels(content, number_of), found, limits)
    names = {category.id: category.name for category in content.categories}
    per_class = {
        names[category_id]: evaluation.of_class(position)
        for position, category_id in enumerate(sorted(names))
    }
    return CocoMetrics(evaluation.numbers(), per_class, limits, _count_cut(found, limits[-1]))


@dataclass(frozen=True)
class _Evaluation:
    """What the evaluator returns; -1 stands where a class has no object.

    Attributes:
        precision: [IoU thresholds, recalls, classes, areas, limits]; the thresholds are 0.50:0.05:0.95, the
            areas all, small, medium and large.
        recall: [IoU thresholds, classes, areas, limits].
        limits: most detections of one class in one picture.
    """

    precision: npt.NDArray[np.float64]
    recall: npt.NDArray[np.float64]
    limits: tuple[int, ...]

    def numbers(self) -> dict[str, float | None]:
        """Return COCO's numbers by name."""
        precision, recall = self.precision[..., -1], self.recall[..., -1]
        return {
            "AP": _mean(precision[:, :, :, 0]),
            "AP50": _mean(precision[0, :, :, 0]),
            "AP75": _mean(precision[5, :, :, 0]),
            **{f"AP{size}": _mean(precision[:, :, :, area]) for area, size in enumerate("sml", start=1)},
            **{f"AR{limit}": _mean(self.recall[:, :, 0, i]) for i, limit in enumerate(self.limits)},
            **{f"AR{size}": _mean(recall[:, :, area]) for area, size in enumerate("sml", start=1)},
        }

    def of_class(self, position: int) -> dict[str, float | None]:
        """Return the numbers of one class."""
        precision = self.precision[:, :, position, 0, -1]
        return {"AP": _mean(precision), "AP50": _mean(precision[0])}


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    known = values[values > -1]
    return float(known.mean()) if known.size else None


def _number_images(content: InstancesFile, image_ids: Collection[int | str] | None) -> dict[int | str, int]:
    """Number the pictures from 1 in the order of their ids, as the evaluator knows whole numbers only."""
    known = {record.id for record in content.images}
    wanted = known if image_ids is None else set(image_ids)
    if strangers := wanted - known:
        raise DataError(
            f"{len(strangers)} of image_ids are not in the annotations, such as {min(strangers, key=str)!r}"
        )
    if not wanted:
        raise DataError("there is no picture to evaluate")
    ordered = sorted(wanted, key=lambda image_id: (isinstance(image_id, str), image_id))
    return {image_id: number for number, image_id in enumerate(ordered, start=1)}


def _select_labels(
    content: InstancesFile, number_of: Mapping[int | str, int]
) -> dict[str, list[dict[str, Any]]]:
    """Return the labels of the numbered pictures for the evaluator's LVIS style.

    There a class counts in a picture only if it was looked for, so every class is named as such; and each has
    a frequency, which our numbers do not use. Ids start at 1, because a match with id 0 would count as none.
    """
    category_ids = frozenset(category.id for category in content.categories)
    image_ids = {record.id for record in content.images}
    for row, record in enumerate(content.annotations):
        if record.category_id not in category_ids or record.image_id not in image_ids:
            where = f"category {record.category_id!r} or no image {record.image_id!r}"
            raise DataError(f"annotation {row}: there is no {where}")
    images = [
        {
            "id": number_of[record.id],
            "neg_category_ids": category_ids,
            "not_exhaustive_category_ids": frozenset(record.not_exhaustive_category_ids),
        }
        for record in content.images
        if record.id in number_of
    ]
    labels = [label for label in content.annotations if label.image_id in number_of]
    annotations = [
        {
            "id": number,
            "image_id": number_of[record.image_id],
            "category_id": record.category_id,
            "bbox": list(record.bbox),
            "area": record.bbox[2] * record.bbox[3] if record.area is None else record.area,
            "iscrowd": int(record.iscrowd),
        }
        for number, record in enumerate(labels, start=1)
    ]
    categories = [{"id": category_id, "frequency": "f"} for category_id in sorted(category_ids)]
    return {"images": images, "annotations": annotations, "categories": categories}


def _select_results(
    results: Sequence[Mapping[str, Any]], content: InstancesFile, number_of: Mapping[int | str, int]
) -> list[dict[str, Any]]:
    """Check all results, and copy those on numbered pictures, because the evaluator writes into them."""
    images = {record.id for record in content.images}
    categories = {category.id for category in content.categories}
    selected = []
    for row, result in enumerate(results):
        missing = [key for key in _RESULT_KEYS if key not in result]
        if missing:
            raise DataError(f"result {row} has no {missing[0]!r}")
        image_id, category_id, bbox, score = (result[key] for key in _RESULT_KEYS)
        if image_id not in images:
            raise DataError(f"result {row}: image_id {image_id!r} is not in the annotations")
        if category_id not in categories:
            raise DataError(f"result {row}: category_id {category_id!r} is not in the annotations")
        values = [float(value) for value in (*bbox, score)]
        if len(values) != 5 or not np.isfinite(values).all():
            raise DataError(f"result {row}: bbox {bbox} and score {score} must be five finite numbers")
        if image_id in number_of:
            selected.append(
                {
                    "image_id": number_of[image_id],
                    "category_id": category_id,
                    "bbox": values[:4],
                    "score": values[4],
                }
            )
    return selected


def _run(
    labels: dict[str, list[dict[str, Any]]], found: list[dict[str, Any]], limits: tuple[int, ...]
) -> _Evaluation:
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise ImportError(f"evaluation needs faster-coco-eval: {how_to_install('eval')}") from error

    truth = COCO(labels)
    evaluator = COCOeval_faster(truth, truth.loadRes(found), "bbox", lvis_style=True)
    evaluator.params.maxDets = list(limits)
    evaluator.evaluate()
    evaluator.accumulate()
    return _Evaluation(evaluator.eval["precision"], evaluator.eval["recall"], limits)


def _count_cut(found: Sequence[Mapping[str, Any]], limit: int) -> int:
    counts = Counter((result["image_id"], result["category_id"]) for result in found)
    return sum(max(0, count - limit) for count in counts.values())
