"""Who asks."""

from __future__ import annotations

from dataclasses import dataclass

from densewatch.server.access import Role


@dataclass(frozen=True)
class Identity:
    """Somebody whom the gate knows.

    Attributes:
        name: of the user, or of the API key.
        role: what they may do.
        csrf: what a page must send along when it changes something; None for an API key, which no browser
            sends by itself.
        expires: Unix seconds; None is never.
        session: id of the session; None for an API key.
    """

    name: str
    role: Role
    csrf: str | None
    expires: float | None
    session: str | None
