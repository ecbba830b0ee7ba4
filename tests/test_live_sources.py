"""Sources against real files and real sockets: times, order, damage, time-outs, and what errors say."""

from __future__ import annotations

import itertools
import logging
import socket
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from densewatch.imaging.save import save_image
from densewatch.live.frames import SourceError
from densewatch.live.policy import SourcePolicy
from densewatch.live.sources.decoding import KeyframeGate, decode
from densewatch.live.sources.rtsp_messages import RtspError, RtspMessages
from live_helpers import all_of, answering, failure_of, first_of, source_of, wait_for, write_video
from local_server import closed_port


@pytest.mark.parametrize(
    ("name", "codec", "exact"),
    [("a.mp4", "libx264", True), ("a.mkv", "mpeg4", True), ("a.avi", "mjpeg", True), ("a.gif", "gif", False)],
)
def test_a_file_gives_every_frame_with_its_time(tmp_path: Path, name: str, codec: str, exact: bool) -> None:
    source = source_of(str(write_video(tmp_path / name, 20, codec=codec)))
    began = time.time()
    frames = all_of(source)
    assert not source.live
    assert len(frames) == 20
    assert source.broken == 0
    assert {(frame.time_source, frame.size) for frame in frames} == {("pts", (96, 128))}
    assert began <= frames[0].time <= time.time()
    steps = np.diff([frame.time for frame in frames])
    assert steps == pytest.approx(1 / 25, abs=1e-3 if exact else 0.02)
    image = frames[10].to_rgb()
    assert image.shape == (96, 128, 3)
    assert image.dtype == np.uint8
    assert image[:, :50].mean() == pytest.approx(90, abs=12)
    assert image[:, 80:].mean() < 12


def test_a_video_that_lies_on_its_side_is_shown_upright(tmp_path: Path) -> None:
    upright = all_of(source_of(str(write_video(tmp_path / "a.mp4", 3))))[2]
    for rotation in (90, 180, -90):
        turned = all_of(source_of(str(write_video(tmp_path / f"{rotation}.mp4", 3, rotation=rotation))))[2]
        expected = np.rot90(upright.to_rgb(), rotation // 90)
        assert turned.size == turned.to_rgb().shape[:2] == expected.shape[:2]
        assert np.abs(turned.to_rgb().astype(int) - expected).mean() < 3


def test_a_file_plays_in_real_time_and_begins_anew(tmp_path: Path) -> None:
    source = source_of(str(write_video(tmp_path / "a.mp4", 5)), loop=True)
    assert source.live
    began = time.monotonic()
    frames = first_of(source, 18)
    times = [frame.time for frame in frames]
    assert time.monotonic() - began >= 17 / 25 - 0.05
    assert all(later > earlier for earlier, later in itertools.pairwise(times))
    ages = [frame.time - time.time() + time.monotonic() - frame.arrived for frame in frames]
    assert max(ages) < 0.02, "a frame comes before its time"


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100, b"#EXTM3U\n/etc/passwd\n"])
def test_what_is_no_video_is_said_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    for loop in (False, True):
        assert failure_of(source_of(str(tmp_path / "a.mp4"), loop=loop)).reason in ("invalid", "ended")


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    error = failure_of(source_of(str(tmp_path / "absent.mp4")))
    assert str(error) == f"{tmp_path}/absent.mp4: there is no such file or folder"
    assert error.reason == "not_found"


def test_a_file_reaches_no_other_file(tmp_path: Path) -> None:
    """Playlists and lists of files are formats to FFmpeg, whatever a file's name says."""
    video = write_video(tmp_path / "real.mp4")
    (tmp_path / "list.mp4").write_text(f"ffconcat version 1.0\nfile {video.name}\n")
    (tmp_path / "play.mp4").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{video}\n#EXT-X-ENDLIST\n"
    )
    for name in ("list.mp4", "play.mp4"):
        assert isinstance(failure_of(source_of(str(tmp_path / name))), SourceError)


def damaged(path: Path, at: int, damage: Callable[[bytes], bytes]) -> Path:
    """Write an H.264 stream, a keyframe every 10 pictures, one of whose packets is damaged."""
    with (
        av.open(str(write_video(path.with_suffix(".mp4"), 40))) as container,
        av.open(str(path), "w") as copy,
    ):
        stream = container.streams.video[0]
        target = copy.add_stream_from_template(stream)
        for number, packet in enumerate(container.demux(stream)):
            if packet.dts is None:
                continue
            replaced: Any = packet
            if number == at:
                replaced = av.Packet(damage(bytes(packet)))
                replaced.pts, replaced.dts, replaced.time_base = packet.pts, packet.dts, packet.time_base
            replaced.stream = target
            copy.mux(replaced)
    return path


@pytest.mark.parametrize(
    "damage",
    [lambda data: data[: len(data) // 2], lambda data: data[:8] + bytes(len(data) - 8)],
    ids=["cut", "zeros"],
)
def test_after_damage_nothing_is_shown_before_a_whole_keyframe(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    source = source_of(str(damaged(tmp_path / "a.mkv", 13, damage)))
    frames = all_of(source)
    missing = set(range(40)) - {round((frame.time - frames[0].time) * 25) for frame in frames}
    assert missing == set(range(13, 20))
    assert source.broken == 7


def test_a_stream_that_begins_without_a_keyframe_shows_nothing_before_it(tmp_path: Path) -> None:
    source = source_of(str(damaged(tmp_path / "a.mkv", 0, lambda data: data[:8])))
    assert len(all_of(source)) == 30
    assert source.broken > 0


def test_a_folder_is_a_video(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        save_image(tmp_path / f"{number}.png", np.full((8 + number, 16, 3), number, np.uint8))
    (tmp_path / "3.jpg").write_bytes(b"broken")
    (tmp_path / "notes.txt").write_text("no picture")
    source = source_of(str(tmp_path))
    frames = all_of(source)
    assert [frame.to_rgb()[0, 0, 0] for frame in frames] == [1, 2, 10]
    assert [frame.size for frame in frames] == [(9, 16), (10, 16), (18, 16)]
    assert np.diff([frame.time for frame in frames]) == pytest.approx(1)
    assert source.broken == 1


def test_a_folder_without_pictures_is_said_so(tmp_path: Path) -> None:
    for loop in (False, True):
        assert failure_of(source_of(str(tmp_path), loop=loop)).reason == "invalid"


def test_a_link_in_a_folder_does_not_lead_out_of_it(tmp_path: Path) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    save_image(tmp_path / "secret.png", np.zeros((8, 8, 3), np.uint8))
    save_image(inside / "a.png", np.zeros((8, 8, 3), np.uint8))
    (inside / "b.png").symlink_to(tmp_path / "secret.png")
    assert len(all_of(source_of(str(inside), policy=SourcePolicy(folders=(inside,))))) == 1


def test_a_webcam_that_is_not_there_is_said_so() -> None:
    assert failure_of(source_of("webcam:99")).reason in ("not_found", "unsupported")


# Servers that behave badly: real sockets.


def say(text: bytes, then_close: bool = False) -> Callable[[socket.socket], None]:
    def talk(visitor: socket.socket) -> None:
        visitor.recv(4096)
        visitor.sendall(text)
        if then_close:
            visitor.close()

    return talk


def leaks(secret: str, error: BaseException, *streams: str) -> bool:
    chain = (
        "".join(traceback.format_exception(error))
        + repr(error)
        + str(error.__context__)
        + str(error.__cause__)
    )
    return any(secret in text for text in (chain, *streams))


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http", "https"])
@pytest.mark.parametrize("server", ["closed", "silent", "garbage", "ends"])
def test_bad_servers_are_given_up_in_time_and_without_leaks(
    scheme: str, server: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    talks = {"silent": lambda visitor: None, "garbage": say(b"\x00\xff$$$$" * 5000), "ends": say(b"", True)}
    began = time.monotonic()
    if server == "closed":
        source = source_of(f"{scheme}://bob:s3cret@127.0.0.1:{closed_port()}/x?key=t0ken")
        error = failure_of(source)
        assert error.reason == "refused"
    else:
        with answering(talks[server]) as port:
            source = source_of(f"{scheme}://bob:s3cret@127.0.0.1:{port}/x?key=t0ken")
            error = failure_of(source)
    assert time.monotonic() - began < 4, "an open time-out of 2 s and a read time-out of 1 s"
    if server == "silent":
        assert error.reason == "timeout"
    out, err = capfd.readouterr()
    logged = caplog.text + repr(caplog.records)
    for secret in ("s3cret", "t0ken", "bob"):
        assert not leaks(secret, error, out, err, logged, repr(source), str(vars(source)))


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_closing_ends_a_read_that_hangs(scheme: str) -> None:
    with answering(lambda visitor: None) as port:
        source = source_of(f"{scheme}://127.0.0.1:{port}/x", open_timeout_s=30, read_timeout_s=3)
        done = threading.Event()

        def read() -> None:
            all_of(source)
            done.set()

        thread = threading.Thread(target=read, name="reader")
        thread.start()
        time.sleep(0.3)  # until it hangs; if it does not yet, that is harmless
        source.close()
        wait_for(done.is_set, 4, "the end of the read")
        thread.join()


def test_garbage_that_never_ends_is_given_up() -> None:
    def talk(visitor: socket.socket) -> None:
        visitor.recv(4096)
        visitor.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp4\r\n\r\n")
        while True:
            visitor.sendall(b"garbage " * 8)
            time.sleep(0.01)

    with answering(talk) as port:
        began = time.monotonic()
        assert failure_of(source_of(f"http://127.0.0.1:{port}/x")).reason in ("timeout", "invalid")
        assert time.monotonic() - began < 4


# RTSP's messages.


def test_rtsp_redirects_are_refused() -> None:
    answer = b"RTSP/1.0 302 Moved\r\nCSeq: 1\r\nLocation: rtsp://10.0.0.1/\r\n\r\n"
    with answering(say(answer)) as port:
        error = failure_of(source_of(f"rtsp://127.0.0.1:{port}/x"))
    assert error.reason == "redirect"
    assert "10.0.0.1" not in str(error)


def rtp(channel: int, sequence: int, size: int = 20) -> bytes:
    head = b"$" + bytes([channel]) + size.to_bytes(2, "big")
    return head + b"\x80\x60" + sequence.to_bytes(2, "big") + bytes(size - 4)


@pytest.mark.parametrize("step", [1, 3, 7, 1000])
def test_gaps_in_rtp_are_counted_however_the_bytes_come(step: int) -> None:
    text = b"RTSP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n$ a body."
    data = rtp(0, 65534) + rtp(1, 9) + rtp(0, 65535) + text + rtp(0, 0) + rtp(0, 3) + rtp(2, 50) + rtp(0, 4)
    messages = RtspMessages()
    for start in range(0, len(data), step):
        messages.feed(data[start : start + step])
    assert messages.lost == 2


def test_after_a_gap_nothing_is_shown_before_a_keyframe(tmp_path: Path) -> None:
    gate = KeyframeGate()
    shown = []
    with av.open(str(write_video(tmp_path / "a.mp4", 40))) as container:
        for number, packet in enumerate(container.demux(video=0)):
            gate.packet(0 if number < 13 else 2, corrupt=False)
            shown += [round(frame.time * 25) for frame in decode(packet, gate)]
    assert shown == [*range(13), *range(20, 40)]
    assert gate.stopped == 7


@pytest.mark.parametrize("data", [b"x" * 70_000, b"RTSP/1.0 200 OK\r\nContent-Length: 9999999\r\n\r\n"])
def test_what_is_no_rtsp_is_not_collected_for_ever(data: bytes) -> None:
    with pytest.raises(RtspError):
        RtspMessages().feed(data)


def test_text_that_is_written_to_standard_error_stays_empty(capfd: pytest.CaptureFixture[str]) -> None:
    failure_of(source_of(f"rtsp://127.0.0.1:{closed_port()}/x"))
    assert capfd.readouterr() == ("", "")
