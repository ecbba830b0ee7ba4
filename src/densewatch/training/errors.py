"""What can go wrong with a run."""

from __future__ import annotations


class TrainingError(RuntimeError):
    """Training that cannot start or go on; the message says why and what to do."""
