"""Who did what: sign-ins, and changes of users, keys, zones and lines."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import func, insert, select

from densewatch.store.database import Database
from densewatch.store.schema import AuditRow

MAX_ENTRIES = 1000
"""Most entries of one page."""

SIGNED_IN = "signed in"
"""`what` of the entries whose detail is the address of somebody whose password was right."""

FAILED_SIGN_IN = "sign-in failed"
"""`what` of the entries that strangers cause; they have a bound of their own."""

_NAME_CHARACTERS = 64
_DETAIL_CHARACTERS = 1000
_HIGHEST_ID = 2**31 - 1


@dataclass(frozen=True)
class AuditEntry:
    """Something that was done.

    Attributes:
        id: rises with time.
        time: Unix seconds.
        who: name of the user or the key; what was typed, where a sign-in failed.
        what: a short name such as `signed in` or `zone changed`.
        detail: which one, and what else helps to understand; no secrets.
    """

    id: int
    time: float
    who: str
    what: str
    detail: str


class AuditLog:
    """The list of what was done; retention keeps it bounded."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        """Take a database that has its tables, and a clock that gives Unix seconds."""
        self._database = database
        self._clock = clock

    def add(self, who: str, what: str, detail: str = "") -> None:
        """Write down what was done; what is too long is cut.

        Raises:
            StoreError: the database cannot be written.
        """
        row = {
            "time": self._clock(),
            "who": _plain(who, _NAME_CHARACTERS),
            "what": _plain(what, _NAME_CHARACTERS),
            "detail": _plain(detail, _DETAIL_CHARACTERS),
        }
        with self._database.writing() as connection:
            connection.execute(insert(AuditRow).values(row))

    def entries(self, limit: int = 100, before: int | None = None) -> list[AuditEntry]:
        """Return what was done last, newest first.

        Args:
            limit: most entries, 1 to `MAX_ENTRIES`.
            before: only those older than the one of this id.

        Raises:
            ValueError: `limit` makes no sense.
            StoreError: the database cannot be read.
        """
        if not 1 <= limit <= MAX_ENTRIES:
            raise ValueError(f"limit must be from 1 to {MAX_ENTRIES}")
        wanted = select(AuditRow.__table__).order_by(AuditRow.id.desc()).limit(limit)
        if before is not None:
            wanted = wanted.where(AuditRow.id < min(before, _HIGHEST_ID))
        with self._database.reading() as connection:
            rows = connection.execute(wanted).all()
        return [AuditEntry(row.id, row.time, row.who, row.what, row.detail) for row in rows]

    def latest(self, what: str, since: float) -> list[AuditEntry]:
        """Return the last entry of each `who` and `detail`, newest first.

        Args:
            what: was done.
            since: Unix seconds; nothing older.

        Raises:
            StoreError: the database cannot be read.
        """
        ids = (
            select(func.max(AuditRow.id))
            .where(AuditRow.what == what, AuditRow.time >= since)
            .group_by(AuditRow.who, AuditRow.detail)
        )
        wanted = select(AuditRow.__table__).where(AuditRow.id.in_(ids)).order_by(AuditRow.id.desc())
        with self._database.reading() as connection:
            rows = connection.execute(wanted).all()
        return [AuditEntry(row.id, row.time, row.who, row.what, row.detail) for row in rows]


def _plain(text: str, characters: int) -> str:
    """Return text on one line: what strangers typed must not look like lines of its own."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:characters])
