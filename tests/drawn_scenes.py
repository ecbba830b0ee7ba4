"""Dense scenes of drawn shapes, with labels: what a detector can learn within a minute."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

NAMES = ("disc", "square", "triangle")
CATEGORY_IDS = (5, 11, 23)  # not 1, 2, 3, so that a mix-up of labels and category ids shows


class DrawnScenes(NamedTuple):
    """Where a drawn data set lies."""

    annotations: Path
    images: Path


def draw_scenes(
    folder: Path,
    count: int = 16,
    size: int = 128,
    shapes: tuple[int, int] = (8, 16),
    sides: tuple[int, int] = (14, 30),
    seed: int = 0,
) -> DrawnScenes:
    """Write `count` square PNG files with shapes of three kinds, and COCO instances JSON that labels them.

    Args:
        folder: gets `scenes.json` and `scenes/`.
        count: pictures.
        size: side of a picture in pixels.
        shapes: least and most shapes in a picture; fewer where they would cover each other.
        sides: smallest and largest side of a shape in pixels.
        seed: of everything random.
    """
    random = np.random.default_rng(seed)
    images = folder / "scenes"
    images.mkdir(parents=True)
    content: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": id_, "name": name} for id_, name in zip(CATEGORY_IDS, NAMES, strict=True)],
    }
    for number in range(count):
        image_id, name = 100 + number, f"{number:03}.png"
        pixels = random.integers(90, 130, (size, size, 3), dtype=np.uint8)
        for box in _scattered_boxes(random, size, int(random.integers(shapes[0], shapes[1] + 1)), sides):
            kind = int(random.integers(len(NAMES)))
            colour = tuple(int(value) for value in random.choice([0, 60, 190, 255], 3))
            _draw(pixels, kind, box, colour)
            content["annotations"].append(_annotation(content, image_id, kind, box))
        cv2.imwrite(str(images / name), pixels)
        content["images"].append({"id": image_id, "file_name": name, "width": size, "height": size})
    annotations = folder / "scenes.json"
    annotations.write_text(json.dumps(content))
    return DrawnScenes(annotations, images)


def _scattered_boxes(
    random: np.random.Generator, size: int, count: int, sides: tuple[int, int]
) -> list[tuple[int, int, int, int]]:
    """Return up to `count` boxes x, y, width, height that do not touch each other."""
    taken: npt.NDArray[np.bool_] = np.zeros((size, size), np.bool_)
    boxes: list[tuple[int, int, int, int]] = []
    for _ in range(40 * count):
        side = int(random.integers(sides[0], sides[1] + 1))
        x, y = (int(value) for value in random.integers(1, size - side - 1, 2))
        if len(boxes) < count and not taken[y - 1 : y + side + 1, x - 1 : x + side + 1].any():
            taken[y : y + side, x : x + side] = True
            boxes.append((x, y, side, side))
    return boxes


def _draw(
    pixels: npt.NDArray[np.uint8], kind: int, box: tuple[int, int, int, int], colour: tuple[int, ...]
) -> None:
    x, y, width, height = box
    right, bottom = x + width - 1, y + height - 1
    if NAMES[kind] == "disc":
        centre = ((x + right) // 2, (y + bottom) // 2)
        cv2.ellipse(pixels, centre, (width // 2, height // 2), 0, 0, 360, colour, cv2.FILLED)
    elif NAMES[kind] == "square":
        cv2.rectangle(pixels, (x, y), (right, bottom), colour, cv2.FILLED)
    else:
        corners = np.array([[x, bottom], [right, bottom], [(x + right) // 2, y]], np.int32)
        cv2.fillPoly(pixels, [corners], colour)


def _annotation(
    content: dict[str, Any], image_id: int, kind: int, box: tuple[int, int, int, int]
) -> dict[str, Any]:
    return {
        "id": len(content["annotations"]) + 1,
        "image_id": image_id,
        "category_id": CATEGORY_IDS[kind],
        "bbox": list(box),
        "area": box[2] * box[3],
        "iscrowd": 0,
    }
