"""What can go wrong with somebody else's weights."""

from __future__ import annotations


class ImportFailedError(ValueError):
    """Foreign weights that cannot be converted; the message says what is wrong and what to do."""
