"""What is too old or too much goes, in pieces; what nobody knows is swept up."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from densewatch.records import Event, Subject
from densewatch.store.audit import FAILED_SIGN_IN
from densewatch.store.counts import CountQuery
from densewatch.store.events import EventQuery
from densewatch.store.retention import DAY_S, Retention
from densewatch.store.store import Store
from densewatch.store.watched import delete_unused, ids_of
from store_samples import NOON, Clock, make_bin, make_event, rows

pytest_plugins = ["store_fixtures"]

FOR_EVER: dict[str, Any] = dict.fromkeys(
    ("events_days", "snapshots_days", "counts_days", "audit_days", "max_bytes")
)


def clean(store: Store, **limits: Any) -> int:
    """Do a round; return in how many pieces."""
    return len(list(store.cleaner(Retention(**{**FOR_EVER, **limits})).round()))


def add_days(store: Store, days: int, snapshot: bytes | None = None) -> None:
    """Put an event and a bin into each of the last days, `day0` is the newest."""
    for day in range(days):
        begun = NOON - day * int(DAY_S)
        store.add_event(ended_event(f"day{day}", float(begun), snapshot=snapshot))
        store.add_bin(make_bin(begun, 1.0, {"person": (1, 1.0, 1)}, lines={"person": (1, 0)}))


def ended_event(id: str, start: float, **changes: Any) -> Event:
    """Return an event that was over a second after its beginning."""
    return make_event(id, start_time=start, end_time=start + 1.0, **changes)


def events(store: Store) -> list[str]:
    return [stored.event.id for stored in store.events(EventQuery(), limit=1000).events]


def pictures(store: Store) -> list[str]:
    return sorted(path.stem for path in store.media.rglob("*.jpg"))


def days_counted(store: Store) -> int:
    found = store.counts(CountQuery("door", NOON - 100 * DAY_S, NOON + DAY_S, int(DAY_S)))
    return sum(share > 0 for share in found.observed.values())


def test_without_limits_all_stays(store: Store) -> None:
    add_days(store, 5, b"picture")
    clean(store)
    assert len(events(store)) == len(pictures(store)) == days_counted(store) == 5


def test_ages_are_apart(store: Store) -> None:
    add_days(store, 10, b"picture")
    clean(store, events_days=5.5, snapshots_days=2.5, counts_days=7.5)
    assert events(store) == [f"day{day}" for day in range(6)]
    assert pictures(store) == ["day0", "day1", "day2"]
    assert days_counted(store) == 8
    assert rows(store, "count_bins") == rows(store, "line_bins") == 8
    stored = store.event("day4")
    assert stored is not None
    assert not stored.has_snapshot
    assert store.snapshot("day2") == b"picture"


def test_what_was_watched_goes_with_the_last_bin_of_it(store: Store) -> None:
    for day, zones in enumerate((["a"], ["a"], ["b"], ["a", "b"])):
        part = make_bin(NOON - day * int(DAY_S))
        watched = {Subject(("zone", zone), frozenset({"person"})): 1.0 for zone in zones}
        store.add_bin(replace(part, observation=replace(part.observation, watched=watched)))
    left = []
    for days in (3.5, 2.5, 1.5, 0.5):
        clean(store, counts_days=days)
        left.append(rows(store, "watched"))
    assert left == [3, 2, 1, 1]
    clean(store, counts_days=-1.0)
    assert rows(store, "watched") == 0


def test_what_is_about_to_be_written_keeps_what_was_watched(store: Store) -> None:
    database = store._database
    if database.is_sqlite:
        pytest.skip("in SQLite only one writes at a time")
    with database.writing() as connection:
        ids_of(database, connection, ["[]"])
    with database.writing() as writer, database.writing() as cleaner:
        ids_of(database, writer, ["[]"])
        delete_unused(cleaner)
    assert rows(store, "watched") == 1
    with database.writing() as cleaner:
        delete_unused(cleaner)
    assert rows(store, "watched") == 0


def test_it_goes_in_pieces(store: Store) -> None:
    store.write([ended_event(f"old{i}", NOON - 9 * DAY_S) for i in range(450)], [])
    assert clean(store, events_days=1.0) >= 3
    assert events(store) == []


def test_what_lasts_stays_and_goes_by_its_end(store: Store, clock: Clock) -> None:
    parked = make_event("parked", start_time=NOON - 40 * DAY_S, snapshot=b"picture")
    store.write([parked, ended_event("gone", NOON - 40 * DAY_S, snapshot=b"picture")], [])
    limits = {"events_days": 30.0, "snapshots_days": 14.0}
    clean(store, **limits)
    assert events(store) == pictures(store) == ["parked"]
    # Its end writes it again: that it began long ago must not delete it in the next round.
    store.add_event(replace(parked, end_time=float(NOON)))
    clock.now += 13 * DAY_S
    clean(store, **limits)
    assert events(store) == pictures(store) == ["parked"]
    clock.now += 2 * DAY_S
    clean(store, **limits)
    assert (events(store), pictures(store)) == (["parked"], [])
    clock.now += 16 * DAY_S
    clean(store, **limits)
    assert events(store) == []


def test_too_much_takes_nothing_of_what_lasts(store: Store) -> None:
    store.write([make_event("parked", start_time=NOON - 40 * DAY_S, snapshot=b"picture")], [])
    store.write([ended_event("gone", NOON - 9.0, snapshot=b"picture")], [])
    clean(store, max_bytes=1)
    assert pictures(store) == ["parked"]
    assert events(store) == (["parked"] if store._database.is_sqlite else ["gone", "parked"])


@pytest.mark.parametrize("limits", [{"events_days": 30.0}, {"max_bytes": 1}])
def test_what_nobody_ends_goes_at_last(store: Store, clock: Clock, limits: dict[str, float]) -> None:
    if "max_bytes" in limits and not store._database.is_sqlite:
        pytest.skip("the size of PostgreSQL's data deletes no events")
    store.add_event(make_event("orphan"))
    clock.now += 89 * DAY_S
    clean(store, **limits)
    assert events(store) == ["orphan"]
    clock.now += 32 * DAY_S
    clean(store, **limits)
    assert events(store) == []


def test_too_much_takes_the_oldest_pictures_and_no_more_than_it_must(store: Store) -> None:
    add_days(store, 10, b"x" * 100_000)
    used = store._database.used_bytes()
    clean(store, max_bytes=used + 450_000)
    assert pictures(store) == ["day0", "day1", "day2", "day3"]
    assert len(events(store)) == days_counted(store) == 10


def test_after_pictures_events_go_and_counts_last(tmp_path: Path, clock: Clock) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/densewatch.db", tmp_path / "media", clock=clock)
    empty = store._database.used_bytes()
    for start in range(0, 4000, 1000):
        some = range(start, start + 1000)
        store.write([ended_event(f"e{i}", NOON - i) for i in some], [make_bin(NOON + i * 60) for i in some])
    store.add_event(ended_event("pictured", NOON + 1.0, snapshot=b"x" * 1000))
    full = store._database.used_bytes()
    clean(store, max_bytes=(empty + full) // 2)
    assert pictures(store) == []
    assert 0 < rows(store, "events") < 4000
    assert store.event("e0") is not None
    assert store.event("e3999") is None
    assert rows(store, "observations") == 4000
    clean(store, max_bytes=1)
    assert rows(store, "events") == rows(store, "observations") == 0
    store.close()


def test_the_size_of_a_postgresql_database_costs_no_events(store: Store) -> None:
    add_days(store, 3, b"x" * 1000)
    clean(store, max_bytes=1)
    assert pictures(store) == []
    assert len(events(store)) == (0 if store._database.is_sqlite else 3)


def test_the_file_shrinks(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "densewatch.db"
    store = Store.open(f"sqlite:///{file}", tmp_path / "media", clock=clock)
    for start in range(0, 20_000, 2000):
        store.write([ended_event(f"e{i}", NOON - 9 * DAY_S) for i in range(start, start + 2000)], [])
    store.close()
    full = file.stat().st_size
    store = Store.open(f"sqlite:///{file}", tmp_path / "media", clock=clock)
    clean(store, events_days=1.0)
    # The write-ahead log is bounded as well.
    assert sum(path.stat().st_size for path in tmp_path.glob("densewatch.db-wal")) < 64 << 20
    store.close()
    assert file.stat().st_size < full / 3


def test_a_file_that_cannot_shrink_does_not_keep_retention_busy(tmp_path: Path, clock: Clock) -> None:
    file = tmp_path / "densewatch.db"
    # Whoever puts a copy in place may have made it without this feature of SQLite.
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE other (number INTEGER)")
    store = Store.open(f"sqlite:///{file}", tmp_path / "media", clock=clock)
    for start in range(0, 8000, 2000):
        some = range(start, start + 2000)
        store.write([ended_event(f"e{i}", NOON - 9 * DAY_S) for i in some], [])
    pieces = store.cleaner(Retention(**{**FOR_EVER, "events_days": 1.0})).round()
    assert len(list(islice(pieces, 200))) < 200
    store.close()


def test_small_tables_are_kept_small(store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    store.accounts.add_user("ada", "correct horse", "admin")
    store.accounts.open_session("ada", "phone", 60)
    store.write([], [], ("writer", 1))
    store.audit("ada", "signed in")
    clock.now += 3 * DAY_S
    store.write([], [], ("another", 1))
    for _ in range(20):
        store.audit("ada", "signed in")
    clean(store, audit_days=2.0)
    assert (rows(store, "sessions"), rows(store, "writers"), rows(store, "audit")) == (0, 1, 20)
    monkeypatch.setattr("densewatch.store.retention.MAX_AUDIT_ROWS", 7)
    clean(store)
    assert rows(store, "audit") == 7


def test_failed_sign_ins_push_out_only_each_other(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("densewatch.store.retention.MAX_AUDIT_ROWS", 30)
    store.audit("ada", "user added", "eve")
    for number in range(50):
        store.audit(f"stranger{number}", FAILED_SIGN_IN)
    store.audit("ada", "signed in")
    clean(store)
    entries = store.audit_entries()
    assert [entry.what for entry in entries] == ["signed in", *[FAILED_SIGN_IN] * 3, "user added"]
    assert [entry.who for entry in entries[1:4]] == ["stranger49", "stranger48", "stranger47"]


def test_files_that_no_event_knows_are_swept_up(store: Store, clock: Clock) -> None:
    store.add_event(make_event("known", snapshot=b"picture"))
    day = store.media / "2026" / "01" / "01"
    other_day = store.media / "2025" / "12" / "31"
    other_day.mkdir(parents=True)
    old = [day / "unknown.jpg", day / ".unknown.part", other_day / "known.jpg"]
    others = [day / "notes.txt", day / "holiday pictures.jpg", store.media / "top.jpg"]
    young = day / "coming.jpg"
    for path in (*old, *others, young):
        path.write_bytes(b"x")
    for path in (*old, *others, day / "known.jpg"):
        os.utime(path, (NOON - 7200, NOON - 7200))
    os.utime(young, (NOON - 60, NOON - 60))
    cleaner = store.cleaner(Retention(**FOR_EVER))
    list(cleaner.round())
    left = {path for path in store.media.rglob("*") if path.is_file()}
    assert left == {day / "known.jpg", young, *others}
    assert not other_day.exists()
    # Once a day is enough.
    clock.now += 7200
    list(cleaner.round())
    assert young.exists()
    clock.now += DAY_S
    list(cleaner.round())
    assert not young.exists()
