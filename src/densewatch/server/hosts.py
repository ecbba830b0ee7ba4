"""By which names this server may be asked for, and by whose pages; against DNS rebinding and CSRF."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from densewatch.server.refusal import refuse
from densewatch.site.addresses import host_name, is_loopback
from densewatch.site.settings import ServerSettings

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_ANOTHER = (
    "this server does not go by that name; if it should, write the address that you typed into the site's "
    "file, as server.public_url or among server.allowed_origins"
)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Hosts:
    """The names of this server.

    A page of a foreign name that is made to point here still sends that name, which is refused. An address
    cannot be made to point elsewhere, so any is fine.
    """

    def __init__(
        self, names: Iterable[str], public_url: str | None = None, friends: Iterable[str] = ()
    ) -> None:
        """Take the names of this server.

        Args:
            names: by which it may be asked for, beside loopback's.
            public_url: where browsers find it, when something stands in front of it.
            friends: further origins under which browsers find it.
        """
        own = [*friends, *(() if public_url is None else (public_url,))]
        self._origins = {origin for url in own if (origin := _origin(url)) is not None}
        self._names = _LOOPBACK | {name.lower().rstrip(".") for name in names}
        self._names |= {host for _, host, _ in self._origins}
        self._certified: frozenset[str] = frozenset()

    def certify(self, names: Iterable[str]) -> None:
        """Go by the names of the certificate that is served, in the place of those of the one before.

        Args:
            names: in lower case; `*.watch.example` is any one name before the first dot.
        """
        self._certified = frozenset(names)

    def knows(self, host: str) -> bool:
        """Return whether a `Host` header names this server."""
        try:
            name = urlsplit(f"//{host}").hostname
            urlsplit(f"//{host}").port  # noqa: B018 - raises where it is no port
        except ValueError:
            return False
        if name is None or set(host) & set("/?#@\\"):
            return False
        name = name.rstrip(".")
        wildcard = "*." + name.partition(".")[2]
        return name in self._names or bool({name, wildcard} & self._certified) or _is_address(name)

    def is_own(self, origin: str, scope: Scope) -> bool:
        """Return whether an `Origin` header names this server, as it was asked for or as it is set."""
        asked = _origin(origin)
        if asked is None:
            return False
        scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])
        return (
            asked == _origin(f"{scheme}://{Headers(scope=scope).get('host', '')}") or asked in self._origins
        )


class HostCheck:
    """ASGI layer that answers only to the server's own names."""

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer 400."""
        if scope["type"] in ("http", "websocket"):
            host = Headers(scope=scope).get("host", "")
            if not self._hosts.knows(host):
                await refuse(scope, receive, send, 400, _ANOTHER)
                return
        await self._app(scope, receive, send)


def own_names(settings: ServerSettings) -> set[str]:
    """Return the names that a server has by its settings, beside loopback's and its public URL's."""
    names = {settings.host, *(settings.tls.names if settings.tls is not None else ())}
    if not is_loopback(settings.host):
        with suppress(ValueError):  # a machine may be called what no host can be
            machine = host_name(socket.gethostname())
            names |= {machine, f"{machine}.local"}
    return names


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def _origin(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port of a URL; None where it has not all of them."""
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    if parts.hostname is None or port is None:
        return None
    return parts.scheme, parts.hostname, port
