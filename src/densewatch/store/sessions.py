"""Signed-in users and machines: tokens that are shown once, and of which only a hash is kept."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from densewatch.store.database import Database
from densewatch.store.errors import RefusedError, StoreError
from densewatch.store.schema import ApiKeyRow, SessionRow, UserRow
from densewatch.store.users import Role, check_name, check_role

API_KEY_PREFIX = "dwk_"
MAX_SESSIONS = 50
"""Most sessions of one user; the oldest ends when one more begins."""

_TOKEN_BYTES = 32
_SEEN_EVERY_S = 60.0
_KEY_NAME_CHARACTERS = 64


@dataclass(frozen=True)
class Session:
    """A sign-in.

    Attributes:
        id: names it; it is not the token, and opens nothing.
        name: whose.
        role: what the user may do, now.
        csrf: what unsafe requests must carry beside the cookie.
        created: Unix seconds.
        expires: Unix seconds.
        last_seen: Unix seconds; at most a minute behind.
    """

    id: str
    name: str
    role: Role
    csrf: str
    created: float
    expires: float
    last_seen: float


@dataclass(frozen=True)
class ApiKey:
    """A machine's key, without the key.

    Attributes:
        id: names it.
        name: for people; unique.
        role: what the machine may do.
        created: Unix seconds.
        expires: Unix seconds; None is never.
        last_used: Unix seconds, at most a minute behind; None is never.
    """

    id: str
    name: str
    role: Role
    created: float
    expires: float | None
    last_used: float | None


class Sessions:
    """The sessions of a store's users; part of `Accounts`."""

    _database: Database
    _clock: Callable[[], float]

    def open_session(self, name: str, client: str, lifetime_s: float) -> tuple[str, Session]:
        """Begin a session of a user whose password was right.

        Args:
            name: the user's.
            client: what tells the user's browser from others; only its hash is kept.
            lifetime_s: seconds until it ends by itself.

        Returns:
            The token, which is shown this once, and the session.

        Raises:
            KeyError: there is no such user any more.
            StoreError: the database cannot be written.
        """
        check_name(name)
        token, csrf, now = (
            secrets.token_urlsafe(_TOKEN_BYTES),
            secrets.token_urlsafe(_TOKEN_BYTES),
            self._clock(),
        )
        row = {
            "id": _sha256(token),
            "user": name,
            "csrf": csrf,
            "client": _sha256(client),
            "created": now,
            "expires": now + lifetime_s,
            "last_seen": now,
        }
        try:
            role = self._insert(row)
        except RefusedError:
            # Deleted in this very moment.
            raise KeyError(name) from None
        return token, Session(_sha256(token), name, role, csrf, now, now + lifetime_s, now)

    def _insert(self, row: dict[str, Any]) -> Role:
        name = row["user"]
        with self._database.writing() as connection:
            role = connection.execute(select(UserRow.role).where(UserRow.name == name)).scalar_one_or_none()
            if role is None:
                raise KeyError(name)
            connection.execute(insert(SessionRow).values(row))
            newest = (
                select(SessionRow.id)
                .where(SessionRow.user == name)
                .order_by(SessionRow.created.desc(), SessionRow.id)
                .limit(MAX_SESSIONS)
            )
            connection.execute(
                delete(SessionRow).where(SessionRow.user == name, SessionRow.id.not_in(newest))
            )
        return check_role(role)

    def find_session(self, token: str, client: str) -> Session | None:
        """Return the session of a token, or None: it is unknown, expired, or another client's."""
        with self._database.reading() as connection:
            row = connection.execute(
                select(SessionRow.__table__, UserRow.role)
                .join(UserRow, UserRow.name == SessionRow.user)
                .where(SessionRow.id == _sha256(token))
            ).one_or_none()
        if row is None or not hmac.compare_digest(row.client, _sha256(client)):
            return None
        now = self._clock()
        if row.expires <= now:
            _note(self._database, delete(SessionRow).where(SessionRow.id == row.id))
            return None
        if now - row.last_seen >= _SEEN_EVERY_S:
            seen = update(SessionRow).where(SessionRow.id == row.id).values(last_seen=now)
            _note(self._database, seen)
        return Session(
            row.id, row.user, check_role(row.role), row.csrf, row.created, row.expires, row.last_seen
        )

    def close_session(self, session_id: str) -> None:
        """End a session, by `Session.id`; harmless where it has ended."""
        with self._database.writing() as connection:
            connection.execute(delete(SessionRow).where(SessionRow.id == session_id))

    def close_sessions_of(self, name: str, *, keep: str | None = None) -> int:
        """End a user's sessions, but for the one whose `Session.id` is `keep`; return how many."""
        ended = delete(SessionRow).where(SessionRow.user == name)
        if keep is not None:
            ended = ended.where(SessionRow.id != keep)
        with self._database.writing() as connection:
            return connection.execute(ended).rowcount

    def purge_expired(self) -> int:
        """Delete sessions and keys that are over; return how many."""
        now = self._clock()
        with self._database.writing() as connection:
            sessions = connection.execute(delete(SessionRow).where(SessionRow.expires <= now)).rowcount
            keys = connection.execute(delete(ApiKeyRow).where(ApiKeyRow.expires <= now)).rowcount
        return sessions + keys


class ApiKeys:
    """The keys of machines; part of `Accounts`."""

    _database: Database
    _clock: Callable[[], float]

    def add_api_key(self, name: str, role: Role, expires: float | None = None) -> tuple[str, ApiKey]:
        """Make a key.

        Args:
            name: for people.
            role: what the machine may do.
            expires: Unix seconds; None is never.

        Returns:
            The key, which is shown this once, and what is kept of it.

        Raises:
            ValueError: the name will not do or is taken, there is no such role, or the key would be over.
            StoreError: the database cannot be written.
        """
        now = self._clock()
        check_role(role)
        if not (0 < len(name) <= _KEY_NAME_CHARACTERS and name.isprintable() and name == name.strip()):
            raise ValueError("a key's name has 1 to 64 characters on one line, and no blanks around it")
        if expires is not None and not now < expires < 4e10:
            raise ValueError("expires must be Unix seconds in the future")
        key = API_KEY_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
        made = ApiKey(secrets.token_hex(8), name, role, now, expires, None)
        row = {
            "id": made.id,
            "name": name,
            "key_hash": _sha256(key),
            "role": role,
            "created": now,
            "expires": expires,
        }
        try:
            with self._database.writing() as connection:
                connection.execute(insert(ApiKeyRow).values(row))
        except RefusedError:
            raise ValueError(f"there is a key {name!r} already") from None
        return key, made

    def api_keys(self) -> list[ApiKey]:
        """Return all keys, by name."""
        with self._database.reading() as connection:
            rows = connection.execute(select(ApiKeyRow.__table__).order_by(ApiKeyRow.name)).all()
        return [_to_key(row) for row in rows]

    def find_api_key(self, key: str) -> ApiKey | None:
        """Return what is known of a key, or None: it is unknown or expired."""
        with self._database.reading() as connection:
            row = connection.execute(
                select(ApiKeyRow.__table__).where(ApiKeyRow.key_hash == _sha256(key))
            ).one_or_none()
        now = self._clock()
        if row is None or (row.expires is not None and row.expires <= now):
            return None
        if row.last_used is None or now - row.last_used >= _SEEN_EVERY_S:
            _note(self._database, update(ApiKeyRow).where(ApiKeyRow.id == row.id).values(last_used=now))
        return _to_key(row)

    def delete_api_key(self, key_id: str) -> None:
        """Delete a key, by `ApiKey.id`.

        Raises:
            KeyError: there is none.
            StoreError: the database cannot be written.
        """
        if not key_id.isalnum():
            raise KeyError(key_id)
        with self._database.writing() as connection:
            if not connection.execute(delete(ApiKeyRow).where(ApiKeyRow.id == key_id)).rowcount:
                raise KeyError(key_id)


def _to_key(row: Row[Any]) -> ApiKey:
    return ApiKey(row.id, row.name, check_role(row.role), row.created, row.expires, row.last_used)


def _note(database: Database, statement: Any) -> None:
    # On a full disk people must still be let in; when they were seen can wait.
    with contextlib.suppress(StoreError), database.writing() as connection:
        connection.execute(statement)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
