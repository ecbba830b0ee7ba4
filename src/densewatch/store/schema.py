"""The tables. Times are Unix seconds; ids and labels are text, as they stand in the site's file."""

from __future__ import annotations

from typing import ClassVar

from sqlalchemy import (
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import BigInteger

WHOLE_PICTURE = ""
"""How a key says "no zone"; a NULL could not be part of it."""


class Base(DeclarativeBase):
    """All tables; constraints have names, so that migrations can find them."""

    metadata: ClassVar[MetaData] = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class EventRow(Base):
    """An event; its snapshot is a file. `snapshot_bytes` is the file's size, 0 where there is none."""

    __tablename__ = "events"

    id: Mapped[str] = mapped_column(String(128), primary_key=True)
    camera: Mapped[str] = mapped_column(String(64))
    kind: Mapped[str] = mapped_column(String(16))
    label: Mapped[str] = mapped_column(String(200))
    track: Mapped[int] = mapped_column(BigInteger)
    zone: Mapped[str | None] = mapped_column(String(64))
    direction: Mapped[str | None] = mapped_column(String(3))
    start_time: Mapped[float] = mapped_column(Double)
    end_time: Mapped[float | None] = mapped_column(Double)
    top_score: Mapped[float] = mapped_column(Double)
    x1: Mapped[float] = mapped_column(Double)
    y1: Mapped[float] = mapped_column(Double)
    x2: Mapped[float] = mapped_column(Double)
    y2: Mapped[float] = mapped_column(Double)
    snapshot_bytes: Mapped[int] = mapped_column(Integer)

    __table_args__ = (
        Index("ix_events_start_time", "start_time", "id"),
        Index("ix_events_camera", "camera", "start_time", "id"),
        Index("ix_events_label", "label", "start_time", "id"),
        Index(
            "ix_events_snapshots",
            "start_time",
            "snapshot_bytes",
            sqlite_where=text("snapshot_bytes > 0"),
            postgresql_where=text("snapshot_bytes > 0"),
        ),
        Index(
            "ix_events_open",
            "camera",
            sqlite_where=text("end_time IS NULL"),
            postgresql_where=text("end_time IS NULL"),
        ),
    )


class WatchedRow(Base):
    """What was watched in time bins, see `watched.to_text`; `digest` is the SHA-256 of the text.

    It is the same bin for bin, and often camera for camera, until somebody draws: a bin has a number, and
    the text of many zones and classes is kept once.
    """

    __tablename__ = "watched"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    text: Mapped[str] = mapped_column(Text)


class ObservationRow(Base):
    """How much of a time bin a camera delivered; a bin without a row here was not observed.

    `watched` says what was watched of that. NULL, as in bins of before it was kept, is not known.
    """

    __tablename__ = "observations"

    camera: Mapped[str] = mapped_column(String(64), primary_key=True)
    start_time: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    seconds: Mapped[int] = mapped_column(Integer, primary_key=True)
    observed: Mapped[float] = mapped_column(Double)
    watched: Mapped[int | None] = mapped_column(ForeignKey("watched.id"))

    __table_args__ = (
        Index("ix_observations_start_time", "start_time"),
        Index(
            "ix_observations_watched",
            "watched",
            sqlite_where=text("watched IS NOT NULL"),
            postgresql_where=text("watched IS NOT NULL"),
        ),
        {"sqlite_with_rowid": False},
    )


def _of_observation() -> ForeignKeyConstraint:
    """Return the key of the bin that a row is part of; the row goes when the bin goes."""
    return ForeignKeyConstraint(
        ["camera", "start_time", "seconds"],
        ["observations.camera", "observations.start_time", "observations.seconds"],
        ondelete="CASCADE",
    )


class CountBinRow(Base):
    """Counts of a class in a zone, over the observed part of a bin."""

    __tablename__ = "count_bins"

    camera: Mapped[str] = mapped_column(String(64), primary_key=True)
    start_time: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    seconds: Mapped[int] = mapped_column(Integer, primary_key=True)
    zone: Mapped[str] = mapped_column(String(64), primary_key=True)
    label: Mapped[str] = mapped_column(String(200), primary_key=True)
    minimum: Mapped[int] = mapped_column(Integer)
    mean: Mapped[float] = mapped_column(Double)
    maximum: Mapped[int] = mapped_column(Integer)

    __table_args__ = (_of_observation(), {"sqlite_with_rowid": False})


class LineBinRow(Base):
    """Crossings of a line in a bin."""

    __tablename__ = "line_bins"

    camera: Mapped[str] = mapped_column(String(64), primary_key=True)
    start_time: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    seconds: Mapped[int] = mapped_column(Integer, primary_key=True)
    line: Mapped[str] = mapped_column(String(64), primary_key=True)
    label: Mapped[str] = mapped_column(String(200), primary_key=True)
    entered: Mapped[int] = mapped_column(Integer)
    left: Mapped[int] = mapped_column(Integer)

    __table_args__ = (_of_observation(), {"sqlite_with_rowid": False})


class WriterRow(Base):
    """The last batch of a writer that was kept, so that a batch is never written twice."""

    __tablename__ = "writers"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    batch: Mapped[int] = mapped_column(BigInteger)
    time: Mapped[float] = mapped_column(Double)


class UserRow(Base):
    """Who may sign in."""

    __tablename__ = "users"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(String(256))
    created: Mapped[float] = mapped_column(Double)
    password_changed: Mapped[float] = mapped_column(Double)


class SessionRow(Base):
    """A sign-in; `id` is the SHA-256 of its token, which is kept nowhere."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    user: Mapped[str] = mapped_column(String(64), ForeignKey("users.name", ondelete="CASCADE"), index=True)
    csrf: Mapped[str] = mapped_column(String(64))
    client: Mapped[str] = mapped_column(String(64))
    created: Mapped[float] = mapped_column(Double)
    expires: Mapped[float] = mapped_column(Double, index=True)
    last_seen: Mapped[float] = mapped_column(Double)


class ApiKeyRow(Base):
    """A machine's key; only its SHA-256 is kept."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    key_hash: Mapped[str] = mapped_column(String(64), unique=True)
    role: Mapped[str] = mapped_column(String(16))
    created: Mapped[float] = mapped_column(Double)
    expires: Mapped[float | None] = mapped_column(Double)
    last_used: Mapped[float | None] = mapped_column(Double)


class AuditRow(Base):
    """Who did what, and when."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    time: Mapped[float] = mapped_column(Double, index=True)
    who: Mapped[str] = mapped_column(String(64))
    what: Mapped[str] = mapped_column(String(64))
    detail: Mapped[str] = mapped_column(Text)
