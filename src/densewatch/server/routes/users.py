"""Who may come in: users and API keys."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from fastapi import HTTPException, Path
from pydantic import BaseModel, ConfigDict, Field, model_validator

from densewatch.server import answers
from densewatch.server.access import Role, Routes
from densewatch.server.asking import IdentityOf, ServiceOf
from densewatch.store.users import MAX_PASSWORD, MIN_PASSWORD

routes = Routes("users and API keys", "/api/v1")

UserName = Annotated[str, Path(min_length=1, max_length=64, description="the user's name")]
KeyId = Annotated[str, Path(min_length=1, max_length=64, description="the key's id, not the key")]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class NewUser(_Asked):
    """A user to add."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")
    role: Role
    password: str = Field(min_length=MIN_PASSWORD, max_length=MAX_PASSWORD)


class UserChange(_Asked):
    """What to change of a user; what is left out stays."""

    role: Role | None = None
    password: str | None = Field(None, min_length=MIN_PASSWORD, max_length=MAX_PASSWORD)

    @model_validator(mode="after")
    def _something(self) -> UserChange:
        if self.role is None and self.password is None:
            raise ValueError("give role, password, or both")
        return self


class NewKey(_Asked):
    """A key to make."""

    name: str = Field(min_length=1, max_length=64)
    role: Role
    expires: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="Unix seconds; never where it is left out"
    )


@routes.add("GET", "/users", access="admin", errors=(503,))
def users(service: ServiceOf) -> list[answers.User]:
    """All users."""
    return [answers.User(name=user.name, role=user.role) for user in service.store.accounts.users()]


@routes.add("POST", "/users", access="admin", errors=(409, 413, 422, 503), status=201)
def add_user(service: ServiceOf, identity: IdentityOf, user: NewUser) -> answers.User:
    """Add a user."""
    accounts = service.store.accounts
    if any(known.name == user.name for known in accounts.users()):
        raise HTTPException(409, "there is a user of this name already")
    try:
        accounts.add_user(user.name, user.password, user.role)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    service.store.audit(identity.name, "user added", f"{user.name} ({user.role})")
    return answers.User(name=user.name, role=user.role)


@routes.add("PATCH", "/users/{name}", access="admin", errors=(404, 409, 413, 422, 503))
def change_user(service: ServiceOf, identity: IdentityOf, name: UserName, change: UserChange) -> answers.User:
    """Change a user's role or password.

    A new role holds at once; a new password ends the user's sessions.
    """
    accounts = service.store.accounts
    try:
        if change.password is not None:
            keep = identity.session if identity.name == name else None
            accounts.set_password(name, change.password, keep_session=keep)
            service.store.audit(identity.name, "password set", name)
    except KeyError:
        raise HTTPException(404, "there is no such user") from None
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    try:
        if change.role is not None:
            accounts.set_role(name, change.role)
            service.store.audit(identity.name, "role set", f"{name}: {change.role}")
    except KeyError:
        raise HTTPException(404, "there is no such user") from None
    except ValueError as error:
        raise HTTPException(409, str(error)) from error
    role = next((user.role for user in accounts.users() if user.name == name), None)
    if role is None:
        raise HTTPException(404, "there is no such user")
    return answers.User(name=name, role=role)


@routes.add("DELETE", "/users/{name}", access="admin", errors=(404, 409, 422, 503), status=204)
def delete_user(service: ServiceOf, identity: IdentityOf, name: UserName) -> None:
    """Delete a user.

    Their sessions end. The last admin cannot be deleted.
    """
    try:
        service.store.accounts.delete_user(name)
    except KeyError:
        raise HTTPException(404, "there is no such user") from None
    except ValueError as error:
        raise HTTPException(409, str(error)) from error
    service.store.audit(identity.name, "user deleted", name)


@routes.add("GET", "/api-keys", access="admin", errors=(503,))
def api_keys(service: ServiceOf) -> list[answers.ApiKey]:
    """All API keys, without the keys."""
    return [answers.ApiKey(**dataclasses.asdict(key)) for key in service.store.accounts.api_keys()]


@routes.add("POST", "/api-keys", access="admin", errors=(409, 413, 422, 503), status=201)
def add_api_key(service: ServiceOf, identity: IdentityOf, asked: NewKey) -> answers.NewApiKey:
    """Make an API key.

    The key is in the answer, this once. Machines send it as `Authorization: Bearer dwk_…`.
    """
    accounts = service.store.accounts
    if any(known.name == asked.name for known in accounts.api_keys()):
        raise HTTPException(409, "there is a key of this name already")
    try:
        key, made = accounts.add_api_key(asked.name, asked.role, asked.expires)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    service.store.audit(identity.name, "API key made", f"{made.name} ({made.role}), id {made.id}")
    return answers.NewApiKey(**dataclasses.asdict(made), key=key)


@routes.add("DELETE", "/api-keys/{id}", access="admin", errors=(404, 422, 503), status=204)
def delete_api_key(service: ServiceOf, identity: IdentityOf, id: KeyId) -> None:
    """Delete an API key; it opens nothing from now on."""
    try:
        service.store.accounts.delete_api_key(id)
    except KeyError:
        raise HTTPException(404, "there is no such key") from None
    service.store.audit(identity.name, "API key deleted", id)
