"""Opening a store: new, again, newer, broken, away; and the migrations against the models."""

from __future__ import annotations

import sqlite3
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, text

from densewatch.records import Subject
from densewatch.store import database, migrations
from densewatch.store.counts import CountPoint, CountQuery, CrossingPoint, CrossingQuery
from densewatch.store.errors import StoreError
from densewatch.store.schema import Base
from densewatch.store.store import Store
from store_samples import NOON, OpenStore, make_bin, make_event

pytest_plugins = ["store_fixtures"]


def test_the_migrations_make_what_the_models_say(store: Store, url: str) -> None:
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_the_comparison_sees_a_difference(store: Store, url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("DROP INDEX ix_events_label"))
        connection.execute(text("ALTER TABLE audit ADD COLUMN more INTEGER"))
        found = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    engine.dispose()
    assert {difference[0] for difference in found} == {"add_index", "remove_column"}


def test_a_store_opens_again_with_all_that_was_in_it(open_store: OpenStore) -> None:
    first = open_store()
    first.add_event(make_event())
    first.close()
    assert open_store().event("one") is not None


@contextmanager
def old_tables(url: str, revision: str) -> Iterator[Connection]:
    """Make the tables of an older densewatch, and give a connection to fill them."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    engine = create_engine(url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        yield connection
    engine.dispose()


def test_an_older_store_is_brought_up_to_date_and_read_as_ever(open_store: OpenStore, url: str) -> None:
    with old_tables(url, "0001") as connection:
        for row in (
            f"observations VALUES ('door', {NOON}, 60, 0.5)",
            f"count_bins VALUES ('door', {NOON}, 60, 'till', 'person', 1, 1.5, 2)",
            f"line_bins VALUES ('door', {NOON}, 60, 'gate', 'person', 1, 2)",
        ):
            connection.execute(text(f"INSERT INTO {row}"))
    store = open_store()
    query = CountQuery("door", NOON, NOON + 60, 60, zone="till")
    assert store.counts(query).series["person"] == (CountPoint(NOON, 0.5, 1, 1.5, 2),)
    assert store.counts(replace(query, zone="other")).observed == {NOON: 0.5}
    crossings = store.crossings(CrossingQuery("door", "gate", NOON, NOON + 60, 60))
    assert crossings.series["person"] == (CrossingPoint(NOON, 0.5, 1, 2),)
    engine = create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    engine.dispose()
    # What is written now is kept with what was watched, also where a bin is the rest of an old one.
    part = make_bin(NOON + 60, 1.0, zone="till")
    watched = {Subject(("zone", "till"), frozenset({"person"})): 1.0}
    store.add_bin(replace(part, observation=replace(part.observation, watched=watched)))
    assert store.counts(replace(query, zone="other", end=NOON + 120)).observed == {NOON: 0.5, NOON + 60: 0.0}
    store.add_bin(make_bin(NOON, 0.5, {"person": (3, 3.5, 4)}, zone="till"))
    assert store.counts(query).series["person"] == (CountPoint(NOON, 1.0, 1, 2.5, 4),)


def test_who_reads_sees_one_state(store: Store) -> None:
    count = text("SELECT count(*) FROM events")
    with store._database.reading() as connection:
        assert connection.execute(count).scalar_one() == 0
        store.add_event(make_event())
        assert connection.execute(count).scalar_one() == 0
    with store._database.reading() as connection:
        assert connection.execute(count).scalar_one() == 1


def test_many_may_open_a_new_store_at_once(open_store: OpenStore) -> None:
    failed = []

    def open_one() -> None:
        try:
            open_store().check()
        except StoreError as error:
            failed.append(error)

    threads = [threading.Thread(target=open_one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


class BusyCursor:
    """Answers as SQLite does while another connection turns the database into WAL mode."""

    def __init__(self, refusals: int, code: int = sqlite3.SQLITE_BUSY) -> None:
        self.refusals, self.code = refusals, code

    def execute(self, _statement: str) -> BusyCursor:
        if self.refusals:
            self.refusals -= 1
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = self.code
            raise error
        return self

    def fetchone(self) -> tuple[str]:
        return ("wal",)


def test_a_database_that_another_one_turns_into_wal_mode_is_waited_for() -> None:
    assert database._into_wal_mode(BusyCursor(3)) == "wal"
    with pytest.raises(sqlite3.OperationalError):
        database._into_wal_mode(BusyCursor(1, sqlite3.SQLITE_READONLY))


def test_a_newer_database_is_refused_in_words(open_store: OpenStore, url: str) -> None:
    open_store().close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(StoreError, match=r"made by a newer densewatch: its tables are version 9999, .*0002"):
        open_store()


def test_somebody_elses_tables_are_left_alone(open_store: OpenStore, url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE users (mine INTEGER)"))
    with pytest.raises(StoreError, match="already exists"):
        open_store()
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO users VALUES (1)"))
        with pytest.raises(Exception, match="events"):
            connection.execute(text("SELECT * FROM events"))
    engine.dispose()


@pytest.mark.parametrize("content", [b"no database at all" * 300, b"SQLite format 3\0" + b"\x07" * 5000])
def test_a_file_that_is_no_database_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "densewatch.db"
    file.write_bytes(content)
    with pytest.raises(StoreError, match=str(file)):
        Store.open(f"sqlite:///{file}", tmp_path / "media")
    assert file.read_bytes() == content


def test_a_damaged_page_is_found_when_the_store_opens(tmp_path: Path) -> None:
    file = tmp_path / "densewatch.db"
    store = Store.open(f"sqlite:///{file}", tmp_path / "media")
    for minute in range(300):
        store.add_bin(make_bin(NOON + minute * 60, 1.0, {"person": (1, 1.0, 1)}))
    store.close()
    content = bytearray(file.read_bytes())
    middle = len(content) // 4096 // 2 * 4096
    content[middle : len(content)] = b"\x55" * (len(content) - middle)
    file.write_bytes(content)
    with pytest.raises(StoreError, match=f"{file}"):
        Store.open(f"sqlite:///{file}", tmp_path / "media")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "is not one"),
        ("mysql://localhost/x", "known are sqlite and postgresql"),
        ("postgresql+psycopg://me:geheimnis/x", "the store's url is not one"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:////proc/nobody/x.db", "/proc/nobody/x.db cannot be made"),
    ],
)
def test_addresses_that_lead_nowhere(tmp_path: Path, url: str, words: str) -> None:
    with pytest.raises(StoreError, match=words):
        Store.open(url, tmp_path / "media")


def test_a_server_that_is_away_is_named_without_the_password(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://me:geheimnis@/x?host={tmp_path}&password=geheimnis"
    with pytest.raises(StoreError, match=f"PostgreSQL database x at {tmp_path}") as caught:
        Store.open(url, tmp_path / "media")
    assert "geheimnis" not in str(caught.value)


def test_without_psycopg_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"\[postgresql\] extra"):
        Store.open("postgresql+psycopg://x", tmp_path / "media")


def test_a_media_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "media").write_text("")
    with pytest.raises(StoreError, match="media cannot be made"):
        Store.open(f"sqlite:///{tmp_path}/densewatch.db", tmp_path / "media")


def test_nobody_else_can_read_what_is_kept(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/new/densewatch.db", tmp_path / "media")
    store.add_event(make_event(snapshot=b"x"))
    files = [*(tmp_path / "new").iterdir(), tmp_path / "media"]
    assert len(files) == 4
    assert {stat.S_IMODE(file.stat().st_mode) & 0o077 for file in files} == {0}
    store.close()


def test_sqlite_is_set_up_for_a_power_cut(tmp_path: Path) -> None:
    file = tmp_path / "densewatch.db"
    store = Store.open(f"sqlite:///{file}", tmp_path / "media")
    with store._database.reading() as connection:
        found = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "auto_vacuum")
        }
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "busy_timeout": 5000,
        "auto_vacuum": 2,
    }
    store.close()


def test_a_locked_database_fails_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("densewatch.store.database._LOCK_TIMEOUT_S", 0.05)
    file = tmp_path / "densewatch.db"
    store = Store.open(f"sqlite:///{file}", tmp_path / "media")
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"densewatch\.db: database is locked"):
        store.add_event(make_event())
    assert store.event("one") is None
    other.execute("ROLLBACK")
    other.close()
    store.add_event(make_event())
    store.close()


def test_a_database_whose_folder_is_gone_fails_in_words(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/data/densewatch.db", tmp_path / "media")
    store.close()
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="unable to open database file"):
        store.check()
