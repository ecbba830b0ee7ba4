"""Events and their snapshots: kept, found, page by page, deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from densewatch.store.counts import CrossingQuery
from densewatch.store.errors import StoreError
from densewatch.store.events import EventQuery
from densewatch.store.store import Store
from store_samples import JPEG, NOON, make_bin, make_event

pytest_plugins = ["store_fixtures"]


def ids(store: Store, query: EventQuery | None = None, **options: object) -> list[str]:
    page = store.events(query or EventQuery(), **options)  # type: ignore[arg-type]
    return [stored.event.id for stored in page.events]


def test_an_event_comes_back_as_it_was(store: Store) -> None:
    event = make_event(kind="crossing", zone="gate", direction="out", end_time=NOON + 0.1, track=2**40)
    store.add_event(event)
    found = store.event("one")
    assert found is not None
    assert found.event == event
    assert not found.has_snapshot
    assert store.snapshot("one") is None


def test_an_event_is_brought_up_to_date(store: Store) -> None:
    store.add_event(make_event(top_score=0.5, snapshot=JPEG))
    store.add_event(make_event(top_score=0.9, box=(0.0, 0.0, 1.0, 1.0), end_time=NOON + 9.0))
    found = store.event("one")
    assert found is not None
    assert found.event == make_event(top_score=0.9, box=(0.0, 0.0, 1.0, 1.0), end_time=NOON + 9.0)
    assert found.has_snapshot
    assert store.snapshot("one") == JPEG
    store.add_event(make_event(snapshot=b"\xff\xd8 a better one"))
    assert store.snapshot("one") == b"\xff\xd8 a better one"


def test_an_event_keeps_its_beginning_and_with_it_its_picture(store: Store) -> None:
    store.add_event(make_event(snapshot=JPEG))
    store.add_event(make_event(start_time=NOON + 90_000.0, snapshot=b"better"))
    found = store.event("one")
    assert found is not None
    assert found.event.start_time == make_event().start_time
    assert store.snapshot("one") == b"better"
    assert len(list(store.media.rglob("*.jpg"))) == 1


def test_unknown_events_are_none(store: Store) -> None:
    for event_id in ("nobody", "", "../../secret", "a\0b", "ä", "x" * 5000):
        assert store.event(event_id) is None
        assert store.snapshot(event_id) is None
        assert not store.delete_event(event_id)


@pytest.mark.parametrize(
    "event_id", ["", ".", "..", "../up", "a/b", "a\\b", ".hidden", "a\0", "a\n", "ä", "x" * 129]
)
def test_an_id_that_could_lead_elsewhere_is_refused(store: Store, event_id: str) -> None:
    with pytest.raises(ValueError, match="no event id"):
        store.add_event(make_event(event_id, snapshot=JPEG))
    assert list(store.media.rglob("*")) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"start_time": float("nan")},
        {"end_time": float("inf")},
        {"top_score": float("nan")},
        {"box": (0.0, 0.0, float("nan"), 1.0)},
        {"start_time": 1e300, "snapshot": JPEG},
    ],
)
def test_numbers_that_make_no_sense_are_refused(store: Store, changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no"):
        store.add_event(make_event(**changes))
    assert store.event("one") is None


def test_a_snapshot_lies_under_its_day(store: Store) -> None:
    store.add_event(make_event("1767268800.25-abc", snapshot=JPEG))
    files = [str(path.relative_to(store.media)) for path in store.media.rglob("*") if path.is_file()]
    assert files == ["2026/01/01/1767268800.25-abc.jpg"]


def test_a_snapshot_that_a_power_cut_cut_off_is_none(store: Store) -> None:
    store.add_event(make_event(snapshot=JPEG))
    (path,) = store.media.rglob("*.jpg")
    path.write_bytes(JPEG[:5])
    assert store.snapshot("one") is None
    path.write_bytes(b"\xff\xd8 newer than its event \xff\xd9")
    assert store.snapshot("one") == b"\xff\xd8 newer than its event \xff\xd9"
    path.unlink()
    assert store.snapshot("one") is None


def test_a_failed_write_leaves_no_part_of_a_file(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Path, data: bytes) -> int:
        self.touch()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(StoreError, match=r"one\.jpg cannot be written: Input/output error"):
        store.add_event(make_event(snapshot=JPEG))
    assert [path for path in store.media.rglob("*") if path.is_file()] == []
    assert store.event("one") is None


def test_deleting_an_event_deletes_its_picture_and_empty_folders(store: Store) -> None:
    store.add_event(make_event(snapshot=JPEG))
    store.add_event(make_event("two", snapshot=JPEG))
    assert store.delete_event("one")
    assert store.event("one") is None
    assert [path.name for path in store.media.rglob("*.jpg")] == ["two.jpg"]
    assert store.delete_event("two")
    assert list(store.media.iterdir()) == []
    assert not store.delete_event("two")


def test_filters(store: Store) -> None:
    store.write(
        [
            make_event("a", start_time=NOON + 1.0),
            make_event("b", start_time=NOON + 2.0, camera="yard"),
            make_event("c", start_time=NOON + 3.0, zone="till"),
            make_event("d", start_time=NOON + 4.0, label="dog"),
            make_event("e", start_time=NOON + 5.0, kind="crossing", zone="gate", direction="in"),
        ],
        [],
    )
    assert ids(store) == ["e", "d", "c", "b", "a"]
    assert ids(store, EventQuery(camera="yard")) == ["b"]
    assert ids(store, EventQuery(zone="till")) == ["c"]
    assert ids(store, EventQuery(label="dog")) == ["d"]
    assert ids(store, EventQuery(kind="crossing")) == ["e"]
    assert ids(store, EventQuery(start=NOON + 2.0, end=NOON + 4.0)) == ["c", "b"]
    assert ids(store, EventQuery(camera="door", label="person", kind="presence", zone="gate")) == []


def test_pages_do_not_shift_when_new_events_come(store: Store) -> None:
    # Many of them begin at the same moment.
    begun = {f"event{number:02}": NOON + float(number // 5) for number in range(23)}
    store.write([make_event(event_id, start_time=start) for event_id, start in begun.items()], [])
    found: list[str] = []
    before = None
    for page_number in range(5):
        page = store.events(EventQuery(), limit=5, before=before)
        found += [stored.event.id for stored in page.events]
        before = page.next
        store.add_event(make_event(f"late{page_number}", start_time=NOON + 500.0))
        store.delete_event(found[-1])
    assert before is None
    assert found == sorted(begun, key=lambda event_id: (begun[event_id], event_id), reverse=True)


@pytest.mark.parametrize("before", ["", "x", "1.0", "_", "nan_one", "1.0_../x", "1.0_" + "x" * 500])
def test_a_cursor_of_somebody_elses_making_is_refused(store: Store, before: str) -> None:
    with pytest.raises(ValueError, match="is not what a page gave as next"):
        store.events(EventQuery(), before=before)


@pytest.mark.parametrize(
    ("query", "limit", "words"),
    [
        (EventQuery(), 0, "limit must be from 1 to 1000"),
        (EventQuery(), 1001, "limit must be from 1 to 1000"),
        (EventQuery(label="a\0"), 1, "a character that no name has"),
        (EventQuery(start=float("nan")), 1, "Unix seconds"),
    ],
)
def test_questions_that_make_no_sense(store: Store, query: EventQuery, limit: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        store.events(query, limit=limit)


def test_events_that_a_kill_left_open_end_when_data_ended(store: Store) -> None:
    store.write(
        [
            make_event("seen"),
            make_event("unseen", camera="yard"),
            make_event("elsewhere", camera="hall"),
            make_event("over", end_time=NOON + 2.0),
        ],
        [make_bin(NOON, 0.5), make_bin(NOON + 60, 1.0), make_bin(NOON + 120, 0.0)],
    )
    assert store.end_open_events(["door", "yard"]) == 2
    ends = {stored.event.id: stored.event.end_time for stored in store.events(EventQuery()).events}
    assert ends == {"seen": NOON + 120.0, "unseen": NOON + 0.25, "elsewhere": None, "over": NOON + 2.0}


def test_a_batch_is_kept_whole_or_not_at_all(store: Store) -> None:
    with pytest.raises(ValueError, match="no event id"):
        store.write([make_event("good"), make_event("../bad")], [make_bin(counts={"person": (1, 1.0, 1)})])
    assert store.event("good") is None


def test_a_marked_batch_is_written_once(store: Store) -> None:
    for number in (1, 1, 2, 1):
        store.write([], [make_bin(observed=0.25, lines={"person": (1, 0)})], ("writer", number))
    store.write([], [make_bin(observed=0.25, lines={"person": (1, 0)})], ("another", 1))
    found = store.crossings(CrossingQuery("door", "gate", NOON, NOON + 60, 60))
    assert found.series["person"][0].entered == 3
