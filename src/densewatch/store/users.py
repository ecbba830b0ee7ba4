"""Who may sign in: users with a role and a password, of which only a hash is kept."""

from __future__ import annotations

import re
import threading
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Connection, delete, insert, select, update

from densewatch.store.database import Database
from densewatch.store.errors import RefusedError
from densewatch.store.schema import SessionRow, UserRow
from densewatch.suggest import suggest

Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = ("viewer", "operator", "admin")
"""From the least to the most that one may do."""

MIN_PASSWORD = 10
MAX_PASSWORD = 1000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_HASHES_AT_A_TIME = 2


@dataclass(frozen=True)
class User:
    """Somebody who may sign in.

    Attributes:
        name: unique.
        role: what they may do.
        created: Unix seconds.
        password_changed: Unix seconds.
    """

    name: str
    role: Role
    created: float
    password_changed: float


class Users:
    """The users of a store; part of `Accounts`."""

    def __init__(
        self,
        database: Database,
        *,
        hasher: PasswordHasher | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take a database that has its tables.

        Args:
            database: where users are.
            hasher: how passwords are hashed; None is argon2-cffi's own choice (RFC 9106, 64 MiB).
            clock: gives Unix seconds.
        """
        self._database = database
        self._hasher = hasher or PasswordHasher()
        self._clock = clock
        # A hash takes 64 MiB: a crowd at the door must not take all memory.
        self._turn = threading.BoundedSemaphore(_HASHES_AT_A_TIME)
        self._nobody: str | None = None

    def add_user(self, name: str, password: str, role: Role) -> User:
        """Add a user.

        Raises:
            ValueError: the name, the password or the role will not do, or the name is taken.
            StoreError: the database cannot be written.
        """
        if not _NAME.fullmatch(name):
            raise ValueError(
                "a user's name is up to 64 letters, digits and . _ @ -, and begins with one of the first two"
            )
        check_role(role)
        now = self._clock()
        row = {
            "name": name,
            "role": role,
            "password_hash": self._hash(name, password),
            "created": now,
            "password_changed": now,
        }
        try:
            with self._database.writing() as connection:
                connection.execute(insert(UserRow).values(row))
        except RefusedError:
            raise ValueError(f"there is a user {name!r} already") from None
        return User(name, role, now, now)

    def users(self) -> list[User]:
        """Return all users, by name."""
        columns = (UserRow.name, UserRow.role, UserRow.created, UserRow.password_changed)
        with self._database.reading() as connection:
            rows = connection.execute(select(*columns).order_by(UserRow.name)).all()
        return [User(row.name, check_role(row.role), row.created, row.password_changed) for row in rows]

    def set_password(self, name: str, password: str, *, keep_session: str | None = None) -> None:
        """Change a password, and end the user's sessions: who knew the old one may have opened them.

        Args:
            name: whose.
            password: the new one.
            keep_session: `Session.id` of the one that asked for it.

        Raises:
            KeyError: there is no such user.
            ValueError: the password will not do.
            StoreError: the database cannot be written.
        """
        check_name(name)
        hashed = self._hash(name, password)
        with self._database.writing() as connection:
            changed = connection.execute(
                update(UserRow)
                .where(UserRow.name == name)
                .values(password_hash=hashed, password_changed=self._clock())
            )
            if not changed.rowcount:
                raise KeyError(name)
            ended = delete(SessionRow).where(SessionRow.user == name)
            if keep_session is not None:
                ended = ended.where(SessionRow.id != keep_session)
            connection.execute(ended)

    def set_role(self, name: str, role: Role) -> None:
        """Change what a user may do; it holds at once, in open sessions too.

        Raises:
            KeyError: there is no such user.
            ValueError: there is no such role, or no admin would be left.
            StoreError: the database cannot be written.
        """
        check_name(name)
        check_role(role)
        with self._database.writing() as connection:
            if role != "admin":
                _keep_an_admin(connection, name)
            changed = connection.execute(update(UserRow).where(UserRow.name == name).values(role=role))
            if not changed.rowcount:
                raise KeyError(name)

    def delete_user(self, name: str) -> None:
        """Delete a user and their sessions.

        Raises:
            KeyError: there is no such user.
            ValueError: no admin would be left.
            StoreError: the database cannot be written.
        """
        check_name(name)
        with self._database.writing() as connection:
            _keep_an_admin(connection, name)
            if not connection.execute(delete(UserRow).where(UserRow.name == name)).rowcount:
                raise KeyError(name)

    def verify_password(self, name: str, password: str) -> User | None:
        """Return the user, or None where the name or the password is wrong; both take the same time."""
        row = None
        if _NAME.fullmatch(name):
            with self._database.reading() as connection:
                row = connection.execute(select(UserRow.__table__).where(UserRow.name == name)).one_or_none()
        kept = self._hash_of_nobody() if row is None else row.password_hash
        try:
            with self._turn:
                self._hasher.verify(kept, _normal(password[: MAX_PASSWORD + 1]))
        except (VerificationError, InvalidHashError):
            return None
        if row is None:
            return None
        if self._hasher.check_needs_rehash(kept):
            self._rehash(name, password, kept)
        return User(row.name, check_role(row.role), row.created, row.password_changed)

    def _rehash(self, name: str, password: str, kept: str) -> None:
        with self._turn:
            hashed = self._hasher.hash(_normal(password))
        with self._database.writing() as connection:
            connection.execute(
                update(UserRow)
                # Unless the password was changed in the meantime.
                .where(UserRow.name == name, UserRow.password_hash == kept)
                .values(password_hash=hashed)
            )

    def _hash(self, name: str, password: str) -> str:
        check_password(name, password)
        with self._turn:
            return self._hasher.hash(_normal(password))

    def _hash_of_nobody(self) -> str:
        """Return what the password of an unknown name is compared with, which no password fits."""
        with self._turn:
            if self._nobody is None:
                self._nobody = self._hasher.hash(b"")
            return self._nobody


def check_role(role: str) -> Role:
    """Return a role.

    Raises:
        ValueError: there is no such role.
    """
    for known in ROLES:
        if role == known:
            return known
    raise ValueError(f"unknown role {role!r}: {suggest(role, ROLES)}")


def check_password(name: str, password: str) -> None:
    """Raise a ValueError that says why a password will not do for a user."""
    if len(password) < MIN_PASSWORD:
        raise ValueError(f"a password has at least {MIN_PASSWORD} characters")
    if len(password) > MAX_PASSWORD:
        raise ValueError(f"a password has at most {MAX_PASSWORD} characters")
    if password.casefold() == name.casefold():
        raise ValueError("the password must not be the name")


def check_name(name: str) -> None:
    """Raise a KeyError where nobody can have this name."""
    if not _NAME.fullmatch(name):
        raise KeyError(name)


def _normal(password: str) -> bytes:
    # Keyboards differ in how they write ä: as one character, or as two. JSON can carry halves of characters.
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def _keep_an_admin(connection: Connection, name: str) -> None:
    """Raise a ValueError where `name` is the only admin; others wait until this transaction is over."""
    admins = (
        connection.execute(select(UserRow.name).where(UserRow.role == "admin").with_for_update())
        .scalars()
        .all()
    )
    if list(admins) == [name]:
        raise ValueError(f"{name!r} is the only admin; make another one first")
