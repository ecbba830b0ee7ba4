"""Class names for weights that carry none: COCO's, or those of a file."""

from __future__ import annotations

import json
from pathlib import Path

from torchvision.models.detection import RetinaNet_ResNet50_FPN_Weights

from densewatch.metadata import ClassInfo
from densewatch.models.foreign.errors import ImportFailedError

COCO = "coco"


def coco_classes() -> tuple[ClassInfo, ...]:
    """Return COCO's 80 classes with their ids, which have gaps, from 1 to 90."""
    categories = RetinaNet_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    return tuple(
        ClassInfo(name=name, id=index)
        for index, name in enumerate(categories)
        if name not in ("__background__", "N/A")
    )


def read_classes(source: str) -> tuple[ClassInfo, ...]:
    """Return the classes that a user names, in the order of the network's outputs.

    Args:
        source: `coco`; or a COCO file (`.json`), whose categories are taken in the order of their ids, as
            toolkits do; or a text file with a name a line, which get the ids from 1 on.

    Raises:
        ImportFailedError: the file cannot be read, or names a class twice or none.
    """
    if source == COCO:
        return coco_classes()
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8-sig")
        classes = _categories(text) if path.suffix == ".json" else with_ids(text.splitlines())
    except OSError as error:
        raise ImportFailedError(
            f"class names cannot be read from {source} ({error.strerror}): give `coco`, a COCO file (.json), "
            "or a text file with a name a line"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ImportFailedError(
            f"{source}: has no categories with `id` and `name`, as COCO has: {error}"
        ) from error
    names = [item.name for item in classes]
    if doubled := [name for name in names if names.count(name) > 1]:
        raise ImportFailedError(f"{source}: names the class {doubled[0]!r} more than once")
    return classes


def with_ids(names: list[str]) -> tuple[ClassInfo, ...]:
    """Return names with ids: COCO's own where they are COCO's 80, else 1, 2, 3, …; blanks are no names."""
    names = [name.strip() for name in names if name.strip()]
    if not names:
        raise ImportFailedError("names no class at all")
    if names == [item.name for item in coco_classes()]:
        return coco_classes()
    return tuple(ClassInfo(name=name, id=index) for index, name in enumerate(names, start=1))


def _categories(text: str) -> tuple[ClassInfo, ...]:
    found = [ClassInfo(name=item["name"], id=item["id"]) for item in json.loads(text)["categories"]]
    return tuple(sorted(found, key=lambda item: item.id))
