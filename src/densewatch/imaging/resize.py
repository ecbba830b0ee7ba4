"""From a picture of any size to the network's input, and from its boxes back to the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from densewatch.metadata import ResizePolicy


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture as the network takes it, and what is needed to find the way back.

    Attributes:
        pixels: uint8 [H, W, 3] RGB; the scaled picture in the top left corner, padding right of it and below.
            It is the caller's own array, not a copy, where neither scaling nor padding was needed.
        valid_size: (height, width) of the scaled picture within `pixels`.
        original_size: (height, width) of the picture before scaling.
    """

    pixels: npt.NDArray[np.uint8]
    valid_size: tuple[int, int]
    original_size: tuple[int, int]


def resized_size(size: tuple[int, int], policy: ResizePolicy) -> tuple[int, int]:
    """Return the (height, width) in pixels that a picture of `size` is scaled to, before padding.

    Sides are rounded down after a multiplication in double precision, which is what torchvision's detectors
    do: some sides come out one pixel short of `policy.size`. No side becomes less than one pixel.
    """
    shorter, longer = min(size), max(size)
    if policy.mode == "none":
        return size
    if policy.mode == "longer":
        scale = policy.size / longer
    else:
        scale = policy.size / shorter
        if policy.max_size is not None:
            scale = min(scale, policy.max_size / longer)
    return max(1, int(size[0] * scale)), max(1, int(size[1] * scale))


def needed_size(size: tuple[int, int], policy: ResizePolicy) -> tuple[int, int]:
    """Return the (height, width) that is enough of a picture of `size`, for `read_reduced`.

    Decoding at a reduced size averages pixels, as `policy.antialias` has it; without, all pixels are needed.
    """
    return resized_size(size, policy) if policy.antialias else size


def padded_size(size: tuple[int, int], multiple: int) -> tuple[int, int]:
    """Return the (height, width) of `size` rounded up to `multiple`."""
    return -(-size[0] // multiple) * multiple, -(-size[1] // multiple) * multiple


def check_pixels(image: npt.NDArray[np.uint8]) -> None:
    """Raise `ValueError` unless an array is a picture: uint8 [H, W, 3] with at least one pixel."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"a picture is a uint8 array [H, W, 3], but this one is {image.dtype} {image.shape}")


def prepare(
    image: npt.NDArray[np.uint8], policy: ResizePolicy, original_size: tuple[int, int] | None = None
) -> Prepared:
    """Scale a picture without changing its aspect and pad it, as `policy` says.

    Args:
        image: uint8 [H, W, 3] RGB.
        policy: the resize policy of the model.
        original_size: (height, width) of the picture, where `image` was read at a reduced size.

    Raises:
        ValueError: `image` is no uint8 array of shape [H, W, 3], or has no pixels.
    """
    check_pixels(image)
    given = (image.shape[0], image.shape[1])
    original = original_size or given
    valid = resized_size(original, policy)
    padded = padded_size(valid, policy.multiple)
    if given == valid == padded:
        return Prepared(np.ascontiguousarray(image), valid, original)
    pixels = np.empty((*padded, 3), np.uint8)
    scale_into(pixels[: valid[0], : valid[1]], image, policy.antialias)
    _pad(pixels, valid, policy.pad_value)
    return Prepared(pixels, valid, original)


def batch(prepared: Sequence[Prepared], pad_value: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Stack prepared pictures into one input, each padded to the largest height and the largest width.

    Args:
        prepared: at least one picture.
        pad_value: RGB of the padding, `ResizePolicy.pad_value` of the model.

    Returns:
        uint8 [N, H, W, 3]; a view of the picture where there is only one.

    Raises:
        ValueError: `prepared` is empty.
    """
    if not prepared:
        raise ValueError("a batch needs at least one picture")
    if len(prepared) == 1:
        return prepared[0].pixels[None]
    height = max(item.pixels.shape[0] for item in prepared)
    width = max(item.pixels.shape[1] for item in prepared)
    images = np.empty((len(prepared), height, width, 3), np.uint8)
    for image, item in zip(images, prepared, strict=True):
        rows, columns = item.pixels.shape[:2]
        image[:rows, :columns] = item.pixels
        _pad(image, (rows, columns), pad_value)
    return images


def clip_boxes(boxes: npt.NDArray[np.float32], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Return boxes cut at the border of a picture.

    Args:
        boxes: float32 [N, 4], xyxy, pixels.
        size: (height, width) of the picture in pixels.
    """
    height, width = size
    return np.clip(boxes, 0, np.array([width, height, width, height], np.float32))


def restore_boxes(boxes: npt.NDArray[np.float32], prepared: Prepared) -> npt.NDArray[np.float32]:
    """Map boxes of the network's input to the original picture.

    They are cut at the border of the scaled picture first: what lies in the padding is not in the picture.

    Args:
        boxes: float32 [N, 4], xyxy, pixels of `prepared.pixels`.
        prepared: the picture in which the boxes were found.

    Returns:
        float32 [N, 4], xyxy, pixels of the original picture, within its border.
    """
    original, valid = np.array(prepared.original_size, np.float32), np.array(prepared.valid_size, np.float32)
    ratio_y, ratio_x = np.divide(original, valid)
    ratios = np.array([ratio_x, ratio_y, ratio_x, ratio_y], np.float32)
    return clip_boxes(clip_boxes(boxes, prepared.valid_size) * ratios, prepared.original_size)


def scale_into(target: npt.NDArray[np.uint8], image: npt.NDArray[np.uint8], antialias: bool) -> None:
    """Scale `image` to the size of `target`, a corner of the padded input, and write it there.

    Against aliasing, whole blocks of pixels are averaged until less than a factor of 2 is left, for which
    bilinear interpolation looks at nearly every pixel: a quarter of the time of averaging by broken factors.
    """
    height, width = target.shape[:2]
    if image.shape == target.shape:
        target[:] = image
        return
    import cv2

    blocks = min(image.shape[0] // height, image.shape[1] // width) if antialias else 1
    if blocks > 1:
        averaged = (-(-image.shape[1] // blocks), -(-image.shape[0] // blocks))
        image = np.asarray(cv2.resize(image, averaged, interpolation=cv2.INTER_AREA), np.uint8)
    cv2.resize(image, (width, height), dst=target, interpolation=cv2.INTER_LINEAR)


def _pad(pixels: npt.NDArray[np.uint8], valid: tuple[int, int], pad_value: tuple[int, int, int]) -> None:
    """Paint `pixels` right of and below the (height, width) `valid`."""
    pixels[: valid[0], valid[1] :] = pad_value
    pixels[valid[0] :] = pad_value
