"""Changes of colour and light, as torchvision's `RandomPhotometricDistort` has them (SSD, arXiv 1512.02325).

On bytes, by tables and OpenCV: of 512×512 px a third of a millisecond each, where tensors take several.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]

_BRIGHTNESS = (0.875, 1.125)
_CONTRAST = (0.5, 1.5)
_SATURATION = (0.5, 1.5)
_HUE = (-0.05, 0.05)


def distort(pixels: Pixels, probability: float, random: np.random.Generator) -> Pixels:
    """Return a picture, uint8 [H, W, 3] RGB, with some of five changes, each with the same probability.

    In half of all pictures contrast changes before saturation and hue, else after them; last comes the order
    of the channels.
    """
    chosen = random.random(5) < probability
    contrast_first = random.random() < 0.5
    brightness, contrast, saturation, hue = (
        random.uniform(*limits) for limits in (_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE)
    )
    order = random.permutation(3)
    if chosen[0]:
        pixels = adjust_brightness(pixels, brightness)
    if chosen[1] and contrast_first:
        pixels = adjust_contrast(pixels, contrast)
    if chosen[2]:
        pixels = adjust_saturation(pixels, saturation)
    if chosen[3]:
        pixels = adjust_hue(pixels, hue)
    if chosen[1] and not contrast_first:
        pixels = adjust_contrast(pixels, contrast)
    if chosen[4]:
        pixels = np.ascontiguousarray(pixels[:, :, order])
    return pixels


def adjust_brightness(pixels: Pixels, factor: float) -> Pixels:
    """Multiply by `factor`; 0 is black."""
    return _looked_up(pixels, np.arange(256) * factor)


def adjust_contrast(pixels: Pixels, factor: float) -> Pixels:
    """Move every value away from the mean grey; at a factor of 0 all is that grey."""
    mean = float(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).mean())
    return _looked_up(pixels, np.arange(256) * factor + (1 - factor) * mean)


def adjust_saturation(pixels: Pixels, factor: float) -> Pixels:
    """Move every pixel away from its own grey; at a factor of 0 the picture is grey."""
    grey = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return np.asarray(cv2.addWeighted(pixels, factor, grey, 1 - factor, 0), np.uint8)


def adjust_hue(pixels: Pixels, turn: float) -> Pixels:
    """Turn the circle of colours by `turn`, where 1 is the whole circle."""
    hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV_FULL)
    hsv[:, :, 0] += np.uint8(round(turn * 256) % 256)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL), np.uint8)


def _looked_up(pixels: Pixels, values: npt.NDArray[np.floating]) -> Pixels:
    table = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(pixels, table), np.uint8)
