"""Connections: how many an address may hold, and how long one may be without a request."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections import Counter
from collections.abc import Sequence
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from densewatch.server.limits import Limits, client_key

HANDSHAKE_S = 10.0
"""How long a TLS handshake may take."""

FAREWELL_S = 2.0
"""How long a client may take to answer that an encrypted connection ends."""

_log = logging.getLogger(__name__)


class Lines:
    """How many connections each address holds; used on the event loop alone."""

    def __init__(self, limits: Limits, proxies: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        """Begin with none.

        Args:
            limits: how many an address may hold.
            proxies: networks through which many clients come, so that nothing is counted.
        """
        self._limits = limits
        self._proxies = tuple(proxies)
        self._taken: Counter[str] = Counter()
        self._keys: dict[int, str] = {}
        self._told: set[str] = set()

    def take(self, number: int, address: str) -> bool:
        """Take a connection for an address, if it may have one more.

        Args:
            number: the descriptor of its socket, by which it is given back.
            address: whose it is.
        """
        key = client_key(address)
        if self._taken[key] >= self._most(address):
            if key not in self._told:
                self._told.add(key)
                _log.warning("%s holds %d connections; more are refused", key, self._taken[key])
            return False
        self._taken[key] += 1
        self._keys[number] = key
        return True

    def leave(self, number: int) -> None:
        """Give a connection back, unless it was given back already."""
        key = self._keys.pop(number, None)
        if key is None:
            return
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


class Door(socket.socket):
    """A socket to listen at, which closes a connection at once where its address has too many.

    They count from the first moment to the last: one whose TLS handshake does not come holds a descriptor and
    256 KiB, and no protocol knows of it.
    """

    def __init__(self, lines: Lines, family: socket.AddressFamily) -> None:
        super().__init__(family, socket.SOCK_STREAM)
        self._lines = lines

    def accept(self) -> tuple[socket.socket, Any]:
        """Return a connection and where it comes from.

        Raises:
            ConnectionAbortedError: it was closed; an event loop goes on to the next.
        """
        accepted, where = super().accept()
        if not self._lines.take(accepted.fileno(), where[0]):
            accepted.close()
            raise ConnectionAbortedError("the address holds too many connections")
        return _Line(self._lines, accepted), where


class _Line(socket.socket):
    """A connection that is given back when it is closed."""

    def __init__(self, lines: Lines, accepted: socket.socket) -> None:
        super().__init__(accepted.family, accepted.type, accepted.proto, accepted.detach())
        self._lines = lines

    def close(self) -> None:
        self._lines.leave(self.fileno())
        super().close()


def bounded_protocol(limits: Limits) -> type[BoundedProtocol]:
    """Return the class of a server's connections: uvicorn makes one of each, and says nothing of limits."""

    class Bounded(BoundedProtocol):
        pass

    Bounded.head_s = limits.head_seconds
    return Bounded


class BoundedProtocol(H11Protocol):
    """A connection that is closed where no head of a request comes in time.

    Uvicorn alone would wait for a first request for ever, or for the rest of a body after its answer, and
    answer 503 to all while many wait so.
    """

    head_s: ClassVar[float]
    _open = False
    _timer: asyncio.TimerHandle | None = None
    _timed: type[object] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin."""
        super().connection_made(transport)
        self._open = True
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
        return theirs if self._open and (theirs is h11.IDLE or is_rest) else None

    def _let_go(self) -> None:
        self._open = False
        self._watch()


def accepting_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop whose servers ask their socket for connections; not all loops do."""
    return asyncio.SelectorEventLoop()


def impatient_loop() -> asyncio.AbstractEventLoop:
    """Return the same whose servers wait for a TLS handshake for 10 s, not a minute, nor for its end."""
    loop = accepting_loop()
    patient = loop.create_server
    loop.create_server = partial(  # type: ignore[method-assign]
        patient, ssl_handshake_timeout=HANDSHAKE_S, ssl_shutdown_timeout=FAREWELL_S
    )
    return loop


def raise_file_limit() -> None:
    """Let this process hold as many files and connections as the system allows it; it begins with few."""
    try:
        import resource
    except ImportError:  # Windows
        return
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with contextlib.suppress(ValueError, OSError):  # macOS allows fewer than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _parsed(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return (parsed.ipv4_mapped or parsed) if isinstance(parsed, IPv6Address) else parsed
