"""JPEG by OpenCV, at a reduced size where that is enough."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_REDUCTIONS = (8, 4, 2)
"""What a JPEG can be divided by while it is decoded: its 8×8 blocks become blocks of 1, 2 or 4 pixels."""


def reduction(size: tuple[int, int], needed: tuple[int, int]) -> int:
    """Return by how much a picture of `size` may be divided so that neither side becomes less than `needed`.

    Args:
        size: (height, width) in pixels.
        needed: (height, width) in pixels.

    Returns:
        8, 4, 2 or 1.
    """
    return next((by for by in _REDUCTIONS if size[0] >= by * needed[0] and size[1] >= by * needed[1]), 1)


def decode_jpeg(data: bytes, size: tuple[int, int], divide_by: int = 1) -> npt.NDArray[np.uint8] | None:
    """Decode a whole JPEG, not turned upright.

    Args:
        data: of the file.
        size: (height, width) that its header promises, in pixels.
        divide_by: 1, 2, 4 or 8: each side becomes so much shorter, rounded up.

    Returns:
        uint8 [H, W, 3] RGB; None where OpenCV cannot decode it.
    """
    import cv2

    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    if divide_by > 1:  # the name says grey, but it is RGB that is asked for, and given
        flags |= getattr(cv2, f"IMREAD_REDUCED_GRAYSCALE_{divide_by}")
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    expected = tuple(-(-side // divide_by) for side in size)
    return None if pixels is None or pixels.shape[:2] != expected else np.asarray(pixels, np.uint8)


def is_whole_jpeg(data: bytes) -> bool:
    """Tell whether an end marker follows the start of the first scan.

    Within a scan, FF D9 is nothing but the end. Before it, a thumbnail in EXIF has an end marker of its own,
    so the segments of the header are stepped over.
    """
    position = 2
    while data[position : position + 1] == b"\xff" and data[position + 1 : position + 2] != b"\xda":
        is_fill = data[position + 1 : position + 2] == b"\xff"
        position += 1 if is_fill else 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return data.rfind(b"\xff\xd9", position) != -1  # from the end, where it mostly is
