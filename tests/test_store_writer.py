"""The writer: batches, bounds, refusals, failures, the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from densewatch.records import Bin, Event
from densewatch.store.counts import CountQuery, CrossingQuery
from densewatch.store.errors import DiskFullError, StoreError
from densewatch.store.retention import Retention
from densewatch.store.store import Mark, Store
from densewatch.store.writer import Writer, WriterSettings
from store_samples import NOON, make_bin, make_event

pytest_plugins = ["store_fixtures"]

QUICK = WriterSettings(reserve_bytes=0, interval_s=0.02, room_every_s=0.02, longest_pause_s=0.02)
PATIENT = replace(QUICK, interval_s=3600.0)
FOR_EVER = Retention(None, None, None, None, None)
Write = Callable[[Sequence[Event], Sequence[Bin], Mark | None], None]


@contextmanager
def writing(store: Store, settings: WriterSettings = QUICK, **options: Any) -> Iterator[Writer]:
    writer = Writer(store, settings=settings, **{"retention": FOR_EVER, **options})
    writer.start()
    try:
        yield writer
    finally:
        writer.close(5.0)


def wait_for(condition: Callable[[], bool], limit_s: float = 20.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.005)


def replace_write(monkeypatch: pytest.MonkeyPatch, store: Store, wrap: Callable[[Write], Write]) -> None:
    """Let `wrap` make another `write` out of the store's own."""
    monkeypatch.setattr(store, "write", wrap(store.write))


def bins_kept(store: Store, number: int = 1000) -> int:
    found = store.counts(CountQuery("door", NOON, NOON + number * 60, 60))
    return sum(share > 0 for share in found.observed.values())


def test_what_is_added_is_written_soon(store: Store) -> None:
    with writing(store) as writer:
        writer.add_event(make_event())
        writer.add_bin(make_bin())
        wait_for(lambda: writer.status().queued == 0)
        assert store.event("one") is not None
        assert bins_kept(store) == 1
        status = writer.status()
    assert (status.state, status.error) == ("ok", None)
    assert dict(status.dropped) == {"snapshots": 0, "events": 0, "bins": 0}
    assert status.last_write is not None


def test_a_full_batch_does_not_wait(store: Store) -> None:
    with writing(store, replace(PATIENT, batch=10)) as writer:
        for i in range(9):
            writer.add_event(make_event(f"e{i}"))
        assert store.event("e0") is None
        writer.add_event(make_event("e9"))
        wait_for(lambda: store.event("e9") is not None)


def test_many_things_are_one_transaction(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = []

    def count(write: Write) -> Write:
        def counted(events: Sequence[Event], bins: Sequence[Bin], mark: Mark | None) -> None:
            batches.append((len(events), len(bins)))
            write(events, bins, mark)

        return counted

    replace_write(monkeypatch, store, count)
    with writing(store, replace(PATIENT, batch=100)) as writer:
        for i in range(60):
            writer.add_event(make_event(f"e{i}"))
            writer.add_event(make_event(f"e{i}", end_time=NOON + 1.0))
        for i in range(30):
            writer.add_bin(make_bin(NOON + i * 60))
        assert writer.flush()
    assert batches == [(60, 30)]
    stored = store.event("e0")
    assert stored is not None
    assert stored.event.end_time == NOON + 1.0


def test_flush_waits_until_all_is_kept(store: Store) -> None:
    with writing(store, PATIENT) as writer:
        for i in range(1000):
            writer.add_bin(make_bin(NOON + i * 60))
        assert writer.flush()
        assert bins_kept(store) == 1000
        assert writer.flush()


def test_closing_writes_what_waits(store: Store) -> None:
    with writing(store, PATIENT) as writer:
        for i in range(500):
            writer.add_bin(make_bin(NOON + i * 60))
        assert writer.close()
        assert bins_kept(store) == 500
        writer.add_bin(make_bin(NOON + 6000))
        writer.add_event(make_event())
        assert dict(writer.status().dropped) == {"snapshots": 0, "events": 1, "bins": 1}
        assert writer.close()
    assert not any(thread.name == "densewatch-writer" for thread in threading.enumerate())


def test_a_writer_that_was_never_started_closes(store: Store) -> None:
    writer = Writer(store)
    assert writer.close()


@pytest.fixture
def failures() -> list[Exception]:
    """Return what each attempt to write ends with; as long as there are any."""
    return []


@pytest.fixture
def failing_store(store: Store, failures: list[Exception], monkeypatch: pytest.MonkeyPatch) -> Store:
    """Return a store that does not write while there are failures."""

    def fail(write: Write) -> Write:
        def failing(events: Sequence[Event], bins: Sequence[Bin], mark: Mark | None) -> None:
            if failures:
                raise failures[0]
            write(events, bins, mark)

        return failing

    replace_write(monkeypatch, store, fail)
    return store


@pytest.mark.parametrize(
    ("error", "state"), [(StoreError("it is away"), "failing"), (DiskFullError("no room"), "full_disk")]
)
def test_a_failure_has_a_state_and_ends_by_itself(
    failing_store: Store, failures: list[Exception], error: StoreError, state: str
) -> None:
    with writing(failing_store) as writer:
        failures.append(error)
        for i in range(300):
            writer.add_bin(make_bin(NOON + i * 60))
        wait_for(lambda: writer.status().state == state)
        assert writer.status().error == str(error)
        assert writer.status().queued == 300
        assert not writer.flush(0.1)
        failures.clear()
        assert writer.flush()
        wait_for(lambda: writer.status().state == "ok")
        assert writer.status().error is None
        assert sum(writer.status().dropped.values()) == 0
    assert bins_kept(failing_store) == 300


def test_while_it_fails_the_newest_bins_stay(failing_store: Store, failures: list[Exception]) -> None:
    with writing(failing_store, replace(QUICK, capacity=50, batch=10)) as writer:
        failures.append(DiskFullError("no room"))
        writer.add_bin(make_bin(NOON))
        wait_for(lambda: writer.status().state == "full_disk")
        for i in range(20):
            writer.add_event(make_event(f"e{i}"))
        for i in range(1, 101):
            writer.add_bin(make_bin(NOON + i * 60))
        status = writer.status()
        assert dict(status.dropped) == {"snapshots": 0, "events": 20, "bins": 50}
        assert status.queued == 51
        failures.clear()
        assert writer.flush()
    found = failing_store.counts(CountQuery("door", NOON, NOON + 101 * 60, 60))
    kept = [(start - NOON) // 60 for start, share in found.observed.items() if share]
    # The first was on its way already.
    assert kept == [0, *range(51, 101)]


def test_closing_gives_up_after_a_while(failing_store: Store, failures: list[Exception]) -> None:
    with writing(failing_store) as writer:
        failures.append(StoreError("it is away"))
        writer.add_event(make_event())
        writer.add_bin(make_bin())
        begun = time.monotonic()
        assert not writer.close(0.2)
        assert time.monotonic() - begun < 4.0
        assert dict(writer.status().dropped) == {"snapshots": 0, "events": 1, "bins": 1}
        assert writer.status().queued == 0


def test_adding_never_waits_for_the_database(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked, free = threading.Event(), threading.Event()

    def block(write: Write) -> Write:
        def blocking(events: Sequence[Event], bins: Sequence[Bin], mark: Mark | None) -> None:
            blocked.set()
            free.wait(20)
            write(events, bins, mark)

        return blocking

    replace_write(monkeypatch, store, block)
    with writing(store) as writer:
        writer.add_event(make_event())
        assert blocked.wait(20)
        begun = time.monotonic()
        for i in range(5000):
            writer.add_event(make_event(f"e{i}", snapshot=b"x" * 100))
            writer.add_bin(make_bin(NOON + i * 60))
        writer.status()
        assert time.monotonic() - begun < 10.0
        assert writer.status().queued == 5001
        free.set()


def test_one_thing_that_is_refused_takes_no_other_with_it(store: Store) -> None:
    good = [make_event(f"good{i}") for i in range(5)]
    bad = [
        make_event("../bad"),
        make_event("nan", top_score=float("nan")),
        make_event("huge", track=2**70),
        make_event("half", label="\ud800"),
    ]
    with writing(store, PATIENT) as writer:
        for event in [*good[:2], *bad, *good[2:]]:
            writer.add_event(event)
        writer.add_bin(make_bin(NOON))
        writer.add_bin(make_bin(NOON, observed=7.0))
        assert writer.flush()
        status = writer.status()
    assert all(store.event(event.id) is not None for event in good)
    assert bins_kept(store) == 1
    assert dict(status.dropped) == {"snapshots": 0, "events": 4, "bins": 1}
    assert status.state == "ok"


def test_a_commit_of_which_nobody_knows_counts_nobody_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[Mark | None] = []

    def lose(write: Write) -> Write:
        def losing(events: Sequence[Event], bins: Sequence[Bin], mark: Mark | None) -> None:
            write(events, bins, mark)
            if len(lost) < 3:
                lost.append(mark)
                raise StoreError("the connection ended during the commit")

        return losing

    replace_write(monkeypatch, store, lose)
    with writing(store) as writer:
        writer.add_bin(make_bin(NOON, 0.25, lines={"person": (1, 0)}))
        assert writer.flush()
    assert len(lost) == 3
    found = store.crossings(CrossingQuery("door", "gate", NOON, NOON + 60, 60))
    assert found.series["person"][0].entered == 1
    assert found.observed[NOON] == 0.25


def test_too_little_room_stops_writing_before_the_disk_is_full(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [99 << 20]
    usage = type("Usage", (), {"free": property(lambda self: free[0])})
    monkeypatch.setattr("densewatch.store.writer.shutil.disk_usage", lambda folder: usage())
    with writing(store, replace(QUICK, reserve_bytes=100 << 20)) as writer:
        writer.add_event(make_event())
        wait_for(lambda: writer.status().state == "full_disk")
        assert "less than 100 MiB are free on the disk of" in str(writer.status().error)
        assert store.event("one") is None
        free[0] = 101 << 20
        assert writer.flush()
        wait_for(lambda: writer.status().state == "ok")


def test_a_folder_that_is_gone_is_told_and_nothing_is_lost(store: Store) -> None:
    with writing(store) as writer:
        store.media.rename(store.media.with_name("elsewhere"))
        writer.add_event(make_event(snapshot=b"picture"))
        wait_for(lambda: writer.status().state == "failing")
        assert "media is gone" in str(writer.status().error)
        store.media.with_name("elsewhere").rename(store.media)
        assert writer.flush()
    assert store.snapshot("one") == b"picture"


def test_a_mistake_in_the_thread_is_told_and_survived(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stumbles = [RuntimeError("a mistake of ours")]

    def stumble(self: Writer) -> None:
        if stumbles:
            raise stumbles.pop()

    monkeypatch.setattr(Writer, "_clean", stumble)
    with writing(store, replace(QUICK, clean_every_s=0.01)) as writer:
        wait_for(lambda: "a mistake of ours" in caplog.text)
        writer.add_event(make_event())
        assert writer.flush()
        assert writer.status().state == "ok"


def test_retention_works_in_the_writers_thread(store: Store) -> None:
    old = make_event("old", start_time=NOON - 9 * 86400.0, end_time=float(NOON - 8 * 86400))
    with writing(
        store, replace(QUICK, clean_every_s=0.05), retention=replace(FOR_EVER, events_days=1.0)
    ) as writer:
        writer.add_event(old)
        writer.add_event(make_event("new"))
        assert writer.flush()
        wait_for(lambda: store.event("old") is None)
    assert store.event("new") is not None


def test_retention_works_while_much_is_written(store: Store) -> None:
    stop = threading.Event()
    with writing(
        store, replace(QUICK, interval_s=0.0, clean_every_s=0.0), retention=replace(FOR_EVER, events_days=1.0)
    ) as writer:
        store.add_event(make_event("old", start_time=NOON - 9 * 86400.0, end_time=float(NOON - 8 * 86400)))

        def add() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                writer.add_event(make_event(f"e{number}"))

        thread = threading.Thread(target=add)
        thread.start()
        try:
            wait_for(lambda: store.event("old") is None)
        finally:
            stop.set()
            thread.join()


def test_a_failing_retention_makes_a_state_and_comes_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = store.check
    failing = [True]

    def check() -> None:
        if failing:
            raise StoreError("it is away")
        original()

    monkeypatch.setattr(store, "check", check)
    writer = Writer(store, settings=replace(QUICK, clean_every_s=0.01))

    def round_() -> Iterator[None]:
        check()
        yield

    monkeypatch.setattr(writer._cleaner, "round", round_)
    writer.start()
    wait_for(lambda: writer.status().state == "failing")
    failing.clear()
    wait_for(lambda: writer.status().state == "ok")
    assert writer.close()
