"""Pictures to bytes, by OpenCV."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_QUALITY = 92
_MAX_SIDES = {".jpg": 65_500, ".png": 1_000_000}  # beyond, OpenCV writes nothing


def encode_jpeg(image: npt.NDArray[np.uint8], comment: bytes = b"", *, quality: int = _QUALITY) -> bytes:
    """Return a picture as JPEG, colours in half resolution (4:2:0) as most cameras have them.

    Full resolution takes a third more time, and even of lines one pixel wide little more is seen.

    Args:
        image: uint8 [H, W, 3] RGB.
        comment: stands in the file's header; less than 65,534 bytes.
        quality: 0 to 100.

    Raises:
        OSError: a side is longer than a JPEG can be.
    """
    import cv2

    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    data = _encode(".jpg", image, options)
    if not comment:
        return data
    after_first = 4 + int.from_bytes(data[4:6], "big")  # the first segment says that this is JFIF
    return data[:after_first] + comment_segment(comment) + data[after_first:]


def comment_segment(comment: bytes) -> bytes:
    """Return a comment as it stands in a JPEG: marker, length, text."""
    return b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment


def encode_png(image: npt.NDArray[np.uint8]) -> bytes:
    """Return a picture, uint8 [H, W, 3] RGB, as PNG.

    Raises:
        OSError: a side is longer than OpenCV writes.
    """
    return _encode(".png", image, [])


def _encode(suffix: str, image: npt.NDArray[np.uint8], options: list[int]) -> bytes:
    import cv2

    height, width = image.shape[:2]
    most = _MAX_SIDES[suffix]
    if max(height, width) > most:
        kind = suffix[1:].upper()
        raise OSError(f"a picture of {width}x{height} px is too large for {kind}: {most} px a side at most")
    _, encoded = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    return encoded.tobytes()
