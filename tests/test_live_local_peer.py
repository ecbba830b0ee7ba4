"""Of connections within this computer, only those of the same user are taken for ours."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from densewatch.live.address import parse_address
from densewatch.live.local_peer import is_ours
from densewatch.live.policy import SourcePolicy
from densewatch.live.sources import rtsp
from densewatch.live.sources.feed import Access

_HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"


@pytest.fixture
def accepted() -> Iterator[socket.socket]:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as connection,
    ):
        yield connection


def _hex(address: tuple[str, int]) -> str:
    host, port = address
    return f"{int.from_bytes(socket.inet_aton(host), sys.byteorder):08X}:{port:04X}"


def _table(path: Path, connection: socket.socket, user: int) -> Path:
    """Write what Linux says of the other end of a connection if it belongs to a user; its own end is ours."""
    here, there = _hex(connection.getsockname()), _hex(connection.getpeername())
    rest = "01 00000000:00000000 00:00000000 00000000"
    rows = [
        f"   0: {here} {there} {rest} {os.geteuid():5d}        0 111 1 0000000000000000 20 4 30 10 -1",
        f"   1: {there} {here} {rest} {user:5d}        0 112 1 0000000000000000 20 4 30 10 -1",
    ]
    path.write_text("\n".join([_HEAD, *rows]) + "\n", encoding="ascii")
    return path


def test_our_own_connection_is_ours(accepted: socket.socket) -> None:
    assert is_ours(accepted)


@pytest.mark.parametrize(("more", "ours"), [(0, True), (1, False)])
def test_the_user_of_the_other_end_decides(
    accepted: socket.socket, tmp_path: Path, more: int, ours: bool
) -> None:
    assert is_ours(accepted, _table(tmp_path / "tcp", accepted, os.geteuid() + more)) is ours


def test_a_connection_that_the_system_does_not_know_is_not_ours(
    accepted: socket.socket, tmp_path: Path
) -> None:
    table = tmp_path / "tcp"
    table.write_text(_HEAD + "\n", encoding="ascii")
    assert not is_ours(accepted, table)


def test_systems_that_do_not_say_it_are_trusted(accepted: socket.socket, tmp_path: Path) -> None:
    assert is_ours(accepted, tmp_path / "none")


def test_the_relay_sends_others_away_and_waits_for_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([False, True])
    monkeypatch.setattr(rtsp, "is_ours", lambda _: next(answers))
    with socket.create_server(("127.0.0.1", 0)) as camera:
        address = parse_address(f"rtsp://127.0.0.1:{camera.getsockname()[1]}/one")
        access = Access(address, None, SourcePolicy.permissive(), 5.0, 5.0, True)
        feed = rtsp.RtspFeed(access)
        opened = feed.open()
        try:
            assert isinstance(opened.file, str)
            relay = ("127.0.0.1", int(opened.file.rsplit(":", 1)[1].split("/")[0]))
            with camera.accept()[0] as server, socket.create_connection(relay, timeout=5) as stranger:
                stranger.sendall(b"DESCRIBE")
                assert _ended(stranger)
                with socket.create_connection(relay, timeout=5) as own:
                    own.sendall(b"OPTIONS")
                    server.settimeout(5)
                    assert server.recv(100) == b"OPTIONS"
        finally:
            feed.close()


def _ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(100) == b""
    except ConnectionResetError:  # what was sent was never read
        return True
