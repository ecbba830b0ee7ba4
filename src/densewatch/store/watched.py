"""What a camera watched in a time bin, as it is kept and joined."""

from __future__ import annotations

import json
from collections.abc import Sequence

from densewatch.records import Observation, Subject, Watched


def merge_watched(parts: Sequence[Observation]) -> Watched | None:
    """Return what was watched in parts of the same bin, by the time that each was observed."""
    known = [part.watched for part in parts]
    subjects = {subject for watched in known if watched is not None for subject in watched}
    if all(watched is None for watched in known):
        return None
    total = sum(part.observed for part in parts) or 1.0
    return {
        subject: sum(
            part.observed * (1.0 if watched is None else watched.get(subject, 0.0))
            for part, watched in zip(parts, known, strict=True)
        )
        / total
        for subject in subjects
    }


def to_text(watched: Watched | None) -> str | None:
    """Return what was watched as it is kept: one text for the same, so that bins can be grouped by it."""
    if watched is None:
        return None
    rows = sorted(
        json.dumps([*subject.place, subject.only, share], separators=(",", ":"))
        for subject, share in watched.items()
    )
    return f"[{','.join(rows)}]"


def from_text(text: str | None) -> Watched | None:
    """Return what `to_text` made into a text."""
    if text is None:
        return None
    return {
        Subject((kind, id), None if only is None else tuple(only)): share
        for kind, id, only, share in json.loads(text)
    }
