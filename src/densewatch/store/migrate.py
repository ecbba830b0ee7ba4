"""Bring a database to the newest tables, or refuse one that is newer than this program."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from densewatch.store.database import Database
from densewatch.store.errors import StoreError

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 0x64656E7365
"""Names the lock on PostgreSQL under which one process at a time migrates."""


def migrate(database: Database) -> None:
    """Create the tables, or change them step by step to what this program needs.

    Raises:
        StoreError: the database belongs to a newer densewatch, or to something else.
    """
    config = Config()
    # Config reads % as the beginning of a variable.
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    with database.reading() as connection:
        if _revision(connection, script, database) == script.get_current_head():
            return
    with database.writing() as connection:
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        _revision(connection, script, database)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _revision(connection: Connection, script: ScriptDirectory, database: Database) -> str | None:
    """Return which step the tables are at; None for a database without any."""
    revision = MigrationContext.configure(connection).get_current_revision()
    known = [step.revision for step in script.walk_revisions()]
    if revision is not None and revision not in known:
        raise StoreError(
            f"{database.place} was made by a newer densewatch: its tables are version {revision}, this one "
            f"knows them up to {script.get_current_head()}; update densewatch, or use another database"
        )
    return revision
