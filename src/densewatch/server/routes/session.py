"""Signing in and out."""

from __future__ import annotations

from fastapi import Request, Response
from pydantic import BaseModel, ConfigDict, Field

from densewatch.server import answers
from densewatch.server.access import Routes
from densewatch.server.asking import DoorkeeperOf, IdentityOf, ServiceOf
from densewatch.server.sign_in import COOKIE
from densewatch.store.users import MAX_PASSWORD, MIN_PASSWORD

routes = Routes("session", "/api/v1")


class Credentials(BaseModel):
    """Name and password."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=MAX_PASSWORD)


class PasswordChange(BaseModel):
    """The old password, and the new one."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    old: str = Field(min_length=1, max_length=MAX_PASSWORD)
    new: str = Field(min_length=MIN_PASSWORD, max_length=MAX_PASSWORD)


@routes.add("POST", "/session", access="public", errors=(401, 403, 413, 422, 503))
async def sign_in(
    credentials: Credentials,
    request: Request,
    response: Response,
    service: ServiceOf,
    doorkeeper: DoorkeeperOf,
) -> answers.Session:
    """Sign in.

    Sets the cookie `densewatch_session`. The session holds for this client alone: its address and User-Agent.
    """
    token, session = await doorkeeper.sign_in(credentials.name, credentials.password, request.scope)
    server = service.site.server
    response.set_cookie(
        COOKIE,
        token,
        max_age=int(server.session_hours * 3600),
        httponly=True,
        secure=request.scope["scheme"] == "https" or (server.public_url or "").startswith("https:"),
        samesite="strict",
    )
    return answers.Session(name=session.name, role=session.role, csrf=session.csrf, expires=session.expires)


@routes.add("GET", "/session", access="viewer")
async def who_am_i(identity: IdentityOf) -> answers.Session:
    """Who is signed in."""
    return answers.Session(
        name=identity.name, role=identity.role, csrf=identity.csrf, expires=identity.expires
    )


@routes.add("DELETE", "/session", access="viewer", status=204)
async def sign_out(identity: IdentityOf, response: Response, doorkeeper: DoorkeeperOf) -> None:
    """Sign out.

    The session ends at once, its live views within seconds. An API key goes on: delete it instead.
    """
    await doorkeeper.sign_out(identity)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")


@routes.add("PUT", "/session/password", access="viewer", errors=(413, 422), status=204)
async def change_password(change: PasswordChange, identity: IdentityOf, doorkeeper: DoorkeeperOf) -> None:
    """Change one's own password.

    All other sessions of the user end.
    """
    await doorkeeper.change_password(identity, change.old, change.new)
