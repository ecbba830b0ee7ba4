"""Pictures of every kind are read rightly, and what is no whole picture is refused with a sentence."""

from __future__ import annotations

import io
import pickle
import struct
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from densewatch.imaging.read import ImageError, read_image, read_reduced

Pixels = npt.NDArray[np.uint8]

RED, GREEN, BLUE, GREY = (200, 30, 20), (20, 180, 40), (30, 40, 210), (120, 120, 120)


def scene(height: int = 48, width: int = 64) -> Pixels:
    """Return a picture in which all eight orientations differ: a ramp with three marked corners."""
    rows, columns = np.mgrid[0:height, 0:width]
    ramps = [rows * 255 // height, columns * 255 // width, (rows * columns) % 256]
    image = np.stack(ramps, axis=2).astype(np.uint8)
    image[:12, :12], image[:12, -12:], image[-12:, :12] = RED, GREEN, BLUE
    return image


def smooth(height: int, width: int) -> Pixels:
    """Return a picture without fine detail, which survives every way of scaling."""
    colours = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(colours, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def encode(image: Pixels | Image.Image, kind: str, **options: Any) -> bytes:
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def encode_by_opencv(image: npt.NDArray[Any], suffix: str) -> bytes:
    written, data = cv2.imencode(suffix, image)
    assert written
    return data.tobytes()


def exif_with(orientation: int | None = None, thumbnail: bytes = b"") -> bytes:
    """Return an EXIF block; the thumbnail is appended the way cameras do it, as bytes within the block."""
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    return exif.tobytes() + thumbnail


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that says its size and breaks off before the first pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000))


def flat(mode: str, color: Any) -> Image.Image:
    return Image.new(mode, (16, 8), color)


LOSSLESS = ["PNG", "BMP", "TIFF", "PPM"]


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_pictures_come_back_exactly(kind: str) -> None:
    image = read_image(encode(scene(), kind))
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.flags.writeable
    np.testing.assert_array_equal(image, scene())


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 100}], ids=str
)
def test_jpeg_pixels_are_pillow_s(options: dict[str, Any]) -> None:
    data = encode(scene(), "JPEG", **options)
    np.testing.assert_array_equal(read_image(data), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize(
    ("picture", "kind", "expected"),
    [
        (flat("L", 77), "PNG", (77, 77, 77)),
        (flat("L", 77), "JPEG", (77, 77, 77)),
        (flat("1", 1), "PNG", (255, 255, 255)),
        (flat("1", 0), "TIFF", (0, 0, 0)),
        (flat("LA", (40, 255)), "PNG", (40, 40, 40)),
        (flat("LA", (40, 0)), "PNG", (255, 255, 255)),
        (flat("RGBA", (*RED, 255)), "PNG", RED),
        (flat("RGBA", (*RED, 0)), "PNG", (255, 255, 255)),
        (flat("RGBA", (0, 100, 200, 51)), "PNG", (204, 224, 244)),
        (flat("RGBA", (*RED, 0)), "WEBP", (255, 255, 255)),
        (flat("RGB", BLUE).quantize(4), "PNG", BLUE),
        (flat("RGB", BLUE).quantize(4), "GIF", BLUE),
        (flat("CMYK", (0, 255, 255, 0)), "TIFF", (255, 0, 0)),
        (flat("CMYK", (255, 255, 0, 128)), "TIFF", (0, 0, 127)),
        (flat("I;16", 65535), "PNG", (255, 255, 255)),
        (flat("I;16", 257 * 100), "PNG", (100, 100, 100)),
        (flat("I;16", 257 * 100), "TIFF", (100, 100, 100)),
    ],
)
def test_modes(picture: Image.Image, kind: str, expected: tuple[int, int, int]) -> None:
    image = read_image(encode(picture, kind))
    assert image.shape == (8, 16, 3)
    assert np.abs(image.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("index", [0, 1])
def test_a_transparent_palette_entry_is_white(index: int) -> None:
    picture = Image.new("P", (16, 8), 1)
    picture.putpalette([*RED, *GREEN])
    expected = (255, 255, 255) if index == 1 else GREEN
    for kind in ("PNG", "GIF"):
        np.testing.assert_array_equal(read_image(encode(picture, kind, transparency=index))[3, 3], expected)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bits_are_scaled_not_clipped(suffix: str, channels: int) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    bgra = np.dstack([ramp, ramp[::-1], ramp.T, np.full_like(ramp, 65535)])
    stored = ramp if channels == 1 else bgra[:, :, :channels]
    rgb = np.dstack([ramp] * 3) if channels == 1 else bgra[:, :, 2::-1]
    difference = read_image(encode_by_opencv(stored, suffix)) - rgb / 257
    assert np.abs(difference).max() < 1


@pytest.mark.parametrize(
    ("cmyk", "rgb"),
    [((0, 255, 255, 0), (255, 0, 0)), ((255, 0, 0, 0), (0, 255, 255)), ((0, 0, 0, 200), (55, 55, 55))],
)
def test_cmyk_jpeg_of_adobe_is_inverted_back(cmyk: tuple[int, ...], rgb: tuple[int, ...]) -> None:
    data = encode(flat("CMYK", cmyk), "JPEG", quality=100)
    assert b"Adobe" in data
    assert np.abs(read_image(data).astype(int) - rgb).max() <= 2


def test_ycck_jpeg() -> None:
    # Pillow writes no YCCK, so its four channels are filled with Y, Cb, Cr and K by hand, and the transform
    # in the Adobe segment is patched to say so. YCC codes the ink, 255 - RGB; Pillow stores 255 - channel.
    rgb = (200, 60, 30)
    ink = (255 - rgb[0], 255 - rgb[1], 255 - rgb[2])
    ycc = np.asarray(Image.new("RGB", (1, 1), ink).convert("YCbCr"))[0, 0]
    channels = tuple(255 - int(value) for value in ycc)
    data = bytearray(encode(flat("CMYK", (*channels, 0)), "JPEG", quality=100))
    transform = data.index(b"Adobe") + 11
    assert data[transform] == 0
    data[transform] = 2
    assert np.abs(read_image(bytes(data)).astype(int) - rgb).max() <= 4


ORIENTATIONS: dict[int, Callable[[Pixels], Pixels]] = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: lambda image: np.rot90(image, 1),
}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_exif_orientation_is_applied_once(kind: str, orientation: int) -> None:
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {}
    if kind == "TIFF":
        options["tiffinfo"] = {0x0112: orientation}
    else:
        options["exif"] = exif_with(orientation)
    turned = read_image(encode(scene(), kind, **options))
    upright = read_image(encode(scene(), kind, **({"lossless": True} if kind == "WEBP" else {})))
    np.testing.assert_array_equal(turned, ORIENTATIONS[orientation](upright))
    assert turned.flags.c_contiguous


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_nonsense_orientation_is_upright(orientation: int) -> None:
    data = encode(scene(), "PNG", exif=exif_with(orientation))
    np.testing.assert_array_equal(read_image(data), scene())


def test_first_picture_of_an_animation() -> None:
    frames = [flat("RGB", RED), flat("RGB", GREEN)]
    for kind in ("GIF", "WEBP", "TIFF"):
        image = read_image(encode(frames[0], kind, save_all=True, append_images=frames[1:]))
        assert np.abs(image.astype(int) - RED).max() <= 6, kind


def whole_jpegs() -> dict[str, bytes]:
    image = scene(96, 128)
    thumbnail = encode(image[::4, ::4], "JPEG")
    return {
        "baseline": encode(image, "JPEG"),
        "progressive": encode(image, "JPEG", progressive=True, quality=95),
        "restart markers": encode(image, "JPEG", restart_marker_blocks=2),
        "thumbnail": encode(image, "JPEG", exif=exif_with(6, thumbnail)),
        "progressive thumbnail": encode(image, "JPEG", exif=exif_with(1, thumbnail), progressive=True),
        "cmyk": encode(Image.fromarray(image).convert("CMYK"), "JPEG"),
        "grey": encode(image[:, :, 0], "JPEG"),
    }


@pytest.mark.parametrize("kind", whole_jpegs())
def test_a_jpeg_truncated_anywhere_is_refused(kind: str) -> None:
    data = whole_jpegs()[kind]
    read_image(data)
    for length in range(1, len(data), 1 if len(data) < 4000 else 7):
        with pytest.raises(ImageError, match=r"truncated|damaged|no picture"):
            read_image(data[:length])


@pytest.mark.parametrize("kind", whole_jpegs())
def test_a_jpeg_whose_tail_was_never_written_is_refused(kind: str) -> None:
    data = whole_jpegs()[kind]
    with pytest.raises(ImageError, match="end marker"):
        read_image(data[: -len(data) // 4] + b"\0" * (len(data) // 4))


def test_bytes_after_the_end_of_a_jpeg_do_no_harm() -> None:
    data = encode(scene(), "JPEG")
    for tail in (b"\0" * 512, encode(scene(8, 8), "JPEG"), b"motion photo \xff\xda\xff\xd9 video"):
        np.testing.assert_array_equal(read_image(data + tail), read_image(data))


def test_fill_bytes_between_the_segments_of_a_jpeg() -> None:
    data = encode(scene(), "JPEG")
    tables = data.index(b"\xff\xdb")
    np.testing.assert_array_equal(read_image(data[:tables] + b"\xff\xff" + data[tables:]), read_image(data))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
def test_other_kinds_truncated_are_refused_or_whole(kind: str) -> None:
    data = encode(scene(), kind)
    whole = read_image(data)
    refused = 0
    for length in range(1, len(data), max(1, len(data) // 300)):
        try:
            image = read_image(data[:length])
        except ImageError:
            refused += 1
        else:
            np.testing.assert_array_equal(image, whole)
            assert length > 0.9 * len(data)
    assert refused > 100


@settings(max_examples=150)
@given(
    kind=st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"]),
    damage=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damage_gives_a_picture_or_a_sentence_never_another_error(
    kind: str, damage: list[tuple[float, int]]
) -> None:
    data = bytearray(encode(scene(), kind, **({"exif": exif_with(6)} if kind != "BMP" else {})))
    for place, value in damage:
        data[int(place * len(data))] = value
    with suppress(ImageError):
        assert read_image(bytes(data), max_pixels=10**6).ndim == 3


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"A shopping list: bread, milk, two pears.", "no picture of a known kind"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "no picture of a known kind"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC pictures are not supported; save it as JPEG or PNG"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "AVIF pictures are not supported; save it as JPEG or PNG"),
        (encode(flat("F", 0.5), "TIFF"), "32-bit values have no defined white"),
        (encode(flat("I", 70000), "TIFF"), "32-bit values have no defined white"),
        (png_header(20_000, 20_000), "20000x20000 pixels are 400 Mpx, above the limit of 200 Mpx"),
        (png_header(200, 200), "PNG picture is truncated or damaged"),
    ],
)
def test_refusals_name_file_and_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert str(caught.value).startswith(f"cannot read {path}: ")
    assert reason in str(caught.value)
    with pytest.raises(ImageError, match="frame 7"):
        read_image(data, name="frame 7")


def test_damaged_exif_is_passed_over_in_silence() -> None:
    whole = encode(scene(), "JPEG", exif=exif_with(6))
    entries = whole.index(b"MM\0*") + 8
    damaged = whole[:entries] + b"\0\x09" + whole[entries + 2 :]  # nine entries, where there is room for one
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        assert read_image(damaged).shape == (64, 48, 3)
    assert raised == []


@pytest.mark.parametrize("source", [None, 3, [b"x"]])
def test_what_no_picture_can_be_read_from(source: Any) -> None:
    with pytest.raises(TypeError, match=f"from a path or from bytes, not from {type(source).__name__}"):
        read_image(source)


def test_lack_of_memory_is_not_blamed_on_the_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(cv2, "imdecode", no_memory)
    with pytest.raises(MemoryError):
        read_image(encode(scene(), "JPEG"))


def test_absent_path_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"absent\.jpg: there is no such file"):
        read_image(tmp_path / "absent.jpg")
    with pytest.raises(ImageError, match="it is a folder"):
        read_image(str(tmp_path))


def test_the_pixel_limit_is_ours_in_both_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    data = encode(scene(), "PNG")
    np.testing.assert_array_equal(read_image(data), scene())
    with pytest.raises(ImageError, match=r"with detect --max-pixels 3072 \(in Python: .*max_pixels=3072\)"):
        read_image(data, max_pixels=3071)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_an_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(ImageError("a.jpg", "it is empty")))
    assert (str(error), error.name) == ("cannot read a.jpg: it is empty", "a.jpg")


def test_photos_are_read_as_pillow_reads_them(shared: Path) -> None:
    photos = sorted((shared / "data/everyday/val").glob("*.jpg"))[:20]
    assert photos
    for path in photos:
        with Image.open(path) as picture:
            np.testing.assert_array_equal(read_image(path), np.asarray(picture.convert("RGB")))


@pytest.mark.parametrize(
    ("enough", "size"),
    [((30, 40), (30, 40)), ((31, 40), (60, 80)), ((61, 80), (120, 160)), ((121, 1), (240, 320))],
)
def test_a_large_jpeg_is_read_at_the_size_that_is_enough(
    enough: tuple[int, int], size: tuple[int, int]
) -> None:
    """And looks like the whole picture, scaled."""
    data, asked = encode(smooth(240, 320), "jpeg", quality=95), []

    def needed(whole: tuple[int, int]) -> tuple[int, int]:
        asked.append(whole)
        return enough

    image, whole = read_reduced(data, needed)
    assert (image.shape, whole, asked) == ((*size, 3), (240, 320), [(240, 320)])
    scaled = cv2.resize(read_image(data), size[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(image.astype(int) - scaled).mean() < 1.5


def test_a_turned_jpeg_is_reduced_upright() -> None:
    """Orientation 6: what is needed, and what is told, is about the picture as people see it."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(smooth(240, 320), "jpeg", exif=exif, quality=95)
    image, whole = read_reduced(data, lambda size: (size[0] // 4, size[1] // 8))
    assert (image.shape, whole) == ((80, 60, 3), (320, 240))
    assert np.abs(image.astype(int) - cv2.resize(read_image(data), (60, 80), interpolation=3)).mean() < 1.5


def test_odd_sizes_are_rounded_up_and_other_kinds_are_read_whole() -> None:
    assert read_reduced(encode(smooth(63, 101), "jpeg"), lambda _: (7, 11))[0].shape == (8, 13, 3)
    for kind in ("png", "webp"):
        assert read_reduced(encode(smooth(64, 96), kind), lambda _: (8, 8))[0].shape == (64, 96, 3)
    cmyk = Image.fromarray(smooth(64, 96)).convert("CMYK")
    assert read_reduced(encode(cmyk, "jpeg"), lambda _: (8, 8))[0].shape == (64, 96, 3)
