"""Counts and crossings over time: merging, gaps, limits."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from densewatch.records import Bin, CountBin, Place, Subject, Watched, share_of
from densewatch.store.bins import checked, merge_bins
from densewatch.store.counts import (
    MAX_POINTS,
    CountPoint,
    CountQuery,
    CountSeries,
    CrossingPoint,
    CrossingQuery,
)
from densewatch.store.errors import RefusedError
from densewatch.store.store import Store
from densewatch.store.watched import from_text, to_text
from store_samples import NOON, make_bin, rows

pytest_plugins = ["store_fixtures"]


def five_minutes(**changes: object) -> CountQuery:
    return replace(CountQuery("door", NOON, NOON + 300, 60), **changes)  # type: ignore[arg-type]


def ask(store: Store, **changes: object) -> CountSeries:
    return store.counts(five_minutes(**changes))


LABELS = frozenset({"person", "dog", "chair"})
PICTURE, TILL = Subject(("zone", None), LABELS), Subject(("zone", "till"), LABELS)
GATE = Subject(("line", "gate"), LABELS)
PEOPLE_AT_TILL = Subject(("zone", "till"), frozenset({"person"}))


def watching(part: Bin, watched: Watched) -> Bin:
    """Return the bin of a camera that knows what it watched."""
    return replace(part, observation=replace(part.observation, watched=watched))


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


def test_a_time_within_a_bin_is_answered_with_that_bin(store: Store) -> None:
    """As the last hour at half past, where bins are an hour long and the newest is not over."""
    store.add_bin(make_bin(NOON, 1.0, {"person": (1, 1.5, 2)}, seconds=3600))
    found = ask(store, start=NOON + 1800, end=NOON + 5400)
    assert (found.seconds, found.observed) == (3600, {NOON: 1.0, NOON + 3600: 0.0})
    assert found.series["person"][0] == CountPoint(NOON, 1.0, 1, 1.5, 2)
    assert ask(store, start=NOON + 3600, end=NOON + 3720).observed == {NOON + 3600: 0.0, NOON + 3660: 0.0}


def test_a_zone_has_gaps_before_it_was_drawn(store: Store) -> None:
    for minute in range(2):
        store.add_bin(watching(make_bin(NOON + minute * 60), {PICTURE: 1.0}))
    four = make_bin(NOON + 120, 1.0, {"person": (4, 4.0, 4)}, zone="till")
    store.add_bin(watching(four, {PICTURE: 1.0, TILL: 1.0}))
    found = ask(store, zone="till", end=NOON + 180)
    assert list(found.observed.values()) == [0.0, 0.0, 1.0]
    gap = (0.0, None, None, None)
    assert found.series["person"] == (
        CountPoint(NOON, *gap),
        CountPoint(NOON + 60, *gap),
        CountPoint(NOON + 120, 1.0, 4, 4.0, 4),
    )
    joined = ask(store, zone="till", end=NOON + 180, seconds=180)
    assert joined.observed == {NOON: pytest.approx(1 / 3)}
    assert joined.series["person"] == (CountPoint(NOON, pytest.approx(1 / 3), 4, 4.0, 4),)  # type: ignore[arg-type]
    assert list(ask(store, end=NOON + 180).observed.values()) == [1.0, 1.0, 1.0]


def test_a_zone_that_was_drawn_within_a_bin_counts_from_then_on(store: Store) -> None:
    half = make_bin(NOON, 0.5, {"person": (4, 4.0, 6)}, zone="till")
    store.add_bin(watching(half, {PICTURE: 1.0, TILL: 0.5}))
    whole = make_bin(NOON + 60, 1.0, {"person": (1, 2.0, 3)}, zone="till")
    store.add_bin(watching(whole, {PICTURE: 1.0, TILL: 1.0}))
    store.add_bin(watching(make_bin(NOON + 120, 0.0), {}))
    assert ask(store, zone="till", seconds=300).series["person"] == (
        CountPoint(NOON, pytest.approx(75 / 300), 1, pytest.approx((15 * 4 + 60 * 2) / 75), 6),  # type: ignore[arg-type]
    )


def test_a_line_has_gaps_before_it_was_drawn(store: Store) -> None:
    # A zone of the same id was no line.
    before = {PICTURE: 1.0, Subject(("zone", "gate"), LABELS): 1.0}
    store.add_bin(watching(make_bin(NOON), before))
    crossed = make_bin(NOON + 60, 1.0, lines={"person": (2, 1)})
    store.add_bin(watching(crossed, {PICTURE: 1.0, GATE: 0.25}))
    store.add_bin(watching(make_bin(NOON + 120), {PICTURE: 1.0, GATE: 1.0}))
    found = store.crossings(CrossingQuery("door", "gate", NOON, NOON + 180, 60))
    assert found.observed == {NOON: 0.0, NOON + 60: 0.25, NOON + 120: 1.0}
    assert found.series["person"] == (
        CrossingPoint(NOON, 0.0, None, None),
        CrossingPoint(NOON + 60, 0.25, 2, 1),
        CrossingPoint(NOON + 120, 1.0, 0, 0),
    )


def test_a_class_has_gaps_while_it_did_not_count(store: Store) -> None:
    people = make_bin(NOON, 1.0, {"person": (1, 1.0, 1)}, zone="till")
    store.add_bin(watching(people, {PICTURE: 1.0, PEOPLE_AT_TILL: 1.0}))
    both = make_bin(NOON + 60, 1.0, {"person": (1, 1.0, 1), "dog": (2, 2.0, 2)}, zone="till")
    store.add_bin(watching(both, {PICTURE: 1.0, PEOPLE_AT_TILL: 0.5, TILL: 0.5}))
    found = ask(store, zone="till", end=NOON + 120)
    assert found.observed == {NOON: 1.0, NOON + 60: 1.0}
    assert found.series["dog"] == (
        CountPoint(NOON, 0.0, None, None, None),
        CountPoint(NOON + 60, 0.5, 2, 2.0, 2),
    )
    assert [point.observed for point in found.series["person"]] == [1.0, 1.0]
    assert ask(store, zone="till", end=NOON + 120, label="dog").observed == {NOON: 0.0, NOON + 60: 0.5}
    joined = ask(store, zone="till", end=NOON + 120, seconds=120).series["dog"]
    assert joined == (CountPoint(NOON, 0.25, 2, 2.0, 2),)


def test_bins_that_do_not_know_what_was_watched_are_read_as_ever(store: Store) -> None:
    store.add_bin(make_bin(NOON))
    store.add_bin(watching(make_bin(NOON + 60), {PICTURE: 1.0}))
    till = make_bin(NOON + 120, 1.0, {"person": (4, 4.0, 4)}, zone="till")
    store.add_bin(watching(till, {PICTURE: 1.0, TILL: 1.0}))
    found = ask(store, zone="till", end=NOON + 180)
    assert list(found.observed.values()) == [1.0, 0.0, 1.0]
    assert found.series["person"][0] == CountPoint(NOON, 1.0, 0, 0.0, 0)
    joined = ask(store, zone="till", end=NOON + 180, seconds=180).series["person"]
    assert joined == (CountPoint(NOON, pytest.approx(2 / 3), 0, 2.0, 4),)  # type: ignore[arg-type]


def test_a_restart_with_a_new_zone_within_a_bin_is_merged(store: Store) -> None:
    store.add_bin(watching(make_bin(NOON, 0.25, {"person": (9, 9.0, 9)}), {PICTURE: 1.0}))
    store.add_bin(watching(make_bin(NOON, 0.0), {}))
    later = make_bin(NOON, 0.75, {"person": (2, 3.0, 5)}, zone="till", lines={"person": (1, 0)})
    store.add_bin(watching(later, {PICTURE: 1.0, TILL: 1.0, GATE: 1.0}))
    assert ask(store, zone="till").series["person"][0] == CountPoint(NOON, 0.75, 2, 3.0, 5)
    assert ask(store).series["person"][0] == CountPoint(NOON, 1.0, 0, 2.25, 9)
    crossed = store.crossings(CrossingQuery("door", "gate", NOON, NOON + 60, 60)).series["person"]
    assert crossed == (CrossingPoint(NOON, 0.75, 1, 0),)


def test_an_update_within_a_bin_keeps_what_was_counted_before(store: Store) -> None:
    """The part of before the update does not know what it watched: nor does the whole."""
    store.add_bin(make_bin(NOON, 0.5, {"person": (2, 2.0, 2)}, zone="till"))
    part = make_bin(NOON, 0.25, {"person": (4, 5.0, 6)}, zone="till")
    store.add_bin(watching(part, {PICTURE: 1.0, TILL: 1.0}))
    assert ask(store, zone="till").series["person"][0] == CountPoint(NOON, 0.75, 2, 3.0, 6)
    store.add_bin(make_bin(NOON + 60, 0.5, {"person": (9, 9.0, 9)}, zone="till", lines={"person": (9, 9)}))
    store.add_bin(watching(make_bin(NOON + 60, 0.25), {PICTURE: 1.0}))
    assert ask(store, zone="till").series["person"][1] == CountPoint(NOON + 60, 0.75, 9, 9.0, 9)
    crossed = store.crossings(CrossingQuery("door", "gate", NOON, NOON + 120, 60)).series["person"]
    assert crossed[1] == CrossingPoint(NOON + 60, 0.75, 9, 9)


def test_a_part_in_which_nobody_looked_takes_nothing_away(store: Store) -> None:
    """Such as after an update within a bin, when no picture came any more until the bin was over."""
    old = make_bin(NOON, 0.5, {"person": (2, 2.0, 2)}, zone="till", lines={"person": (1, 2)})
    store.add_bin(old)
    store.add_bin(watching(make_bin(NOON, 0.0), {}))
    assert ask(store, zone="till").series["person"][0] == CountPoint(NOON, 0.5, 2, 2.0, 2)
    crossed = store.crossings(CrossingQuery("door", "gate", NOON, NOON + 60, 60)).series["person"]
    assert crossed == (CrossingPoint(NOON, 0.5, 1, 2),)


def test_what_was_not_watched_claims_nothing(store: Store) -> None:
    part = make_bin(NOON, 1.0, {"person": (4, 4.0, 4)}, zone="till", lines={"person": (1, 1)})
    store.add_bin(watching(part, {PICTURE: 1.0, Subject(("line", "gate"), frozenset({"dog"})): 1.0}))
    assert ask(store, zone="till").series == {}
    assert store.crossings(CrossingQuery("door", "gate", NOON, NOON + 60, 60)).series == {}


def test_what_was_watched_is_the_same_text_for_the_same() -> None:
    watched = {Subject(("line", 'a"b'), frozenset({"ä, {b}", "c"})): 0.1, PICTURE: 1.0, TILL: 0.0}
    text = to_text(watched)
    assert text == to_text(dict(reversed(watched.items())))
    assert from_text(text) == watched
    assert from_text(to_text({})) == {}
    # However many zones there are, their classes are named once.
    assert text.count("person") == 1


def test_what_was_watched_is_kept_once(store: Store) -> None:
    for minute in range(3):
        bins = [make_bin(NOON + 60 * minute, camera=camera) for camera in ("door", "yard")]
        store.write([], [watching(part, {PICTURE: 1.0, TILL: 1.0}) for part in bins])
    assert rows(store, "watched") == 1
    store.add_bin(watching(make_bin(NOON + 180), {PICTURE: 1.0, TILL: 0.5}))
    store.add_bin(make_bin(NOON + 240))
    assert rows(store, "watched") == 2
    assert list(ask(store, zone="till").observed.values()) == [1.0, 1.0, 1.0, 0.5, 1.0]


def test_a_class_has_gaps_while_the_model_did_not_know_it(store: Store) -> None:
    store.add_bin(watching(make_bin(NOON), {PICTURE: 1.0}))
    helmets = Subject(("zone", None), LABELS | {"helmet"})
    store.add_bin(watching(make_bin(NOON + 60, 1.0, {"helmet": (1, 1.0, 1)}), {helmets: 1.0}))
    for label in (None, "helmet"):
        points = ask(store, label=label, end=NOON + 120).series["helmet"]
        assert points == (CountPoint(NOON, 0.0, None, None, None), CountPoint(NOON + 60, 1.0, 1, 1.0, 1))
    assert ask(store, label="helmet", end=NOON + 120).observed == {NOON: 0.0, NOON + 60: 1.0}
    assert ask(store, end=NOON + 120).observed == {NOON: 1.0, NOON + 60: 1.0}


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
        watching(make_bin(), {PICTURE: -0.1}),
        watching(make_bin(), {PICTURE: 1.1}),
        watching(make_bin(), {PICTURE: float("nan")}),
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


def test_too_many_bins_of_too_many_classes_are_refused(store: Store) -> None:
    classes = [f"class{number}" for number in range(81)]
    store.add_bin(make_bin(NOON, 1.0, dict.fromkeys(classes, (1, 1.0, 1))))
    store.add_bin(make_bin(NOON + 60, 1.0, lines=dict.fromkeys(classes, (1, 0))))
    # A day of minutes for the classes of COCO is given.
    assert len(ask(store, end=NOON + 60 * (MAX_POINTS // 81)).series) == 81
    words = r"there are 1482 bins of 60 s for each of 81 classes; at most 120000 in all .* for one class"
    with pytest.raises(ValueError, match=words):
        ask(store, end=NOON + 60 * 1482)
    with pytest.raises(ValueError, match=words):
        store.crossings(CrossingQuery("door", "gate", NOON, NOON + 60 * 1482, 60))
    assert len(ask(store, end=NOON + 60 * 1482, label="class0").series["class0"]) == 1482


# Properties. A fine bin is a second of a minute: whether it was seen, and how many people there were then.

SECONDS = 12
Fine = list[int | None]
fine = st.lists(st.none() | st.integers(0, 5), min_size=SECONDS, max_size=SECONDS)


def part_of(seen: Fine, drawn: Sequence[bool] = (True,) * SECONDS) -> Bin:
    """Return the bin that sums up some seconds of a bin.

    Args:
        seen: how many there were; None is a second in which nobody looked.
        drawn: whether the zone existed.
    """
    counts = [count for count, is_drawn in zip(seen, drawn, strict=True) if is_drawn and count is not None]
    observed = sum(count is not None for count in seen)
    rows = {"person": (min(counts), sum(counts) / len(counts), max(counts))} if any(counts) else {}
    part = make_bin(NOON, observed / SECONDS, rows, zone="till", seconds=SECONDS)
    return watching(part, {TILL: len(counts) / observed} if counts else {})


def assert_same(one: Bin, other: Bin) -> None:
    assert one.observation.observed == pytest.approx(other.observation.observed)
    places: list[Place] = [("zone", None), ("zone", "till")]
    for place in places:
        shares = [share_of(part.observation.watched, place, "person") for part in (one, other)]
        assert shares[0] == pytest.approx(shares[1])
    rows: list[dict[str, CountBin]] = [{row.label: row for row in part.counts} for part in (one, other)]
    assert rows[0].keys() == rows[1].keys()
    for label, row in rows[0].items():
        assert (row.minimum, row.maximum) == (rows[1][label].minimum, rows[1][label].maximum)
        assert row.mean == pytest.approx(rows[1][label].mean)


@given(
    fine,
    st.lists(st.integers(0, 3), min_size=SECONDS, max_size=SECONDS),
    st.lists(st.booleans(), min_size=SECONDS, max_size=SECONDS),
    st.randoms(),
)
def test_merging_parts_in_any_order_equals_the_whole(
    seen: Fine, owners: list[int], drawn: list[bool], chance: random.Random
) -> None:
    parts = [
        part_of([count if owner == each else None for count, owner in zip(seen, owners, strict=True)], drawn)
        for each in range(4)
    ]
    chance.shuffle(parts)
    assert_same(reduce(merge_bins, map(checked, parts)), checked(part_of(seen, drawn)))
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
