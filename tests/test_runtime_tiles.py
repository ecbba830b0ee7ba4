"""Tiles: which parts of a picture are planned, and drawn scenes whose objects are each found once."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import densewatch as dw
from densewatch.imaging.resize import prepare
from densewatch.metadata import TORCHVISION_RESIZE, ClassInfo, LevelInfo, ModelInfo, ResizePolicy
from densewatch.runtime.tiles import (
    SMALL_OBJECT_PX,
    TilesError,
    batches,
    lost_side_px,
    plan_ladder,
    plan_tiles,
    prepare_parts,
    shrinkage,
    smallest_anchor_px,
)
from tiny_model import draw_squares, tiny_info, write_tiny_model

LONGER = ResizePolicy(mode="longer", size=480, max_size=None)
RETINANET = ModelInfo(
    name="r",
    family="retinanet",
    architecture={"anchors": {"sizes": [24, 48], "scales": [1, 1.5]}},
    classes=(ClassInfo(name="thing", id=1),),
    resize=LONGER,
)
SIZES = st.tuples(st.integers(64, 5000), st.integers(64, 5000))
GRIDS = st.tuples(st.integers(1, 8), st.integers(1, 8))


def test_off_is_the_whole_picture() -> None:
    (whole,) = plan_tiles((3000, 4000), RETINANET, "off")
    assert (whole.x, whole.y, whole.width, whole.height) == (0, 0, 4000, 3000)


def test_a_textbook_plan() -> None:
    """Scaled by 1/3, what is smaller than 72 px is lost: a side has (1440 + 2 * 72) / 3 = 528 px."""
    plan = plan_tiles((1440, 1440), RETINANET, "3x3")
    assert [(tile.x, tile.y) for tile in plan[1:]] == [(x, y) for y in (0, 456, 912) for x in (0, 456, 912)]
    assert {(tile.width, tile.height) for tile in plan[1:]} == {(528, 528)}


@given(SIZES, GRIDS)
def test_tiles_cover_the_picture_overlap_as_promised_and_are_equal(
    size: tuple[int, int], grid: tuple[int, int]
) -> None:
    (height, width), (columns, rows) = size, grid
    if (rows > 1 and height // rows < 32) or (columns > 1 and width // columns < 32):
        with pytest.raises(ValueError, match="too small"):
            plan_tiles(size, RETINANET, f"{columns}x{rows}")
        return
    whole, *tiles = plan_tiles(size, RETINANET, f"{columns}x{rows}")
    assert (whole.x, whole.y, whole.width, whole.height) == (0, 0, width, height)
    if columns * rows == 1:
        assert not tiles
        return
    assert len(tiles) == columns * rows
    assert len({(tile.width, tile.height) for tile in tiles}) == 1
    check_axis(sorted({(tile.x, tile.width) for tile in tiles}), width, lost_side_px(size, RETINANET))
    check_axis(sorted({(tile.y, tile.height) for tile in tiles}), height, lost_side_px(size, RETINANET))
    policy = RETINANET.resize
    image = np.broadcast_to(np.uint8(0), (*size, 3))
    first, last = tiles[0], tiles[-1]
    shapes = {
        prepare(image[t.y : t.y + t.height, t.x : t.x + t.width], policy).pixels.shape for t in (first, last)
    }
    assert len(shapes) == 1


def check_axis(spans: list[tuple[int, int]], total: int, object_px: float) -> None:
    assert spans[0][0] == 0
    assert sum(spans[-1]) == total
    for (start, side), (following, _) in pairwise(spans):
        overlap = start + side - following
        assert overlap >= min(object_px, side / 2 - 1)
        assert overlap >= side / 10 - 1
        assert following > start


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        ((480, 640), (1, 1)),  # scaled by 0.75
        ((720, 960), (1, 1)),  # by 0.5: objects of 48 px get the smallest anchor, 24
        ((720, 1280), (2, 1)),
        ((1080, 1920), (3, 2)),
        ((1920, 1080), (2, 3)),
        ((3000, 4000), (5, 4)),
        ((500, 6000), (9, 1)),
    ],
)
def test_auto_follows_the_size_of_the_picture(size: tuple[int, int], grid: tuple[int, int]) -> None:
    _, *tiles = plan_tiles(size, RETINANET, "auto")
    assert (len({tile.x for tile in tiles}) or 1, len({tile.y for tile in tiles}) or 1) == grid


@pytest.mark.parametrize(
    "policy", [ResizePolicy(mode="none", max_size=None), ResizePolicy(size=3000, max_size=None)]
)
def test_auto_leaves_pictures_alone_that_are_not_shrunk(policy: ResizePolicy) -> None:
    assert len(plan_tiles((3000, 4000), RETINANET.model_copy(update={"resize": policy}), "auto")) == 1


def test_larger_anchors_need_more_tiles() -> None:
    coarse = RETINANET.model_copy(update={"architecture": {"anchors": {"sizes": [64]}}})
    assert len(plan_tiles((1080, 1920), coarse, "auto")) > len(plan_tiles((1080, 1920), RETINANET, "auto"))


@given(
    st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    st.sampled_from([8, 24, 32, 64]),
    st.sampled_from([LONGER, TORCHVISION_RESIZE]),
)
def test_the_ladder_rises_and_its_last_step_is_enough(
    size: tuple[int, int], anchor: int, policy: ResizePolicy
) -> None:
    architecture = {"anchors": {"sizes": [anchor]}}
    info = RETINANET.model_copy(update={"architecture": architecture, "resize": policy})
    ladder = plan_ladder(size, info)
    details = [shrinkage((plan[-1].height, plan[-1].width), policy) for plan in ladder]
    assert len(ladder[0]) == 1
    assert [len(plan) for plan in ladder] == sorted({len(plan) for plan in ladder})
    assert details == sorted(details)
    assert details[-1] >= min(1, anchor / SMALL_OBJECT_PX)
    assert ladder[-1] == plan_tiles(size, info, "auto")


def test_the_smallest_anchor_of_other_families() -> None:
    levels = tuple(LevelInfo(stride=stride, anchors_per_cell=1, topk=9) for stride in (32, 16))
    assert smallest_anchor_px(RETINANET) == 24
    assert smallest_anchor_px(RETINANET.model_copy(update={"architecture": {}})) == 32
    assert smallest_anchor_px(RETINANET.model_copy(update={"architecture": {}, "levels": levels})) == 64


@pytest.mark.parametrize("tiles", ["", "4", "0x2", "2x0", "-1x2", "2x2x2", "2 x 2", "on"])
def test_nonsense_is_refused(tiles: str) -> None:
    with pytest.raises(ValueError, match="off, auto or COLUMNSxROWS"):
        plan_tiles((480, 640), RETINANET, tiles)


@pytest.mark.parametrize(
    ("most_pixels", "lengths"), [(10**9, [10]), (3 * 480 * 480, [2, 3, 2, 3]), (1, [1] * 10)]
)
def test_batches_are_bounded_and_keep_the_order(most_pixels: int, lengths: list[int]) -> None:
    plan = plan_tiles((1000, 1000), RETINANET, "3x3")
    image = np.random.default_rng(0).integers(0, 255, (1000, 1000, 3), np.uint8)
    prepared = prepare_parts(image, plan, LONGER)
    inputs = list(batches(prepared, LONGER.pad_value, most_pixels))
    assert [len(images) for images in inputs] == lengths
    for images, part in zip(np.concatenate(inputs), prepared, strict=True):
        np.testing.assert_array_equal(images, part.pixels)


def test_a_whole_of_another_shape_has_its_own_batch() -> None:
    plan = plan_tiles((500, 1500), RETINANET, "3x1")
    prepared = prepare_parts(np.zeros((500, 1500, 3), np.uint8), plan, LONGER)
    assert [images.shape[:3] for images in batches(prepared, LONGER.pad_value)] == [
        (1, 160, 480),
        (3, 448, 480),
    ]


LEAST_PX = 6
CLASSES = (ClassInfo(name="person", id=1), ClassInfo(name="chair", id=2), ClassInfo(name="car", id=3))
SEEING = ModelInfo(
    name="seeing",
    family="seeing",
    architecture={"anchors": {"sizes": [LEAST_PX]}},
    classes=CLASSES,
    resize=ResizePolicy(mode="longer", size=256, max_size=None, pad_value=(0, 0, 0)),
)


class SeeingEngine:
    """Finds every rectangle of red, green or blue, as much of it as there is, from `LEAST_PX` a side."""

    name, version, numeric_type, device = "seeing", "1", "float32", "cpu"
    threads, streams = 1, 1

    def __call__(
        self, images: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        boxes = np.zeros((len(images), 200, 4), np.float32)
        scores = np.zeros((len(images), 200, 3), np.float32)
        for number, image in enumerate(images):
            for place, (label, box) in enumerate(self.rectangles(image)):
                boxes[number, place], scores[number, place, label] = box, 0.9
        return boxes, scores

    def rectangles(self, image: npt.NDArray[np.uint8]) -> list[tuple[int, list[int]]]:
        found = []
        for label in range(3):
            mask = (image[..., label] > 127).astype(np.uint8)
            _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
            for x, y, width, height, _ in stats[1:].tolist():
                if min(width, height) >= LEAST_PX:
                    found.append((label, [x, y, x + width, y + height]))
        return found


Rectangle = tuple[int, int, int, int, int]
"""x, y, width and height in pixels, label."""


def scene(size: tuple[int, int], rectangles: list[Rectangle]) -> npt.NDArray[np.uint8]:
    image = np.zeros((*size, 3), np.uint8)
    for x, y, width, height, label in rectangles:
        image[y : y + height, x : x + width, label] = 255
    return image


def assert_found_once(rectangles: list[Rectangle], size: tuple[int, int], tiles: str) -> None:
    detector = dw.Detector(SEEING, SeeingEngine())
    found = detector.detect(scene(size, rectangles), threshold=0.5, iou=0.5, tiles=tiles)
    truth = {(label, x, y, x + width, y + height) for x, y, width, height, label in rectangles}
    assert len(found) == len(truth), found.to_dicts()
    for label, box in zip(found.labels, found.boxes, strict=True):
        nearest = min(truth, key=lambda one: np.abs(np.array(one[1:]) - box).max() + 1e6 * (one[0] != label))
        assert nearest[0] == label
        assert iou(np.array(nearest[1:], float), box) > 0.7
        truth.remove(nearest)


def iou(one: npt.NDArray[np.floating], other: npt.NDArray[np.floating]) -> float:
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    common = float(np.prod(np.maximum(sides, 0)))
    return common / float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - common)


SIZE = (1024, 1024)
ON_SEAMS: dict[str, list[Rectangle]] = {
    "nothing": [],
    "small, on a vertical seam": [(505, 100, 14, 14, 0)],
    "small, on the crossing": [(505, 505, 16, 16, 1)],
    "small, in the overlap": [(500, 300, 14, 14, 0), (525, 300, 14, 14, 0)],
    "medium, on the crossing": [(480, 480, 60, 60, 2)],
    "large, over all tiles": [(100, 100, 800, 800, 0)],
    "long and thin, lost in the whole picture": [(40, 300, 900, 18, 0)],
    "a thin cross of two classes": [(40, 505, 900, 18, 0), (505, 40, 18, 900, 1)],
    "of two classes, in one place": [(480, 480, 60, 60, 0), (480, 480, 60, 60, 1)],
    "side by side on a seam": [(480, 100, 70, 30, 0), (480, 140, 70, 30, 0), (480, 180, 70, 30, 0)],
    "small ones in a large one of another class": [(300, 300, 400, 400, 0), (505, 505, 14, 14, 1)],
}


@pytest.mark.parametrize("tiles", ["2x2", "3x2", "4x4"])
@pytest.mark.parametrize("name", ON_SEAMS)
def test_objects_on_seams_are_found_once(name: str, tiles: str) -> None:
    assert_found_once(ON_SEAMS[name], SIZE, tiles)


CELL = 128


@st.composite
def scenes(draw: st.DrawFn) -> list[Rectangle]:
    """Draw rectangles that keep apart: each lies in one to three cells of a grid of its own row."""
    rectangles = []
    for row in range(SIZE[0] // CELL):
        column = 0
        while column < SIZE[1] // CELL:
            span = draw(st.integers(1, 3))
            room = min(column + span, SIZE[1] // CELL) * CELL - column * CELL - 16
            if draw(st.booleans()):
                width, height = draw(st.integers(16, room)), draw(st.integers(16, CELL - 16))
                x = column * CELL + draw(st.integers(0, room - width))
                y = row * CELL + draw(st.integers(0, CELL - 16 - height))
                rectangles.append((x, y, width, height, draw(st.integers(0, 2))))
            column += span
    return rectangles


@settings(max_examples=60, deadline=None)
@given(scenes(), st.sampled_from(["2x2", "3x3", "4x3", "4x4"]))
def test_objects_anywhere_are_found_once(rectangles: list[Rectangle], tiles: str) -> None:
    assert_found_once(rectangles, SIZE, tiles)


def test_small_objects_need_the_tiles() -> None:
    detector = dw.Detector(SEEING, SeeingEngine())
    image = scene(SIZE, [(x, y, 14, 14, 0) for x in range(10, 1000, 60) for y in range(10, 1000, 60)])
    assert len(detector.detect(image, threshold=0.5, tiles="off")) == 0
    assert len(detector.detect(image, threshold=0.5, tiles="3x3")) == 17 * 17


def test_a_limit_cuts_the_whole_result_and_says_so() -> None:
    detector = dw.Detector(SEEING, SeeingEngine())
    image = scene(SIZE, [(x, 500, 60, 60, 0) for x in range(10, 1000, 100)])
    found = detector.detect(image, threshold=0.5, max_detections=7, tiles="2x2")
    assert (len(found), found.saturated) == (7, True)
    found = detector.detect(image, threshold=0.5, max_detections=10, tiles="2x2")
    assert (len(found), found.saturated) == (10, False)


@pytest.mark.parametrize(("tiles", "count"), [("off", 0), ("2x2", 6)])
def test_through_a_model_file(tmp_path: Path, tiles: str, count: int) -> None:
    """Tiles of 320 px are not scaled, and their cells of 32 px lie on the squares."""
    policy = ResizePolicy(mode="longer", size=320, max_size=None, pad_value=(0, 0, 0))
    info = tiny_info(strides=(32,), resize=policy)
    info = info.model_copy(update={"architecture": {"anchors": {"sizes": [35.5]}}})
    detector = dw.load(write_tiny_model(tmp_path / "tiny.onnx", info))
    image = draw_squares((576, 576), [(256, 256, 64, "person"), (0, 0, 32, "car"), (544, 544, 32, "chair")])
    found = detector.detect(image, threshold=0.9, tiles=tiles)
    assert len(found) == count
    assert found.size == (576, 576)


def test_a_picture_file_is_read_whole_for_tiles(tmp_path: Path) -> None:
    """Without tiles, a quarter of a large JPEG's pixels is enough."""
    policy = ResizePolicy(mode="longer", size=320, max_size=None, pad_value=(0, 0, 0))
    detector = dw.load(write_tiny_model(tmp_path / "tiny.onnx", tiny_info(strides=(32,), resize=policy)))
    image = draw_squares((640, 640), [(320, 320, 32, "person")])
    Image.fromarray(image).save(tmp_path / "large.jpg", quality=98, subsampling=0)
    assert len(detector.detect(tmp_path / "large.jpg", threshold=0.8)) == 0
    found = detector.detect(tmp_path / "large.jpg", threshold=0.8, tiles="3x3")
    assert found.size == (640, 640)
    assert found.counts() == detector.detect(image, threshold=0.8, tiles="3x3").counts()


def test_wrong_plans_are_told_before_any_work() -> None:
    detector = dw.Detector(SEEING, SeeingEngine())
    with pytest.raises(TilesError, match=r"off, auto or COLUMNSxROWS such as 4x3, not '4\*3'"):
        detector.detect("no-such-picture.jpg", tiles="4*3")
    with pytest.raises(TilesError, match="64x64 px is too small for 4x4 tiles"):
        detector.detect(np.zeros((64, 64, 3), np.uint8), tiles="4x4")
