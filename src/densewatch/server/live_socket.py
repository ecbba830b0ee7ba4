"""The WebSocket: pictures with their boxes, and how the cameras are."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Annotated, Any, Literal

from fastapi import Query, WebSocket
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocketDisconnect, WebSocketState

from densewatch.live.settings import Id
from densewatch.server.access import Routes
from densewatch.server.answers import status_dict
from densewatch.server.asking import DoorkeeperOf, IdentityOf, ServiceOf
from densewatch.server.hub import Viewer
from densewatch.server.identity import Identity
from densewatch.server.limits import Limits, client_key
from densewatch.server.problems import sentence
from densewatch.server.refusal import later, refuse
from densewatch.server.service import Service
from densewatch.server.sign_in import Doorkeeper
from densewatch.server.throttle import address_of
from densewatch.store.errors import StoreError

routes = Routes("live", "/api/v1")

LONGEST_MESSAGE = 16 * 1024
"""Bytes of a viewer's message; the server closes what sends longer ones."""

_STATUS_EVERY_S = 1.0
_GUARD_EVERY_S = 1.0
_FAILURES = 5
_SEND_WITHIN_S = 30.0
_MESSAGES_BURST = 50
_POLICY_VIOLATION = 1008
_TRY_AGAIN_LATER = 1013


class Want(BaseModel):
    """What a viewer wants to see from now on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["want"]
    cameras: tuple[Id, ...] = Field(max_length=1000)
    max_width: int = Field(1280, ge=1, le=100_000)
    max_fps: float = Field(30.0, gt=0, le=1000, allow_inf_nan=False)


class Places:
    """How many live views are open; used on the event loop alone."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._taken: Counter[str] = Counter()

    def take(self, address: str) -> bool:
        """Take a place, if there is one; give it back by `leave`."""
        full = self._taken.total() >= self._limits.live_views
        if full or self._taken[address] >= self._limits.live_views_by_address:
            return False
        self._taken[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Give a place back."""
        self._taken[address] -= 1
        if not self._taken[address]:
            del self._taken[address]


@routes.add("WEBSOCKET", "/live", access="viewer")
async def live(
    websocket: WebSocket,
    service: ServiceOf,
    identity: IdentityOf,
    doorkeeper: DoorkeeperOf,
    cameras: Annotated[str | None, Query(max_length=5000)] = None,
) -> None:
    """Pictures with their boxes, as they come; `cameras` are ids between commas, all where it is left out."""
    places: Places = websocket.app.state.places
    address = client_key(address_of(websocket.scope))
    if not places.take(address):
        full = "too many live views are open; close one, or try later"
        await refuse(websocket.scope, websocket.receive, websocket.send, 429, full, later(10))
        return
    try:
        await websocket.accept()
        wanted = service.watcher.statuses() if cameras is None else cameras.split(",")
        await _View(websocket, service, identity, doorkeeper, Viewer(frozenset(wanted))).run()
    finally:
        places.leave(address)


class _View:
    """One open live view."""

    def __init__(
        self,
        websocket: WebSocket,
        service: Service,
        identity: Identity,
        doorkeeper: Doorkeeper,
        viewer: Viewer,
    ) -> None:
        self._websocket = websocket
        self._service = service
        self._identity = identity
        self._doorkeeper = doorkeeper
        self._viewer = viewer
        self._sending = asyncio.Lock()

    async def run(self) -> None:
        """Serve until the viewer leaves, its session ends, or it takes nothing for too long."""
        self._service.hub.join(self._viewer)
        try:
            await self._send_status()
            await _until_first(self._send_pictures(), self._send_statuses(), self._hear(), self._guard())
        except (WebSocketDisconnect, TimeoutError, OSError):
            pass  # it left, or its line is dead
        finally:
            self._service.hub.leave(self._viewer)
            await self._close()

    async def _send_pictures(self) -> None:
        while True:
            message = await self._service.hub.next(self._viewer)
            async with asyncio.timeout(_SEND_WITHIN_S), self._sending:
                await self._websocket.send_bytes(message)

    async def _send_statuses(self) -> None:
        """Say every second how the cameras are."""
        while True:
            await asyncio.sleep(_STATUS_EVERY_S)
            await self._send_status()

    async def _guard(self) -> None:
        """End the view when its session or key ends; nothing that the viewer does holds this up."""
        failures = 0
        while failures < _FAILURES:
            await asyncio.sleep(_GUARD_EVERY_S)
            try:
                now = await self._doorkeeper.identify(self._websocket.scope)
            except StoreError:
                failures += 1
                continue
            if now is None or now.session != self._identity.session:
                await self._end("signed out, or the session is over")
                return
            failures = 0
        await self._end("the server does not know whether the session still holds")

    async def _send_status(self) -> None:
        statuses = self._service.watcher.statuses().values()
        told = {"type": "status", "cameras": [status_dict(status) for status in statuses]}
        await self._send_text(told)

    async def _hear(self) -> None:
        """Take what the viewer wants; end the view when it says something else."""
        tokens, loop = float(_MESSAGES_BURST), asyncio.get_running_loop()
        since = loop.time()
        while True:
            text = await self._next_text()
            now = loop.time()
            tokens, since = min(_MESSAGES_BURST, tokens + (now - since) * _MESSAGES_BURST / 10) - 1, now
            reason = "too many messages" if tokens < 0 else self._take(text)
            if reason is not None:
                await self._end(reason)
                return

    async def _next_text(self) -> str:
        message = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        return str(message.get("text") or "")

    def _take(self, text: str) -> str | None:
        """Do what a message says; return why it cannot be done, or None."""
        if len(text) > LONGEST_MESSAGE:
            return "the message is too long"
        try:
            want = Want.model_validate_json(text)
        except ValidationError as error:
            return sentence(error.errors(include_input=False, include_url=False))
        self._viewer.want(want.cameras, want.max_width, want.max_fps)
        return None

    async def _send_text(self, told: dict[str, Any]) -> None:
        async with asyncio.timeout(_SEND_WITHIN_S), self._sending:
            await self._websocket.send_text(json.dumps(told, ensure_ascii=False))

    async def _end(self, reason: str) -> None:
        async with asyncio.timeout(1):
            await self._send_text({"type": "bye", "reason": reason})

    async def _close(self) -> None:
        if self._websocket.application_state is WebSocketState.CONNECTED:
            with contextlib.suppress(RuntimeError, OSError, TimeoutError, WebSocketDisconnect):
                async with asyncio.timeout(1):
                    await self._websocket.close(_POLICY_VIOLATION)


async def _until_first(*jobs: Coroutine[Any, Any, None]) -> None:
    """Run jobs until one of them ends, end the others, and raise what that one raised."""
    tasks: Sequence[asyncio.Task[None]] = [asyncio.ensure_future(job) for job in jobs]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
