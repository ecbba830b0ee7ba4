"""Files of annotated pictures: bytes, names, and what is known again."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from densewatch.imaging.read import read_image
from densewatch.imaging.save import annotated_path, is_annotated, save_image


def grey(height: int, width: int) -> npt.NDArray[np.uint8]:
    return np.full((height, width, 3), 128, np.uint8)


def test_png_is_written_exactly_and_jpeg_closely(tmp_path: Path) -> None:
    image = grey(48, 64)
    image[10:20, 10:50] = 250, 30, 30
    save_image(tmp_path / "new/folder/a.png", image)
    np.testing.assert_array_equal(read_image(tmp_path / "new/folder/a.png"), image)
    save_image(tmp_path / "a.JPG", image)
    error = read_image(tmp_path / "a.JPG").astype(int) - image
    assert np.abs(error[12:18, 14:46]).mean() < 2
    brightness = error @ [0.299, 0.587, 0.114]  # in full resolution; colours are in half of it
    assert np.abs(brightness).mean() < 0.5
    with Image.open(tmp_path / "a.JPG") as picture:
        assert picture.format == "JPEG"


def test_other_suffixes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.gif: pictures are written as \.jpg or \.png"):
        save_image(tmp_path / "a.gif", grey(4, 4))


@pytest.mark.parametrize(("name", "side"), [("a.jpg", 65_500), ("a.png", 1_000_000)])
def test_what_is_too_large_for_a_file_is_refused_in_a_sentence(name: str, side: int, tmp_path: Path) -> None:
    save_image(tmp_path / name, grey(1, side))
    assert (tmp_path / name).stat().st_size > 0
    with pytest.raises(OSError, match=rf"{side + 1}x1 px is too large for (JPG|PNG): {side} px"):
        save_image(tmp_path / name, grey(1, side + 1))


@pytest.mark.parametrize(
    ("source_name", "file_name"),
    [
        ("photos/a.png", "a.jpg"),
        ("photos/a.tar.webp", "a.tar.jpg"),
        ("https://host:80/shop/shelf%203.jpeg?size=2#x", "shelf 3.jpg"),
        ("https://host.net/", "host.jpg"),
        ("standard input", "standard-input.jpg"),
    ],
)
def test_names_of_annotated_pictures(source_name: str, file_name: str) -> None:
    assert annotated_path(source_name, Path("out"), set()) == Path("out", file_name)


def test_inputs_with_one_stem_get_numbers() -> None:
    taken: set[Path] = set()
    for source_name in ("x/a.jpg", "y/a.png", "http://host/a.jpg", "x/b.jpg"):
        taken.add(annotated_path(source_name, Path("out"), taken))
    assert taken == {Path("out", name) for name in ("a.jpg", "a-2.jpg", "a-3.jpg", "b.jpg")}


def test_an_input_is_never_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_image(Path("in/a.jpg"), grey(4, 4))
    save_image(Path("in/a.png"), grey(4, 4))
    Path("out").mkdir()
    os.link("in/a.jpg", "out/a.jpg")
    Path("link").symlink_to("in")
    for source_name, folder in [("in/a.jpg", "in"), ("in/a.jpg", "out"), ("in/a.jpg", "link")]:
        with pytest.raises(FileExistsError, match=r"a\.jpg: it is an input; choose another folder"):
            annotated_path(source_name, Path(folder), set())
    with pytest.raises(FileExistsError, match="it is an input"):
        annotated_path("in/a.png", Path("in"), set(), inputs=[Path("in/a.jpg")])


def test_an_earlier_result_is_replaced(tmp_path: Path) -> None:
    save_image(tmp_path / "out/a.jpg", grey(4, 4))
    assert annotated_path(str(tmp_path / "a.jpg"), tmp_path / "out", set()) == tmp_path / "out/a.jpg"


def test_what_is_drawn_is_known_again(tmp_path: Path) -> None:
    save_image(tmp_path / "drawn.jpg", grey(4, 4))
    Image.fromarray(grey(4, 4)).save(tmp_path / "photo.jpg", comment=b"mine")
    Image.fromarray(grey(4, 4)).save(tmp_path / "photo.png")
    (tmp_path / "text.jpg").write_text("no picture")
    names = ["drawn.jpg", "photo.jpg", "photo.png", "text.jpg", "absent.jpg"]
    assert [is_annotated(tmp_path / name) for name in names] == [True, False, False, False, False]
