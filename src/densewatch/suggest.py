"""The end of a sentence about an unknown name."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches


def nearest(name: str, known: Sequence[str]) -> str | None:
    """Return the known name that was probably meant, or None where none is near."""
    return next(iter(get_close_matches(name, known, n=1)), None)


def suggest(name: str, known: Sequence[str]) -> str:
    """Return `did you mean 'person'?`, or all known names where none is near.

    Args:
        name: what somebody asked for.
        known: what there is.
    """
    close = nearest(name, known)
    return f"did you mean {close!r}?" if close is not None else f"known are {', '.join(known) or 'none'}"
