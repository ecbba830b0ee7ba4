"""Where labels go in a crowded picture: pure arithmetic on boxes, no drawing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float32]

MAX_COVERED = 0.12
"""Largest part of another object's box that a label may hide."""


def place_labels(
    boxes: Boxes, sizes_px: npt.NDArray[np.float32], picture_size: tuple[int, int]
) -> dict[int, Boxes]:
    """Choose a place for each label that hides no other label and little of any other object.

    Above the box is tried first, then below it, then its own top left corner. Earlier boxes choose first.

    Args:
        boxes: float32 [N, 4], xyxy, pixels.
        sizes_px: float32 [N, 2], (width, height) of each label.
        picture_size: (height, width) in pixels.

    Returns:
        Index of the box → float32 [4], the label's rectangle as xyxy; boxes without a fit place are left out.
    """
    placed: dict[int, Boxes] = {}
    occupied = np.empty((len(boxes), 4), np.float32)
    for index, (box, size_px) in enumerate(zip(boxes, sizes_px, strict=True)):
        for place in _candidates(box, size_px, picture_size):
            if covered(occupied[: len(placed)], place).any():
                continue
            hidden = covered(boxes, place)
            hidden[index] = 0
            if hidden.max() <= MAX_COVERED:
                occupied[len(placed)] = place
                placed[index] = place
                break
    return placed


def _candidates(
    box: Boxes, size_px: npt.NDArray[np.float32], picture_size: tuple[int, int]
) -> Iterator[Boxes]:
    """Yield the rectangles that a label may take, the best first; all of them within the picture."""
    height, width = picture_size
    label_width, label_height = size_px
    left = max(0.0, min(box[0], width - label_width))
    for top in (box[1] - label_height, box[3], box[1]):
        if top >= 0 and top + label_height <= height and label_width <= width:
            yield np.array([left, top, left + label_width, top + label_height], np.float32)


def covered(boxes: Boxes, place: Boxes) -> npt.NDArray[np.float32]:
    """Return what part of each box, 0 to 1, a rectangle hides.

    Args:
        boxes: float32 [N, 4], xyxy.
        place: float32 [4], xyxy.

    Returns:
        float32 [N]; 0 for boxes without area.
    """
    sides = np.minimum(boxes[:, 2:], place[2:]) - np.maximum(boxes[:, :2], place[:2])
    hidden = sides.clip(min=0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    parts = np.zeros(len(boxes), np.float32)
    np.divide(hidden, areas, out=parts, where=areas > 0)
    return parts


def emptiest_corner(
    boxes: Boxes, size_px: tuple[float, float], picture_size: tuple[int, int], margin_px: float
) -> tuple[float, float]:
    """Return the (x, y) of a panel in that corner of the picture where it hides least.

    Args:
        boxes: float32 [N, 4], xyxy, pixels: what is better not hidden.
        size_px: (width, height) of the panel.
        picture_size: (height, width) in pixels.
        margin_px: distance of the panel from the border.
    """
    height, width = picture_size
    right, bottom = width - size_px[0] - margin_px, height - size_px[1] - margin_px
    corners = [(margin_px, margin_px), (right, margin_px), (margin_px, bottom), (right, bottom)]

    def hidden(corner: tuple[float, float]) -> float:
        place = np.array([*corner, corner[0] + size_px[0], corner[1] + size_px[1]], np.float32)
        return float(covered(boxes, place).sum())

    return min(corners, key=hidden)
