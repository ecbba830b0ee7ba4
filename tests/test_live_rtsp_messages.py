"""What of an RTSP server's bytes may reach FFmpeg, which reads them less strictly than we do."""

from __future__ import annotations

import ipaddress
import socket
import threading
import time

import pytest

from densewatch.live.policy import SourcePolicy
from densewatch.live.sources.rtsp_messages import RtspError, RtspMessages
from live_helpers import answering, failure_of, source_of

OK = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n"
PACKET = b"$\x00\x00\x14\x80\x60\x00\x01" + bytes(16)
REDIRECTS = {
    "plain": b"RTSP/1.0 302 Found\r\nCSeq: %d\r\nLocation: %b\r\n\r\n",
    "two spaces": b"RTSP/1.0  302 Found\r\nCSeq: %d\r\nLocation: %b\r\n\r\n",
    "a tab": b"RTSP/1.0\t302 Found\r\nCSeq: %d\r\nLocation: %b\r\n\r\n",
    "a space before": b" RTSP/1.0 302 Found\r\nCSeq: %d\r\nLocation: %b\r\n\r\n",
    "another version": b"RTSP/1.00 302 Found\r\nCSeq: %d\r\nLocation: %b\r\n\r\n",
    "no version": b"RTSP/ 302 Found\r\nCSeq: %d\r\nLocation: %b\r\n\r\n",
    "many digits": b"RTSP/1.0 0302 Found\r\nCSeq: %d\r\nLocation: %b\r\n\r\n",
    "a sign": b"RTSP/1.0 +302 Found\r\nCSeq: %d\r\nLocation: %b\r\n\r\n",
    "bare line feeds": b"RTSP/1.0 302 Found\nCSeq: %d\nLocation: %b\n\n",
    "bare carriage returns": b"RT\rSP/1.0 302 Found\r\nCSeq: %d\r\nLocation: %b\r\n\r\n",
    "an empty line before": b"\r\nRTSP/1.0 302 Found\r\nCSeq: %d\r\nLocation: %b\r\n\r\n",
    "an early end": b"RTSP/1.0 200 OK\r\n\r\r\nRTSP/1.0 302 Found\r\nCSeq: %d\r\nLocation: %b\r\n\r\n",
    "an early end by a zero": b"RTSP/1.0 200 OK\r\n\0\r\nRTSP/1.0 302 No\r\nCSeq: %d\r\nLocation: %b\r\n\r\n",
    "in the body": b"RTSP/1.0 200 OK\r\nContent-Length: 90\r\nContent-Length: 0\r\n\r\n"
    b"RTSP/1.0 302 Found\r\nCSeq: %d\r\nLocation: %b\r\n\r\n",
}


def number_of(request: bytes) -> int:
    return int(request.lower().partition(b"cseq:")[2].split()[0])


@pytest.mark.parametrize("variant", REDIRECTS)
def test_no_redirect_reaches_ffmpeg_however_it_is_written(variant: str) -> None:
    visitors: list[bytes] = []

    def elsewhere(visitor: socket.socket) -> None:
        visitors.append(visitor.recv(4096))

    with socket.create_server(("127.0.0.2", 0)) as forbidden:
        location = b"rtsp://127.0.0.2:%d/secret" % forbidden.getsockname()[1]
        watcher = threading.Thread(target=lambda: elsewhere(forbidden.accept()[0]), daemon=True)
        watcher.start()

        def talk(visitor: socket.socket) -> None:
            while request := visitor.recv(4096):
                number = number_of(request)
                if request.startswith(b"OPTIONS"):
                    visitor.sendall(b"RTSP/1.0 200 OK\r\nCSeq: %d\r\nPublic: DESCRIBE\r\n\r\n" % number)
                else:
                    visitor.sendall(REDIRECTS[variant] % (number, location))

        policy = SourcePolicy(networks=(ipaddress.ip_network("127.0.0.1/32"),))
        with answering(talk) as port:
            error = failure_of(source_of(f"rtsp://bob:s3cret@127.0.0.1:{port}/x", policy=policy))
        assert error.reason in ("redirect", "invalid")
        assert not visitors, "FFmpeg went there by itself"


@pytest.mark.parametrize(
    "head",
    [
        b"RTSP/1.0 301 Moved\r\nLocation: rtsp://10.0.0.1/",
        b"RTSP/1.1 399",
        b"RTSP/2.0 200 OK",
        b"RTSP/1.0 20 OK",
        b"RTSP/1.0 2000 OK",
        b"RTSP/1.0 200\tOK",
        b"rtsp/1.0 200 OK",
        b"HTTP/1.0 200 OK",
        b"hello",
        b"OPTIONS rtsp://a/",
        b"options rtsp://a/ RTSP/1.0",
        b"OPTIONS  rtsp://a/ RTSP/1.0",
        b"RTSP/1.0 200 OK\r\nContent-Length: 5\r\nContent-Length: 5",
        b"RTSP/1.0 200 OK\r\nContent-Length: five",
        b"RTSP/1.0 200 OK\r\nContent-Length: -5",
        b"RTSP/1.0 200 OK\r\nContent-Length: 0x5",
        b"RTSP/1.0 200 OK\r\nContent-Length: 5 6",
        b"RTSP/1.0 200 OK\r\nContent-Length:",
        b"RTSP/1.0 200 OK\r\nContent-Length : 5",
        b"RTSP/1.0 200 OK\r\n Content-Length: 5",
        b"RTSP/1.0 200 OK\r\nContent-Length:" + b" " * 5000 + b"5",
        b"RTSP/1.0 200 OK\r\n$\x00\x00\x05: x",
        b"RTSP/1.0 200 OK\nCSeq: 1",
        b"RTSP/1.0 200 OK\r\nCSeq: 1\rContent-Length: 5",
        b"RTSP/1.0 200 OK\r\nCSeq: 1\0",
    ],
)
def test_a_head_that_is_not_understood_is_refused_and_nothing_of_it_passes(head: bytes) -> None:
    whole, messages = head + b"\r\n\r\n", RtspMessages()
    passed: list[bytes] = []
    with pytest.raises(RtspError):
        RtspMessages().feed(PACKET + whole)
    with pytest.raises(RtspError):
        passed.extend(messages.feed(whole[at : at + 1]) for at in range(len(whole)))
    assert not any(passed)


@pytest.mark.parametrize(
    "message",
    [
        OK,
        b"RTSP/1.0 200\r\n\r\n",
        b'RTSP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm="K\xc3\xbcche"\r\n\r\n',
        b"RTSP/1.0 200 OK\r\nCSeq: 1\r\ncontent-length:\t12\r\n\r\nRTSP/1.0 302",
        b"OPTIONS rtsp://10.0.0.1:554/live RTSP/1.0\r\nCSeq: 1\r\n\r\n",
        b"SET_PARAMETER * RTSP/1.0\r\nContent-Length: 3 \r\n\r\nabc",
        b"\r\n",
        PACKET,
        b"$\x01\x00\x00",
        b"$\x01\x00\x08\x80\xc9\x00\x01abcd",
    ],
)
@pytest.mark.parametrize("step", [1, 2, 5, 1000])
def test_what_is_understood_passes_unchanged(message: bytes, step: int) -> None:
    data = OK + message + PACKET + message + message + OK
    messages = RtspMessages()
    assert b"".join(messages.feed(data[at : at + step]) for at in range(0, len(data), step)) == data


def test_a_packet_waits_for_its_head_only() -> None:
    messages = RtspMessages()
    assert messages.feed(OK + PACKET[:3]) == OK
    assert messages.feed(PACKET[3:9]) == PACKET[:9]
    assert messages.feed(PACKET[9:12]) == PACKET[9:12]
    assert messages.feed(PACKET[12:] + OK[:-1]) == PACKET[12:]
    assert messages.feed(OK[-1:]) == OK


def test_a_packet_that_ffmpeg_takes_for_text_is_refused() -> None:
    """FFmpeg does not skip what is shorter than 8 bytes, but reads on in it as in an answer."""
    with pytest.raises(RtspError):
        RtspMessages().feed(b"$\x00\x00\x07RTSP/1.$ 302 Found\r\n")


def test_a_handshake_that_drips_ends_in_time() -> None:
    def talk(visitor: socket.socket) -> None:
        for byte in b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + bytes(2**14):
            visitor.sendall(bytes([byte]))
            time.sleep(0.1)

    with answering(talk) as port:
        began = time.monotonic()
        error = failure_of(source_of(f"rtsps://127.0.0.1:{port}/x", verify_tls=False))
    assert error.reason == "timeout"
    assert time.monotonic() - began < 4
