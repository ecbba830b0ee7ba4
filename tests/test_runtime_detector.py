"""The whole way: a picture in, its objects out, in the picture's own pixels, by both engines."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import densewatch as dw
from densewatch.imaging.read import ImageError
from densewatch.metadata import ResizePolicy
from densewatch.runtime.engines import EngineName
from densewatch.runtime.model_file import ModelFileError
from tiny_model import draw_squares, tiny_info, write_tiny_model

SIZE = (256, 320)
SQUARES = [(32, 64, 32, "person"), (96, 0, 32, "car"), (192, 128, 64, "chair")]
PICTURE = draw_squares(SIZE, SQUARES)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "tiny.onnx")


def found(detections: dw.Detections) -> set[tuple[str, tuple[float, ...]]]:
    return {(row["label"], tuple(row["box"])) for row in detections.to_dicts()}


EXPECTED = {
    ("person", (32, 64, 64, 96)),
    ("car", (96, 0, 128, 32)),
    ("chair", (192, 128, 256, 192)),
} | {("chair", (x, y, x + 32, y + 32)) for x in (192, 224) for y in (128, 160)}


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_squares_are_found_where_they_are(model: Path, engine: EngineName) -> None:
    detector = dw.load(model, engine=engine)
    detections = detector.detect(PICTURE, threshold=0.9)
    assert found(detections) == EXPECTED
    assert detections.size == SIZE
    assert detections.names == detector.names == ("person", "chair", "car")
    assert not detections.saturated


def test_the_same_from_a_path_bytes_and_an_array(model: Path, tmp_path: Path) -> None:
    detector = dw.load(model)
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, "png")
    path = tmp_path / "picture.png"
    path.write_bytes(file.getvalue())
    sources: list[str | Path | bytes | np.ndarray] = [path, str(path), file.getvalue(), PICTURE]
    assert [found(one) for one in detector.detect_many(sources, threshold=0.9)] == [EXPECTED] * 4


@pytest.mark.parametrize("scale", [0.5, 2, 3])
def test_boxes_come_back_through_the_resize(tmp_path: Path, scale: float) -> None:
    height, width = int(SIZE[0] * scale), int(SIZE[1] * scale)
    policy = ResizePolicy(mode="longer", size=SIZE[1], max_size=None, pad_value=(0, 0, 0))
    detector = dw.load(write_tiny_model(tmp_path / "tiny.onnx", tiny_info(resize=policy)))
    picture = np.asarray(Image.fromarray(PICTURE).resize((width, height), Image.Resampling.NEAREST))
    detections = detector.detect(picture, threshold=0.9)
    assert found(detections) == {(label, tuple(side * scale for side in box)) for label, box in EXPECTED}
    assert detections.size == (height, width)


def test_padding_holds_no_objects(tmp_path: Path) -> None:
    policy = ResizePolicy(mode="none", max_size=None, pad_value=(255, 0, 0))  # bright red: "person"
    detector = dw.load(write_tiny_model(tmp_path / "tiny.onnx", tiny_info(resize=policy, strides=(32,))))
    assert len(detector.detect(np.zeros((64, 70, 3), np.uint8), threshold=0.9)) == 0


def test_settings(model: Path) -> None:
    detector = dw.load(model)
    assert found(detector.detect(PICTURE, threshold=0.9, only="person")) == {("person", (32, 64, 64, 96))}
    assert detector.detect(PICTURE, threshold=0.9, only=["person", "car"]).counts() == {"person": 1, "car": 1}
    two = detector.detect(PICTURE, threshold=0.9, max_detections=2)
    assert (len(two), two.saturated) == (2, True)
    quarter = [(192, 128, 32, "chair")]  # the 64-pixel cell around it is at 0.25
    assert len(detector.detect(draw_squares(SIZE, quarter), threshold=0.2, iou=0.3)) == 2
    assert len(detector.detect(draw_squares(SIZE, quarter), threshold=0.2, iou=0.2)) == 1


def test_defaults_are_the_models_own(tmp_path: Path) -> None:
    info = tiny_info().model_copy(update={"threshold": 0.2, "iou": 0.2})
    detector = dw.load(write_tiny_model(tmp_path / "tiny.onnx", info))
    assert detector.info == info
    assert len(detector.detect(draw_squares(SIZE, [(192, 128, 32, "chair")]))) == 1
    assert len(detector.detect(draw_squares(SIZE, [(192, 128, 32, "chair")]), iou=0.3)) == 2


def test_timing_adds_up(model: Path) -> None:
    detector = dw.load(model)
    started = time.perf_counter()
    detections, timing = detector.detect_timed(PICTURE, threshold=0.9)
    wall_ms = (time.perf_counter() - started) * 1000
    assert found(detections) == EXPECTED
    assert list(timing.to_dict()) == ["read", "prepare", "network", "boxes", "total"]
    parts = (timing.read_ms, timing.prepare_ms, timing.network_ms, timing.boxes_ms)
    assert all(part >= 0 for part in parts)
    assert timing.total_ms == pytest.approx(sum(parts))
    assert timing.network_ms < timing.total_ms <= wall_ms


def test_unknown_names_are_told_before_any_work(model: Path) -> None:
    detector = dw.load(model)
    with pytest.raises(dw.UnknownNameError, match="'chiar': did you mean 'chair'"):
        detector.detect("no-such-picture.jpg", only="chiar")
    with pytest.raises(dw.UnknownNameError, match="'chiar': did you mean 'chair'"):
        detector.detect_many([], only="chiar")
    with pytest.raises(ValueError, match="`only` names no class"):
        detector.detect("no-such-picture.jpg", only=[])


@pytest.mark.parametrize("shape", [(10, 10), (10, 10, 4), (0, 10, 3)])
def test_an_array_that_is_no_picture(model: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="uint8"):
        dw.load(model).detect(np.zeros(shape, np.uint8))


def test_a_picture_that_cannot_be_read(model: Path, tmp_path: Path) -> None:
    detector = dw.load(model)
    with pytest.raises(ImageError, match=r"absent\.jpg"):
        detector.detect(tmp_path / "absent.jpg")
    with pytest.raises(ImageError, match="ftp is not supported"):
        detector.detect("ftp://host/photo.jpg")
    with pytest.raises(TypeError, match="not from NoneType"):
        detector.detect(None)  # type: ignore[arg-type]
    results = detector.detect_many([PICTURE, b"text"], threshold=0.9)
    assert found(next(results)) == EXPECTED
    with pytest.raises(ImageError):
        next(results)


def test_a_foreign_file(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no network")
    with pytest.raises(ModelFileError, match=r"notes\.txt"):
        dw.load(path)


def test_unknown_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'laod'"):
        dw.laod()
    assert dir(dw) == ["Detections", "Detector", "UnknownNameError", "__version__", "load"]


def test_import_is_fast_and_light() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import densewatch; print(time.perf_counter() - start,"
        "{'torch', 'openvino', 'cv2', 'PIL', 'numpy', 'pydantic'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(3)]
    seconds, heavy = zip(*(run.split(maxsplit=1) for run in runs), strict=True)
    assert sorted(map(float, seconds))[1] < 0.3
    assert {text.strip() for text in heavy} == {"set()"}


def test_a_large_jpeg_gives_the_boxes_of_the_whole_picture(tmp_path: Path) -> None:
    """The file is decoded at a quarter of its size; boxes are in pixels of the whole."""
    policy = ResizePolicy(mode="longer", size=SIZE[1], max_size=None, pad_value=(0, 0, 0))
    detector = dw.load(write_tiny_model(tmp_path / "tiny.onnx", tiny_info(resize=policy)))
    height, width = 4 * SIZE[0], 4 * SIZE[1]
    Image.fromarray(PICTURE).resize((width, height), Image.Resampling.NEAREST).save(
        tmp_path / "large.jpg", quality=95
    )
    detections = detector.detect(tmp_path / "large.jpg", threshold=0.8)
    assert found(detections) == {(label, tuple(side * 4 for side in box)) for label, box in EXPECTED}
    assert detections.size == (height, width)
    with pytest.raises(ImageError, match="above the limit"):
        detector.detect(tmp_path / "large.jpg", max_pixels=height * width - 1)


def test_ways_of_suppression(model: Path) -> None:
    detector = dw.load(model)
    both = draw_squares(SIZE, [(64, 64, 32, "chair")]) + draw_squares(SIZE, [(64, 64, 32, "car")])
    assert detector.detect(both, threshold=0.9).counts() == {"chair": 1, "car": 1}
    assert len(detector.detect(both, threshold=0.9, nms="agnostic")) == 1
    with pytest.raises(ValueError, match="unknown suppression 'gready': did you mean 'greedy'"):
        detector.detect(both, nms="gready")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="treshold"):
        detector.detect(both, treshold=0.9)  # type: ignore[call-arg]
