"""Exports: what is in the files, how they are made, what they do not do to spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from densewatch.records import Subject, Watched
from densewatch.store.counts import CountQuery, CrossingQuery
from densewatch.store.events import EventQuery
from densewatch.store.export import Format
from densewatch.store.store import Store
from store_samples import JPEG, NOON, make_bin, make_event

pytest_plugins = ["store_fixtures"]

Rows = list[dict[str, Any]]


def read(pieces: Iterator[bytes], format: Format) -> Rows:
    data = b"".join(pieces)
    if format == "parquet":
        rows: Rows = pq.read_table(pa.BufferReader(data)).to_pylist()
        return rows
    return list(csv.DictReader(io.StringIO(data.decode(), newline="")))


def as_text(rows: Rows) -> list[list[str]]:
    return [["" if value is None else str(value) for value in row.values()] for row in rows]


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_counts(store: Store, format: Format) -> None:
    store.add_bin(make_bin(NOON, 0.5, {"person": (1, 1.5, 2)}, zone="till"))
    rows = read(store.export_counts(CountQuery("door", NOON, NOON + 120, 60, zone="till"), format), format)
    assert list(rows[0]) == [
        *("camera", "zone", "label", "start", "start_time", "seconds", "observed"),
        *("minimum", "mean", "maximum"),
    ]
    assert as_text(rows) == [
        ["door", "till", "person", "2026-01-01T12:00:00.000Z", f"{NOON}", "60", "0.5", "1", "1.5", "2"],
        ["door", "till", "person", "2026-01-01T12:01:00.000Z", f"{NOON + 60}", "60", "0.0", "", "", ""],
    ]


def test_what_was_not_watched_has_no_numbers(store: Store) -> None:
    watches: list[Watched] = [{}, {Subject(("zone", "till"), frozenset({"person"})): 0.5}]
    for minute, watched in enumerate(watches):
        part = make_bin(NOON + minute * 60)
        observation = replace(part.observation, watched=watched)
        store.add_bin(replace(part, observation=observation))
    query = CountQuery("door", NOON, NOON + 120, 60, zone="till")
    for label, shares in ((None, ["0.0", "0.5"]), ("person", ["0.0", "0.5"]), ("dog", ["0.0", "0.0"])):
        rows = read(store.export_counts(replace(query, label=label), "csv"), "csv")
        assert [row["observed"] for row in rows] == shares
        assert [row["minimum"] for row in rows] == ["" if share == "0.0" else "0" for share in shares]


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_crossings(store: Store, format: Format) -> None:
    store.add_bin(make_bin(NOON, 1.0, lines={"person": (3, 1)}))
    rows = read(store.export_crossings(CrossingQuery("door", "gate", NOON, NOON + 120, 60), format), format)
    assert as_text(rows) == [
        ["door", "gate", "person", "2026-01-01T12:00:00.000Z", f"{NOON}", "60", "1.0", "3", "1"],
        ["door", "gate", "person", "2026-01-01T12:01:00.000Z", f"{NOON + 60}", "60", "0.0", "", ""],
    ]


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_events(store: Store, format: Format) -> None:
    store.write(
        [
            make_event("a", snapshot=JPEG),
            make_event("b", start_time=NOON + 1.5, end_time=NOON + 2.25, zone="till", label="chair"),
        ],
        [],
    )
    rows = read(store.export_events(EventQuery(), format), format)
    assert [row["id"] for row in rows] == ["b", "a"]
    assert [row["start"] for row in rows] == ["2026-01-01T12:00:01.500Z", "2026-01-01T12:00:00.250Z"]
    assert [str(row["end_time"] or None) for row in rows] == [f"{NOON + 2.25}", "None"]
    assert [row["end"] or None for row in rows] == ["2026-01-01T12:00:02.250Z", None]
    assert [float(row["x2"]) for row in rows] == [0.3, 0.3]
    assert [str(row["has_snapshot"]) for row in rows] == ["False", "True"]
    chairs = read(store.export_events(EventQuery(label="chair"), format), format)
    assert [row["id"] for row in chairs] == ["b"]


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_an_export_of_nothing_is_a_file_all_the_same(store: Store, format: Format) -> None:
    assert read(store.export_events(EventQuery(), format), format) == []


def test_nobody_there_and_no_data_differ_also_where_no_class_was_seen(store: Store) -> None:
    store.add_bin(make_bin(NOON, 1.0))
    query = CountQuery("door", NOON, NOON + 120, 60)
    rows = read(store.export_counts(query, "csv"), "csv")
    assert [(row["label"], row["observed"], row["maximum"]) for row in rows] == [
        ("", "1.0", "0"),
        ("", "0.0", ""),
    ]
    crossed = read(store.export_crossings(CrossingQuery("door", "gate", NOON, NOON + 60, 60), "csv"), "csv")
    assert [(row["label"], row["entered"]) for row in crossed] == [("", "0")]


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_long_files_come_in_pieces_and_lose_nothing(store: Store, format: Format) -> None:
    start = NOON - NOON % 86400
    store.write(
        [make_event(f"e{i}", start_time=NOON + i) for i in range(2500)],
        [make_bin(start + i * 60, 1.0, {"person": (i, float(i), i)}) for i in range(2500)],
    )
    pieces = list(store.export_events(EventQuery(), format))
    assert len(pieces) >= 3
    assert [row["id"] for row in read(iter(pieces), format)] == [f"e{i}" for i in reversed(range(2500))]
    pieces = list(store.export_counts(CountQuery("door", start, start + 60 * 10_000, 60), format))
    assert len(pieces) >= 10
    rows = read(iter(pieces), format)
    assert [int(row["start_time"]) for row in rows] == [start + i * 60 for i in range(10_000)]
    assert [int(row["maximum"]) for row in rows[:2500]] == list(range(2500))
    assert not any(row["maximum"] for row in rows[2500:])


def test_a_class_that_looks_like_a_formula_stays_text(store: Store) -> None:
    labels = ['=HYPERLINK("x")', "+1", "-1", "@x", "\tx", 'a "b", c', "person"]
    store.write([make_event(f"e{i}", label=label, start_time=NOON - i) for i, label in enumerate(labels)], [])
    given = [row["label"] for row in read(store.export_events(EventQuery(), "csv"), "csv")]
    assert given == ["'" + label for label in labels[:5]] + labels[5:]
    # Parquet knows text from formulas.
    assert [row["label"] for row in read(store.export_events(EventQuery(), "parquet"), "parquet")] == labels


def test_mistakes_are_told_before_the_first_piece(store: Store) -> None:
    with pytest.raises(ValueError, match="end must lie after start"):
        store.export_counts(CountQuery("door", NOON, NOON, 60), "csv")
    with pytest.raises(ValueError, match="a file has at most 5000000"):
        store.export_counts(CountQuery("door", 0, NOON, 1), "csv")
    with pytest.raises(ValueError, match="no name has"):
        store.export_crossings(CrossingQuery("door", "a\0", NOON, NOON + 1, 60), "csv")
    with pytest.raises(ValueError, match="no name has"):
        store.export_events(EventQuery(label="\0"), "csv")
    with pytest.raises(ValueError, match="unknown format 'xlsx'"):
        store.export_events(EventQuery(), "xlsx")  # type: ignore[arg-type]
