"""Pictures with truth and detections drawn into them, as HTML."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from densewatch.evaluation.comparison import Floats
from densewatch.evaluation.study import Study, picture_errors

_MOST_LABELS = 24
"""A picture with more mistakes than this is drawn without words: they would hide it."""


@dataclass(frozen=True)
class ShownPicture:
    """A picture for the page.

    Attributes:
        name: what it is called.
        size: (height, width) in pixels, of the picture that boxes refer to.
        jpeg: the picture, of any size; None where it cannot be read.
    """

    name: str
    size: tuple[int, int]
    jpeg: bytes | None


@dataclass(frozen=True)
class _Box:
    kind: str
    box: tuple[float, float, float, float]
    words: str


def worst_pictures(study: Study, most: int) -> list[int]:
    """Return the pictures with the most objects missed and things reported falsely, worst first."""
    errors = picture_errors(study)
    mistakes = np.array(errors["missed"]) + np.array(errors["false"])
    order = np.argsort(-mistakes, kind="stable")[:most]
    return [int(image) for image in order if mistakes[image]]


def picture_figures(study: Study, show: Callable[[int | str], ShownPicture], most: int) -> list[str]:
    """Return the worst pictures as HTML figures.

    Args:
        study: what was measured.
        show: gives the picture with an id.
        most: how many.
    """
    errors = picture_errors(study)
    figures = []
    for image in worst_pictures(study, most):
        picture = show(study.comparison.image_ids[image])
        objects, missed, false = (errors[key][image] for key in ("objects", "missed", "false"))
        words = f"{missed} of {objects} objects missed, {false} false"
        figures.append(_figure(picture, _boxes(study, image), words))
    return figures


def _boxes(study: Study, image: int) -> list[_Box]:
    """Return what is drawn of a picture: right ones first, so that mistakes lie on top."""
    comparison, matches = study.comparison, study.matches
    truth, found, names = comparison.truth, comparison.found, comparison.names
    certain = found.scores >= study.settings.operating_threshold
    hit = matches.objects_found(among=certain)
    missed = np.flatnonzero(matches.positives & ~hit & (truth.images == image))
    shown = np.flatnonzero(certain & (found.images == image))
    boxes = [
        _Box("right", _xywh(found.boxes[row]), f"{names[found.labels[row]]} {found.scores[row]:.2f}, right")
        for row in shown[matches.correct[0, shown]]
    ]
    boxes += [_Box("missed", _xywh(truth.boxes[row]), names[truth.labels[row]]) for row in missed]
    boxes += [
        _Box("false", _xywh(found.boxes[row]), f"{names[found.labels[row]]} {found.scores[row]:.2f}")
        for row in shown[matches.wrong[0, shown]]
    ]
    return boxes


def _xywh(box: Floats) -> tuple[float, float, float, float]:
    x, y, width, height = box.round(1).tolist()
    return x, y, width, height


def _figure(picture: ShownPicture, boxes: Sequence[_Box], words: str) -> str:
    height, width = picture.size
    mistakes = sum(box.kind != "right" for box in boxes)
    font_px = max(width, height) / 36
    drawn = "".join(_svg_box(box, font_px, (height, width), mistakes <= _MOST_LABELS) for box in boxes)
    image = ""
    if picture.jpeg is not None:
        data = base64.b64encode(picture.jpeg).decode()
        image = f'<image href="data:image/jpeg;base64,{data}" width="{width}" height="{height}"/>'
    title = html.escape(f"{picture.name}: {words}", quote=True)
    return (
        f'<figure class="picture"><svg role="img" aria-label="{title}" viewBox="0 0 {width} {height}" '
        f'xmlns="http://www.w3.org/2000/svg"><rect class="ground" width="{width}" height="{height}"/>'
        f"{image}{drawn}</svg><figcaption><b>{html.escape(picture.name)}</b><br>{words}</figcaption></figure>"
    )


def _svg_box(box: _Box, font_px: float, size: tuple[int, int], with_words: bool) -> str:
    x, y, width, height = box.box
    words = html.escape(box.words)
    shape = f'x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"'
    drawn = f'<rect class="shade" {shape}/><rect class="{box.kind}" {shape}><title>{words}</title></rect>'
    if with_words and box.kind != "right":
        # False ones are named above their box, missed ones inside it, so that both can be read in one place.
        baseline = y - font_px * 0.3 if box.kind == "false" else y + font_px
        baseline = min(max(baseline, font_px), size[0] - font_px * 0.3)
        left = min(max(x, 2), max(size[1] - font_px * 0.6 * len(box.words), 2))
        place = f'x="{left:.1f}" y="{baseline:.1f}" font-size="{font_px:.1f}"'
        drawn += f'<text class="{box.kind}" {place}>{words}</text>'
    return drawn
