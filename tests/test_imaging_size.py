"""The size of a picture without its pixels: it must be that of what `read_image` reads, or the same error."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from densewatch.imaging.read import ImageError, picture_size, read_image

KINDS = ["jpg", "png", "webp", "tiff", "bmp", "gif", "ppm"]


def noise(height: int, width: int) -> Image.Image:
    """Noise does not shrink, so that half of the file is half of the picture."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("orientation", [None, *range(1, 9)])
def test_size_is_that_of_the_picture_that_is_read(
    tmp_path: Path, suffix: str, orientation: int | None
) -> None:
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    noise(30, 40).save(path, exif=exif)
    assert picture_size(path) == read_image(path).shape[:2]


def test_exif_behind_the_pixels_of_a_png(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    noise(30, 40).save(buffer, "PNG")
    content = buffer.getvalue()
    exif = Image.Exif()
    exif[0x0112] = 6
    chunk = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path = tmp_path / "a.png"
    path.write_bytes(content[:-12] + chunk + content[-12:])  # IEND has 12 bytes
    assert picture_size(path) == read_image(path).shape[:2] == (40, 30)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_half_a_file_is_named_like_when_it_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    noise(64, 64).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match=rf"a\.{suffix}: .* damaged"):
        read_image(path)
    with pytest.raises(ImageError, match=rf"a\.{suffix}: .* damaged"):
        picture_size(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "no such file"), (b"", "0 bytes"), (b"words", "no picture of a known kind")],
)
def test_what_is_no_picture(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "a.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=reason):
        picture_size(path)


def test_the_limit_is_that_of_reading(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    noise(30, 40).save(path)
    assert picture_size(path, max_pixels=1200) == (30, 40)
    with pytest.raises(ImageError, match="above the limit"):
        picture_size(path, max_pixels=1199)
