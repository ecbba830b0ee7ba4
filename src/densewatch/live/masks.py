"""Privacy masks: parts of the picture that nobody and nothing shall see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from densewatch.live.settings import Polygon


def burn_in(image: npt.NDArray[np.uint8], masks: Sequence[Polygon]) -> npt.NDArray[np.uint8]:
    """Return a picture whose masked parts are black; the same array where it may be written to.

    Args:
        image: uint8 [H, W, 3].
        masks: polygons, relative to the picture's size; pixels that a border touches are masked too.
    """
    if not masks:
        return image
    import cv2

    image = np.require(image, requirements=["C", "W"])
    height, width = image.shape[:2]
    for mask in masks:
        corners = np.round(np.array(mask) * (width, height)).astype(np.int32)
        cv2.fillPoly(image, [corners], (0, 0, 0))
        cv2.polylines(image, [corners], isClosed=True, color=(0, 0, 0), thickness=3)
    return image
