"""Pictures with what was found in them: boxes, labels where they hide little, counts by class in a corner."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from densewatch.imaging.layout import emptiest_corner, place_labels

if TYPE_CHECKING:
    from PIL import ImageFont

    from densewatch.detections import Detections

DENSE_OBJECTS = 25
"""A scene of more objects than this gets smaller labels."""

Color = tuple[int, int, int]
"""RGB, 0 to 255 each."""

# fmt: off
_HEX_COLORS = (  # all bright, so that dark text is legible on each
    "3fb6ff", "ff9f1c", "ffe14d", "ff5d73", "c58bff", "7c9cff", "2fe0c8", "ff8bd1", "a4c639",
    "ff7043", "5fe35f", "e8c39e", "00d4ff", "d4f04a", "ff6ef2", "9be7a0", "f4a7a7", "b0bec5",
    "ffc400", "64ffda", "d7a9ff", "ffb38a", "f2f2f2",
)
# fmt: on
_COLORS: list[Color] = [(number[0], number[1], number[2]) for number in map(bytes.fromhex, _HEX_COLORS)]
_INK: Color = (16, 20, 26)
_MAX_LEGEND_ROWS, _MAX_LEGEND_PART = 12, 0.25  # of the picture


@dataclass(frozen=True)
class _Style:
    """Sizes in pixels; they follow the picture's, so that a large photo looks like a small one."""

    line_px: int
    font_px: int
    padding_px: int

    @classmethod
    def of(cls, detections: Detections) -> _Style:
        diagonal_px = float(np.hypot(*detections.size))
        typical_side_px = float(np.median(detections.boxes[:, 2:] - detections.boxes[:, :2]))
        font_px = max(10, round(diagonal_px / (72 if len(detections) > DENSE_OBJECTS else 60)))
        line_px = max(1, round(min(diagonal_px / 350, typical_side_px / 16)))
        return cls(line_px, font_px, max(2, font_px // 5))


def draw(image: npt.NDArray[np.uint8], detections: Detections) -> npt.NDArray[np.uint8]:
    """Return a copy of the picture with a box around every object.

    A class has the same colour in every picture. An object is labelled with its name and score where a label
    hides no other label and little of any other object; the best scores choose first. Where labels are
    missing, the counts by class stand in the emptiest corner, in the same colours; where more than half of
    them would be missing, there are none, since a few labels among many boxes only confuse.

    Args:
        image: uint8 [H, W, 3] RGB, upright.
        detections: what was found in it.

    Returns:
        uint8 [H, W, 3] RGB, of the same size.

    Raises:
        ValueError: the detections belong to a picture of another size.
    """
    size = (image.shape[0], image.shape[1])
    if detections.size != size:
        raise ValueError(f"the detections are of a picture of size {detections.size}, but this one is {size}")
    if not len(detections):
        return image.copy()
    style = _Style.of(detections)
    picture = _draw_boxes(image, detections, style)
    labels = _draw_labels(picture, detections, style)
    if len(labels) == len(detections):
        return picture
    return _draw_legend(picture, detections, np.concatenate([detections.boxes, labels]), style)


def _draw_boxes(image: npt.NDArray[np.uint8], detections: Detections, style: _Style) -> npt.NDArray[np.uint8]:
    """Return a copy of the picture with a coloured line, in a dark shade, around each object."""
    import cv2

    height, width = detections.size
    within = [width - 1, height - 1] * 2  # a line on the border would be out of sight
    corners = np.minimum(detections.boxes, within).astype(int).tolist()
    strongest_last = list(zip(corners, detections.labels.tolist(), strict=True))[::-1]
    picture = image.copy()
    for (left, top, right, bottom), _ in strongest_last:
        cv2.rectangle(picture, (left, top), (right, bottom), _INK, style.line_px + 2)
    cv2.addWeighted(picture, 0.6, image, 0.4, 0, dst=picture)
    for (left, top, right, bottom), label in strongest_last:
        cv2.rectangle(picture, (left, top), (right, bottom), _color(label), style.line_px)
    return picture


def _draw_labels(
    picture: npt.NDArray[np.uint8], detections: Detections, style: _Style
) -> npt.NDArray[np.float32]:
    """Draw the labels that find a place, and return their rectangles: float32 [M, 4], xyxy, M <= N."""
    # From the rows that tables show, so that a score is rounded to the same two digits in both.
    texts = [f"{row['label']} {row['score']:.2f}" for row in detections.to_dicts()]
    panels = [
        _label_panel(text, _color(label), style.font_px, style.padding_px)
        for text, label in zip(texts, detections.labels.tolist(), strict=True)
    ]
    sizes_px = np.array([panel.shape[1::-1] for panel in panels], np.float32)
    places = place_labels(detections.boxes, sizes_px, detections.size)
    if len(places) < len(detections) / 2:
        return np.zeros((0, 4), np.float32)
    for index, place in places.items():
        (left, top), (height, width) = place[:2].astype(int), panels[index].shape[:2]
        picture[top : top + height, left : left + width] = panels[index]
    return np.stack(list(places.values()))


def _draw_legend(
    picture: npt.NDArray[np.uint8],
    detections: Detections,
    occupied: npt.NDArray[np.float32],
    style: _Style,
) -> npt.NDArray[np.uint8]:
    """Return the picture with the counts by class on a panel in the corner where it hides least.

    A tiny picture has no room for it, and stays as it is.
    """
    from PIL import Image, ImageDraw

    rows: list[tuple[str, Color | None]] = [
        (f"{count} {name}", _color(detections.names.index(name)))
        for name, count in detections.counts().items()
    ]
    if len(rows) > _MAX_LEGEND_ROWS:
        hidden = len(rows) - _MAX_LEGEND_ROWS + 1
        rows = [*rows[: _MAX_LEGEND_ROWS - 1], (f"and {hidden} classes more", None)]
    font = _font(round(style.font_px * 1.1))
    row_px, gap_px = round(style.font_px * 1.6), style.padding_px * 2
    width_px = round(max(font.getlength(text) for text, _ in rows)) + style.font_px + 3 * gap_px
    size_px = (width_px, row_px * len(rows) + gap_px)
    if size_px[0] * size_px[1] > _MAX_LEGEND_PART * picture.shape[0] * picture.shape[1]:
        return picture
    left, top = emptiest_corner(occupied, size_px, detections.size, margin_px=gap_px)
    canvas = Image.fromarray(picture)
    pen = ImageDraw.Draw(canvas, "RGBA")
    pen.rounded_rectangle((left, top, left + size_px[0], top + size_px[1]), gap_px, fill=(*_INK, 200))
    for row, (text, color) in enumerate(rows):
        x, middle = left + gap_px, top + gap_px / 2 + row_px * (row + 0.5)
        if color:
            half_px = style.font_px / 2
            pen.rectangle((x, middle - half_px, x + style.font_px, middle + half_px), fill=color)
        pen.text((x + style.font_px + gap_px, middle), text, fill="white", font=font, anchor="lm")
    return np.array(canvas)


def _color(label: int) -> Color:
    return _COLORS[label % len(_COLORS)]


# Making fonts and writing with them takes longer than all else here, and in a folder or a video the same
# texts come again and again.
@lru_cache(maxsize=4096)
def _label_panel(text: str, color: Color, font_px: int, padding_px: int) -> npt.NDArray[np.uint8]:
    """Return a text, dark on a colour: uint8 [h, w, 3] RGB."""
    from PIL import Image, ImageDraw

    left, top, right, bottom = _font(font_px).getbbox(text)
    size = math.ceil(right - left) + 2 * padding_px, math.ceil(bottom - top) + 2 * padding_px
    canvas = Image.new("RGB", size, color)
    ImageDraw.Draw(canvas).text((padding_px - left, padding_px - top), text, fill=_INK, font=_font(font_px))
    return np.array(canvas)


@cache
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size_px)
