"""The motion gate: spares the network while nothing moves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from densewatch.live.settings import MotionSettings

_WIDTH_PX = 160
_CHANGED = 20  # grey levels of 255: more than a camera's noise, once it is scaled down


class MotionGate:
    """Compares each picture with the last one that was looked at, so that slow movement adds up too."""

    def __init__(self, settings: MotionSettings) -> None:
        self._settings = settings
        self._seen: npt.NDArray[np.uint8] | None = None
        self._seen_at = 0.0

    def opens(self, image: npt.NDArray[np.uint8], time: float) -> bool:
        """Return whether the network should look at a picture; true at least every `at_least_every_s`.

        Args:
            image: uint8 [H, W, 3] RGB.
            time: when it was taken, in seconds.
        """
        small = _small(image)
        if self._moved(small) or not 0 <= time - self._seen_at < self._settings.at_least_every_s:
            self._seen, self._seen_at = small, time
            return True
        return False

    def _moved(self, small: npt.NDArray[np.uint8]) -> bool:
        import cv2

        if self._seen is None or self._seen.shape != small.shape:
            return True
        changed = np.count_nonzero(cv2.absdiff(small, self._seen) > _CHANGED)
        return bool(changed > self._settings.min_area * small.size)


def _small(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return a grey picture of a fixed width, uint8 [h, w]: averaged, so that noise is gone."""
    import cv2

    height, width = image.shape[:2]
    size = (_WIDTH_PX, max(1, round(height * _WIDTH_PX / width)))
    grey = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    return np.asarray(grey, np.uint8)
