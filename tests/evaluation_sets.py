"""Small labelled sets and detections for the tests of evaluation, and the two libraries to compare with."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from densewatch.data.coco_schema import load_instances
from densewatch.evaluation.comparison import Comparison, compare

Label = tuple[int, int, Sequence[float]]
"""Picture, category, bbox xywh."""

Report = tuple[int, int, Sequence[float], float]
"""Picture, category, bbox xywh, score."""


def truth(
    labels: Sequence[Label],
    *,
    pictures: int = 2,
    names: Sequence[str] = ("person", "chair"),
    crowds: Sequence[int] = (),
    difficult: Sequence[int] = (),
    not_exhaustive: dict[int, list[int]] | None = None,
) -> dict[str, Any]:
    """Return COCO instances; categories are 1, 2, … in the order of `names`, pictures 1 to `pictures`.

    `crowds` and `difficult` are positions in `labels`.
    """
    open_classes = not_exhaustive or {}
    images = [
        {
            "id": number,
            "file_name": f"{number}.jpg",
            "width": 400,
            "height": 400,
            "not_exhaustive_category_ids": open_classes.get(number, []),
        }
        for number in range(1, pictures + 1)
    ]
    annotations = [
        {
            "id": row + 1,
            "image_id": image,
            "category_id": category,
            "bbox": list(bbox),
            "area": bbox[2] * bbox[3],
            "iscrowd": int(row in crowds),
            "difficult": row in difficult,
        }
        for row, (image, category, bbox) in enumerate(labels)
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def found(*rows: Report) -> list[dict[str, Any]]:
    """Return COCO results."""
    return [{"image_id": i, "category_id": c, "bbox": list(b), "score": s} for i, c, b, s in rows]


def comparison(content: dict[str, Any], *rows: Report) -> Comparison:
    """Put labels and reports side by side."""
    return compare(load_instances(content), found(*rows))


_SIDES = st.sampled_from([8, 16, 24, 40, 60, 120])
_PLACES = st.integers(0, 12).map(lambda step: step * 8)
_BOXES = st.tuples(_PLACES, _PLACES, _SIDES, _SIDES)
"""On a coarse grid, so that overlaps and scores are often exactly equal."""


@st.composite
def sets(draw: st.DrawFn, *, exhaustive: bool = True) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Draw labels with crowds and odd areas, and detections of which many hit; some pictures are empty."""
    pictures, classes = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    places = st.tuples(st.integers(1, pictures), st.integers(1, classes))
    labels = [(*place, box) for place, box in draw(st.lists(st.tuples(places, _BOXES), max_size=14))]
    crowds = [row for row in range(len(labels)) if draw(st.integers(0, 5)) == 0]
    open_classes = {}
    if not exhaustive:
        some = st.lists(st.integers(1, classes), unique=True, max_size=2)
        open_classes = {number: draw(some) for number in range(1, pictures + 1)}
    content = truth(
        labels,
        pictures=pictures,
        names=[f"class {number}" for number in range(classes)],
        crowds=crowds,
        not_exhaustive=open_classes,
    )
    for annotation in content["annotations"]:
        annotation["area"] *= draw(st.sampled_from([1.0, 0.5, 0.9]))
    scores = st.sampled_from([0.1, 0.3, 0.3, 0.5, 0.8, 0.9])
    anywhere = st.tuples(places, _BOXES)
    near = anywhere
    if labels:
        shift = st.sampled_from([-8, 0, 0, 0, 4, 8])
        near = st.builds(
            lambda label, x, y: (label[:2], (label[2][0] + x, label[2][1] + y, *label[2][2:])),
            st.sampled_from(labels),
            shift,
            shift,
        )
    reports = draw(st.lists(st.tuples(st.one_of(near, near, anywhere), scores), max_size=24))
    return content, found(*((*place, box, score) for (place, box), score in reports))


def random_set(seed: int, *, reports_per_object: int = 3) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return labels of all sizes, some crowds, and detections shifted, missing, doubled or made up."""
    rng = np.random.default_rng(seed)
    annotations = truth([], pictures=12)
    annotations["categories"] = [{"id": i, "name": f"class {i}"} for i in (1, 5, 7, 90)]
    results = []
    for number in range(1, 150):
        bbox = np.concatenate([rng.uniform(0, 250, 2), np.exp(rng.uniform(1.5, 5, 2))]).round(2)
        image_id, category_id = int(rng.integers(1, 13)), int(rng.choice([1, 5, 7]))
        annotations["annotations"].append(
            {
                "id": number,
                "image_id": image_id,
                "category_id": category_id,
                "bbox": bbox.tolist(),
                "area": float(bbox[2] * bbox[3] * rng.uniform(0.4, 1)),
                "iscrowd": int(rng.random() < 0.1),
            }
        )
        for _ in range(rng.integers(0, reports_per_object + 1)):
            shifted = bbox + rng.normal(0, 0.08, 4) * bbox[[2, 3, 2, 3]]
            category_id = category_id if rng.random() < 0.8 else 90
            score = float(rng.choice([0.3, 0.5, 0.7]) if rng.random() < 0.3 else rng.random())
            results += found((image_id, category_id, shifted.round(3).tolist(), score))
    return annotations, results


def by_pycocotools(annotations: dict[str, Any], results: list[dict[str, Any]], limits: list[int]) -> Any:
    """Return pycocotools' evaluator after its work."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO()
        reference.dataset = copy.deepcopy(annotations)
        reference.createIndex()
        evaluator = COCOeval(reference, _load(reference, results), "bbox")
        return _run(evaluator, limits)


def by_faster_coco_eval(
    annotations: dict[str, Any], results: list[dict[str, Any]], limits: list[int], *, lvis: bool = False
) -> Any:
    """Return faster-coco-eval's evaluator after its work.

    In LVIS style a class counts in a picture only if it was looked for, so every class is named as such.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    content = copy.deepcopy(annotations)
    if lvis:
        everything = frozenset(category["id"] for category in content["categories"])
        for image in content["images"]:
            image["neg_category_ids"] = everything
            image["not_exhaustive_category_ids"] = frozenset(image["not_exhaustive_category_ids"])
        for category in content["categories"]:
            category["frequency"] = "f"
    reference = COCO(content)
    evaluator = COCOeval_faster(reference, _load(reference, results), "bbox", lvis_style=lvis)
    return _run(evaluator, limits)


def _load(reference: Any, results: list[dict[str, Any]]) -> Any:
    """Load results; pycocotools cannot load an empty list."""
    if results:
        return reference.loadRes(copy.deepcopy(results))
    empty = type(reference)()
    empty.dataset = {**copy.deepcopy(reference.dataset), "annotations": []}
    empty.createIndex()
    return empty


def _run(evaluator: Any, limits: list[int]) -> Any:
    evaluator.params.maxDets = limits
    evaluator.evaluate()
    evaluator.accumulate()
    return evaluator


def coco_numbers(evaluator: Any) -> list[float | None]:
    """Return the numbers of a library in the order of `CocoMetrics.numbers`; None where it has -1."""
    precision, recall = evaluator.eval["precision"][..., -1], evaluator.eval["recall"]
    values: list[npt.NDArray[np.float64]] = [
        precision[:, :, :, 0],
        precision[0, :, :, 0],
        precision[5, :, :, 0],
    ]
    values += [precision[:, :, :, area] for area in (1, 2, 3)]
    values += [recall[:, :, 0, limit] for limit in range(recall.shape[-1])]
    values += [recall[:, :, area, -1] for area in (1, 2, 3)]
    return [float(item[item > -1].mean()) if (item > -1).any() else None for item in values]
