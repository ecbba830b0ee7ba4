"""A labelled picture in memory, and what a window shows of it. Arrays only, no torch."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from densewatch.data.augment_settings import AugmentSettings

Boxes = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float32]
Size = tuple[int, int]
"""(height, width) in pixels."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Pixels, and what is known of them; the fields are those of `Sample`.

    Attributes:
        pixels: uint8 [H, W, 3] RGB.
        boxes: float32 [N, 4], xyxy, pixels.
        labels: int64 [N].
        ignore_boxes: float32 [M, 4].
        ignore_labels: int64 [M].
        unlabelled: int64 [U].
        weights: float32 [N].
    """

    pixels: npt.NDArray[np.uint8]
    boxes: Boxes
    labels: Labels
    ignore_boxes: Boxes
    ignore_labels: Labels
    unlabelled: Labels
    weights: Weights

    @property
    def size(self) -> Size:
        """(height, width) in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def known(self, label: int) -> bool:
        """Tell whether a class was labelled in this picture."""
        return label not in self.unlabelled


def cut(scene: Scene, window: Boxes, settings: AugmentSettings) -> Scene:
    """Keep of the labels what a window shows; objects of which too little is left become ignored regions.

    Args:
        scene: its boxes may reach out of its pixels.
        window: float32 [4], xyxy, what is shown.
        settings: `min_visible` and `min_side` say how much is too little.

    Returns:
        The scene with the same pixels, and boxes inside the window.
    """
    boxes = np.concatenate([scene.boxes, scene.ignore_boxes])
    labels = np.concatenate([scene.labels, scene.ignore_labels])
    clipped = np.clip(boxes, window[[0, 1, 0, 1]], window[[2, 3, 2, 3]])
    sides = clipped[:, 2:] - clipped[:, :2]
    whole_px = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    visible = sides.prod(axis=1) >= settings.min_visible * whole_px
    inside = (sides > 0).all(axis=1)
    is_object = np.arange(len(boxes)) < len(scene.boxes)
    clear = is_object & visible & (sides >= settings.min_side).all(axis=1)
    keep, ignore = inside & clear, inside & ~clear
    return replace(
        scene,
        boxes=clipped[keep],
        labels=labels[keep],
        ignore_boxes=clipped[ignore],
        ignore_labels=labels[ignore],
        weights=scene.weights[keep[: len(scene.boxes)]],
    )
