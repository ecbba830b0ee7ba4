"""What waits to be written: its bounds, and what goes first."""

from __future__ import annotations

from densewatch.store.waiting import Waiting
from store_samples import NOON, make_bin, make_event


def ids(waiting: Waiting) -> list[tuple[str, bytes | None]]:
    batch = waiting.take(1000)
    return [] if batch is None else [(event.id, event.snapshot) for event in batch.events]


def test_the_oldest_events_go_first_and_bins_last() -> None:
    waiting = Waiting(capacity=3, snapshot_bytes=100)
    waiting.add_bin(make_bin(NOON))
    for event_id in "abc":
        waiting.add_event(make_event(event_id))
    assert waiting.dropped == {"snapshots": 0, "events": 1, "bins": 0}
    for i in range(1, 4):
        waiting.add_bin(make_bin(NOON + i * 60))
    assert waiting.dropped == {"snapshots": 0, "events": 3, "bins": 1}
    waiting.add_event(make_event("d"))
    assert waiting.dropped == {"snapshots": 0, "events": 4, "bins": 1}
    batch = waiting.take(2)
    assert batch is not None
    assert [part.observation.start_time for part in batch.bins] == [NOON + 60, NOON + 120]
    assert len(waiting) == 1


def test_a_newer_version_takes_the_place_of_the_older_one() -> None:
    waiting = Waiting(capacity=10, snapshot_bytes=100)
    waiting.add_event(make_event("a", snapshot=b"x" * 60))
    waiting.add_event(make_event("b"))
    waiting.add_event(make_event("a", snapshot=b"y" * 90))
    waiting.add_event(make_event("a", end_time=NOON + 1.0))
    assert waiting.oldest() == 1
    assert ids(waiting) == [("a", b"y" * 90), ("b", None)]
    assert waiting.dropped == {"snapshots": 0, "events": 0, "bins": 0}
    assert waiting.oldest() is None


def test_snapshots_are_bounded_by_their_size() -> None:
    waiting = Waiting(capacity=10, snapshot_bytes=100)
    for event_id in "abcd":
        waiting.add_event(make_event(event_id, snapshot=b"x" * 40))
    assert waiting.dropped == {"snapshots": 2, "events": 0, "bins": 0}
    assert [snapshot is None for _, snapshot in ids(waiting)] == [True, True, False, False]
    waiting.add_event(make_event("large", snapshot=b"x" * 101))
    assert ids(waiting) == [("large", None)]


def test_numbers_tell_what_is_left() -> None:
    waiting = Waiting(capacity=10, snapshot_bytes=100)
    waiting.add_event(make_event("a"))
    waiting.add_bin(make_bin())
    batch = waiting.take(1)
    assert batch is not None
    assert (len(batch.bins), len(batch.events), batch.oldest) == (1, 0, 1)
    assert waiting.oldest() == 1
    assert waiting.last == 2
