"""RTSP by way of a relay in this process, so that FFmpeg meets no network but this."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import threading
import time

from densewatch.live.address import Address
from densewatch.live.frames import SourceError
from densewatch.live.local_peer import is_ours
from densewatch.live.sources.feed import Access, Input, refuse
from densewatch.live.sources.rtsp_messages import RtspError, RtspMessages

_CHUNK = 2**16
_LOCAL_TIMEOUT_S = 10.0
_CONNECT_S = 2.0  # then better anew: the system itself repeats ever more rarely what it sends in vain


class RtspFeed:
    """A connection to an RTSP server, over TCP.

    FFmpeg looks names up by itself, follows redirects wherever they lead, checks no certificates unless told,
    and cannot be interrupted but by a callback that needs Python's lock. So it is given an address of this
    computer, and a relay passes the bytes on: to an IP address that the policy has allowed, with TLS where it
    is `rtsps`, cut at the first redirect, and closed at once from any thread. What the server is asked for
    therefore names this computer and not the server: servers that tell streams apart by host name do not
    work.

    Attributes:
        failure: why it ended; None while all is well.
        lost: RTP packets that the server left out.
    """

    def __init__(self, access: Access) -> None:
        self.failure: SourceError | None = None
        self._access = access
        self._address = access.address
        self._messages = RtspMessages()
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self._closed = False
        self._relay: threading.Thread | None = None

    @property
    def lost(self) -> int:
        """RTP packets that never came."""
        return self._messages.lost

    def open(self) -> Input:
        """Connect to the server, and start the relay."""
        server = self._connect()
        listener = self._kept(socket.create_server(("127.0.0.1", 0), backlog=1))
        port = listener.getsockname()[1]
        self._relay = threading.Thread(
            target=self._run, args=(server, listener), name="densewatch-rtsp", daemon=True
        )
        self._relay.start()
        address = Address("network", "rtsp", location=self._address.location)
        url = address.url_at("127.0.0.1", port, self._access.credentials)
        options = {
            "rtsp_transport": "tcp",
            "allowed_media_types": "video",
            "protocol_whitelist": "rtsp,rtp,tcp",
            "fpsprobesize": "0",  # or it waits for 20 frames to guess a frame rate that nobody needs
            "analyzeduration": "2000000",
        }
        return Input(url, "rtsp", options, refuse)

    def close(self, failure: SourceError | None = None) -> None:
        """End the connection at once; what waits for it wakes up."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self.failure = failure
        for one in self._sockets:
            with contextlib.suppress(OSError):
                # `close` would wake no thread that waits; TLS's own `shutdown` would take away what it holds
                socket.socket.shutdown(one, socket.SHUT_RDWR)
        if self._relay is None:  # else the relay does it, once it is awake
            self._let_go()

    def _let_go(self) -> None:
        for one in self._sockets:
            one.close()

    def _kept(self, one: socket.socket) -> socket.socket:
        with self._lock:
            if self._closed:
                one.close()
                raise self.failure or SourceError(f"{self._address}: closed", "closed")
            self._sockets.append(one)
        return one

    def _connect(self) -> socket.socket:
        failure: SourceError | None = None
        deadline = time.monotonic() + self._access.open_timeout_s
        for ip in self._access.policy.resolve(self._address):
            try:
                left = max(0.1, min(deadline - time.monotonic(), _CONNECT_S))
                return self._secured(socket.create_connection((ip, self._address.port), timeout=left))
            except (OSError, ValueError) as error:
                failure = connection_failure(self._address, error)
        raise (
            self.failure or failure or SourceError(f"{self._address}: no such host is known", "unknown_host")
        )

    def _secured(self, plain: socket.socket) -> socket.socket:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._kept(plain)
        if self._address.scheme != "rtsps":
            return plain
        context = ssl.create_default_context()
        if not self._access.verify_tls:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        secured = context.wrap_socket(
            plain, server_hostname=self._address.host, do_handshake_on_connect=False
        )
        self._kept(secured)  # before the handshake, so that `close` can end that too
        secured.do_handshake()
        return secured

    def _run(self, server: socket.socket, listener: socket.socket) -> None:
        failure: SourceError | None = None
        try:
            client = self._accepted(listener)
            listener.close()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._pass_on(server, client):
                failure = SourceError(f"{self._address}: the server ended the stream", "ended")
        except RtspError as error:
            failure = SourceError(f"{self._address}: {error}", error.reason)
        except TimeoutError:
            text = f"{self._address}: the server sends nothing for {self._access.read_timeout_s:g} s"
            failure = SourceError(text, "timeout")
        except SourceError as error:
            failure = error
        except (OSError, ValueError):
            failure = SourceError(f"{self._address}: the connection broke", "broken")
        except Exception as error:  # or who reads at the other end would wait for ever
            failure = SourceError(f"{self._address}: unexpected {type(error).__name__}", "error")
        self.close(failure)
        self._let_go()

    def _accepted(self, listener: socket.socket) -> socket.socket:
        """Wait for FFmpeg; other users of this computer, who could get here first, are sent away."""
        deadline = time.monotonic() + _LOCAL_TIMEOUT_S
        while True:
            listener.settimeout(max(0.01, deadline - time.monotonic()))
            client = listener.accept()[0]
            if is_ours(client):
                return self._kept(client)
            client.close()

    def _pass_on(self, server: socket.socket, client: socket.socket) -> bool:
        """Carry bytes both ways until one side ends; return whether it was the server.

        Raises:
            TimeoutError: the server says nothing.
        """
        server.settimeout(self._access.read_timeout_s)
        heard = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(server, selectors.EVENT_READ)
            selector.register(client, selectors.EVENT_READ)
            while True:
                left_s = heard + self._access.read_timeout_s - time.monotonic()
                ready = {key.fileobj for key, _ in selector.select(left_s)}
                if client in ready:
                    asked = client.recv(_CHUNK)
                    if not asked:
                        return False
                    server.sendall(asked)
                if server in ready:
                    if not self._carry(server, client):
                        return True
                    heard = time.monotonic()
                elif time.monotonic() - heard >= self._access.read_timeout_s:
                    raise TimeoutError

    def _carry(self, server: socket.socket, client: socket.socket) -> bool:
        """Pass on what the server has sent; return whether there is more to come."""
        while True:
            data = server.recv(_CHUNK)
            if not data:
                return False
            client.sendall(self._messages.feed(data))
            if not (isinstance(server, ssl.SSLSocket) and server.pending()):
                return True


def connection_failure(address: Address, error: Exception) -> SourceError:
    """Say in words why a server was not reached; the text of the error itself is not shown."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return SourceError(
            f"{address}: its certificate is not trusted; verify_tls: false takes it all the same",
            "certificate",
        )
    if isinstance(error, ssl.SSLError):
        return SourceError(f"{address}: it does not speak TLS", "tls")
    if isinstance(error, ConnectionRefusedError):
        return SourceError(f"{address}: it refuses the connection", "refused")
    if isinstance(error, TimeoutError):
        return SourceError(f"{address}: it does not answer", "timeout")
    return SourceError(f"{address}: it cannot be reached", "unreachable")
