"""The server: uvicorn, with TLS, and closed where nobody said that it should be open."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from fastapi import FastAPI

from densewatch.server.app import create_app
from densewatch.server.connections import (
    BoundedProtocol,
    Door,
    Lines,
    accepting_loop,
    bounded_protocol,
    impatient_loop,
    raise_file_limit,
)
from densewatch.server.hosts import Hosts, own_names
from densewatch.server.live_socket import LONGEST_MESSAGE
from densewatch.server.service import Service
from densewatch.server.tls import Certificate, TlsError, load, names_of, own_certificate, server_context
from densewatch.site.addresses import is_loopback
from densewatch.site.settings import UNENCRYPTED, ServerSettings

_log = logging.getLogger(__name__)

_HEADER_BYTES = 32 * 1024
_CONNECTIONS = 512
_BACKLOG = 128
_SHUTDOWN_S = 5
_DEAD_AFTER_MS = 60_000
_RENEW_EVERY_S = 3600.0
_START_WITHIN_S = 60.0
_STOP_WITHIN_S = 60.0
_NOT_STARTED = "the server could not start; the log says why"


class ServeError(Exception):
    """The server cannot be started; the message is for users."""


class Server:
    """A service and its web server."""

    def __init__(self, service: Service) -> None:
        """Take the port and read the certificate; nothing is served yet.

        Raises:
            ServeError: the settings would send passwords in the clear, or the port is taken.
            TlsError: there is no certificate that can be used.
            StoreError: the store cannot be read.
        """
        settings = service.site.server
        refuse_plain_http(settings)
        self._certificate: Callable[[], Certificate] | None = None
        self._context: ssl.SSLContext | None = None
        if settings.tls is not None:
            self._certificate = _certificate(settings, service.site.store.folder)
            self._context = server_context(self._certificate())
        app = create_app(service)
        self._hosts: Hosts = app.state.hosts
        self._settings = settings
        self._go_by_certificate()
        protocol = bounded_protocol(service.limits)
        self._uvicorn = _Uvicorn(_config(app, settings, self._context, protocol), self._renew_for_ever)
        lines = Lines(service.limits, settings.trusted_proxies)
        self._socket = _bind(settings, lines)  # at the end: what fails before leaves no port taken

    @property
    def address(self) -> str:
        """Where the server is, for people on this machine."""
        host, port = self._socket.getsockname()[:2]
        if host in ("0.0.0.0", "::"):
            host = "localhost"
        shown = f"[{host}]" if ":" in host else host
        return f"{'http' if self._context is None else 'https'}://{shown}:{port}/"

    @property
    def certificate(self) -> Certificate | None:
        """The files that are served; None without TLS."""
        return None if self._certificate is None else self._certificate()

    def run(self) -> None:
        """Serve in this thread until Ctrl-C, a signal to terminate, or `stop`.

        Raises:
            ServeError: the service could not start; the log says why.
        """
        raise_file_limit()
        try:
            self._uvicorn.run(sockets=[self._socket])
        except SystemExit as error:  # uvicorn's word for a failed start
            raise ServeError(_NOT_STARTED) from error
        finally:
            self._socket.close()
        if not self._uvicorn.started:
            raise ServeError(_NOT_STARTED)

    def stop(self) -> None:
        """Let `run` come to its end; from any thread."""
        self._uvicorn.should_exit = True

    @property
    def started(self) -> bool:
        """Whether it serves."""
        return self._uvicorn.started

    def _go_by_certificate(self) -> None:
        """Answer to the names of a given certificate; a self-made one has only names that are known."""
        tls = self._settings.tls
        if self._certificate is None or tls is None or tls.certificate is None:
            return
        try:
            self._hosts.certify(names_of(self._certificate()))
        except TlsError as error:
            _log.error("only the names in the settings are answered to: %s", error)

    async def _renew_for_ever(self) -> None:
        """Serve new certificates as they come: self-made ones in time, given ones when their files change."""
        if self._certificate is None or self._context is None:
            return
        served: tuple[bytes, bytes] | None = None
        while True:
            await asyncio.sleep(_RENEW_EVERY_S)
            try:
                found = await asyncio.to_thread(_content, self._certificate)
                if found != served:
                    load(self._context, self._certificate())
                    self._go_by_certificate()
                    served = found
                    _log.info("the certificate was read again")
            except (TlsError, OSError) as error:
                _log.error("the old certificate stays: %s", error)


def serve(service: Service, ready: Callable[[Server], None] | None = None) -> None:
    """Serve a service in this thread until it is told to stop; it is started and stopped with the server.

    Args:
        service: not started yet.
        ready: called once, before anything is served, with the address known.

    Raises:
        ServeError: the server cannot start.
        TlsError: there is no certificate that can be used.
        StoreError: the store cannot be read.
    """
    server = Server(service)
    if ready is not None:
        ready(server)
    server.run()


@contextmanager
def serving(service: Service) -> Iterator[Server]:
    """Serve a service in a thread of its own as long as the context lasts.

    Raises:
        ServeError: the server cannot start, or ended by a failure.
        TlsError: there is no certificate that can be used.
        StoreError: the store cannot be read.
    """
    server = Server(service)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            server.run()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, name="densewatch-server", daemon=True)
    thread.start()
    try:
        _wait_for(lambda: server.started or not thread.is_alive(), _START_WITHIN_S)
        if failures or not server.started:
            raise ServeError(_NOT_STARTED) from (failures[0] if failures else None)
        yield server
    finally:
        server.stop()
        thread.join(_STOP_WITHIN_S)
    if thread.is_alive():
        raise ServeError("the server does not stop")
    if failures:
        raise ServeError("the server failed; the log says why") from failures[0]


def refuse_plain_http(settings: ServerSettings) -> None:
    """Raise a ServeError where other machines would send passwords in the clear, and nobody asked for it."""
    if settings.tls is None and settings.plain_http != UNENCRYPTED and not is_loopback(settings.host):
        raise ServeError(
            f"{settings.host} is reached by other machines, which would send passwords in the clear: set "
            "server.tls to self-signed"
        )


class _Uvicorn(uvicorn.Server):
    """Uvicorn, with a task beside it."""

    def __init__(self, config: uvicorn.Config, beside: Callable[[], Coroutine[Any, Any, None]]) -> None:
        super().__init__(config)
        self._beside = beside

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until the end."""
        task = asyncio.ensure_future(self._beside())
        try:
            await super().serve(sockets)
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _config(
    app: FastAPI, settings: ServerSettings, context: ssl.SSLContext | None, protocol: type[BoundedProtocol]
) -> uvicorn.Config:
    loop = accepting_loop if context is None else impatient_loop
    return uvicorn.Config(
        app,
        loop=f"{loop.__module__}:{loop.__name__}",
        http=protocol,
        h11_max_incomplete_event_size=_HEADER_BYTES,
        ws="websockets-sansio",
        ws_max_size=LONGEST_MESSAGE,
        ws_per_message_deflate=False,  # JPEGs do not get smaller
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[*_believed(settings.trusted_proxies)],
        limit_concurrency=_CONNECTIONS,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_SHUTDOWN_S,
        ssl_context_factory=None if context is None else lambda *_: context,
    )


def _believed(proxies: Sequence[IPv4Network | IPv6Network]) -> Iterator[str]:
    """Give networks as uvicorn compares them: who comes by IPv4 to host `::` has an address of both kinds."""
    for network in proxies:
        yield str(network)
        if isinstance(network, IPv4Network):
            yield f"::ffff:{network.network_address}/{96 + network.prefixlen}"


def _certificate(settings: ServerSettings, folder: Path) -> Callable[[], Certificate]:
    """Return what gives the certificate to serve: the given one, or one of our own that lasts."""
    tls = settings.tls
    if tls is not None and tls.certificate is not None and tls.key is not None:
        given = Certificate(tls.certificate, tls.key)
        return lambda: given
    names = {name for name in own_names(settings) if name not in ("0.0.0.0", "::")}
    origins = [*settings.allowed_origins, *(() if settings.public_url is None else (settings.public_url,))]
    names |= {host for origin in origins if (host := urlsplit(origin).hostname)}
    return lambda: own_certificate(folder / "tls", names)


def _content(certificate: Callable[[], Certificate]) -> tuple[bytes, bytes]:
    files = certificate()
    return files.certificate.read_bytes(), files.key.read_bytes()


def _bind(settings: ServerSettings, lines: Lines) -> Door:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    bound = Door(lines, family)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # Who reads nothing for so long is gone, even if its machine still answers.
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_AFTER_MS)
        bound.bind((settings.host, settings.port))
    except OSError as error:
        bound.close()
        raise ServeError(
            f"{settings.host} port {settings.port} cannot be listened on: {error.strerror or error}"
        ) from error
    return bound


def _wait_for(condition: Callable[[], bool], seconds: float) -> None:
    waiting = threading.Event()
    for _ in range(int(seconds / 0.02)):
        if condition():
            return
        waiting.wait(0.02)
