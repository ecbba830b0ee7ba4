"""Lines: who goes over, which way, and who does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from densewatch.live.analysis import Analysis
from densewatch.live.results import Crossing
from densewatch.live.settings import CameraSettings, LineSettings
from live_scenes import NAMES, START, Row, Walker, around, detections, play

Place = tuple[float, float]
UP: tuple[Place, Place] = ((0.5, 1.0), (0.5, 0.0))


def crossings(
    line: LineSettings, places: Sequence[Place | None], fps: float = 10, score: float = 0.8
) -> tuple[list[Crossing], dict[str, int]]:
    """Return who crosses, and the totals, where one object is at these places, one a frame."""
    analysis = Analysis("door", CameraSettings(source="x", lines={"a": line}), NAMES)
    found: list[Crossing] = []
    for frame, place in enumerate(places):
        rows: list[Row] = [] if place is None else [("person", score, around(*place))]
        analysed = analysis.update(detections(*rows), START + frame / fps)
        found += analysed.crossings
    return found, {str(direction): number for direction, number in analysed.lines["a"].items()}


def walk(start: Place, end: Place, frames: int = 20) -> list[Place]:
    return [
        (start[0] + (end[0] - start[0]) * i / (frames - 1), start[1] + (end[1] - start[1]) * i / (frames - 1))
        for i in range(frames)
    ]


@pytest.mark.parametrize(
    ("line", "way", "direction"),
    [
        # Looking up the picture, right is right.
        (UP, ((0.2, 0.5), (0.8, 0.5)), "in"),
        (UP, ((0.8, 0.5), (0.2, 0.5)), "out"),
        # Looking down the picture, right is left.
        (((0.5, 0.0), (0.5, 1.0)), ((0.8, 0.5), (0.2, 0.5)), "in"),
        (((0.5, 0.0), (0.5, 1.0)), ((0.2, 0.5), (0.8, 0.5)), "out"),
        # Looking from left to right, right is below.
        (((0.0, 0.5), (1.0, 0.5)), ((0.5, 0.2), (0.5, 0.8)), "in"),
        (((0.0, 0.5), (1.0, 0.5)), ((0.5, 0.8), (0.5, 0.2)), "out"),
        # Looking from right to left, right is above.
        (((1.0, 0.5), (0.0, 0.5)), ((0.5, 0.8), (0.5, 0.2)), "in"),
        (((1.0, 0.5), (0.0, 0.5)), ((0.5, 0.2), (0.5, 0.8)), "out"),
        # Aslant, from the top left to the bottom right: right is below and left.
        (((0.0, 0.0), (1.0, 1.0)), ((0.8, 0.2), (0.2, 0.8)), "in"),
    ],
)
def test_in_goes_to_the_right_of_who_looks_along(
    line: tuple[Place, Place], way: tuple[Place, Place], direction: str
) -> None:
    found, totals = crossings(LineSettings(start=line[0], end=line[1]), walk(*way))
    assert found == [Crossing("a", direction, "person", 1)]  # type: ignore[arg-type]
    assert totals == {"in": int(direction == "in"), "out": int(direction == "out")}


LINE = LineSettings(start=UP[0], end=UP[1], margin=0.05)  # 0.05 of the diagonal is 0.0625 of the width


def test_to_and_fro_within_the_margin_is_nothing() -> None:
    places = [*walk((0.2, 0.5), (0.5, 0.5), 10), *[(0.5 + 0.025 * (-1) ** i, 0.5) for i in range(40)]]
    assert crossings(LINE, places)[1] == {"in": 0, "out": 0}
    assert crossings(LINE, [*places, *walk((0.5, 0.5), (0.2, 0.5), 10)])[1] == {"in": 0, "out": 0}
    assert crossings(LINE, [*places, *walk((0.5, 0.5), (0.8, 0.5), 10)])[1] == {"in": 1, "out": 0}


def test_the_margin_is_exact() -> None:
    for x, expected in [(0.5 + 0.0620, 0), (0.5 + 0.0630, 1)]:
        assert crossings(LINE, [*walk((0.2, 0.5), (x, 0.5)), (x, 0.5)])[1]["in"] == expected


def test_there_and_back_is_one_each_way() -> None:
    places = [*walk((0.2, 0.5), (0.8, 0.5)), *walk((0.8, 0.5), (0.2, 0.5))]
    assert crossings(LINE, places)[1] == {"in": 1, "out": 1}


def test_a_first_sight_on_the_far_side_is_no_crossing() -> None:
    assert crossings(LINE, walk((0.55, 0.5), (0.9, 0.5)))[1] == {"in": 0, "out": 0}


def test_who_walks_round_the_end_does_not_cross() -> None:
    short = LineSettings(start=(0.5, 1.0), end=(0.5, 0.6), margin=0.01)
    above = [*walk((0.2, 0.8), (0.2, 0.3)), *walk((0.2, 0.3), (0.8, 0.3)), *walk((0.8, 0.3), (0.8, 0.8))]
    assert crossings(short, above)[1] == {"in": 0, "out": 0}
    assert crossings(short, walk((0.2, 0.8), (0.8, 0.8)))[1] == {"in": 1, "out": 0}
    # Round the end and back through it.
    assert crossings(short, [*above, *walk((0.8, 0.8), (0.2, 0.8))])[1] == {"in": 0, "out": 1}


def test_who_jumps_over_in_one_frame_crosses() -> None:
    places = [*[(0.44, 0.5)] * 10, *[(0.53, 0.5)] * 10]
    line = LineSettings(start=UP[0], end=UP[1], margin=0.01)
    assert crossings(line, places, fps=5)[1] == {"in": 1, "out": 0}


def test_who_is_hidden_on_the_line_crosses() -> None:
    places: list[Place | None] = [*walk((0.2, 0.5), (0.8, 0.5), 30)]
    places[13:19] = [None] * 6
    assert crossings(LINE, places)[1] == {"in": 1, "out": 0}


def test_who_crosses_before_it_is_sure_is_counted_once_it_is() -> None:
    found, _ = crossings(LINE, walk((0.43, 0.5), (0.57, 0.5), 3) + [(0.57, 0.5)] * 5)
    assert [crossing.direction for crossing in found] == ["in"]


def test_a_ghost_crosses_nothing() -> None:
    places: list[Place | None] = [(0.43, 0.5), (0.57, 0.5), *[None] * 20]
    assert crossings(LINE, places)[0] == []


def test_a_line_has_its_own_filters() -> None:
    cars = LineSettings(start=UP[0], end=UP[1], only=("car",))
    assert crossings(cars, walk((0.2, 0.5), (0.8, 0.5)))[0] == []
    strict = LineSettings(start=UP[0], end=UP[1], threshold=0.9)
    assert crossings(strict, walk((0.2, 0.5), (0.8, 0.5)))[0] == []
    loose = LineSettings(start=UP[0], end=UP[1], threshold=0.2)
    assert len(crossings(loose, walk((0.2, 0.5), (0.8, 0.5)), score=0.3)[0]) == 1


@pytest.mark.parametrize(("anchor", "expected"), [("bottom", 0), ("center", 1)])
def test_the_anchor_decides(anchor: str, expected: int) -> None:
    """The middle goes from 0.2 to 0.8, the feet an eighth of the height lower."""
    line = LineSettings.model_validate({"start": (0, 0.3), "end": (1, 0.3), "anchor": anchor})
    assert crossings(line, walk((0.5, 0.2), (0.5, 0.5)))[1]["in"] == expected


@pytest.mark.parametrize("fps", [2, 5, 10, 30])
def test_a_walker_crosses_once_at_every_rate(fps: float) -> None:
    analysis = Analysis("door", CameraSettings(source="x", lines={"a": LINE}), NAMES)
    for time, found in play([Walker(0, 5, (0.1, 0.5), (0.9, 0.5))], 6, fps):
        totals = analysis.update(found, time).lines["a"]
    assert totals == {"in": 1, "out": 0}


def test_totals_outlive_a_line_that_is_moved() -> None:
    analysis = Analysis("door", CameraSettings(source="x", lines={"a": LINE}), NAMES)
    for frame, place in enumerate(walk((0.2, 0.5), (0.8, 0.5))):
        analysis.update(detections(("person", 0.8, around(*place))), START + frame / 10)
    moved = LineSettings(start=(0.9, 1), end=(0.9, 0))
    analysis.replace(CameraSettings(source="x", lines={"a": moved}))
    analysed = analysis.update(detections(("person", 0.8, around(0.8, 0.5))), START + 2)
    assert analysed.lines == {"a": {"in": 1, "out": 0}}
    assert analysed.crossings == ()


@pytest.mark.parametrize("change", [{"anchor": "center"}, {"margin": 0.2}])
def test_who_stands_still_does_not_cross_when_the_line_means_something_else(change: dict[str, Any]) -> None:
    level = {"start": (0, 0.55), "end": (1, 0.55), "anchor": "bottom", "margin": 0.01}
    analysis = Analysis("door", CameraSettings.model_validate({"source": "x", "lines": {"a": level}}), NAMES)
    box = detections(("person", 0.8, around(0.5, 0.5)))  # its feet are below the line, its middle above
    for frame in range(10):
        analysis.update(box, START + frame / 10)
    analysis.replace(CameraSettings.model_validate({"source": "x", "lines": {"a": {**level, **change}}}))
    for frame in range(10, 20):
        analysed = analysis.update(box, START + frame / 10)
        assert analysed.lines == {"a": {"in": 0, "out": 0}}


@settings(max_examples=30)
@given(st.lists(st.floats(-0.04, 0.04), min_size=10, max_size=80))
def test_in_minus_out_is_the_change_of_sides(steps: list[float]) -> None:
    """However an object wanders: over a line through the whole picture, the totals tell where it is."""
    places = [(0.3, 0.5)] * 5
    for step in steps:
        places.append((min(max(places[-1][0] + step, 0.05), 0.95), 0.5))
    places += walk(places[-1], (0.9, 0.5), 40) + [(0.9, 0.5)] * 3
    _, totals = crossings(LINE, places)
    assert totals["in"] - totals["out"] == 1
