"""The end of a sentence about an unknown name."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches


def suggest(name: str, known: Sequence[str]) -> str:
    """Return `did you mean 'person'?`, or all known names where none is near.

    Args:
        name: what somebody asked for.
        known: what there is.
    """
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known) or 'none'}"
