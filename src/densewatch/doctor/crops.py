"""Cases as figures of a page: a part of the picture, with the boxes in question drawn over it."""

from __future__ import annotations

import base64
import html
from pathlib import Path

import numpy as np
import numpy.typing as npt

from densewatch.doctor.findings import Case
from densewatch.imaging.encode import encode_jpeg
from densewatch.imaging.read import ImageError, read_image

_WIDTH_PX = 420
_QUALITY = 80
_AROUND = 1.5
"""So many times the size of the boxes are shown on each side of them."""
_LEAST_SHARE = 0.15
"""Of the picture's longer side: a part that is shown is not smaller."""

_Window = tuple[int, int, int, int]


def figure(case: Case) -> str:
    """Return a case as HTML: the part of its picture around its boxes, or both pictures of a pair."""
    drawings = "".join(_drawing(path, case) for path in case.pictures)
    name = html.escape(" and ".join(path.name for path in case.pictures))
    return (
        f'<figure class="picture">{drawings}'
        f"<figcaption><b>{name}</b><br>{html.escape(case.caption)}</figcaption></figure>"
    )


def _drawing(path: Path, case: Case) -> str:
    try:
        pixels = read_image(path)
    except (ImageError, MemoryError):
        return ""
    left, top, right, bottom = _window(case, (pixels.shape[0], pixels.shape[1]))
    width, height = right - left, bottom - top
    data = base64.b64encode(_jpeg(pixels[top:bottom, left:right])).decode()
    boxes = "".join(
        _rectangle(box, "missed" if place == 0 else "right") for place, box in enumerate(case.boxes)
    )
    title = html.escape(f"{path.name}: {case.caption}", quote=True)
    return (
        f'<svg role="img" aria-label="{title}" viewBox="{left} {top} {width} {height}" '
        f'xmlns="http://www.w3.org/2000/svg"><image href="data:image/jpeg;base64,{data}" '
        f'x="{left}" y="{top}" width="{width}" height="{height}" preserveAspectRatio="none"/>{boxes}</svg>'
    )


def _window(case: Case, size: tuple[int, int]) -> _Window:
    """Return the part of a picture of `size` (height, width) to show: x1, y1, x2, y2, at least 1 px."""
    height, width = size
    if not case.boxes:
        return 0, 0, width, height
    boxes = np.array(case.boxes)
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    half = np.maximum((high - low) * (0.5 + _AROUND), _LEAST_SHARE * max(size) / 2).max()
    middle = (low + high) / 2
    left, top = np.clip(np.floor(middle - half), 0, [width - 1, height - 1]).astype(int).tolist()
    right, bottom = np.clip(np.ceil(middle + half), [left + 1, top + 1], [width, height]).astype(int).tolist()
    return left, top, right, bottom


def _jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    import cv2

    height, width = pixels.shape[:2]
    scale = _WIDTH_PX / width
    if scale < 1:
        size = (_WIDTH_PX, max(1, round(height * scale)))
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    return encode_jpeg(np.ascontiguousarray(pixels), quality=_QUALITY)


def _rectangle(box: tuple[float, float, float, float], kind: str) -> str:
    x1, y1, x2, y2 = box
    shape = f'x="{x1:g}" y="{y1:g}" width="{x2 - x1:g}" height="{y2 - y1:g}"'
    return f'<rect class="shade" {shape}/><rect class="{kind}" {shape}/>'
