"""Pictures with what was found in them: boxes, labels where they hide little, counts by class in a corner."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from densewatch.imaging.layout import emptiest_corner, place_labels

if TYPE_CHECKING:
    import supervision
    from PIL import Image as PillowImage
    from PIL import ImageFont

    from densewatch.detections import Detections

DENSE_OBJECTS = 25
"""A scene of more objects than this gets smaller labels."""

# fmt: off
_COLORS = (  # all bright, so that dark text is legible on each
    "#3fb6ff", "#ff9f1c", "#ffe14d", "#ff5d73", "#c58bff", "#7c9cff", "#2fe0c8", "#ff8bd1", "#a4c639",
    "#ff7043", "#5fe35f", "#e8c39e", "#00d4ff", "#d4f04a", "#ff6ef2", "#9be7a0", "#f4a7a7", "#b0bec5",
    "#ffc400", "#64ffda", "#d7a9ff", "#ffb38a", "#f2f2f2",
)
# fmt: on
_INK = "#10141a"
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
    from PIL import Image

    size = (image.shape[0], image.shape[1])
    if detections.size != size:
        raise ValueError(f"the detections are of a picture of size {detections.size}, but this one is {size}")
    if not len(detections):
        return image.copy()
    style = _Style.of(detections)
    canvas = Image.fromarray(_draw_boxes(image, detections, style))
    labels = _draw_labels(canvas, detections, style)
    if len(labels) < len(detections):
        _draw_legend(canvas, detections, np.concatenate([detections.boxes, labels]), style)
    return np.array(canvas)


def _draw_boxes(image: npt.NDArray[np.uint8], detections: Detections, style: _Style) -> npt.NDArray[np.uint8]:
    """Return a copy of the picture with a coloured line, in a dark shade, around each object."""
    import cv2
    import supervision as sv

    shade, color = _box_annotators(style.line_px)
    height, width = detections.size
    within = np.array([width - 1, height - 1] * 2, np.float32)  # a line on the border would be out of sight
    strongest_last = sv.Detections(
        xyxy=np.minimum(detections.boxes, within)[::-1], class_id=detections.labels[::-1]
    )
    picture = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), np.uint8)
    shaded = shade.annotate(picture.copy(), strongest_last)
    scene = np.asarray(cv2.addWeighted(shaded, 0.6, picture, 0.4, 0, dst=shaded), np.uint8)
    scene = color.annotate(scene, strongest_last)
    return np.asarray(cv2.cvtColor(scene, cv2.COLOR_BGR2RGB), np.uint8)


def _draw_labels(canvas: PillowImage.Image, detections: Detections, style: _Style) -> npt.NDArray[np.float32]:
    """Draw the labels that find a place, and return their rectangles: float32 [M, 4], xyxy, M <= N."""
    import supervision as sv

    annotator = _label_annotator(style.font_px, style.padding_px)
    # From the rows that tables show, so that a score is rounded to the same two digits in both.
    texts = [f"{row['label']} {row['score']:.2f}" for row in detections.to_dicts()]
    extents = np.array([annotator.font.getbbox(text) for text in texts], np.float32)
    sizes_px = extents[:, 2:] - extents[:, :2] + 2 * style.padding_px
    places = place_labels(detections.boxes, sizes_px, detections.size)
    if len(places) < len(detections) / 2:
        return np.zeros((0, 4), np.float32)
    rectangles = np.stack(list(places.values()))
    anchors = sv.Detections(  # a label stands on its anchor
        xyxy=rectangles[:, [0, 3, 0, 3]], class_id=detections.labels[list(places)]
    )
    annotator.annotate(canvas, anchors, labels=[texts[index] for index in places])
    return rectangles


def _draw_legend(
    canvas: PillowImage.Image, detections: Detections, occupied: npt.NDArray[np.float32], style: _Style
) -> None:
    """Draw the counts by class on a panel in the corner where it hides least; a tiny picture has no room."""
    from PIL import ImageDraw

    rows: list[tuple[str, str | None]] = [
        (f"{count} {name}", _color(detections, name)) for name, count in detections.counts().items()
    ]
    if len(rows) > _MAX_LEGEND_ROWS:
        hidden = len(rows) - _MAX_LEGEND_ROWS + 1
        rows = [*rows[: _MAX_LEGEND_ROWS - 1], (f"and {hidden} classes more", None)]
    font = _legend_font(round(style.font_px * 1.1))
    row_px, gap_px = round(style.font_px * 1.6), style.padding_px * 2
    width_px = round(max(font.getlength(text) for text, _ in rows)) + style.font_px + 3 * gap_px
    size_px = (width_px, row_px * len(rows) + gap_px)
    if size_px[0] * size_px[1] > _MAX_LEGEND_PART * canvas.width * canvas.height:
        return
    left, top = emptiest_corner(occupied, size_px, detections.size, margin_px=gap_px)
    pen = ImageDraw.Draw(canvas, "RGBA")
    pen.rounded_rectangle((left, top, left + size_px[0], top + size_px[1]), gap_px, fill=(16, 20, 26, 200))
    for row, (text, color) in enumerate(rows):
        x, middle = left + gap_px, top + gap_px / 2 + row_px * (row + 0.5)
        if color:
            half_px = style.font_px / 2
            pen.rectangle((x, middle - half_px, x + style.font_px, middle + half_px), fill=color)
        pen.text((x + style.font_px + gap_px, middle), text, fill="white", font=font, anchor="lm")


# Making palettes and fonts takes longer than using them, so pictures of one size share them.
@cache
def _palette() -> supervision.ColorPalette:
    import supervision as sv

    return sv.ColorPalette.from_hex(list(_COLORS))


@cache
def _box_annotators(line_px: int) -> tuple[supervision.BoxAnnotator, supervision.BoxAnnotator]:
    """Return what draws the dark shade of a box, and what draws the coloured line on it."""
    import supervision as sv

    shade = sv.BoxAnnotator(sv.Color.from_hex(_INK), thickness=line_px + 2)
    return shade, sv.BoxAnnotator(_palette(), thickness=line_px)


@cache
def _label_annotator(font_px: int, padding_px: int) -> supervision.RichLabelAnnotator:
    import supervision as sv

    return sv.RichLabelAnnotator(
        _palette(),
        text_color=sv.Color.from_hex(_INK),
        font_size=font_px,
        text_padding=padding_px,
        text_position=sv.Position.TOP_LEFT,
    )


@cache
def _legend_font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size_px)


def _color(detections: Detections, name: str) -> str:
    """Return the colour that `_palette` gives to a class."""
    return _COLORS[detections.names.index(name) % len(_COLORS)]
