"""Downloads against a real server that behaves well, badly, or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from densewatch.hub import HubError, RemoteFile, download, hash_in_name
from local_server import LocalServer, closed_port, serving

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[LocalServer]:
    with serving(CONTENT) as running:
        yield running


def test_fetches_and_reports_progress(server: LocalServer, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    target = tmp_path / "deep" / "net.pth"
    assert download(server.file(), target, on_progress=lambda *step: seen.append(step)) == target
    assert target.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert list(target.parent.iterdir()) == [target]


def test_nothing_is_asked_when_the_file_is_there(server: LocalServer, tmp_path: Path) -> None:
    target = tmp_path / "net.pth"
    target.write_bytes(CONTENT)
    download(server.file(), target)
    assert server.asked == []


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
def test_goes_on_from_an_earlier_part(server: LocalServer, tmp_path: Path, ranges: bool) -> None:
    server.ranges = ranges
    (tmp_path / "net.pth.part").write_bytes(CONTENT[:1000])
    download(server.file(), tmp_path / "net.pth")
    assert (tmp_path / "net.pth").read_bytes() == CONTENT
    assert server.asked == ["bytes=1000-"]


def test_a_complete_part_needs_no_more_bytes(server: LocalServer, tmp_path: Path) -> None:
    (tmp_path / "net.pth.part").write_bytes(CONTENT)
    download(server.file(), tmp_path / "net.pth")
    assert (tmp_path / "net.pth").read_bytes() == CONTENT


def test_a_longer_part_of_another_file_is_thrown_away(server: LocalServer, tmp_path: Path) -> None:
    (tmp_path / "net.pth.part").write_bytes(b"x" * (len(CONTENT) + 1))
    download(server.file(), tmp_path / "net.pth", pause_s=0)
    assert (tmp_path / "net.pth").read_bytes() == CONTENT


def test_a_server_that_cuts_every_connection_is_asked_again(server: LocalServer, tmp_path: Path) -> None:
    server.cut_after = 300_000
    download(server.file(), tmp_path / "net.pth", pause_s=0)
    assert (tmp_path / "net.pth").read_bytes() == CONTENT
    assert server.asked[0] is None
    assert len(server.asked) == 4
    assert all(wanted is not None and wanted.startswith("bytes=") for wanted in server.asked[1:])


def test_a_server_that_sends_nothing_ends_with_a_sentence(server: LocalServer, tmp_path: Path) -> None:
    server.cut_after = 0
    with pytest.raises(HubError, match=r"put it at .*net\.pth, and run the same command again"):
        download(server.file(), tmp_path / "net.pth", pause_s=0)
    assert len(server.asked) == 3


def test_wrong_hash_is_refused_and_deleted(server: LocalServer, tmp_path: Path) -> None:
    with pytest.raises(HubError, match=f"begins with {SHA256[:8]}, but 00000000 is right.*try again"):
        download(server.file("00000000"), tmp_path / "net.pth")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_file_of_the_user_is_kept_and_named(server: LocalServer, tmp_path: Path) -> None:
    target = tmp_path / "net.pth"
    target.write_bytes(b"mine")
    with pytest.raises(HubError, match="Delete it and try again"):
        download(server.file(), target)
    assert target.read_bytes() == b"mine"


@pytest.mark.parametrize(("status", "reason"), [(404, "404 Not Found"), (503, "503 Service Unavailable")])
def test_an_error_of_the_server_is_named(
    server: LocalServer, tmp_path: Path, status: int, reason: str
) -> None:
    server.status = status
    with pytest.raises(HubError, match=rf"http://127.0.0.1:\d+/net-.*\.pth answered {reason}"):
        download(server.file(), tmp_path / "net.pth", pause_s=0)


def test_offline_says_what_to_download_and_where_to_put_it(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{closed_port()}/net-{SHA256[:8]}.pth"
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
