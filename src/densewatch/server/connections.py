"""Connections: how many an address may hold, and how long one may be without a request."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import Counter
from collections.abc import Sequence
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from densewatch.server.limits import Limits, client_key

HANDSHAKE_S = 10.0
"""How long a TLS handshake may take."""

_log = logging.getLogger(__name__)


class Lines:
    """How many connections each address holds, live views excepted; used on the event loop alone."""

    def __init__(self, limits: Limits, proxies: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        """Begin with none.

        Args:
            limits: how many an address may hold.
            proxies: networks through which many clients come, so that nothing is counted.
        """
        self._limits = limits
        self._proxies = tuple(proxies)
        self._taken: Counter[str] = Counter()
        self._told: set[str] = set()

    def take(self, address: str) -> bool:
        """Take a connection for an address, if it may have one more; give it back by `leave`."""
        key = client_key(address)
        if self._taken[key] >= self._most(address):
            if key not in self._told:
                self._told.add(key)
                _log.warning("%s holds %d connections; more are refused", key, self._taken[key])
            return False
        self._taken[key] += 1
        return True

    def leave(self, address: str) -> None:
        """Give a connection back."""
        key = client_key(address)
        self._taken[key] -= 1
        if not self._taken[key]:
            del self._taken[key]
            self._told.discard(key)

    def _most(self, address: str) -> float:
        parsed = _parsed(address)
        if parsed is None:
            return self._limits.connections_by_address
        if any(parsed in network for network in self._proxies):
            return float("inf")
        # A proxy on this machine that is not set as a trusted one stands for many clients too.
        limits = self._limits
        return limits.connections_by_loopback if parsed.is_loopback else limits.connections_by_address


def bounded_protocol(limits: Limits, lines: Lines) -> type[BoundedProtocol]:
    """Return the class of a server's connections: uvicorn makes one of each, and says nothing of limits."""

    class Bounded(BoundedProtocol):
        pass

    Bounded.lines, Bounded.head_s = lines, limits.head_seconds
    return Bounded


class BoundedProtocol(H11Protocol):
    """A connection that is closed where its address has too many, or no head of a request comes in time.

    Uvicorn alone would wait for a first request for ever, or for the rest of a body after its answer, and
    answer 503 to all while many wait so.
    """

    lines: ClassVar[Lines]
    head_s: ClassVar[float]
    _held: str | None = None
    _timer: asyncio.TimerHandle | None = None
    _timed: type[object] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, or close at once."""
        super().connection_made(transport)
        address = "" if self.client is None else self.client[0]
        if not self.lines.take(address):
            transport.abort()
            return
        self._held = address
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Go on to the next request."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:  # the pause before a next request is uvicorn's matter
            self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand over to a WebSocket, which this is no longer told of."""
        self._let_go()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._let_go()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Let the time run while a head is to come, or a body's rest; not anew with each of their bytes."""
        state = self._awaited()
        if state is self._timed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timed = state
        self._timer = None if state is None else self.loop.call_later(self.head_s, self.transport.abort)

    def _awaited(self) -> type[object] | None:
        """Return the client's state where it has to go on within the time for a head."""
        theirs = self.conn.their_state
        is_rest = theirs is h11.SEND_BODY and self.conn.our_state is h11.DONE
        return theirs if self._held is not None and (theirs is h11.IDLE or is_rest) else None

    def _let_go(self) -> None:
        if self._held is not None:
            self.lines.leave(self._held)
        self._held = None
        self._watch()


def impatient_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop whose servers wait for a TLS handshake for 10 s instead of a minute."""
    loop = asyncio.new_event_loop()
    patient = loop.create_server
    loop.create_server = partial(patient, ssl_handshake_timeout=HANDSHAKE_S)  # type: ignore[method-assign]
    return loop


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, IPv6Address) else parsed
