"""Pictures of coloured rectangles whose labels are their colours: what becomes of a label can be seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from densewatch.data.dataset import Sample
from densewatch.data.scene import Scene

GREY = (124, 116, 104)
COLOURS = np.array(
    [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255), (0, 255, 255), (0, 0, 0)]
)
"""Of the labels 0, 1, …; far from each other and from grey."""

Rectangle = tuple[int, int, int, int]


def draw(size: tuple[int, int], objects: Sequence[tuple[Rectangle, int]]) -> npt.NDArray[np.uint8]:
    """Return a grey picture, uint8 [H, W, 3], with rectangles (x1, y1, x2, y2) in the colours of labels."""
    pixels = np.full((*size, 3), GREY, np.uint8)
    for (x1, y1, x2, y2), label in objects:
        pixels[y1:y2, x1:x2] = COLOURS[label]
    return pixels


def drawn_sample(
    number: int,
    size: tuple[int, int],
    objects: Sequence[tuple[Rectangle, int]] = (),
    ignored: Sequence[tuple[Rectangle, int]] = (),
    unlabelled: Sequence[int] = (),
) -> Sample:
    """Return the labels of a drawn picture; its path is `number`."""
    return Sample(
        number,
        Path(str(number)),
        size,
        np.array([box for box, _ in objects], np.float32),
        np.array([label for _, label in objects]),
        np.array([box for box, _ in ignored], np.float32),
        np.array([label for _, label in ignored]),
        np.array(unlabelled),
    )


def drawn_scene(
    size: tuple[int, int],
    objects: Sequence[tuple[Rectangle, int]] = (),
    ignored: Sequence[tuple[Rectangle, int]] = (),
    unlabelled: Sequence[int] = (),
) -> Scene:
    """Return a drawn picture with its labels."""
    sample = drawn_sample(0, size, objects, ignored, unlabelled)
    return Scene(
        draw(size, objects),
        sample.boxes,
        sample.labels,
        sample.ignore_boxes,
        sample.ignore_labels,
        sample.unlabelled_classes,
        sample.weights,
    )


def seen_box(pixels: npt.NDArray[np.uint8], label: int, tolerance: int = 60) -> list[int] | None:
    """Return where the colour of a label is in uint8 [H, W, 3], xyxy; None where it is not."""
    difference = np.abs(pixels.astype(int) - COLOURS[label]).max(axis=2)
    rows, columns = np.nonzero(difference <= tolerance)
    if not len(rows):
        return None
    return [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
