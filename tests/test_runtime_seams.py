"""What tiles and the whole picture found, merged: hand-made boxes, rule by rule."""

from __future__ import annotations

import numpy as np
import pytest

from densewatch.detections import Detections
from densewatch.runtime.candidates import Filter, Limits
from densewatch.runtime.seams import Tile, merge_tiles

WHOLE = Tile(0, 0, 190, 100)
LEFT, RIGHT = Tile(0, 0, 100, 100), Tile(90, 0, 100, 100)
TILES = (WHOLE, LEFT, RIGHT)
NAMES = ("person", "chair")
WANTED = Filter(0.1, 0.5)

Row = tuple[float, float, float, float, float]
"""x1, y1, x2, y2 in the part, score."""


def part(tile: Tile, *rows: Row, label: int = 0, saturated: bool = False) -> Detections:
    table = np.array(rows, np.float32).reshape(-1, 5)
    labels = np.full(len(table), label, np.int64)
    size = (tile.height, tile.width)
    return Detections(table[:, :4], table[:, 4], labels, NAMES, size, saturated=saturated)


def merged(whole: list[Row], left: list[Row], right: list[Row], wanted: Filter = WANTED) -> list[list[float]]:
    """Return x1, y1, x2, y2 and score of what is left, best first."""
    parts = [part(tile, *rows) for tile, rows in zip(TILES, (whole, left, right), strict=True)]
    found = merge_tiles(parts, TILES, wanted)
    assert found.size == (100, 190)
    rows: list[list[float]] = np.column_stack([found.boxes, found.scores]).tolist()
    return rows


@pytest.mark.parametrize(
    ("whole", "left", "right", "expected"),
    [
        pytest.param([], [], [], [], id="nothing"),
        pytest.param([], [], [(50, 10, 70, 30, 0.5)], [[140, 10, 160, 30, 0.5]], id="shifted"),
        pytest.param(
            [(20, 20, 60, 60, 0.6)],
            [(22, 22, 60, 60, 0.8)],
            [],
            [[22, 22, 60, 60, 0.8]],
            id="whole twice: the better",
        ),
        pytest.param(
            [(20, 20, 180, 80, 0.4)],
            [(20, 20, 100, 80, 0.9)],
            [(0, 20, 90, 80, 0.8)],
            [[20, 20, 180, 80, 0.4]],
            id="large: the whole picture's, though its parts have better scores",
        ),
        pytest.param(
            [], [(94, 20, 100, 80, 0.9)], [(4, 20, 60, 80, 0.5)], [[94, 20, 150, 80, 0.5]], id="seen better"
        ),
        pytest.param([], [(94, 20, 100, 80, 0.9)], [], [], id="seen better, and not found there"),
        pytest.param(
            [], [(20, 20, 100, 80, 0.7)], [(0, 20, 50, 80, 0.9)], [[20, 20, 140, 80, 0.9]], id="joined"
        ),
        pytest.param(
            [],
            [(20, 20, 100, 40, 0.7)],
            [(0, 60, 50, 80, 0.9)],
            [[90, 60, 140, 80, 0.9], [20, 20, 100, 40, 0.7]],
            id="two objects, each cut",
        ),
        pytest.param(
            [],
            [(20, 20, 100, 80, 0.7), (60, 22, 100, 82, 0.6)],
            [(0, 20, 50, 80, 0.9)],
            [[20, 20, 140, 80, 0.9], [60, 22, 100, 82, 0.6]],
            id="joined once: the best of a tile",
        ),
        pytest.param(
            [(100, 20, 180, 80, 0.9)],
            [(20, 20, 99.5, 80, 0.7)],
            [],
            [[100, 20, 180, 80, 0.9], [20, 20, 99.5, 80, 0.7]],
            id="a neighbour that the tile does not show explains nothing",
        ),
        pytest.param(
            [],
            [(0, 0, 50, 100, 0.9)],
            [],
            [[0, 0, 50, 100, 0.9]],
            id="the border of the picture cuts nothing",
        ),
    ],
)
def test_by_hand(whole: list[Row], left: list[Row], right: list[Row], expected: list[list[float]]) -> None:
    assert merged(whole, left, right) == [pytest.approx(row, abs=1e-3) for row in expected]


def test_parts_of_other_classes_are_other_objects() -> None:
    parts = [
        part(WHOLE, (20, 20, 180, 80, 0.4)),
        part(LEFT, (20, 20, 100, 80, 0.9), label=1),
        part(RIGHT, (0, 20, 90, 80, 0.8)),
    ]
    found = merge_tiles(parts, TILES, WANTED)
    assert found.labels.tolist() == [1, 0]
    np.testing.assert_array_equal(found.boxes, [[20, 20, 100, 80], [20, 20, 180, 80]])


def test_four_parts_around_a_crossing_are_one() -> None:
    tiles = (Tile(0, 0, 190, 190), *(Tile(x, y, 100, 100) for y in (0, 90) for x in (0, 90)))
    boxes: list[Row] = [
        (50, 60, 100, 100, 0.5),
        (0, 60, 60, 100, 0.6),
        (50, 0, 100, 50, 0.9),
        (0, 0, 60, 50, 0.7),
    ]
    parts = [part(tiles[0]), *(part(tile, box) for tile, box in zip(tiles[1:], boxes, strict=True))]
    found = merge_tiles(parts, tiles, WANTED)
    np.testing.assert_array_equal(found.boxes, [[50, 60, 150, 140]])
    np.testing.assert_allclose(found.scores, [0.9])


@pytest.mark.parametrize("saturated", [(False, False, False), (True, False, False), (False, False, True)])
def test_saturated_if_any_part_is(saturated: tuple[bool, ...]) -> None:
    parts = [part(tile, saturated=flag) for tile, flag in zip(TILES, saturated, strict=True)]
    assert merge_tiles(parts, TILES, WANTED).saturated == any(saturated)


def test_a_limit_counts_objects_of_the_picture() -> None:
    parts = [
        part(WHOLE),
        part(LEFT, (0, 0, 9, 9, 0.5), (20, 0, 29, 9, 0.9)),
        part(RIGHT, (50, 0, 59, 9, 0.7)),
    ]
    found = merge_tiles(parts, TILES, Filter(0.1, 0.5, limits=Limits(max_detections=2)))
    np.testing.assert_allclose(found.scores, [0.9, 0.7])
    assert found.saturated


@pytest.mark.parametrize("most", [None, 1])
def test_the_whole_picture_alone(most: int | None) -> None:
    alone = part(WHOLE, (20, 20, 60, 60, 0.6), (30, 20, 70, 60, 0.5))
    found = merge_tiles([alone], [WHOLE], Filter(0.1, 0.5, limits=Limits(max_detections=most)))
    assert (len(found), found.saturated) == ((2, False) if most is None else (1, True))


def test_other_suppression_applies_to_the_whole_result() -> None:
    parts = [part(WHOLE, (20, 20, 60, 60, 0.6)), part(LEFT, (20, 20, 60, 60, 0.8), label=1), part(RIGHT)]
    assert len(merge_tiles(parts, TILES, WANTED)) == 2
    assert len(merge_tiles(parts, TILES, Filter(0.1, 0.5, suppression="agnostic"))) == 1


def test_results_and_tiles_must_agree() -> None:
    with pytest.raises(ValueError, match="2 results for 3 tiles"):
        merge_tiles([part(WHOLE), part(LEFT)], TILES, WANTED)
