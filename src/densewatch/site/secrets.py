"""Passwords and addresses that the site's file only refers to: `${NAME}`, and files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

_REFERENCE = re.compile(r"\$\{([^{}]*)\}")
_NAME = re.compile(r"[A-Z_][A-Z0-9_]{0,99}")
_WITH_USER = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^/?#]*)@")
_MAX_BYTES = 4096


class SecretError(Exception):
    """A password or an address is not where the site's file says; the message names the place alone."""


def check_references(text: str) -> None:
    """Check how variables are referred to, not whether there are any.

    Raises:
        ValueError: a name is none. It is not shown, for it may be a password.
    """
    if any(_NAME.fullmatch(name) is None for name in _REFERENCE.findall(text)):
        raise ValueError("${...} refers to an environment variable; its name has capitals, digits and _ only")


def has_references(text: str) -> bool:
    """Return whether a text refers to a variable."""
    return _REFERENCE.search(text) is not None


def without_references(text: str) -> str:
    """Return an address with `1` for every variable, which may stand for a host, a port or a name."""
    return _REFERENCE.sub("1", text)


def fill(text: str, environment: Mapping[str, str] | None = None) -> str:
    """Return an address with the values of the variables that it refers to as `${NAME}`.

    Values that stand in the user or the password of an address are quoted as such (`@` becomes `%40`).

    Args:
        text: such as `rtsp://admin:${CAMERA_PASSWORD}@camera.example/stream`.
        environment: variables; those of this process where it is left out.

    Raises:
        SecretError: a variable is not set, or is empty.
    """
    known = os.environ if environment is None else environment

    def value(match: re.Match[str]) -> str:
        return _variable(match[1], known)

    user = _WITH_USER.match(text)
    if user is None:
        return _REFERENCE.sub(value, text)
    quoted = _REFERENCE.sub(lambda match: quote(value(match), safe=""), user[2])
    return f"{user[1]}{quoted}@{_REFERENCE.sub(value, text[user.end() :])}"


def read_secret(
    variable: str | None, file: str | Path | None, environment: Mapping[str, str] | None = None
) -> str:
    """Return the password that one of `password_env` and `password_file` names.

    Args:
        variable: name of an environment variable.
        file: path of a file; a line break at its end is no part of the password.
        environment: variables; those of this process where it is left out.

    Raises:
        SecretError: there is none.
    """
    if variable is not None:
        return _variable(variable, os.environ if environment is None else environment)
    if file is None:
        raise SecretError("there is neither a variable nor a file that holds the password")
    try:
        with Path(file).open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
        password = content.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise SecretError(f"{file}: the password cannot be read: {error.strerror or error}") from None
    except ValueError:
        raise SecretError(f"{file}: the password is no UTF-8 text") from None
    if not password or len(content) > _MAX_BYTES:
        raise SecretError(f"{file}: {'is too long for a password' if password else 'holds no password'}")
    return password


def _variable(name: str, environment: Mapping[str, str]) -> str:
    if not environment.get(name):
        raise SecretError(f"the environment variable {name} is not set")
    return environment[name]
