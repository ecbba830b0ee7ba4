"""Annotated pictures show every object, hide little, and never replace an input."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from densewatch.detections import Detections
from densewatch.imaging.draw import _COLORS, draw
from densewatch.imaging.layout import MAX_COVERED, covered, emptiest_corner, place_labels

NAMES = tuple(f"class {index}" for index in range(30))


def grey(height: int, width: int) -> npt.NDArray[np.uint8]:
    return np.full((height, width, 3), 128, np.uint8)


def found(boxes: list[list[float]], labels: list[int], size: tuple[int, int]) -> Detections:
    scores = np.linspace(0.95, 0.5, len(boxes), dtype=np.float32)
    return Detections(np.array(boxes, np.float32), scores, np.array(labels, np.int64), NAMES, size)


def color_of(label: int) -> tuple[int, ...]:
    return _COLORS[label % len(_COLORS)]


def grid(rows: int, columns: int, side_px: float, step_px: float) -> list[list[float]]:
    corners = [(column * step_px, row * step_px) for row in range(rows) for column in range(columns)]
    return [[x, y, x + side_px, y + side_px] for x, y in corners]


def test_boxes_have_the_colour_of_their_class_and_the_rest_is_untouched() -> None:
    image = grey(480, 640)
    drawn = draw(image, found([[100, 150, 300, 350], [400, 200, 500, 400]], [3, 7], (480, 640)))
    assert tuple(drawn[350, 200]) == color_of(3)
    assert tuple(drawn[300, 100]) == color_of(3)
    assert tuple(drawn[400, 450]) == color_of(7)
    assert tuple(drawn[250, 200]) == tuple(drawn[50, 50]) == (128, 128, 128)
    assert (image == 128).all()


def test_a_label_stands_above_its_box() -> None:
    drawn = draw(grey(480, 640), found([[100, 150, 300, 350]], [3], (480, 640)))
    label = drawn[135:149, 100:180]
    assert (label == color_of(3)).all(axis=2).mean() > 0.4
    assert (label.max(axis=2) < 60).mean() > 0.05, "no dark text on it"
    assert (drawn[:120] == 128).all(), "one labelled object needs no legend"


def test_a_box_on_the_border_is_in_sight() -> None:
    drawn = draw(grey(480, 640), found([[0, 0, 640, 480]], [3], (480, 640)))
    assert tuple(drawn[479, 300]) == tuple(drawn[200, 639]) == tuple(drawn[300, 0]) == color_of(3)


def test_many_boxes_get_a_legend_instead_of_labels() -> None:
    boxes = grid(12, 30, side_px=18, step_px=20)
    labels = [index % 2 for index in range(360)]
    drawn = draw(grey(480, 640), found(boxes, labels, (480, 640)))
    below = drawn[242:].astype(int)
    assert (below.max(axis=2) < 60).any(), "the legend's panel"
    for label in (0, 1):
        assert (below == color_of(label)).all(axis=2).any(), "the legend's swatch"


def test_more_classes_than_the_legend_has_rows() -> None:
    boxes = grid(15, 30, side_px=18, step_px=20)
    drawn = draw(grey(900, 640), found(boxes, [index % 30 for index in range(450)], (900, 640)))
    panel_rows = (drawn[320:].max(axis=2) < 100).any(axis=1).sum()
    assert 100 < panel_rows < 330


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (64, 64), (40, 2000), (3000, 50)])
def test_any_size_of_picture(size: tuple[int, int]) -> None:
    height, width = size
    detections = found(
        [[0, 0, width, height], [width / 4, height / 4, width / 2, height / 2]] * 20, [1] * 40, size
    )
    drawn = draw(grey(height, width), detections)
    assert drawn.shape == (height, width, 3)
    assert drawn.dtype == np.uint8
    assert drawn.flags.writeable


def test_a_picture_without_objects_is_a_copy() -> None:
    image = grey(20, 30)
    drawn = draw(image, Detections.empty(NAMES, (20, 30)))
    np.testing.assert_array_equal(drawn, image)
    assert not np.shares_memory(drawn, image)


def test_detections_of_another_picture_are_refused() -> None:
    with pytest.raises(ValueError, match=r"size \(20, 30\), but this one is \(30, 20\)"):
        draw(grey(30, 20), Detections.empty(NAMES, (20, 30)))


@pytest.mark.parametrize(
    ("box", "place"),
    [
        ([100, 100, 160, 160], [100, 80, 150, 100]),
        ([100, 5, 160, 65], [100, 65, 150, 85]),
        ([100, 5, 160, 295], [100, 5, 150, 25]),
        ([380, 100, 400, 160], [350, 80, 400, 100]),
    ],
    ids=["above", "below", "within", "shifted left"],
)
def test_where_one_label_goes(box: list[float], place: list[float]) -> None:
    places = place_labels(np.array([box], np.float32), np.array([[50, 20]], np.float32), (300, 400))
    assert list(places) == [0]
    np.testing.assert_array_equal(places[0], place)


def test_a_label_without_room_is_left_out() -> None:
    size_px = np.array([[50, 20]], np.float32)
    assert place_labels(np.array([[0, 0, 40, 15]], np.float32), size_px, (18, 400)) == {}
    assert place_labels(np.array([[0, 0, 40, 40]], np.float32), size_px, (300, 45)) == {}
    assert place_labels(np.zeros((0, 4), np.float32), np.zeros((0, 2), np.float32), (9, 9)) == {}


coordinates = st.integers(0, 400)


@given(
    corners=st.lists(st.tuples(coordinates, coordinates, coordinates, coordinates), min_size=1, max_size=20)
)
def test_labels_hide_no_label_and_little_of_any_other_object(
    corners: list[tuple[int, int, int, int]],
) -> None:
    raw = np.array(corners, np.float32)
    boxes = np.concatenate([np.minimum(raw[:, :2], raw[:, 2:]), np.maximum(raw[:, :2], raw[:, 2:])], axis=1)
    places = place_labels(boxes, np.full((len(boxes), 2), (60, 18), np.float32), (400, 400))
    rectangles = np.array(list(places.values()), np.float32).reshape(-1, 4)
    assert ((rectangles >= 0) & (rectangles <= 400)).all()
    for position, (index, place) in enumerate(places.items()):
        assert not np.delete(covered(rectangles, place), position).any()
        assert (np.delete(covered(boxes, place), index) <= MAX_COVERED).all()


def test_covered() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 5, 15, 15], [20, 20, 30, 30], [3, 3, 3, 9]], np.float32)
    np.testing.assert_allclose(covered(boxes, np.array([0, 0, 10, 5], np.float32)), [0.5, 0, 0, 0])
    np.testing.assert_allclose(covered(boxes, np.array([0, 0, 10, 10], np.float32)), [1, 0.25, 0, 0])


@pytest.mark.parametrize(
    ("empty", "corner"), [(0, (4, 4)), (1, (76, 4)), (2, (4, 86)), (3, (76, 86))], ids=str
)
def test_emptiest_corner(empty: int, corner: tuple[float, float]) -> None:
    boxes = np.array([[0, 0, 30, 30], [70, 0, 100, 30], [0, 70, 30, 100], [70, 70, 100, 100]], np.float32)
    assert emptiest_corner(np.delete(boxes, empty, axis=0), (20, 10), (100, 100), 4) == corner
