"""Time bins: what was counted over observed time, and what was not observed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from densewatch.detections import Detections
from densewatch.live.bins import GRACE_S, HOLD_S, Bins
from densewatch.live.clock import Clock
from densewatch.live.results import Crossing, FrameResult, ZoneCount
from densewatch.live.settings import CameraSettings
from densewatch.records import Bin, CountBin, LineBin, Place, share_of
from live_scenes import BLACK, NAMES, SIZE, START

T = int(START)


def settings(*zones: str, only: tuple[str, ...] | None = None) -> CameraSettings:
    """Return settings with these zones and the line `gate`."""
    return CameraSettings.model_validate(
        {
            "source": "x",
            "only": only,
            "zones": {id: {"points": [[0, 0], [1, 0], [1, 1]]} for id in zones},
            "lines": {"gate": {"start": [0, 0], "end": [1, 1], "only": ["person"]}},
        }
    )


def watched(bin: Bin, place: Place, label: str | None = None) -> float:
    """Return for which share of a bin a class was watched."""
    return bin.observation.observed * share_of(bin.observation.watched, place, label)


class Counter:
    """Bins of a minute."""

    def __init__(self, seconds: int = 60) -> None:
        self.clock = Clock()
        self.bins = Bins("door", settings("a", "b"), NAMES, seconds, self.clock)
        self.out: list[Bin] = []

    def at(
        self,
        time: float,
        counts: Mapping[str, int] | None = None,
        zones: Mapping[str, Mapping[str, int]] | None = None,
        crossings: tuple[Crossing, ...] = (),
        age_ms: float = 0.0,
    ) -> None:
        self.clock.advance(START + time)
        frame = FrameResult(
            camera="door",
            frame=0,
            time=START + time,
            time_source="pts",
            age_ms=age_ms,
            stale=False,
            detections=Detections.empty(NAMES, SIZE),
            counts=counts or {},
            zones={id: ZoneCount(of) for id, of in (zones or {}).items()},
            lines={},
            crossings=crossings,
            image=BLACK,
        )
        self.out += self.bins.add(frame)

    def tick(self, time: float) -> None:
        self.out += self.bins.tick(START + time)

    def close(self) -> list[Bin]:
        self.out += self.bins.close()
        return self.out


def frames(counter: Counter, start: float, end: float, fps: float, counts: Mapping[str, int]) -> None:
    for index in range(round((end - start) * fps)):
        counter.at(start + index / fps, counts)


def test_a_minute_is_counted_over_time() -> None:
    counter = Counter()
    frames(counter, 0, 15, 10, {"person": 1})
    frames(counter, 15, 45, 10, {"person": 2})
    frames(counter, 45, 60, 10, {"person": 4})
    counter.at(60, {})
    (bin,) = counter.out
    assert bin.observation.observed == pytest.approx(1)
    (row,) = bin.counts
    assert row == CountBin("door", None, "person", T, 60, 1, row.mean, 4, bin.observation.observed)
    assert row.mean == pytest.approx(2.25)


def test_the_mean_is_over_time_not_over_frames() -> None:
    """Half of the time at 30 frames a second with one, half of it at 1 a second with three."""
    counter = Counter()
    frames(counter, 0, 30, 30, {"person": 1})
    frames(counter, 30, 60, 1, {"person": 3})
    counter.at(60)
    assert counter.out[0].counts[0].mean == pytest.approx(2, abs=0.05)


def test_a_class_that_was_there_at_times_was_absent_at_others() -> None:
    """The least of a class that some frames do not name is 0."""
    late = Counter()
    frames(late, 0, 30, 10, {})
    frames(late, 30, 60, 10, {"car": 2})
    early = Counter()
    frames(early, 0, 30, 10, {"car": 2})
    frames(early, 30, 60, 10, {})
    for counter in (late, early):
        counter.at(60)
        (row,) = counter.out[0].counts
        assert (row.minimum, row.maximum) == (0, 2)
        assert row.mean == pytest.approx(1, abs=0.01)


def test_an_empty_room_is_observed_and_has_no_rows() -> None:
    counter = Counter()
    frames(counter, 0, 60, 5, {})
    counter.at(60)
    assert counter.out[0].observation.observed == pytest.approx(1)
    assert counter.out[0].counts == ()


def test_a_gap_is_no_data_and_not_zero() -> None:
    counter = Counter()
    frames(counter, 0, 20, 10, {"person": 3})
    frames(counter, 50, 60, 10, {"person": 3})
    counter.at(60)
    (bin,) = counter.out
    assert bin.observation.observed == pytest.approx(30 / 60, abs=0.005)
    (row,) = bin.counts
    assert (row.minimum, row.mean, row.maximum) == (3, 3, 3)


def test_a_short_pause_is_no_gap() -> None:
    counter = Counter()
    frames(counter, 0, 20, 10, {"person": 3})
    frames(counter, 21.5, 60, 10, {"person": 3})
    counter.at(60)
    assert counter.out[0].observation.observed == pytest.approx(1)


@pytest.mark.parametrize("interval", [1, 5, 20])
def test_slow_cameras_are_observed_all_the_time(interval: float) -> None:
    counter = Counter()
    for index in range(round(600 / interval) + 1):
        counter.at(index * interval, {"car": 1})
        counter.tick(index * interval + interval * 0.9)
    settled = counter.out[4:]
    assert settled
    assert all(bin.observation.observed == pytest.approx(1) for bin in settled)


def test_a_frame_speaks_for_both_sides_of_a_border() -> None:
    counter = Counter()
    frames(counter, 0, 59.5, 2, {})
    counter.at(59.5, {"person": 1})
    counter.at(60.5, {"person": 2})
    for index in range(1, 61):
        counter.at(60.5 + index, {})
    first, second = counter.out
    assert first.counts[0].mean == pytest.approx(0.5 / 60)
    assert first.counts[0].maximum == 1
    assert second.counts[0].mean == pytest.approx((0.5 * 1 + 1 * 2) / 60)
    assert second.counts[0].maximum == 2
    assert second.counts[0].start_time == T + 60


def test_zones_and_classes_are_apart() -> None:
    counter = Counter()
    for index in range(61):
        counter.at(index, {"person": 2, "car": 1}, {"a": {"person": 1}, "b": {}})
    rows = {(row.zone, row.label): row.mean for row in counter.out[0].counts}
    assert rows == {(None, "person"): 2, (None, "car"): 1, ("a", "person"): 1}


def test_a_zone_was_not_watched_before_it_was_drawn() -> None:
    counter = Counter()
    counter.bins.replace(settings())
    for second in range(20):
        counter.at(second, {"person": 4})
    counter.bins.replace(settings("a"))
    for second in range(20, 61):
        counter.at(second, {"person": 4}, {"a": {"person": 4}})
    (bin,) = counter.out
    rows = {row.zone: (row.minimum, row.mean, row.maximum) for row in bin.counts}
    assert rows == {None: (4, 4, 4), "a": (4, 4, 4)}
    assert watched(bin, ("zone", None)) == pytest.approx(1)
    assert watched(bin, ("zone", "a")) == pytest.approx(40 / 60)
    assert watched(bin, ("zone", "b")) == 0
    assert watched(bin, ("line", "gate"), "person") == pytest.approx(1)
    assert watched(bin, ("line", "gate"), "car") == 0


def test_a_zone_that_was_deleted_is_watched_no_more() -> None:
    counter = Counter()
    for second in range(20):
        counter.at(second, {}, {"a": {"person": 4}, "b": {}})
    counter.bins.replace(settings("b"))
    for second in range(20, 61):
        counter.at(second, {}, {"b": {}})
    (bin,) = counter.out
    assert [(row.zone, row.minimum, row.mean) for row in bin.counts] == [("a", 4, 4)]
    assert watched(bin, ("zone", "a")) == pytest.approx(20 / 60)
    assert watched(bin, ("zone", "b")) == pytest.approx(1)


def test_a_class_was_not_watched_while_it_did_not_count() -> None:
    counter = Counter()
    counter.bins.replace(settings("a", only=("person",)))
    for second in range(30):
        # A result may come with what the settings of a moment ago let through.
        counter.at(second, {"person": 1, "car": 9}, {"a": {}})
    counter.bins.replace(settings("a", only=("person", "car")))
    for second in range(30, 61):
        counter.at(second, {"person": 1, "car": 2}, {"a": {}})
    (bin,) = counter.out
    rows = {row.label: (row.minimum, row.mean, row.maximum) for row in bin.counts}
    assert rows == {"person": (1, 1, 1), "car": (2, 2, 2)}
    for zone in (None, "a"):
        assert watched(bin, ("zone", zone)) == pytest.approx(1)
        assert watched(bin, ("zone", zone), "person") == pytest.approx(1)
        assert watched(bin, ("zone", zone), "car") == pytest.approx(0.5)
        assert watched(bin, ("zone", zone), "dog") == 0


def test_where_all_classes_count_those_of_the_model_do() -> None:
    counter = Counter()
    for second in range(61):
        counter.at(second, {"person": 1}, {"a": {}, "b": {}})
    (bin,) = counter.out
    for zone in (None, "a"):
        for label in NAMES:
            assert watched(bin, ("zone", zone), label) == pytest.approx(1)
        assert watched(bin, ("zone", zone), "helmet") == 0


def test_crossings_are_in_the_bin_of_their_frame() -> None:
    counter = Counter()
    into, out = Crossing("gate", "in", "person", 1), Crossing("gate", "out", "person", 2)
    counter.at(59.9, crossings=(into, into, out))
    counter.at(60.1, crossings=(into,))
    first, second = counter.close()
    observed = first.observation.observed
    assert first.lines == (LineBin("door", "gate", "person", T, 60, 2, 1, observed),)
    assert (second.lines[0].entered, second.lines[0].left) == (1, 0)


def test_ticks_hand_out_bins_without_data() -> None:
    counter = Counter()
    frames(counter, 0, 30, 10, {"person": 1})
    for second in range(30, 250):
        counter.tick(second)
    assert [bin.observation.start_time for bin in counter.out] == [T, T + 60, T + 120, T + 180]
    assert counter.out[0].observation.observed == pytest.approx(0.5, abs=0.01)
    assert [bin.observation.observed for bin in counter.out[1:]] == [0, 0, 0]
    assert counter.out[0].counts[0].mean == 1
    assert all(bin.counts == () and bin.lines == () for bin in counter.out[1:])


def test_a_camera_that_never_came_is_no_data() -> None:
    counter = Counter()
    for second in range(200):
        counter.tick(second)
    assert [bin.observation.observed for bin in counter.out] == [0, 0, 0]


def test_a_bin_waits_for_late_frames() -> None:
    counter = Counter()
    frames(counter, 0, 60, 10, {"person": 1})
    counter.tick(60 + HOLD_S + GRACE_S - 0.1)
    assert counter.out == []
    counter.tick(60 + HOLD_S + GRACE_S + 0.1)
    assert len(counter.out) == 1


def test_a_camera_whose_clock_is_late_loses_nothing() -> None:
    """Its frames say that it is two minutes ago; ticks go by our clock."""
    counter = Counter()
    for index in range(1800):
        counter.at(index / 10, {"person": 1}, age_ms=120_000)
        counter.tick(index / 10 + 120.05)
    counter.close()
    assert [bin.observation.start_time - T for bin in counter.out] == [0, 60, 120]
    assert all(bin.observation.observed == pytest.approx(1, abs=0.01) for bin in counter.out)


def test_a_clock_that_is_set_back_a_little_counts_no_second_twice() -> None:
    counter = Counter()
    frames(counter, 0, 30, 10, {"person": 1})
    frames(counter, 28, 60, 10, {"person": 1})
    counter.at(60)
    assert counter.out[0].observation.observed <= 1
    assert counter.out[0].counts[0].mean == 1


def test_a_clock_that_is_set_back_far_begins_anew() -> None:
    counter = Counter()
    frames(counter, 0, 30, 10, {"person": 1})
    frames(counter, -3600, -3540, 10, {"person": 1})
    counter.at(-3540)
    assert [bin.observation.start_time - T for bin in counter.out] == [0, -3600]
    assert [round(bin.observation.observed, 2) for bin in counter.out] == [0.5, 1]


def test_a_computer_that_slept_does_not_flood_the_store() -> None:
    counter = Counter()
    counter.at(0, {"person": 1})
    counter.tick(365 * 86400)
    assert len(counter.out) < 100
    assert counter.bins._open is not None
    assert counter.bins._open.start >= T + 364 * 86400


def test_the_end_hands_out_what_is_there() -> None:
    counter = Counter()
    frames(counter, 0, 6, 10, {"person": 2})
    (bin,) = counter.close()
    assert bin.observation.observed == pytest.approx(0.1)
    assert bin.counts[0].mean == 2
    assert counter.bins.close() == []


@given(
    st.lists(
        st.tuples(st.floats(-3, 40), st.integers(0, 3), st.integers(0, 3), st.booleans()),
        min_size=1,
        max_size=80,
    ),
    st.sampled_from([1, 7, 10, 60]),
)
def test_bins_are_possible(steps: list[tuple[float, int, int, bool]], seconds: int) -> None:
    """Whatever comes: bins in order, each once, shares in [0, 1], means between least and most."""
    counter = Counter(seconds)
    time, seen = 0.0, 0.0
    for step, people, cars, ticks in steps:
        time = max(time + step, seen - 2)
        if ticks:
            counter.tick(max(time, seen))
        else:
            counter.at(time, {"person": people, "car": cars})
            seen = max(seen, time)
    starts = [bin.observation.start_time for bin in counter.close()]
    assert all(start % seconds == 0 for start in starts)
    assert len(counter.out) == len(set(starts))
    assert starts == sorted(starts)
    if len(starts) < 60:
        assert np.diff(starts).tolist() == [seconds] * (len(starts) - 1)
    for bin in counter.out:
        assert 0 <= bin.observation.observed <= 1
        for row in bin.counts:
            assert 0 <= row.minimum <= row.mean <= row.maximum
            assert row.maximum > 0
            assert row.observed == bin.observation.observed > 0
