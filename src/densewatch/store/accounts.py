"""All about who may come in."""

from __future__ import annotations

from densewatch.store.sessions import ApiKeys, Sessions
from densewatch.store.users import Users


class Accounts(Users, Sessions, ApiKeys):
    """Users, their sessions, and the keys of machines."""
