"""Small data sets for tests of label formats: real pictures, and labels in COCO's words."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from PIL import Image

from densewatch.data.labels import Labels

NAMES = ("person", "traffic light", "Löwe, groß", 'a "b": #c', "no", "0", "\u2603\U0001f600")


class Near:
    """Numbers that equal others up to rounding."""

    def __init__(self, *values: float, tolerance: float) -> None:
        self.values = values
        self.tolerance = tolerance

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Near) and other.values == pytest.approx(self.values, abs=self.tolerance)

    def __repr__(self) -> str:
        return repr(self.values)


@lru_cache
def png(width: int, height: int) -> bytes:
    """Return a black picture."""
    stream = io.BytesIO()
    Image.new("RGB", (width, height)).save(stream, "png")
    return stream.getvalue()


def write_set(folder: Path, content: dict[str, Any], split: str = "train") -> Path:
    """Write COCO instances and their pictures, and return the file."""
    for record in content["images"]:
        place = folder / split / record["file_name"]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(png(record["width"], record["height"]))
    file = folder / f"{split}.json"
    file.write_text(json.dumps(content))
    return file


def summary(labels: Labels) -> dict[Any, Any]:
    """Return all that a conversion must keep, in a form that does not depend on the order of records."""
    name_of = {item.id: item.name for item in labels.content.categories}
    found: dict[Any, Any] = {
        record.id: {
            "file_name": record.file_name,
            "size": (record.width, record.height),
            "unlabelled": sorted(record.not_exhaustive_category_ids),
            "extra": record.model_extra,
            "objects": {},
        }
        for record in labels.content.images
    }
    for item in labels.content.annotations:
        found[item.image_id]["objects"][item.id] = {
            "class": (item.category_id, name_of[item.category_id]),
            "box": Near(*item.bbox, tolerance=1e-8),
            "area": Near(item.bbox[2] * item.bbox[3] if item.area is None else item.area, tolerance=1e-6),
            "flags": (bool(item.iscrowd), item.difficult),
            "attributes": item.attributes,
        }
    classes = sorted((item.id, item.name, item.supercategory) for item in labels.content.categories)
    return {"classes": classes, "pictures": found}


ids = st.one_of(st.integers(0, 2**62), st.text("abc-", min_size=1, max_size=4))
words = st.dictionaries(
    st.sampled_from(["truncated", "pose", "odd key"]), st.one_of(st.booleans(), st.text("ab <", max_size=3))
)


@st.composite
def instances(draw: st.DrawFn) -> dict[str, Any]:
    """Draw COCO instances: sparse ids, crowds, difficult objects, boxes that reach out, empty pictures."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    numbers = draw(st.lists(st.integers(0, 10**6), min_size=len(names), max_size=len(names), unique=True))
    groups = st.sampled_from([None, "thing"])
    categories = [
        {"id": number, "name": name, "supercategory": draw(groups)}
        for number, name in zip(numbers, names, strict=True)
    ]
    image_ids = draw(st.lists(ids, min_size=1, max_size=3, unique=True))
    images = [
        {
            "id": image_id,
            "file_name": f"{draw(st.sampled_from(['', 'in ner/', 'images/', 'Ü/']))}p{place}.png",
            "width": draw(st.integers(1, 12)),
            "height": draw(st.integers(1, 12)),
            "not_exhaustive_category_ids": draw(st.lists(st.sampled_from(numbers), max_size=2, unique=True)),
            **draw(st.sampled_from([{}, {"source": "door", "license": None}])),
        }
        for place, image_id in enumerate(image_ids)
    ]
    return {"images": images, "annotations": draw(objects(image_ids, numbers)), "categories": categories}


def objects(image_ids: Sequence[int | str], category_ids: Sequence[int]) -> st.SearchStrategy[list[Any]]:
    """Draw annotations of some of the pictures, with unique ids."""
    position = st.floats(-20, 30, width=32)
    side = st.one_of(st.floats(0, 30, width=32), st.integers(0, 12).map(float))
    record = st.fixed_dictionaries(
        {
            "id": ids,
            "image_id": st.sampled_from(image_ids),
            "category_id": st.sampled_from(category_ids),
            "bbox": st.tuples(position, position, side, side),
            "iscrowd": st.sampled_from([0, 0, 1]),
            "difficult": st.sampled_from([False, False, True]),
        },
        optional={"area": st.floats(0, 500, width=32), "attributes": words},
    )
    return st.lists(record, max_size=5, unique_by=lambda item: item["id"])
