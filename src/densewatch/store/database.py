"""The database behind a store: SQLite or PostgreSQL, with the same two kinds of transactions."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.postgresql.dml import Insert as PostgresqlInsert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.dialects.sqlite.dml import Insert as SqliteInsert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DataError, IntegrityError, SQLAlchemyError

from densewatch.extras import how_to_install
from densewatch.store.errors import DiskFullError, RefusedError, StoreError
from densewatch.store.schema import Base

_LOCK_TIMEOUT_S = 5.0
_CHECKED_BYTES = 256 << 20
_HARDLY_ANY_ROOM = 1 << 20
_WRITES = "densewatch_writes"


class Database:
    """Connections to one database; safe to use from many threads.

    Attributes:
        engine: SQLAlchemy's engine.
        place: what users know it by, without its password.
        file: the SQLite file; None with PostgreSQL.
    """

    def __init__(self, engine: Engine, place: str, file: Path | None) -> None:
        self.engine = engine
        self.place = place
        self.file = file

    @classmethod
    def connect(cls, url: str) -> Database:
        """Reach a database, and make the file where SQLite has none yet.

        Args:
            url: `sqlite:///path` or `postgresql+psycopg://user:password@host/name`.

        Raises:
            StoreError: the address is wrong, the file is broken, the server is away.
        """
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError):  # the latter where the port is no number, but a password perhaps
            raise StoreError(
                "the store's url is not one; write sqlite:///path or postgresql+psycopg://…"
            ) from None
        if parsed.get_backend_name() == "sqlite":
            return cls._sqlite(parsed)
        if parsed.get_backend_name() == "postgresql":
            return cls._postgresql(parsed)
        raise StoreError(
            f"the store's url begins with {parsed.drivername}; known are sqlite and postgresql+psycopg"
        )

    @classmethod
    def _sqlite(cls, url: URL) -> Database:
        if url.database in (None, "", ":memory:") or str(url.database).startswith("file:"):
            raise StoreError("the store's url names no file; write sqlite:///path")
        file = Path(str(url.database))
        try:
            _make_private_file(file)
        except OSError as error:
            raise StoreError(f"{file} cannot be made: {error.strerror}") from error
        engine = create_engine(
            URL.create("sqlite", database=str(file)),
            connect_args={"timeout": _LOCK_TIMEOUT_S},
            hide_parameters=True,
        )
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        database = cls(engine, str(file), file)
        with database.translated():
            database._check_sqlite(file)
        return database

    @classmethod
    def _postgresql(cls, url: URL) -> Database:
        # A connection that died silently is noticed within half a minute instead of two hours.
        patience = {
            "connect_timeout": 5,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 20_000,
            "application_name": "densewatch",
        }
        given = {key: value for key, value in patience.items() if key not in url.query}
        try:
            engine = create_engine(
                url.set(drivername="postgresql+psycopg"),
                connect_args=given,
                pool_pre_ping=True,
                hide_parameters=True,
            )
        except ImportError:
            raise StoreError(f"PostgreSQL needs psycopg: {how_to_install('postgresql')}") from None
        host = url.host or url.query.get("host") or "this machine"
        database = cls(engine, f"PostgreSQL database {url.database or url.username} at {host}", None)
        database.check()
        return database

    def _check_sqlite(self, file: Path) -> None:
        """Look whether the file is a sound database in WAL mode; a large one is not read whole."""
        with self.engine.connect() as connection:
            raw = connection.connection.cursor()
            # Only a database that is still empty takes this: what retention frees goes back to the disk.
            raw.execute("PRAGMA auto_vacuum = INCREMENTAL")
            if _into_wal_mode(raw) != "wal":
                raise StoreError(
                    f"{file} lies on a file system where SQLite cannot write and read at the same time; "
                    "put it on a local disk, or use PostgreSQL"
                )
            if file.stat().st_size <= _CHECKED_BYTES:
                (found,) = raw.execute("PRAGMA quick_check(1)").fetchone()
                if found != "ok":
                    raise StoreError(f"{file} is damaged: {found}")

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a file here."""
        return self.file is not None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that sees one state of the database, and changes nothing.

        Raises:
            StoreError: see `translated`.
        """
        with self.translated(), self.engine.connect() as connection:
            if not self.is_sqlite:
                # As it comes, PostgreSQL shows each statement the state of its own moment.
                connection = connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
            with connection.begin():
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection whose changes are all kept, or none of them where the block raises.

        Raises:
            StoreError: see `translated`.
        """
        with self.translated(), self.engine.connect() as connection:
            connection = connection.execution_options(**{_WRITES: True})
            with connection.begin():
                yield connection

    def insert(self, table: type[Base]) -> SqliteInsert | PostgresqlInsert:
        """Return an INSERT that can say what to do where the row is there already."""
        return sqlite_insert(table) if self.is_sqlite else postgresql_insert(table)

    def check(self) -> None:
        """Ask the database for an answer.

        Raises:
            StoreError: there is none.
        """
        with self.reading() as connection:
            connection.execute(text("SELECT 1"))

    def used_bytes(self) -> int:
        """Return how much of the disk the data takes: 0 with PostgreSQL, whose disk is its own affair.

        Pages of the file that are free already do not count.
        """
        if self.file is None:
            return 0
        with self.reading() as connection:
            pages, free, size = (
                int(connection.execute(text(f"PRAGMA {name}")).scalar_one())
                for name in ("page_count", "freelist_count", "page_size")
            )
        return (pages - free) * size

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def shrink(self, pages: int, spare: int) -> bool:
        """Give free pages of the file back to the disk; nothing to do with PostgreSQL, which reuses them.

        Args:
            pages: how many at a time.
            spare: how many may stay free for what comes.

        Returns:
            Whether there is more to give back. A file that was made without this feature gives nothing.
        """
        if not self.is_sqlite:
            return False
        with self.translated(), self.engine.connect() as connection:
            raw = connection.connection.cursor()
            free = int(raw.execute("PRAGMA freelist_count").fetchone()[0])
            if free <= spare:
                return False
            # Each row that is fetched frees a page.
            raw.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
            raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            left = int(raw.execute("PRAGMA freelist_count").fetchone()[0])
        return spare < left < free

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn the library's errors into sentences.

        Raises:
            DiskFullError: no room.
            RefusedError: the database does not take a value.
            StoreError: all else.
        """
        try:
            yield
        except SQLAlchemyError as error:
            origin = getattr(error, "orig", None) or error
            words = f"{self.place}: {str(origin).strip().splitlines()[0]}"
            if isinstance(error, IntegrityError | DataError):
                raise RefusedError(words) from error
            raise (DiskFullError if self._is_full(origin) else StoreError)(words) from error
        except sqlite3.Error as error:
            kind = DiskFullError if self._is_full(error) else StoreError
            raise kind(f"{self.place}: {error}") from error

    def _is_full(self, error: BaseException) -> bool:
        if getattr(error, "sqlstate", None) == "53100":
            return True
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        # Without room, SQLite's helper files fail with an error of input or output, or do not open.
        if code not in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) or self.file is None:
            return code == sqlite3.SQLITE_FULL
        try:
            return shutil.disk_usage(self.file.parent).free < _HARDLY_ANY_ROOM
        except OSError:
            return False


def check_text(*texts: str | None) -> None:
    """Raise a ValueError where a text holds what no database finds: a NUL, or half of a character."""
    for text_ in texts:
        if text_ is not None and any(letter == "\0" or "\ud800" <= letter <= "\udfff" for letter in text_):
            raise ValueError(f"{text_[:80]!r} holds a character that no name has")


def is_out_of_room(error: OSError) -> bool:
    """Tell whether a file could not be written because the disk, or one's share of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _make_private_file(file: Path) -> None:
    """Make an empty file that others cannot read: it will hold hashes of passwords."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.exists():
        os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o600))


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # Transactions are begun by `_begin_sqlite`; Python's own way leaves schema changes outside of them.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    # With NORMAL a kill loses nothing, but a power cut all since the last checkpoint, which may be hours of
    # a quiet camera. FULL waits for the disk at each commit; the writer commits at most twice a second.
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute(f"PRAGMA journal_size_limit = {64 << 20}")
    cursor.close()


def _into_wal_mode(cursor: Any) -> str:
    """Ask for WAL mode, and return the mode that the database is in then.

    SQLite does not wait here as it does elsewhere: where several open a new database at once, all but one are
    told at once that it is locked. The one is done in no time.
    """
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    while True:
        try:
            (mode,) = cursor.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return str(mode)


def _begin_sqlite(connection: Connection) -> None:
    # Who means to write says so at once and waits its turn; a reader that turned writer could only fail.
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
