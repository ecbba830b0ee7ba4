"""Pictures of events, small enough to keep many."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from densewatch.imaging.encode import encode_jpeg

MAX_WIDTH = 640
QUALITY = 85


class Snapshot:
    """One frame, which becomes a JPEG when somebody asks for it, once for all events of the frame."""

    def __init__(self, image: npt.NDArray[np.uint8]) -> None:
        """Take a picture, uint8 [H, W, 3] RGB; it is not kept once the JPEG is made."""
        self._image: npt.NDArray[np.uint8] | None = image
        self._jpeg = b""

    def jpeg(self) -> bytes:
        """Return the picture as JPEG, at most `MAX_WIDTH` pixels wide."""
        if self._image is not None:
            self._jpeg = encode_jpeg(_fit(self._image), quality=QUALITY)
            self._image = None
        return self._jpeg


def _fit(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height, width = image.shape[:2]
    if width <= MAX_WIDTH:
        return image
    size = (MAX_WIDTH, max(1, round(height * MAX_WIDTH / width)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
