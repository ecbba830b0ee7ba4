"""Passwords that the site's file only names: by a variable, or by a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from densewatch.live.references import SecretError, value_of

_MAX_BYTES = 4096


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
        return value_of(variable, os.environ if environment is None else environment)
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
