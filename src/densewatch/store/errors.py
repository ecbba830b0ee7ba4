"""What can go wrong with a store; the messages are sentences for users and hold no passwords."""

from __future__ import annotations


class StoreError(Exception):
    """The store cannot be opened, read or written now; trying again later may help."""


class DiskFullError(StoreError):
    """There is no room left to write."""


class RefusedError(StoreError):
    """The database does not take this value; trying again does not help."""
