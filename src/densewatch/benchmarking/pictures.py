"""A picture to measure with where the user has named none."""

from __future__ import annotations

import io

import numpy as np

SIZE = (480, 640)
_OBJECTS = 60


def drawn_picture(size: tuple[int, int] = SIZE) -> bytes:
    """Return a JPEG with 60 coloured blocks on a soft background, the same on every machine.

    Args:
        size: (height, width) in pixels, at least 48 each; 640×480 px by default.
    """
    from PIL import Image

    height, width = size
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width]
    canvas = np.stack([rows / height, columns / width, (rows + columns) / (height + width)], axis=-1) * 160
    for _ in range(_OBJECTS):
        top, left = random.integers(0, height - 40), random.integers(0, width - 30)
        canvas[top : top + random.integers(12, 40), left : left + random.integers(8, 30)] = random.integers(
            0, 256, 3
        )
    canvas += random.normal(0, 4, canvas.shape)  # without some noise, a JPEG decodes faster than any photo
    encoded = io.BytesIO()
    Image.fromarray(canvas.clip(0, 255).astype(np.uint8)).save(encoded, "JPEG", quality=90)
    return encoded.getvalue()
