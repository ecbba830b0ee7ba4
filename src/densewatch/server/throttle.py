"""Layers that keep single clients from taking everything: requests a second, and how long they are."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from densewatch.server.limits import Buckets, Limits, client_key
from densewatch.server.refusal import later, refuse

_SLOWEST_BYTES_PER_S = 10_000  # of a client that is honest, with a long body


def address_of(scope: Scope) -> str:
    """Return the address of who asks; empty where the server does not know it."""
    client = scope.get("client")
    return "" if client is None else str(client[0])


class Throttle:
    """ASGI layer that lets a client make so many requests, with so much in their headers."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._buckets = Buckets(limits.requests)
        self._head_bytes = limits.head_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 429 or 431."""
        if scope["type"] in ("http", "websocket"):
            wait_s = self._buckets.take(client_key(address_of(scope)))
            if wait_s > 0:
                await refuse(scope, receive, send, 429, "too many requests; ask more slowly", later(wait_s))
                return
            if _head_bytes(scope) > self._head_bytes:  # the web server bounds what comes bit by bit alone
                detail = f"address and headers are longer than {self._head_bytes} bytes"
                await refuse(scope, receive, send, 431, detail)
                return
        await self._app(scope, receive, send)


class BodyLimit:
    """ASGI layer that reads no body that is too long or too slow, whatever its headers say."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._most = limits.body_bytes
        self._seconds = limits.body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 413 or 408."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        too_long = f"the body is longer than {self._most} bytes"
        told = Headers(scope=scope).get("content-length", "0")
        if not (told.isascii() and told.isdecimal()):
            await refuse(scope, receive, send, 400, "the header Content-Length is no number")
            return
        if len(told) > 15 or int(told) > self._most:
            await refuse(scope, receive, send, 413, too_long, {"Connection": "close"})
            return
        left, more = self._most, True
        deadline = asyncio.get_running_loop().time() + self._seconds

        async def receive_some() -> Message:
            nonlocal left, more, deadline
            if not more:
                return await receive()  # what comes after the body is the end of the connection: no hurry
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "the body did not come in time", {"Connection": "close"}) from None
            more = bool(message.get("more_body", False))
            received = len(message.get("body", b""))
            deadline += received / _SLOWEST_BYTES_PER_S
            left -= received
            if left < 0:
                raise HTTPException(413, too_long, {"Connection": "close"})
            return message

        await self._app(scope, receive_some, send)


def _head_bytes(scope: Scope) -> int:
    headers = sum(len(name) + len(value) for name, value in scope["headers"])
    return len(scope.get("raw_path") or b"") + len(scope["query_string"]) + headers
