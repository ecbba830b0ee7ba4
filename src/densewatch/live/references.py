"""`${NAME}` in an address stands for an environment variable; its value is filled in where it is opened."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import quote

_REFERENCE = re.compile(r"\$\{([A-Z_][A-Z0-9_]{0,99})\}")
_ANY_REFERENCE = re.compile(r"\$\{[^{}]*\}")
_PARTS = re.compile(r"(?:((?:[A-Za-z0-9+.-]|\$\{\w+\})+://)(?:([^/?#]*)@)?)?([^/?#]*)(.*)", re.DOTALL)
_NETWORK = re.compile(r"(?:rtsp|http)s?://", re.I)
_ALLOWED = "/?&=%:;,+!$'()*"  # in path and query; not `#` and `@`, which would end or move the path


class SecretError(Exception):
    """A password or an address is not where the site's file says; the message names the place alone."""


def check_references(text: str) -> None:
    """Check how variables are referred to, not whether there are any.

    Raises:
        ValueError: a name is none. It is not shown, for it may be a password.
    """
    if any(_REFERENCE.fullmatch(reference) is None for reference in _ANY_REFERENCE.findall(text)):
        raise ValueError("${...} refers to an environment variable; its name has capitals, digits and _ only")


def has_references(text: str) -> bool:
    """Return whether a text refers to a variable."""
    return _REFERENCE.search(text) is not None


def without_references(text: str) -> str:
    """Return an address with `1` for every variable, which may stand for a host, a port or a name."""
    return _REFERENCE.sub("1", text)


def parts_of(text: str) -> tuple[str, str | None, str, str]:
    """Take an address apart, variables and all.

    Returns:
        Scheme with `://`, user and password, host and port, and the rest. Without a scheme, what stands
        before the first slash is where the host would be.
    """
    parts = _PARTS.match(text)
    assert parts is not None  # every text matches
    return parts[1] or "", parts[2], parts[3], parts[4]


def fill(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Return an address with the values of the variables that it refers to as `${NAME}`.

    Values that stand in the user or the password of an address are quoted as such (`@` becomes `%40`). Of
    those in the path and the query of a network address only what has no place there is quoted, such as `#`:
    `/`, `?`, `&`, `=` and %-codes mean what they mean in an address. Paths of files take values as they are.

    Args:
        text: such as `rtsp://admin:${CAMERA_PASSWORD}@camera.example/stream`.
        environment: variables; those of this process where it is left out.

    Raises:
        SecretError: a variable is not set, or is empty.
    """
    known = os.environ if environment is None else environment

    def filled(part: str, allowed: str | None = None) -> str:
        def value(reference: re.Match[str]) -> str:
            plain = value_of(reference[1], known)
            return plain if allowed is None else quote(plain, safe=allowed)

        return _REFERENCE.sub(value, part)

    scheme, user, host, rest = parts_of(text)
    beginning = filled(scheme) + ("" if user is None else f"{filled(user, '')}@") + filled(host)
    return beginning + filled(rest, _ALLOWED if _NETWORK.match(beginning) else None)


def value_of(name: str, environment: Mapping[str, str]) -> str:
    """Return the value of a variable; raises SecretError where it is not set, or is empty."""
    if not environment.get(name):
        raise SecretError(f"the environment variable {name} is not set")
    return environment[name]
