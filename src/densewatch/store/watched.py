"""What a camera watched in a time bin, as it is kept and joined."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, delete, exists, select

from densewatch.records import Observation, Place, Subject, Watched
from densewatch.store.database import Database
from densewatch.store.schema import ObservationRow, WatchedRow

_PIECE = 200


def merge_watched(parts: Sequence[Observation]) -> Watched | None:
    """Return what was watched in parts of the same bin, by the time that each was observed.

    What one part does not know is not known of the whole: it may hold rows of what no other part watched.
    """
    parts = [part for part in parts if part.observed > 0]
    total = sum(part.observed for part in parts)
    merged: dict[Subject, float] = {}
    for part in parts:
        if part.watched is None:
            return None
        for subject, share in part.watched.items():
            merged[subject] = merged.get(subject, 0.0) + part.observed * share
    return {subject: weighted / total for subject, weighted in merged.items()}


def to_text(watched: Watched) -> str:
    """Return what was watched as it is kept: one text for the same, with each list of classes once."""
    groups: dict[frozenset[str], list[tuple[Any, ...]]] = {}
    for subject, share in watched.items():
        groups.setdefault(subject.labels, []).append((*subject.place, share))
    rows = sorted((sorted(labels), sorted(places, key=str)) for labels, places in groups.items())
    return json.dumps(rows, separators=(",", ":"))


def from_text(text: str) -> Watched:
    """Return what `to_text` made into a text."""
    watched: dict[Subject, float] = {}
    for names, places in json.loads(text):
        labels = frozenset(names)
        for kind, id, share in places:
            place: Place = (kind, id)
            watched[Subject(place, labels)] = share
    return watched


def ids_of(database: Database, connection: Connection, texts: Collection[str]) -> dict[str, int]:
    """Return the numbers of texts, under which they are kept from now on at the latest.

    Nobody deletes one of them before the transaction ends.
    """
    by_digest = {sha256(text.encode()).hexdigest(): text for text in texts}
    wanted = select(WatchedRow.digest, WatchedRow.id).where(WatchedRow.digest.in_(by_digest))
    while True:
        # A lock that SQLite, where only one writes at a time, does without.
        rows = connection.execute(wanted.with_for_update(read=True, key_share=True))
        found = {row.digest: row.id for row in rows}
        # In the same order by all, so that two that write do not wait for each other.
        new = [{"digest": digest, "text": by_digest[digest]} for digest in sorted(by_digest.keys() - found)]
        if not new:
            return {by_digest[digest]: id for digest, id in found.items()}
        connection.execute(database.insert(WatchedRow).on_conflict_do_nothing(), new)


def delete_unused(connection: Connection) -> None:
    """Delete some texts that no bin refers to any more."""
    unused = ~exists().where(ObservationRow.watched == WatchedRow.id)
    # One that a writer holds is about to be referred to; and may have been since this began to look.
    free = select(WatchedRow.id).where(unused).limit(_PIECE).with_for_update(skip_locked=True)
    ids = connection.execute(free).scalars().all()
    connection.execute(delete(WatchedRow).where(WatchedRow.id.in_(ids), unused))
