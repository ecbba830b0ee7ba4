"""What happens to machines: kills, full disks, a database that restarts, many at once."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from densewatch.store.counts import CountQuery, CrossingQuery
from densewatch.store.errors import DiskFullError
from densewatch.store.events import EventQuery
from densewatch.store.retention import Retention
from densewatch.store.store import Store
from densewatch.store.writer import Writer, WriterSettings
from postgres_server import PostgresServer, running_postgres
from store_samples import NOON, make_bin, make_event

pytest_plugins = ["store_fixtures"]

TESTS = Path(__file__).parent
QUICK = WriterSettings(reserve_bytes=0, interval_s=0.02, room_every_s=0.05, longest_pause_s=0.2)
FOR_EVER = Retention(None, None, None, None, None)
PICTURE = b"\xff\xd8" + bytes(20_000) + b"\xff\xd9"


def wait_for_state(writer: Writer, state: str, limit_s: float = 30.0) -> None:
    end = time.monotonic() + limit_s
    while writer.status().state != state:
        assert time.monotonic() < end, writer.status()
        time.sleep(0.01)


@contextmanager
def writing(store: Store, settings: WriterSettings = QUICK) -> Iterator[Writer]:
    writer = Writer(store, settings=settings, retention=FOR_EVER)
    writer.start()
    try:
        yield writer
    finally:
        writer.close(5.0)


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a disk of its own on a folder, or skip the test."""
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True
        ).returncode
    )
    if not mounted:
        pytest.skip("needs the right to mount a tmpfs (root)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def kept_bins(store: Store, start: int, number: int) -> list[int]:
    found = store.counts(CountQuery("door", start, start + number * 60, 60))
    return [(begun - start) // 60 for begun, share in found.observed.items() if share]


def run_until_killed(url: str, media: Path, round_number: int, chance: random.Random) -> list[int]:
    """Let a process write, kill it at some moment, and return which bins it knew to be kept."""
    process = subprocess.Popen(
        [sys.executable, TESTS / "store_child.py", url, media, str(round_number)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(chance.uniform(0.0, 0.3))
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read()
    process.wait()
    return [int(line) for line in (first + rest).split()]


def test_a_kill_at_any_moment_loses_at_most_the_last_bin(url: str, tmp_path: Path) -> None:
    chance = random.Random()
    rounds = 8 if url.startswith("sqlite") else 3
    for round_number in range(rounds):
        known = run_until_killed(url, tmp_path / "media", round_number, chance)
        assert known == list(range(len(known)))
        if url.startswith("sqlite"):
            connection = sqlite3.connect(url.removeprefix("sqlite:///"))
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
            connection.close()
        store = Store.open(url, tmp_path / "media")
        start = NOON + round_number * 10_000 * 60
        kept = kept_bins(store, start, len(known) + 1)
        # What was acknowledged is there; of what was on its way, at most one bin, whole or not at all.
        assert kept in (known, [*known, len(known)])
        assert_whole(store, start, kept, round_number)
        store.close()


def assert_whole(store: Store, start: int, kept: list[int], round_number: int) -> None:
    end = start + (len(kept) + 1) * 60
    series = store.counts(CountQuery("door", start, end, 60)).series
    assert [point.maximum for point in series["person"]][: len(kept)] == [3] * len(kept)
    assert [point.maximum for point in series["dog"]][: len(kept)] == [1] * len(kept)
    crossed = store.crossings(CrossingQuery("door", "gate", start, end, 60)).series["person"]
    assert sum(point.entered or 0 for point in crossed) == len(kept)
    events = store.events(EventQuery(start=start, end=end), limit=1000).events
    # Bins are written before the events that wait with them.
    assert {stored.event.id for stored in events} >= {f"r{round_number}-{number}" for number in kept[:-1]}
    assert all(stored.has_snapshot and store.snapshot(stored.event.id) for stored in events)


def fill(folder: Path) -> Path:
    """Take all room that is left; return the file that takes it."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return ballast


@pytest.mark.parametrize("fullness", ["database", "snapshots", "both"])
def test_a_full_disk_stops_recording_and_recovers(tmp_path: Path, fullness: str) -> None:
    with small_disk(tmp_path / "disk", "4m") as disk:
        database = tmp_path if fullness == "snapshots" else disk
        media = (tmp_path if fullness == "database" else disk) / "media"
        store = Store.open(f"sqlite:///{database}/densewatch.db", media)
        with writing(store) as writer:
            writer.add_bin(make_bin(NOON))
            assert writer.flush()
            ballast = fill(disk)
            for i in range(1, 300):
                writer.add_event(make_event(f"e{i}", snapshot=PICTURE))
                writer.add_bin(make_bin(NOON + i * 60, 1.0, {f"class{j}": (1, 1.0, 1) for j in range(5)}))
            wait_for_state(writer, "full_disk")
            assert not writer.flush(0.3)
            # Who looks is not disturbed.
            assert kept_bins(store, NOON, 1) == [0]
            ballast.unlink()
            # This disk is too small for all the pictures, so somebody tidies up all the time.
            make_room = threading.Thread(target=delete_pictures, args=(store, writer))
            make_room.start()
            assert writer.flush(30.0), writer.status()
            make_room.join()
            wait_for_state(writer, "ok")
            assert dict(writer.status().dropped)["bins"] == 0
        assert kept_bins(store, NOON, 300) == list(range(300))
        store.close()
        if database == disk:
            check = sqlite3.connect(f"{disk}/densewatch.db")
            assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            check.close()


def delete_pictures(store: Store, writer: Writer) -> None:
    """Make room while the writer writes, as somebody who tidies up does."""
    end = time.monotonic() + 30.0
    while writer.status().queued and time.monotonic() < end:
        for path in store.media.rglob("*.jpg"):
            path.unlink(missing_ok=True)
        time.sleep(0.01)


def test_a_disk_that_is_full_from_the_start_is_named(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        fill(disk)
        with pytest.raises(DiskFullError, match=str(disk)):
            Store.open(f"sqlite:///{disk}/densewatch.db", tmp_path / "media")


def test_a_full_disk_under_postgresql_stops_recording_and_recovers(tmp_path: Path) -> None:
    with running_postgres() as server, small_disk(server.folder / "disk", "16m") as disk:
        tables = disk / "tables"
        tables.mkdir()
        disk.chmod(0o755)
        url = server.create_database(tablespace=tables)
        store = Store.open(url, tmp_path / "media")
        with writing(store) as writer:
            ballast = fill(disk)
            for i in range(2000):
                writer.add_event(make_event(f"e{i}", label="x" * 200))
            wait_for_state(writer, "full_disk")
            ballast.unlink()
            assert writer.flush(30.0), writer.status()
            wait_for_state(writer, "ok")
        assert store.event("e0") is not None
        assert store.event("e1999") is not None
        store.close()
        server.drop_database(url)


def test_a_database_that_restarts_loses_nothing(tmp_path: Path) -> None:
    with running_postgres() as server:
        store = Store.open(server.create_database(), tmp_path / "media")
        stop = threading.Event()
        added: list[int] = []
        with writing(store) as writer:

            def watch() -> None:
                while not stop.is_set():
                    added.append(len(added))
                    writer.add_bin(make_bin(NOON + added[-1] * 60, lines={"person": (1, 0)}))
                    time.sleep(0.002)

            watcher = threading.Thread(target=watch)
            watcher.start()
            try:
                for _ in range(2):
                    assert writer.flush()
                    server.stop()
                    wait_for_state(writer, "failing")
                    assert "PostgreSQL database" in str(writer.status().error)
                    server.start()
                    wait_for_state(writer, "ok")
            finally:
                stop.set()
                watcher.join()
            assert writer.flush()
        assert kept_bins(store, NOON, len(added)) == added
        query = CrossingQuery("door", "gate", NOON, NOON + len(added) * 60, 60)
        crossed = store.crossings(query).series["person"]
        assert [point.entered for point in crossed] == [1] * len(added)
        store.close()


def test_readers_see_whole_states_while_the_writer_writes(store: Store) -> None:
    stop = threading.Event()
    wrong: list[object] = []

    def read() -> None:
        query = CountQuery("door", NOON, NOON + 1000 * 60, 60)
        while not stop.is_set():
            try:
                found = store.counts(query)
                series = found.series.get("person", ())
                wrong.extend(
                    point for point in series if point.observed and (point.maximum, point.mean) != (3, 2.0)
                )
                b"".join(store.export_events(EventQuery(), "csv"))
            except Exception as error:
                wrong.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    with writing(store, replace(QUICK, batch=20)) as writer:
        for i in range(500):
            writer.add_bin(make_bin(NOON + i * 60, 1.0, {"person": (1, 2.0, 3)}))
            writer.add_event(make_event(f"e{i}"))
        assert writer.flush(60.0)
    stop.set()
    for reader in readers:
        reader.join()
    assert wrong == []
    assert kept_bins(store, NOON, 1000) == list(range(500))


def test_two_processes_may_use_one_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/densewatch.db"
    first, second = (Store.open(url, tmp_path / "media") for _ in range(2))
    with writing(first) as one, writing(second) as two:
        for i in range(200):
            one.add_event(make_event(f"a{i}"))
            two.add_event(make_event(f"b{i}"))
        assert one.flush(60.0)
        assert two.flush(60.0)
        assert [writer.status().state for writer in (one, two)] == ["ok", "ok"]
    with first._database.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM events")).scalar_one() == 400
    first.close()
    second.close()


def test_a_server_of_the_tests_is_gone_afterwards() -> None:
    with running_postgres() as server:
        assert isinstance(server, PostgresServer)
        folder = server.folder
    assert not folder.exists()
