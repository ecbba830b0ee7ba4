"""The one gate: nothing passes, by HTTP or WebSocket, that is not declared and allowed."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.requests import HTTPConnection
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.datastructures import Headers
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Receive, Scope, Send

from densewatch.server.access import Access, suffices
from densewatch.server.hosts import Hosts
from densewatch.server.identity import Identity
from densewatch.server.refusal import later, refuse
from densewatch.store.errors import StoreError

_log = logging.getLogger(__name__)
_SAFE_METHODS = {"GET", "HEAD"}
_PASSED = "densewatch.passed"
_IDENTITY = "densewatch.identity"

Identify = Callable[[Scope], Awaitable[Identity | None]]


class UndeclaredRouteError(Exception):
    """An app has a route that does not say who may use it."""


class AccessTable:
    """Which route needs what."""

    def __init__(self) -> None:
        # By identity: routes that look alike are not the same. They are kept, so that no id comes again.
        self._table: dict[int, tuple[BaseRoute, Access]] = {}

    def declare(self, route: BaseRoute, access: Access) -> None:
        """Say what a route needs."""
        self._table[id(route)] = (route, access)

    def access(self, route: BaseRoute) -> Access | None:
        """Return what a route needs; None where nobody said so."""
        found = self._table.get(id(route))
        return None if found is None else found[1]

    def check(self, app: FastAPI) -> None:
        """Look at all routes of an app.

        Raises:
            UndeclaredRouteError: one is not declared, or of a kind that may hold undeclared ones.
        """
        for route in app.router.routes:
            if self.access(route) is None or not isinstance(route, (APIRoute, APIWebSocketRoute)):
                raise UndeclaredRouteError(f"{getattr(route, 'path', route)} does not say who may use it")


class Gate:
    """ASGI layer that lets nobody pass but whom a route's declaration allows. It reads no body."""

    def __init__(self, app: ASGIApp, table: AccessTable, identify: Identify, hosts: Hosts) -> None:
        self._app = app
        self._table = table
        self._identify = identify
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] not in ("http", "websocket"):
            raise RuntimeError(f"the gate knows no {scope['type']} and lets none pass")
        route, methods = find(scope["app"].router.routes, scope)
        if route is None:
            await _refuse_unknown(scope, receive, send, methods)
            return
        refusal = await self._judge(scope, route)
        if refusal is None:
            scope[_PASSED] = route
            await self._app(scope, receive, send)
            return
        status, detail, headers = refusal
        await refuse(scope, receive, send, status, detail, headers)

    async def _judge(self, scope: Scope, route: BaseRoute) -> tuple[int, str, Mapping[str, str]] | None:
        """Return status, sentence and headers of a refusal; None where the request may pass."""
        access = self._table.access(route)
        if access is None:
            _log.error("%s does not say who may use it; it is closed", scope["path"])
            return 403, "nobody may use this", {}
        unsafe = scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS
        headers = Headers(scope=scope)
        if unsafe and "origin" in headers and not self._hosts.is_own(headers["origin"], scope):
            return 403, "this comes from a page of another site", {}
        if access == "public":
            return None
        try:
            identity = await self._identify(scope)
        except (
            StoreError
        ) as error:  # whose text may name hosts and paths, which are nobody's who is not known
            _log.error("nobody can be let in now: %s", error)
            return 503, "nobody can be let in now: what is kept cannot be used", later(5)
        if identity is None:
            return 401, "sign in, or send an API key that is valid", {"WWW-Authenticate": "Bearer"}
        if not suffices(identity.role, access):
            return 403, f"this needs the role {access}; {identity.name} is {identity.role}", {}
        if unsafe and (reason := _forged(scope, headers, identity)) is not None:
            return 403, reason, {}
        scope[_IDENTITY] = identity
        return None


async def confirm(connection: HTTPConnection) -> None:
    """Refuse what came to a route around the gate; every route depends on it."""
    passed = connection.scope.get(_PASSED)
    if passed is None or passed is not connection.scope.get("route"):
        raise HTTPException(403, "this did not come through the gate")


def is_admin(connection: HTTPConnection) -> bool:
    """Return whether an admin asks, on any route."""
    identity = connection.scope.get(_IDENTITY)
    return isinstance(identity, Identity) and identity.role == "admin"


def identity_of(connection: HTTPConnection) -> Identity:
    """Return who asks, on a route that is not public."""
    identity = connection.scope.get(_IDENTITY)
    if not isinstance(identity, Identity):
        raise HTTPException(403, "this did not come through the gate")
    return identity


def find(routes: Sequence[BaseRoute], scope: Scope) -> tuple[BaseRoute | None, set[str]]:
    """Return the route that will answer; or None, and the methods that the path has."""
    methods: set[str] = set()
    for route in routes:
        match, _ = route.matches(scope)
        if match is Match.FULL:
            return route, set()
        if match is Match.PARTIAL:
            methods |= _methods(route)
    return None, methods


def _methods(route: Any) -> set[str]:
    return set(getattr(route, "methods", None) or ())


def _forged(scope: Scope, headers: Headers, identity: Identity) -> str | None:
    """Return why a request may be one that a foreign page made the browser send; None where it is not."""
    if identity.csrf is None:
        return None
    if scope["type"] == "websocket":
        return None if "origin" in headers else "the header Origin is missing"
    sent = headers.get("x-csrf-token", "")
    if hmac.compare_digest(sent.encode(), identity.csrf.encode()):
        return None
    return "the header X-CSRF-Token is missing or is not this session's"


async def _refuse_unknown(scope: Scope, receive: Receive, send: Send, methods: set[str]) -> None:
    if methods:
        allowed = ", ".join(sorted(methods))
        detail = f"this takes {allowed}, not {scope['method']}"
        await refuse(scope, receive, send, 405, detail, {"Allow": allowed})
    else:
        await refuse(scope, receive, send, 404, "there is nothing here")
