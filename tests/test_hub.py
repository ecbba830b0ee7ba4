"""Downloads against a real server that behaves well, badly, or not at all."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from densewatch.hub import HubError, RemoteFile, download, hash_in_name

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT under any path; how well is set by the attributes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges = True
        self.status = 200
        self.cut_after: int | None = None
        self.asked: list[str | None] = []

    def file(self, prefix: str = SHA256[:8]) -> RemoteFile:
        return RemoteFile(f"http://127.0.0.1:{self.server_port}/net-{SHA256[:8]}.pth", prefix)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.server.ranges else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        body = CONTENT[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cut_after])

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_fetches_and_reports_progress(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    target = tmp_path / "deep" / "net.pth"
    assert download(server.file(), target, on_progress=lambda *step: seen.append(step)) == target
    assert target.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert list(target.parent.iterdir()) == [target]


def test_nothing_is_asked_when_the_file_is_there(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "net.pth"
    target.write_bytes(CONTENT)
    download(server.file(), target)
    assert server.asked == []


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
def test_goes_on_from_an_earlier_part(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.ranges = ranges
    (tmp_path / "net.pth.part").write_bytes(CONTENT[:1000])
    download(server.file(), tmp_path / "net.pth")
    assert (tmp_path / "net.pth").read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-"]


def test_a_complete_part_needs_no_more_bytes(server: Server, tmp_path: Path) -> None:
    (tmp_path / "net.pth.part").write_bytes(CONTENT)
    download(server.file(), tmp_path / "net.pth")
    assert (tmp_path / "net.pth").read_bytes() == CONTENT


def test_a_longer_part_of_another_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "net.pth.part").write_bytes(b"x" * (len(CONTENT) + 1))
    download(server.file(), tmp_path / "net.pth", pause_s=0)
    assert (tmp_path / "net.pth").read_bytes() == CONTENT


def test_a_server_that_cuts_every_connection_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.cut_after = 300_000
    download(server.file(), tmp_path / "net.pth", pause_s=0)
    assert (tmp_path / "net.pth").read_bytes() == CONTENT
    assert server.asked[0] is None
    assert len(server.asked) == 4
    assert all(wanted is not None and wanted.startswith("bytes=") for wanted in server.asked[1:])


def test_a_server_that_sends_nothing_ends_with_a_sentence(server: Server, tmp_path: Path) -> None:
    server.cut_after = 0
    with pytest.raises(HubError, match=r"put it at .*net\.pth, and run the same command again"):
        download(server.file(), tmp_path / "net.pth", pause_s=0)
    assert len(server.asked) == 3


def test_wrong_hash_is_refused_and_deleted(server: Server, tmp_path: Path) -> None:
    with pytest.raises(HubError, match=f"begins with {SHA256[:8]}, but 00000000 is right.*try again"):
        download(server.file("00000000"), tmp_path / "net.pth")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_file_of_the_user_is_kept_and_named(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "net.pth"
    target.write_bytes(b"mine")
    with pytest.raises(HubError, match="Delete it and try again"):
        download(server.file(), target)
    assert target.read_bytes() == b"mine"


@pytest.mark.parametrize(("status", "reason"), [(404, "404 Not Found"), (503, "503 Service Unavailable")])
def test_an_error_of_the_server_is_named(server: Server, tmp_path: Path, status: int, reason: str) -> None:
    server.status = status
    with pytest.raises(HubError, match=rf"http://127.0.0.1:\d+/net-.*\.pth answered {reason}"):
        download(server.file(), tmp_path / "net.pth", pause_s=0)


def test_offline_says_what_to_download_and_where_to_put_it(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/net-{SHA256[:8]}.pth"
    with pytest.raises(HubError) as caught:
        download(RemoteFile(url, SHA256[:8]), tmp_path / "net.pth", pause_s=0)
    assert url in str(caught.value)
    assert str(tmp_path / "net.pth") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HubError, match="Cannot write"):
        download(RemoteFile("http://127.0.0.1/net-00000000.pth", "00000000"), tmp_path / "file" / "net.pth")


@pytest.mark.parametrize(
    ("url", "digits"),
    [
        ("https://example.org/models/net-5905b1c5.pth", "5905b1c5"),
        ("https://example.org/net_v2-0123456789abcdef.safetensors", "0123456789abcdef"),
    ],
)
def test_hash_in_name(url: str, digits: str) -> None:
    assert hash_in_name(url) == digits


def test_a_name_without_hash_is_refused() -> None:
    with pytest.raises(HubError, match="carries no SHA-256 digits"):
        hash_in_name("https://example.org/net-latest.pth")
