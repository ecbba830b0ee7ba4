"""Connections over real sockets: who asks nothing, or holds too many, keeps nobody else out."""

from __future__ import annotations

import ipaddress
import resource
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from densewatch.server.connections import Lines
from densewatch.server.limits import Limits
from densewatch.server.serve import Server, serving
from fake_service import BOUNDLESS, PASSWORD, fake_service, fake_site
from live_helpers import wait_for

HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


@contextmanager
def server_of(
    folder: Path, tls: str | None = None, **limits: Any
) -> Iterator[tuple[Server, tuple[str, int]]]:
    site = fake_site(folder, port=0) if tls is None else fake_site(folder, port=0, tls=tls)
    with serving(fake_service(folder, Limits(**{**vars(BOUNDLESS), **limits}), site=site)) as server:
        yield server, ("127.0.0.1", int(server.address.rstrip("/").rpartition(":")[2]))


def is_over(line: socket.socket) -> bool:
    """Return whether the server has ended a connection; what it sent before is read."""
    try:
        while line.recv(4096):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True


def seconds_until_over(line: socket.socket) -> float:
    began = time.monotonic()
    line.settimeout(20)
    assert is_over(line)
    return time.monotonic() - began


def seconds_of_trickling(line: socket.socket, byte: bytes) -> float:
    """Send a byte every 0.1 s until the server ends the connection; return how long that took."""
    line.settimeout(0.1)
    began = time.monotonic()
    while not is_over(line):
        assert time.monotonic() - began < 10
        try:
            line.sendall(byte)
        except ConnectionError:
            break
    return time.monotonic() - began


def answer_of(line: socket.socket) -> bytes:
    answer = b""
    while not answer.endswith(b"}"):
        more = line.recv(4096)
        assert more, "it was closed"
        answer += more
    return answer


def test_idle_connections_keep_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Uvicorn counts them, and answers 503 to all when there are too many."""
    monkeypatch.setattr("densewatch.server.serve._CONNECTIONS", 20)
    with server_of(tmp_path, head_seconds=2) as (server, where), ExitStack() as stack:
        lines = [stack.enter_context(socket.create_connection(where, timeout=5)) for _ in range(30)]
        wait_for(lambda: httpx.get(f"{server.address}healthz").status_code == 503, 5)
        assert all(is_over(line) for line in lines)
        assert httpx.get(f"{server.address}healthz").status_code == 200


@pytest.mark.parametrize("sent", [b"", HEAD])
def test_a_head_must_come_in_time(tmp_path: Path, sent: bytes) -> None:
    with server_of(tmp_path, head_seconds=0.5) as (_, where), socket.create_connection(where) as line:
        line.sendall(sent)
        assert 0.3 < seconds_until_over(line) < 4


@pytest.mark.parametrize("first", [b"", HEAD + b"\r\n"])
def test_a_head_that_comes_byte_by_byte_does_not_begin_anew(tmp_path: Path, first: bytes) -> None:
    """Nor does one of a second request, after the first was answered."""
    with server_of(tmp_path, head_seconds=0.6) as (_, where), socket.create_connection(where) as line:
        line.sendall(first)
        assert seconds_of_trickling(line, b"G") > 0.4


def test_requests_that_take_longer_than_a_head_are_answered(tmp_path: Path) -> None:
    with server_of(tmp_path, head_seconds=0.3) as (_, where), socket.create_connection(where) as line:
        body = b'{"name": "viewer", "password": "wrong"}'
        head = b"POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        line.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body))
        time.sleep(0.8)
        line.sendall(body)
        line.settimeout(10)
        assert line.recv(4096).startswith(b"HTTP/1.1 401 ")


def test_a_connection_that_is_used_again_is_kept(tmp_path: Path) -> None:
    with server_of(tmp_path, head_seconds=1) as (_, where), socket.create_connection(where) as line:
        line.settimeout(10)
        for _ in range(2):
            line.sendall(HEAD + b"\r\n")
            assert answer_of(line).startswith(b"HTTP/1.1 200 ")
            time.sleep(1.5)  # that long a pause is uvicorn's matter


@pytest.mark.parametrize("more", [b"", b"x"])
def test_the_body_of_a_request_that_was_answered_is_not_waited_for(tmp_path: Path, more: bytes) -> None:
    """A refusal does not read the body; what trickles in of it later is nobody's."""
    with server_of(tmp_path, head_seconds=0.6) as (_, where), socket.create_connection(where) as line:
        line.sendall(b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n" + more)
        line.settimeout(10)
        assert answer_of(line).startswith(b"HTTP/1.1 404 ")
        assert seconds_of_trickling(line, b"x") > 0.4


def test_the_next_request_after_a_body_that_nobody_read(tmp_path: Path) -> None:
    """Its head has its own time, whatever the body took."""
    with server_of(tmp_path, head_seconds=3) as (_, where), socket.create_connection(where) as line:
        line.settimeout(10)
        line.sendall(b"POST /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6\r\n\r\nthe ")
        assert answer_of(line).startswith(b"HTTP/1.1 404 ")
        time.sleep(2)
        line.sendall(b"XX")
        time.sleep(2)
        line.sendall(HEAD + b"\r\n")
        assert answer_of(line).startswith(b"HTTP/1.1 200 ")


def test_a_handshake_must_come_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("densewatch.server.connections.HANDSHAKE_S", 0.5)
    with server_of(tmp_path, tls="self-signed") as (server, where):
        with socket.create_connection(where) as line:
            assert 0.3 < seconds_until_over(line) < 4
        assert httpx.get(f"{server.address}healthz", verify=trusting(server)).status_code == 200


@pytest.mark.parametrize("tls", [None, "self-signed"])
def test_an_address_holds_so_many_connections(tmp_path: Path, tls: str | None) -> None:
    """From the first moment on: of those that are to be encrypted, none has shaken hands here."""
    with server_of(tmp_path, tls, connections_by_loopback=3) as (server, where):
        with ExitStack() as stack:
            lines = [stack.enter_context(socket.create_connection(where, timeout=0.2)) for _ in range(5)]
            wait_for(lambda: [is_over(line) for line in lines[3:]] == [True, True], 5)
            assert [is_over(line) for line in lines[:3]] == [False] * 3
            other = ("127.0.0.9", 0)
            another = stack.enter_context(socket.create_connection(where, timeout=5, source_address=other))
            assert status(server, another) == 200
            assert status(server, lines[0]) == 200
        wait_for(lambda: is_answered(server, where), 5)  # they were given back


def status(server: Server, line: socket.socket) -> int:
    """Ask by a connection how the server is."""
    line.settimeout(5)
    secret = server.certificate is not None
    with trusting(server).wrap_socket(line, server_hostname="localhost") if secret else line as asking:
        asking.sendall(HEAD + b"Connection: close\r\n\r\n")
        return int(answer_of(asking).split()[1])


def trusting(server: Server) -> ssl.SSLContext:
    assert server.certificate is not None
    return ssl.create_default_context(cafile=str(server.certificate.certificate))


def is_answered(server: Server, where: tuple[str, int]) -> bool:
    try:
        with socket.create_connection(where) as line:
            return status(server, line) == 200
    except (OSError, AssertionError):
        return False


def upgrade(cookie: str = "none") -> bytes:
    asked = [
        "GET /api/v1/live HTTP/1.1", "Host: localhost", "Origin: http://localhost",
        "User-Agent: test", f"Cookie: {cookie}", "Connection: Upgrade", "Upgrade: websocket",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "\r\n",
    ]  # fmt: skip
    return "\r\n".join(asked).encode()


def test_live_views_count_and_are_given_back(tmp_path: Path) -> None:
    with server_of(tmp_path, connections_by_loopback=3) as (server, where):
        with httpx.Client(base_url=server.address, headers={"User-Agent": "test"}) as client:
            client.post("api/v1/session", json={"name": "viewer", "password": PASSWORD}).raise_for_status()
            cookie = f"densewatch_session={client.cookies['densewatch_session']}"
        with ExitStack() as stack:
            for _ in range(3):
                line = stack.enter_context(socket.create_connection(where, timeout=5))
                line.sendall(upgrade(cookie))
                assert line.recv(100).startswith(b"HTTP/1.1 101 ")
            assert not is_answered(server, where)
        wait_for(lambda: is_answered(server, where), 5)


def test_live_views_that_were_refused_hold_nothing_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over TLS, a client that does not answer the farewell would keep the connection for half a minute."""
    monkeypatch.setattr("densewatch.server.connections.FAREWELL_S", 2.0)
    with (
        server_of(tmp_path, "self-signed", connections_by_loopback=3) as (server, where),
        ExitStack() as stack,
    ):
        for _ in range(3):
            line = stack.enter_context(socket.create_connection(where, timeout=5))
            asking = stack.enter_context(trusting(server).wrap_socket(line, server_hostname="localhost"))
            asking.sendall(upgrade())
            assert asking.recv(100).startswith(b"HTTP/1.1 403 ")  # of another origin
        assert not is_answered(server, where)
        wait_for(lambda: is_answered(server, where), 10)


def test_a_server_may_open_as_many_files_as_the_system_allows(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1] - 1, before[1]))
    try:
        with server_of(tmp_path):
            assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


COUNTED = {
    "192.0.2.7": 2,
    "2001:db8::1": 2,
    "127.0.0.1": 4,
    "::1": 4,
    "::ffff:127.0.0.1": 4,
    "10.1.2.3": 100,  # a proxy
    "::ffff:10.1.2.3": 100,
    "fe80::1%eth0": 2,
}


@pytest.mark.parametrize("address", COUNTED)
def test_how_many_each_address_may_hold(address: str) -> None:
    limits = Limits(connections_by_address=2, connections_by_loopback=4)
    lines = Lines(limits, [ipaddress.ip_network("10.0.0.0/8")])
    taken = [lines.take(number, address) for number in range(100)]
    assert taken == [number < COUNTED[address] for number in range(100)]
    assert lines.take(100, "198.51.100.9")
    if False in taken:
        for number in (0, 0, 99):  # one of these held it
            lines.leave(number)
        assert [lines.take(number, address) for number in (101, 102)] == [True, False]
