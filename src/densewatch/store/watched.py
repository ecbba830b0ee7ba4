"""What a camera watched in a time bin, as it is kept and joined."""

from __future__ import annotations

import json
from collections.abc import Sequence

from densewatch.records import Observation, Subject, Watched


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
