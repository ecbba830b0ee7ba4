"""Pictures as arrays: upright, whole, 8-bit RGB, or a sentence that says why not.

Pillow looks at every header, since it knows size, mode and EXIF before a pixel is decoded, and decodes what
is rare. JPEG, the common case, is decoded by OpenCV, which gives the same pixels in half the time for a large
photo, but fills what a truncated file lacks with grey and says nothing: it is given whole files only.
"""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt

from densewatch.imaging.jpeg import decode_jpeg, is_whole_jpeg, reduction

if TYPE_CHECKING:
    from PIL import Image as PillowImage

DEFAULT_MAX_PIXELS = 200_000_000
"""Largest picture that is decoded: the largest sensor in phones has 200 Mpx, which are 600 MB as RGB."""

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_KNOWN = "JPEG, PNG, WebP, BMP, GIF, TIFF or PPM"
_UNSUPPORTED_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIF", b"msf1": "HEIF", b"avif": "AVIF"}
_ORIENTATION_TAG = 0x0112
_PILLOW_STATE = threading.Lock()


class ImageError(ValueError):
    """A picture that cannot be read; the message is a sentence that names it and the reason.

    Attributes:
        name: what the user knows the picture by: a path, a URL, "standard input".
        reason: why it cannot be read, as the rest of a sentence.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)  # both, so that the error survives pickling between processes
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot read {self.name}: {self.reason}"


Size = tuple[int, int]
"""(height, width) in pixels."""


def read_image(
    source: str | Path | bytes, *, name: str | None = None, max_pixels: int = DEFAULT_MAX_PIXELS
) -> npt.NDArray[np.uint8]:
    """Read a picture as a person would see it.

    EXIF orientation is applied, once. 16-bit values are scaled to 8 bits, CMYK is converted, palettes are
    looked up, and what is transparent shows white, as on paper, rather than whatever colour the file hides
    there. Of an animation or a multi-page file it is the first picture.

    A JPEG that is whole but has wrong bits inside is decoded as far as it goes: no decoder can tell them all.

    Args:
        source: path of a file, or its content.
        name: what errors call the picture; the path where none is given.
        max_pixels: refuse larger pictures by their header, before memory is taken for them.

    Returns:
        uint8 [H, W, 3] RGB, writable.

    Raises:
        ImageError: the file is absent, empty, no picture, truncated, damaged, too large, or of a kind that
            has no defined white (32-bit integers and floats).
        MemoryError: there is not enough memory for its pixels.
        TypeError: `source` is neither a path nor bytes.
    """
    return read_reduced(source, whole, name=name, max_pixels=max_pixels)[0]


def read_reduced(
    source: str | Path | bytes,
    needed: Callable[[Size], Size],
    *,
    name: str | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> tuple[npt.NDArray[np.uint8], Size]:
    """Read a picture as `read_image` does, but a large JPEG at a half, a quarter or an eighth of its size.

    That takes a fraction of the time, and averages pixels as good scaling does.

    Args:
        source: like `read_image`, and so are `name`, `max_pixels` and what is raised.
        needed: given the size of the upright picture, says what size is enough.
        name: likewise.
        max_pixels: likewise.

    Returns:
        uint8 [H, W, 3] RGB, no smaller than what is needed, and the size of the whole picture.
    """
    if not isinstance(source, str | os.PathLike | bytes):
        raise TypeError(f"a picture is read from a path or from bytes, not from {type(source).__name__}")
    if isinstance(source, bytes):
        return _read(io.BytesIO(source), name or "the given bytes", max_pixels, needed)
    name = name or str(source)
    with _opened(Path(source), name) as stream:
        return _read(stream, name, max_pixels, needed)


def whole(size: Size) -> Size:
    """Return `size`: all of the picture is needed."""
    return size


def picture_size(path: str | Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> tuple[int, int]:
    """Return the (height, width) in pixels of what `read_image` reads, and see that the file is whole.

    Of JPEG and PNG, only header and end are looked at; what is rare is decoded.

    Args:
        path: of the picture file.
        max_pixels: refuse larger pictures.

    Raises:
        ImageError: like `read_image`; wrong bits inside a whole JPEG are not found.
    """
    with _opened(Path(path), str(path)) as stream:
        image = _open_checked(stream, str(path), max_pixels)
        with _damage_named(image, str(path)):
            orientation = _check_whole(image, stream)
    return _upright_size((image.height, image.width), orientation)


@contextmanager
def _opened(path: Path, name: str) -> Iterator[BinaryIO]:
    try:
        with path.open("rb") as stream:
            yield stream
    except FileNotFoundError as error:
        raise ImageError(name, "there is no such file") from error
    except IsADirectoryError as error:
        raise ImageError(name, "it is a folder, not a picture") from error
    except OSError as error:
        raise ImageError(name, error.strerror or str(error)) from error


def _read(
    stream: BinaryIO, name: str, max_pixels: int, needed: Callable[[Size], Size]
) -> tuple[npt.NDArray[np.uint8], Size]:
    image = _open_checked(stream, name, max_pixels)
    with _damage_named(image, name):
        return _decode(image, stream, needed)


def _open_checked(stream: BinaryIO, name: str, max_pixels: int) -> PillowImage.Image:
    start = stream.read(12)
    if not start:
        raise ImageError(name, "the file is empty (0 bytes)")
    brand = _UNSUPPORTED_BRANDS.get(start[8:12]) if start[4:8] == b"ftyp" else None
    if brand:
        raise ImageError(name, f"{brand} pictures are not supported; save it as JPEG or PNG")
    stream.seek(0)
    image = _open(stream, name)
    _check_header(image, name, max_pixels)
    return image


@contextmanager
def _damage_named(image: PillowImage.Image, name: str) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise  # the picture is not to blame
    except Exception as error:
        # Decoders meet damaged data with whatever error comes first: OSError, SyntaxError, struct.error, ...
        raise ImageError(name, f"the {image.format} picture is truncated or damaged ({error})") from error


def _open(stream: BinaryIO, name: str) -> PillowImage.Image:
    """Parse the header; no pixel is decoded yet."""
    from PIL import Image, UnidentifiedImageError

    try:
        with _pillow_our_way():
            return Image.open(stream, formats=_FORMATS)
    except UnidentifiedImageError as error:
        raise ImageError(name, f"it is no picture of a known kind: {_KNOWN}") from error
    except Exception as error:
        raise ImageError(name, f"its header is damaged ({error})") from error


@contextmanager
def _pillow_our_way() -> Iterator[None]:
    """Let `max_pixels` decide, and say nothing of EXIF that is damaged: pictures are read well without.

    Pillow's own limit and the filters of warnings are one for the whole process, hence the lock.
    """
    from PIL import Image

    with _PILLOW_STATE, warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _check_header(image: PillowImage.Image, name: str, max_pixels: int) -> None:
    """Raise `ImageError` for a picture that is too large, or whose values have no defined white."""
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise ImageError(
            name,
            f"its {image.width}x{image.height} pixels are {pixels / 1e6:.0f} Mpx, above the limit of "
            f"{max_pixels / 1e6:.0f} Mpx that guards against picture bombs; if you trust it, raise the limit "
            f"with detect --max-pixels {pixels} (in Python: read_image(path, max_pixels={pixels}))",
        )
    if image.mode in ("I", "F") and not _holds_16_bits(image):
        raise ImageError(name, "its 32-bit values have no defined white; save it with 8 or 16 bits")


def _holds_16_bits(image: PillowImage.Image) -> bool:
    """Tell a single channel of 16 bits, which older Pillow calls "I" in formats that have no more bits."""
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))


def _decode(
    image: PillowImage.Image, stream: BinaryIO, needed: Callable[[Size], Size]
) -> tuple[npt.NDArray[np.uint8], Size]:
    if image.format in ("JPEG", "MPO"):
        data = _whole_jpeg(stream)
        if image.mode in ("RGB", "L"):  # others, such as CMYK, are left to Pillow
            size, orientation = (image.height, image.width), _orientation(image)
            upright = _upright_size(size, orientation)
            pixels = decode_jpeg(data, size, reduction(upright, needed(upright)))
            if pixels is not None:
                return _upright(pixels, orientation), upright
    image.load()
    # Only now: PNG may keep EXIF behind the pixels, and Pillow turns TIFF upright while loading.
    pixels = _upright(_to_rgb(image), _orientation(image))
    return pixels, (pixels.shape[0], pixels.shape[1])


def _check_whole(image: PillowImage.Image, stream: BinaryIO) -> int:
    """Raise unless the picture is whole, and return its EXIF orientation, 1 to 8."""
    if image.format in ("JPEG", "MPO"):
        _whole_jpeg(stream)
    elif image.format == "PNG" and not _mentions_orientation(_content(stream)):
        image.verify()  # checksums, up to the end; asking for the orientation would decode it
        return 1
    else:
        image.load()
    return _orientation(image)


def _mentions_orientation(png: bytes) -> bool:
    """Tell whether a PNG may hold EXIF or XMP, in front of its pixels or behind them."""
    return any(mark in png for mark in (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp"))


def _whole_jpeg(stream: BinaryIO) -> bytes:
    """Return the content of a JPEG file, which must not be truncated."""
    data = _content(stream)
    if not is_whole_jpeg(data):
        raise OSError("the end marker is missing")
    return data


def _content(stream: BinaryIO) -> bytes:
    """Return everything in the stream, which stays where it is."""
    position = stream.tell()
    stream.seek(0)
    data = stream.read()
    stream.seek(position)
    return data


def _to_rgb(image: PillowImage.Image) -> npt.NDArray[np.uint8]:
    """Return a decoded picture of any mode as uint8 [H, W, 3] RGB."""
    from PIL import Image

    if _holds_16_bits(image):  # Pillow's own conversion clips them at 255
        grey = ((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.has_transparency_data:
        paper = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(paper, image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def _orientation(image: PillowImage.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1, upright, where there is none or nonsense."""
    with _pillow_our_way():
        value = image.getexif().get(_ORIENTATION_TAG)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright_size(size: Size, orientation: int) -> Size:
    """Return what becomes of a size when an EXIF orientation, 1 to 8, is undone."""
    return (size[1], size[0]) if orientation >= 5 else size


def _upright(pixels: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Undo an EXIF orientation, 1 to 8."""
    import cv2

    if orientation >= 5:
        pixels = np.asarray(cv2.transpose(pixels), np.uint8)
    # What is left, once 5 to 8 are transposed, is mirrored: left to right (1), top to bottom (0), both (-1).
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return pixels if flip is None else np.asarray(cv2.flip(pixels, flip), np.uint8)
