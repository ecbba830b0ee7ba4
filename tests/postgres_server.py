"""A PostgreSQL server of the tests' own, in a temporary folder, on a Unix socket."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest


def find_programs() -> Path:
    """Return the folder of `initdb` and `pg_ctl`, or skip the test."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders or not (folders[-1] / "pg_ctl").exists():
        pytest.skip("needs PostgreSQL's initdb and pg_ctl (apt install postgresql)")
    return folders[-1]


class PostgresServer:
    """A server that can be stopped and started again.

    Attributes:
        folder: holds its data, its log and its socket.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self.folder = folder
        self._programs = programs
        self._databases = 0
        # PostgreSQL refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(folder, self._user)
        self._run("initdb", "--pgdata", self._data, "--auth", "trust", "--encoding", "UTF8", "--no-sync")

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    @property
    def _owner(self) -> str:
        return self._user or pwd.getpwuid(os.geteuid()).pw_name

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments],
            user=self._user,
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = f"-c listen_addresses='' -c unix_socket_directories='{self.folder}' -c fsync=off"
        log = str(self.folder / "log")
        self._run("pg_ctl", "start", "--wait", "--pgdata", self._data, "--log", log, "-o", options)

    def stop(self) -> None:
        """Stop at once; open connections end."""
        self._run("pg_ctl", "stop", "--wait", "--mode", "fast", "--pgdata", self._data)

    def create_database(self, *, tablespace: Path | None = None) -> str:
        """Create an empty database, and return its address.

        Args:
            tablespace: folder in which all its data lies; None is with the others.
        """
        self._databases += 1
        name = f"test{self._databases}"
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            if tablespace is None:
                connection.execute(f"CREATE DATABASE {name}".encode())
            else:
                if self._user is not None:
                    shutil.chown(tablespace, self._user)
                connection.execute(f"CREATE TABLESPACE space_{name} LOCATION '{tablespace}'".encode())
                connection.execute(f"CREATE DATABASE {name} TABLESPACE space_{name}".encode())
        return f"postgresql+psycopg://{self._owner}@/{name}?host={self.folder}"

    def drop_database(self, url: str) -> None:
        """Delete a database, and the tablespace that was made for it; all its connections must be closed.

        Args:
            url: what `create_database` returned.
        """
        name = url.split("?")[0].split("/")[-1]
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name}".encode())
            connection.execute(f"DROP TABLESPACE IF EXISTS space_{name}".encode())

    def _conninfo(self, name: str) -> str:
        return f"host={self.folder} user={self._owner} dbname={name}"


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Run a server while the block runs; skips the test where there is no PostgreSQL."""
    programs = find_programs()
    # A socket's path must be short, and the server's user must get there: not in pytest's folders.
    folder = Path(tempfile.mkdtemp(prefix="densewatch-pg-"))
    try:
        server = PostgresServer(programs, folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
