"""Stores for tests, in SQLite and in a real PostgreSQL; for `pytest_plugins` of their test files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from densewatch.store.store import Store
from postgres_server import PostgresServer, running_postgres
from store_samples import Clock, OpenStore


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with running_postgres() as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the address of an empty database, of each kind in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/densewatch.db"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create_database()


@pytest.fixture
def open_store(url: str, tmp_path: Path, clock: Clock) -> Iterator[OpenStore]:
    """Return a function that opens the same store each time."""
    opened = []

    def open_one() -> Store:
        # Cheap hashes: these tests are not about how long argon2 takes.
        cheap = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
        opened.append(Store.open(url, tmp_path / "media", hasher=cheap, clock=clock))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    return open_store()
