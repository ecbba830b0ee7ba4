"""Videos from web servers: MJPEG, HLS, redirects, signing in, certificates."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from densewatch.live.frames import SourceError
from densewatch.live.policy import SourcePolicy
from live_helpers import all_of, answering, failure_of, first_of, source_of, write_video
from web_server import WebServer


@pytest.fixture
def web() -> Iterator[WebServer]:
    with WebServer.running() as server:
        yield server


def jpeg(level: int) -> bytes:
    import cv2

    return bytes(cv2.imencode(".jpg", np.full((48, 64, 3), level, np.uint8))[1])


def test_mjpeg_over_http_shows_a_frame_as_soon_as_it_came(web: WebServer) -> None:
    web.mjpeg = [jpeg(10 * number) for number in range(8)]
    source = source_of(web.url("/mjpeg"))
    began = time.time()
    frames = first_of(source, 4)
    assert source.live
    assert {(frame.time_source, frame.size) for frame in frames} == {("arrival", (48, 64))}
    assert frames[-1].time - began < 1.5, "frames come every 0.1 s"
    assert [frame.to_rgb().mean() for frame in frames] == pytest.approx([0, 10, 20, 30], abs=3)


def test_hls_plays_at_the_speed_of_time(web: WebServer, tmp_path: Path) -> None:
    web.files["/a/one.ts"] = write_video(tmp_path / "one.ts", 10, format="mpegts").read_bytes()
    web.files["/a/live.m3u8"] = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.4,\none.ts\n#EXT-X-ENDLIST\n"
    source = source_of(web.url("/a/live.m3u8"))
    began = time.monotonic()
    frames = all_of(source)
    assert len(frames) >= 9
    assert time.monotonic() - began > 0.3
    assert {frame.time_source for frame in frames} == {"pts"}


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "/etc/passwd", "http://10.99.0.1/one.ts", "concat:a|b"]
)
def test_a_playlist_leads_only_where_the_policy_allows(
    web: WebServer, target: str, capfd: pytest.CaptureFixture[str]
) -> None:
    web.files["/live.m3u8"] = (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n".encode()
    )
    error = failure_of(source_of(web.url("/live.m3u8"), policy=SourcePolicy(loopback=True)))
    assert error.reason in ("policy", "not_found", "invalid", "ended")
    assert "Traceback" not in capfd.readouterr().err
    if "10.99" in target:
        assert error.reason == "policy"


def test_redirects_are_followed_and_checked_each_time(web: WebServer) -> None:
    web.mjpeg = [jpeg(100)] * 5
    web.redirects = {
        "/one": "/two",
        "/two": web.url("/mjpeg"),
        "/in": "http://10.99.0.1/",
        "/f": "file:///etc/passwd",
    }
    web.redirects |= {"/circle": "/circle"}
    strict = SourcePolicy(loopback=True)
    assert len(first_of(source_of(web.url("/one"), policy=strict), 2)) == 2
    for path, reason in [("/in", "policy"), ("/f", "policy"), ("/circle", "redirect")]:
        assert failure_of(source_of(web.url(path), policy=strict)).reason == reason


def test_a_name_is_looked_up_once(web: WebServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is public when it is checked and private a moment later leads nowhere."""
    answers = iter(["127.0.0.1"])
    real = socket.getaddrinfo

    def rebinding(host: str, *args: object, **more: object) -> object:
        return real(next(answers) if host == "rebinding.example" else host, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    web.mjpeg = [jpeg(100)] * 5
    address = web.url("/mjpeg").replace("127.0.0.1", "rebinding.example")
    assert len(first_of(source_of(address), 2)) == 2
    assert web.hosts == {f"rebinding.example:{web.port}"}


@pytest.mark.parametrize("how", ["Basic", "Digest"])
def test_signing_in_by_http(web: WebServer, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    web.mjpeg = [jpeg(100)] * 5
    web.login = (how, "bob", "s3cret")
    monkeypatch.setenv("CAM_PASSWORD", "s3cret")
    fields: dict[str, Any] = {"username": "bob", "password_env": "CAM_PASSWORD"}
    assert len(first_of(source_of(web.url("/mjpeg"), **fields), 2)) == 2
    assert len(first_of(source_of(web.url("/mjpeg").replace("//", "//bob:s3cret@")), 2)) == 2
    wrongs: list[dict[str, Any]] = [{}, {"username": "bob", "password_env": "HOME"}]
    for wrong in wrongs:
        error = failure_of(source_of(web.url("/mjpeg"), **wrong))
        assert error.reason == "unauthorized"


def test_credentials_go_to_no_other_server(web: WebServer) -> None:
    web.mjpeg = [jpeg(100)] * 5
    with WebServer.running() as other:
        other.login = ("Basic", "bob", "s3cret")
        web.redirects = {"/away": other.url("/mjpeg")}
        error = failure_of(source_of(web.url("/away").replace("//", "//bob:s3cret@")))
        assert error.reason == "unauthorized"
        assert not other.authorizations


@pytest.mark.parametrize(
    ("path", "reason"), [("/absent", "not_found"), ("/page.html", "invalid"), ("/one.jpg", "invalid")]
)
def test_what_a_web_server_has_instead_of_a_video(web: WebServer, path: str, reason: str) -> None:
    web.files |= {"/page.html": b"<html>hello</html>", "/one.jpg": jpeg(9)}
    assert failure_of(source_of(web.url(path))).reason == reason


def test_https_trusts_known_certificates_only() -> None:
    with WebServer.running(tls=True) as web:
        web.mjpeg = [jpeg(100)] * 5
        assert failure_of(source_of(web.url("/mjpeg"))).reason == "certificate"
        assert len(first_of(source_of(web.url("/mjpeg"), verify_tls=False), 2)) == 2


def test_a_segment_that_is_a_list_of_files_leads_nowhere(web: WebServer) -> None:
    """FFmpeg's lists of files do not go through what we give it to open files with."""
    web.files["/a/list.ts"] = b"ffconcat version 1.0\nfile sub.ts\n"
    web.files["/a/live.m3u8"] = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nlist.ts\n#EXT-X-ENDLIST\n"
    with WebServer.running() as other:
        web.redirects["/a/sub.ts"] = other.url("/inner")
        failure_of(source_of(web.url("/a/live.m3u8")))
        assert not other.hosts, "FFmpeg went there by itself"


def test_a_picture_that_came_in_part_is_not_shown(web: WebServer) -> None:
    whole = jpeg(100)
    web.mjpeg = [whole, whole[: len(whole) // 2], whole[:-2], whole + bytes(20), whole + b"\r\n", whole]
    source = source_of(web.url("/mjpeg"))
    with pytest.raises(SourceError, match="nothing"):
        all_of(source)
    assert source.broken == 2


@pytest.mark.parametrize("told", [True, False], ids=["with its length", "without"])
def test_a_picture_that_never_ends_does_not_fill_the_memory(told: bool) -> None:
    sent: list[int] = []

    def talk(visitor: socket.socket) -> None:
        visitor.recv(4096)
        visitor.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n\r\n")
        length = b"Content-Length: 2000000000\r\n" if told else b""
        visitor.sendall(b"--b\r\nContent-Type: image/jpeg\r\n" + length + b"\r\n")
        for _ in range(100):
            visitor.sendall(bytes(2**20))
            sent.append(1)

    with answering(talk) as port:
        error = failure_of(source_of(f"http://127.0.0.1:{port}/mjpeg"))
    assert "more than 32 MB" in str(error)
    assert len(sent) < 60
