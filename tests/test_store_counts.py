"""Counts and crossings over time: merging, gaps, limits."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from densewatch.records import Bin, CountBin
from densewatch.store.bins import checked, merge_bins
from densewatch.store.counts import (
    CountPoint,
    CountQuery,
    CountSeries,
    CrossingPoint,
    CrossingQuery,
)
from densewatch.store.errors import RefusedError
from densewatch.store.store import Store
from store_samples import NOON, make_bin

pytest_plugins = ["store_fixtures"]


def five_minutes(**changes: object) -> CountQuery:
    return replace(CountQuery("door", NOON, NOON + 300, 60), **changes)  # type: ignore[arg-type]


def ask(store: Store, **changes: object) -> CountSeries:
    return store.counts(five_minutes(**changes))


def test_a_series_has_zeros_where_nobody_was_and_gaps_where_nobody_looked(store: Store) -> None:
    store.add_bin(make_bin(NOON, 1.0, {"person": (1, 1.5, 2)}))
    store.add_bin(make_bin(NOON + 60, 0.5))
    store.add_bin(make_bin(NOON + 120, 0.0))
    store.add_bin(make_bin(NOON + 240, 1.0, {"chair": (4, 4.0, 4)}))
    found = ask(store)
    assert found.observed == {NOON: 1.0, NOON + 60: 0.5, NOON + 120: 0.0, NOON + 180: 0.0, NOON + 240: 1.0}
    assert list(found.series) == ["chair", "person"]
    assert found.series["person"] == (
        CountPoint(NOON, 1.0, 1, 1.5, 2),
        CountPoint(NOON + 60, 0.5, 0, 0.0, 0),
        CountPoint(NOON + 120, 0.0, None, None, None),
        CountPoint(NOON + 180, 0.0, None, None, None),
        CountPoint(NOON + 240, 1.0, 0, 0.0, 0),
    )


def test_a_class_that_never_was_has_a_series_when_it_is_asked_for(store: Store) -> None:
    store.add_bin(make_bin(NOON, 1.0, {"person": (1, 1.5, 2)}))
    points = ask(store, label="dog").series["dog"]
    assert [point.maximum for point in points] == [0, None, None, None, None]


def test_bins_are_merged_by_the_time_observed(store: Store) -> None:
    store.add_bin(make_bin(NOON, 0.5, {"person": (2, 4.0, 6)}))
    store.add_bin(make_bin(NOON + 60, 1.0, {"person": (1, 1.0, 3)}))
    store.add_bin(make_bin(NOON + 180, 1.0, {"person": (5, 5.0, 5)}))
    store.add_bin(make_bin(NOON + 240, 0.25))
    found = ask(store, seconds=150)
    # Bins of 150 s are no whole number of those that are kept: they become 180 s long.
    assert found.seconds == 180
    assert found.series["person"] == (
        CountPoint(NOON, 90 / 180, 1, pytest.approx(2.0), 6),  # type: ignore[arg-type]
        CountPoint(NOON + 180, 75 / 180, 0, pytest.approx(4.0), 5),  # type: ignore[arg-type]
    )


def test_bins_begin_where_their_length_divides_the_time(store: Store) -> None:
    store.add_bin(make_bin(NOON, 1.0, {"person": (1, 1.0, 1)}))
    found = ask(store, start=NOON + 90.5, end=NOON + 130.0, seconds=60)
    assert list(found.observed) == [NOON + 60, NOON + 120]


def test_zones_and_cameras_are_apart(store: Store) -> None:
    store.add_bin(make_bin(NOON, 1.0, {"person": (3, 3.0, 3)}, zone="till"))
    store.add_bin(make_bin(NOON, 1.0, {"person": (9, 9.0, 9)}, camera="yard"))
    assert ask(store).series == {}
    assert ask(store).observed[NOON] == 1.0
    assert ask(store, zone="till").series["person"][0].maximum == 3
    assert ask(store, camera="yard").series["person"][0].maximum == 9


def test_other_lengths_of_bins_add_up(store: Store) -> None:
    store.add_bin(make_bin(NOON, 0.5, {"person": (1, 1.0, 1)}))
    store.add_bin(make_bin(NOON + 30, 1.0, {"person": (3, 3.0, 3)}, seconds=30))
    point = ask(store).series["person"][0]
    assert point == CountPoint(NOON, 1.0, 1, pytest.approx(2.0), 3)  # type: ignore[arg-type]


def test_crossings_are_summed(store: Store) -> None:
    store.add_bin(make_bin(NOON, 1.0, lines={"person": (2, 1)}))
    store.add_bin(make_bin(NOON + 60, 0.5, lines={"person": (3, 0), "dog": (0, 1)}))
    store.add_bin(make_bin(NOON + 120, 1.0))
    found = store.crossings(CrossingQuery("door", "gate", NOON, NOON + 360, 120))
    assert found.series == {
        "dog": (
            CrossingPoint(NOON, 0.75, 0, 1),
            CrossingPoint(NOON + 120, 0.5, 0, 0),
            CrossingPoint(NOON + 240, 0.0, None, None),
        ),
        "person": (
            CrossingPoint(NOON, 0.75, 5, 1),
            CrossingPoint(NOON + 120, 0.5, 0, 0),
            CrossingPoint(NOON + 240, 0.0, None, None),
        ),
    }
    other = CrossingQuery("door", "other", NOON, NOON + 60, 60, label="person")
    assert store.crossings(other).series["person"] == (CrossingPoint(NOON, 1.0, 0, 0),)


def test_a_restart_within_a_bin_is_merged(store: Store) -> None:
    store.add_bin(make_bin(NOON, 0.25, {"person": (2, 2.0, 3), "dog": (1, 1.0, 1)}, lines={"person": (1, 0)}))
    store.add_bin(make_bin(NOON, 0.75, {"person": (0, 1.0, 1), "cat": (1, 2.0, 4)}, lines={"person": (1, 2)}))
    series = ask(store).series
    assert series["person"][0] == CountPoint(NOON, 1.0, 0, 1.25, 3)
    assert series["dog"][0] == CountPoint(NOON, 1.0, 0, 0.25, 1)
    assert series["cat"][0] == CountPoint(NOON, 1.0, 0, 1.5, 4)
    crossings = store.crossings(CrossingQuery("door", "gate", NOON, NOON + 60, 60))
    assert crossings.series["person"] == (CrossingPoint(NOON, 1.0, 2, 2),)


def test_shares_never_add_up_to_more_than_all(store: Store) -> None:
    for _ in range(3):
        store.add_bin(make_bin(NOON, 0.6))
    assert ask(store).observed[NOON] == 1.0


def test_what_was_not_observed_claims_nothing(store: Store) -> None:
    store.add_bin(make_bin(NOON, 0.0, {"person": (9, 9.0, 9)}, lines={"person": (9, 9)}))
    store.add_bin(make_bin(NOON, 0.5, {"person": (1, 1.0, 1)}))
    assert ask(store).series["person"][0] == CountPoint(NOON, 0.5, 1, 1.0, 1)


@pytest.mark.parametrize(
    "part",
    [
        make_bin(observed=-0.1),
        make_bin(observed=1.1),
        make_bin(observed=float("nan")),
        make_bin(seconds=0),
        make_bin(counts={"person": (0, float("nan"), 1)}),
        replace(make_bin(), counts=make_bin(NOON + 60, counts={"person": (0, 0.0, 1)}).counts),
        replace(make_bin(), lines=make_bin(camera="other", lines={"person": (0, 1)}).lines),
    ],
)
def test_bins_that_make_no_sense_are_refused(store: Store, part: Bin) -> None:
    with pytest.raises(ValueError, match="bin"):
        store.add_bin(part)
    assert not any(ask(store).observed.values())


def test_the_same_row_twice_is_refused(store: Store) -> None:
    part = make_bin(counts={"person": (1, 1.0, 1)})
    with pytest.raises(RefusedError):
        store.add_bin(replace(part, counts=part.counts * 2))
    assert ask(store).observed[NOON] == 0.0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seconds": 0}, "seconds must be from 1"),
        ({"seconds": 10**12}, "seconds must be from 1"),
        ({"end": NOON}, "end must lie after start"),
        ({"end": NOON * 1000.0}, "Unix seconds"),
        ({"start": -5.0}, "Unix seconds"),
        ({"start": float("nan")}, "Unix seconds"),
        ({"end": NOON + 60 * 5001}, "there are 5001 bins of 60 s; at most 5000"),
        ({"camera": "a\0b"}, "a character that no name has"),
        ({"label": "\ud800"}, "a character that no name has"),
    ],
)
def test_questions_that_make_no_sense(store: Store, changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ask(store, **changes)


def test_the_most_bins_of_a_query_are_given(store: Store) -> None:
    assert len(ask(store, end=NOON + 60 * 5000).observed) == 5000


# Properties. A fine bin is a second of a minute: whether it was seen, and how many people there were then.

SECONDS = 12
Fine = list[int | None]
fine = st.lists(st.none() | st.integers(0, 5), min_size=SECONDS, max_size=SECONDS)


def part_of(seen: Fine) -> Bin:
    """Return the bin that sums up some seconds of a bin; None is a second in which nobody looked."""
    counts = [count for count in seen if count is not None]
    observed = len(counts) / SECONDS
    rows = {"person": (min(counts), sum(counts) / len(counts), max(counts))} if any(counts) else {}
    return make_bin(NOON, observed, rows, seconds=SECONDS)


def assert_same(one: Bin, other: Bin) -> None:
    assert one.observation.observed == pytest.approx(other.observation.observed)
    rows: list[dict[str, CountBin]] = [{row.label: row for row in part.counts} for part in (one, other)]
    assert rows[0].keys() == rows[1].keys()
    for label, row in rows[0].items():
        assert (row.minimum, row.maximum) == (rows[1][label].minimum, rows[1][label].maximum)
        assert row.mean == pytest.approx(rows[1][label].mean)


@given(fine, st.lists(st.integers(0, 3), min_size=SECONDS, max_size=SECONDS), st.randoms())
def test_merging_parts_in_any_order_equals_the_whole(
    seen: Fine, owners: list[int], chance: random.Random
) -> None:
    parts = [
        part_of([count if owner == each else None for count, owner in zip(seen, owners, strict=True)])
        for each in range(4)
    ]
    chance.shuffle(parts)
    assert_same(reduce(merge_bins, map(checked, parts)), checked(part_of(seen)))
    assert_same(merge_bins(parts[0], parts[1]), merge_bins(parts[1], parts[0]))


def test_a_merged_series_equals_what_the_fine_bins_say(store: Store) -> None:
    chance = random.Random(4)
    for case in range(20):
        camera = f"camera{case}"
        seen = [chance.choice([None, 0, 0, 1, 2, 5]) for _ in range(SECONDS)]
        parts = [
            replace_camera(
                make_bin(NOON + i, 0.0 if count is None else 1.0, person(count), seconds=1), camera
            )
            for i, count in enumerate(seen)
        ]
        chance.shuffle(parts)
        store.write([], parts)
        found = store.counts(CountQuery(camera, NOON, NOON + SECONDS, SECONDS, label="person"))
        counts = [count for count in seen if count is not None]
        (point,) = found.series["person"]
        assert point.observed == pytest.approx(len(counts) / SECONDS)
        assert (point.minimum, point.maximum) == (min(counts), max(counts))
        assert point.mean == pytest.approx(sum(counts) / len(counts))


def person(count: int | None) -> dict[str, tuple[int, float, int]]:
    return {"person": (count, float(count), count)} if count else {}


def replace_camera(part: Bin, camera: str) -> Bin:
    return Bin(
        replace(part.observation, camera=camera), tuple(replace(row, camera=camera) for row in part.counts)
    )
