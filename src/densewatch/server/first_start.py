"""Users that must be there before the first sign-in: the site's, and an admin."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from typing import IO

from densewatch.site.secrets import read_secret
from densewatch.site.settings import UserSettings
from densewatch.store.accounts import Accounts
from densewatch.store.store import Store
from densewatch.store.users import Role

ADMIN = "admin"
PASSWORD_VARIABLE = "DENSEWATCH_ADMIN_PASSWORD"
FILE_VARIABLE = "DENSEWATCH_ADMIN_PASSWORD_FILE"

_BYTES = 15  # 120 bits, 20 characters


def prepare_users(
    store: Store,
    users: tuple[UserSettings, ...],
    environment: Mapping[str, str] | None = None,
    terminal: IO[str] | None = None,
) -> None:
    """Add the site's users, or bring them up to date; and an admin where there is none.

    The admin's password comes from the environment variable `DENSEWATCH_ADMIN_PASSWORD`, from the file that
    `DENSEWATCH_ADMIN_PASSWORD_FILE` names, or is made up and printed, this once.

    Args:
        store: keeps users.
        users: of the site.
        environment: variables; those of this process where it is left out.
        terminal: where a password that was made up is printed; standard error where it is left out.

    Raises:
        SecretError: a password is not where the site says.
        ValueError: a password or a name will not do; the message does not hold the password.
        StoreError: users cannot be kept.
    """
    # Admins first: a site may make its only admin a viewer and somebody else the admin.
    for user in sorted(users, key=lambda user: user.role != "admin"):
        password = read_secret(user.password_env, user.password_file, environment)
        _bring_up_to_date(store, user.name, user.role, password)
    if any(user.role == "admin" for user in store.accounts.users()):
        return
    environment = os.environ if environment is None else environment
    password, is_new = _admin_password(environment)
    _bring_up_to_date(store, ADMIN, "admin", password)
    if is_new:
        terminal = terminal or sys.stderr
        terminal.write(
            f"\nThe first start: sign in as {ADMIN} with the password {password}\n"
            "It is shown this once. Change it in the dashboard.\n\n"
        )
        terminal.flush()


def _bring_up_to_date(store: Store, name: str, role: Role, password: str) -> None:
    accounts = store.accounts
    try:
        if not _is_known(accounts, name):
            accounts.add_user(name, password, role)
            store.audit("densewatch", "user added", f"{name} ({role}), at the start")
            return
        # A new hash would end all sessions of the user at each start.
        known = accounts.verify_password(name, password)
        if known is None:
            accounts.set_password(name, password)
            store.audit("densewatch", "password set", f"{name}, at the start")
        if known is None or known.role != role:
            accounts.set_role(name, role)
    except ValueError as error:
        raise ValueError(f"user {name}: {error}") from error


def _is_known(accounts: Accounts, name: str) -> bool:
    return any(user.name == name for user in accounts.users())


def _admin_password(environment: Mapping[str, str]) -> tuple[str, bool]:
    """Return the admin's password, and whether it was made up just now."""
    if environment.get(PASSWORD_VARIABLE) or environment.get(FILE_VARIABLE):
        variable = PASSWORD_VARIABLE if environment.get(PASSWORD_VARIABLE) else None
        return read_secret(variable, environment.get(FILE_VARIABLE), environment), False
    return secrets.token_urlsafe(_BYTES), True
