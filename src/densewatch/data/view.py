"""What a training picture shows of a picture: whether mirrored, how large, and through which window."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from densewatch.data.augment_settings import AugmentSettings
from densewatch.data.dataset import Sample
from densewatch.data.scene import Boxes, Scene, Size, cut
from densewatch.imaging.resize import scale_into


@dataclass(frozen=True)
class View:
    """A picture scaled to `scaled`, mirrored where `flip`, and seen through a window.

    Attributes:
        original: (height, width) of the upright picture.
        scaled: (height, width) of the whole picture after scaling; what decoding has to give at least.
        flip: whether left and right are swapped.
        window: (height, width) of what is shown.
        corner: (y, x) of the window in the scaled picture; negative where there is padding above or left.
    """

    original: Size
    scaled: Size
    flip: bool
    window: Size
    corner: tuple[int, int]

    def show(self, pixels: npt.NDArray[np.uint8], pad_value: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
        """Return the window, uint8 [H, W, 3], `pad_value` where the picture does not reach.

        Args:
            pixels: of the upright picture, whole or decoded at a reduced size, uint8 [H, W, 3] RGB.
            pad_value: RGB.
        """
        scaled = np.empty((*self.scaled, 3), np.uint8)
        scale_into(scaled, pixels, antialias=True)
        (top, left), (height, width) = self.corner, self.window
        if self.flip:  # the window alone is mirrored, at the end
            left = self.scaled[1] - width - left
        shown = scaled[max(top, 0) : top + height, max(left, 0) : left + width]
        if shown.shape[:2] != self.window:
            above, before = max(-top, 0), max(-left, 0)
            below, after = height - above - shown.shape[0], width - before - shown.shape[1]
            border = (above, below, before, after)
            shown = np.asarray(
                cv2.copyMakeBorder(shown, *border, cv2.BORDER_CONSTANT, value=pad_value), np.uint8
            )
        return np.asarray(cv2.flip(shown, 1), np.uint8) if self.flip else np.ascontiguousarray(shown)

    def move(self, boxes: Boxes) -> Boxes:
        """Return boxes [N, 4] of the upright picture, in pixels of the window; they may reach out of it."""
        (height, width), (top, left) = self.original, self.corner
        if self.flip:
            signs, borders = np.array([[-1, 1, -1, 1], [width, 0, width, 0]], np.float32)
            boxes = boxes[:, [2, 1, 0, 3]] * signs + borders
        ratio_y, ratio_x = self.scaled[0] / height, self.scaled[1] / width
        moved: Boxes = (boxes * [ratio_x, ratio_y, ratio_x, ratio_y] - [left, top, left, top]).astype(
            np.float32
        )
        return moved

    def of(self, pixels: npt.NDArray[np.uint8], sample: Sample, settings: AugmentSettings) -> Scene:
        """Return what the window shows of a sample: pixels, and labels cut at its border."""
        moved = Scene(
            self.show(pixels, settings.pad_value),
            self.move(sample.boxes),
            sample.labels,
            self.move(sample.ignore_boxes),
            sample.ignore_labels,
            sample.unlabelled_classes,
            sample.weights,
        )
        height, width = self.window
        return cut(moved, np.array([0, 0, width, height], np.float32), settings)


def draw_view(size: Size, imgsz: int, settings: AugmentSettings, random: np.random.Generator) -> View:
    """Draw a view of a picture of `size` at the training size `imgsz`, in the geometry of the settings."""
    if settings.geometry == "square":
        return draw_window(size, imgsz, settings.zoom, (imgsz, imgsz), settings.flip, random)
    scale = min(imgsz / min(size), settings.max_size / max(size))
    scaled = scaled_by(size, scale)
    return View(size, scaled, bool(random.random() < settings.flip), scaled, (0, 0))


def draw_window(
    size: Size,
    imgsz: int,
    zoom: tuple[float, float],
    window: Size,
    flip: float,
    random: np.random.Generator,
) -> View:
    """Draw a view in `square` geometry.

    Args:
        size: (height, width) of the upright picture.
        imgsz: side of the square that the picture fits into at a zoom of 1.
        zoom: smallest and largest zoom.
        window: (height, width) of what is shown; every place of it is as likely as any other.
        flip: probability of a flip.
        random: draws.
    """
    mirrored = bool(random.random() < flip)
    scaled = scaled_by(size, imgsz / max(size) * random.uniform(*zoom))
    top, left = (
        int(np.sign(rest) * random.integers(abs(rest) + 1))
        for rest in (scaled[0] - window[0], scaled[1] - window[1])
    )
    return View(size, scaled, mirrored, window, (top, left))


def largest_size(size: Size, imgsz: int, settings: AugmentSettings) -> Size:
    """Return what is enough of a picture of `size` for every view at up to the training size `imgsz`."""
    if settings.geometry == "square":
        largest_zoom = max(settings.zoom[1], settings.mosaic_zoom[1] if settings.mosaic else 0)
        scale = imgsz / max(size) * largest_zoom
    else:
        scale = min(imgsz / min(size), settings.max_size / max(size))
    return scaled_by(size, min(1.0, scale))


def scaled_by(size: Size, scale: float) -> Size:
    """Return a size times `scale`, rounded down as in `imaging.resize`, at least one pixel a side.

    A millionth of a pixel is forgiven, so that a side that is to fill its window does.
    """
    return max(1, int(size[0] * scale + 1e-6)), max(1, int(size[1] * scale + 1e-6))
