"""Deadlines: what is given up first, and that the time is kept."""

from __future__ import annotations

import time
from statistics import median

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import densewatch as dw
from densewatch.metadata import ResizePolicy
from densewatch.runtime.deadline import Cost, DeadlineError, choose, looks, parse_deadline
from densewatch.runtime.engine import Output
from tiny_model import tiny_info

INFO = tiny_info(
    strides=(32,), topk=10**6, resize=ResizePolicy(mode="longer", size=320, max_size=None)
).model_copy(update={"architecture": {"anchors": {"sizes": [32]}}})
LARGE = (960, 1280)


@pytest.mark.parametrize(("text", "ms"), [("100ms", 100), ("0.5s", 500), (" 2 s ", 2000), ("1.5ms", 1.5)])
def test_times(text: str, ms: float) -> None:
    assert parse_deadline(text) == ms


@pytest.mark.parametrize("text", ["", "100", "0ms", "-5ms", "1h", "ms", "nan s"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(DeadlineError, match=r"such as 100ms or 0\.5s"):
        parse_deadline(text)


def test_resolution_comes_before_tiles() -> None:
    ways = looks(LARGE, INFO, "auto")
    titles = [way.title for way in ways]
    assert titles[:3] == [
        "50% of the resolution",
        "70% of the resolution",
        "the whole picture at full resolution",
    ]
    assert all(title.endswith("tiles") for title in titles[3:])
    assert len(titles) > 4
    assert [len(way.plan) for way in looks(LARGE, INFO, "2x1")][-2:] == [1, 3]
    assert len(looks((240, 320), INFO, "off")) == 3


@given(
    height=st.integers(64, 3000), width=st.integers(64, 3000), tiles=st.sampled_from(["off", "auto", "2x2"])
)
def test_every_way_costs_more_than_the_one_before(height: int, width: int, tiles: str) -> None:
    pixels = [way.pixels for way in looks((height, width), INFO, tiles)]
    assert pixels == sorted(pixels)


def test_the_finest_way_in_time_is_chosen_and_the_coarsest_where_there_is_none() -> None:
    ways, cost = looks(LARGE, INFO, "auto"), Cost()
    cost.add(ways[2].pixels, 10.0)
    assert choose(ways, cost, 10_000) == ways[-1]
    assert choose(ways, cost, 12) == ways[2]
    assert choose(ways, cost, 0.001) == ways[0]


def test_cost_is_that_of_the_nearest_size_and_forgets() -> None:
    cost = Cost()
    assert not cost.known
    cost.add(1000, 10.0)
    cost.add(100_000, 500.0)
    assert cost.of(2000) == pytest.approx(20)
    assert cost.of(200_000) == pytest.approx(1000)
    for _ in range(40):
        cost.add(1000, 30.0)
    assert cost.of(1000) == pytest.approx(30)
    assert cost.of(100_000) == pytest.approx(3000)


class SlowEngine:
    """Takes a microsecond a pixel, and finds nothing."""

    name, version, numeric_type, device = "slow", "1", "float32", "cpu"
    threads, streams = 1, 1

    def __call__(self, images: npt.NDArray[np.uint8]) -> Output:
        count, height, width, _ = images.shape
        time.sleep(count * height * width * 1e-6)
        cells = (height // 32) * (width // 32)
        return np.zeros((count, cells, 4), np.float32), np.zeros((count, cells, 3), np.float32)


def test_pictures_are_done_in_time_and_it_is_said_what_was_left_out() -> None:
    detector = dw.Detector(INFO, SlowEngine())
    image = np.zeros((*LARGE, 3), np.uint8)
    unhurried = detector.detect_timed(image, tiles="auto")[1]
    assert unhurried.left_out is None
    assert unhurried.total_ms > 600
    for deadline_ms in (400, 200, 60):
        timings = [detector.detect_timed(image, tiles="auto", deadline_ms=deadline_ms)[1] for _ in range(5)]
        # The middle one: no plan holds where the machine lends the core to another in mid picture.
        assert median(timing.total_ms for timing in timings) < deadline_ms
        assert all(timing.left_out is not None and "tiles" in timing.left_out for timing in timings)
    assert detector.detect_timed(image, tiles="auto", deadline_ms=60_000)[1].left_out is None


def test_the_first_picture_is_in_time_too() -> None:
    detector = dw.Detector(INFO, SlowEngine())
    timing = detector.detect_timed(np.zeros((*LARGE, 3), np.uint8), deadline_ms=60)[1]
    assert timing.network_ms < 60
    assert timing.left_out == "the whole picture at full resolution"
    with pytest.raises(ValueError, match="more than 0"):
        detector.detect(np.zeros((64, 64, 3), np.uint8), deadline_ms=0)
