"""Writing COCO: `SPLIT.json`, and pictures in `SPLIT/`; it has a place for everything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

from densewatch.data.coco_schema import AnnotationRecord
from densewatch.data.formats.write_plan import Plan


def write_coco(plan: Plan) -> None:
    """Write a COCO instances file for each split."""
    for split, labels in plan.splits.items():
        content = labels.content
        numbers = [record.id for record in content.annotations if isinstance(record.id, int)]
        free_ids = count(max([0, *numbers]) + 1)
        document = {
            "images": [record.model_dump(mode="json", exclude_defaults=True) for record in content.images],
            "annotations": [_annotation(record, free_ids) for record in content.annotations],
            "categories": [item.model_dump(mode="json", exclude_none=True) for item in content.categories],
        }
        (plan.folder / f"{split}.json").write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
        for name in dict.fromkeys(record.file_name for record in content.images):
            plan.pictures[plan.folder / split / name] = labels.folder / name
        (plan.folder / split).mkdir()


def _annotation(record: AnnotationRecord, free_ids: Iterator[int]) -> dict[str, Any]:
    """Return an object as COCO's tools expect it: with an id, an area and `iscrowd`."""
    area = record.bbox[2] * record.bbox[3] if record.area is None else record.area
    return {
        **record.model_dump(mode="json", exclude_defaults=True),
        "id": next(free_ids) if record.id is None else record.id,
        "area": area,
        "iscrowd": int(record.iscrowd),
    }
