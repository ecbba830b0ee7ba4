"""Pictures that came in part, and pictures that are too large."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from live_helpers import all_of, source_of, write_video


def with_one_changed(path: Path, at: int, end: bytes | None) -> Path:
    """Write an MJPEG video one of whose packets is cut in half, or ends with `end` after its end marker."""
    whole = write_video(path.with_stem("whole"), 12, codec="mjpeg")
    with av.open(str(whole)) as container, av.open(str(path), "w") as copy:
        stream = container.streams.video[0]
        target = copy.add_stream_from_template(stream)
        for number, packet in enumerate(container.demux(stream)):
            if packet.dts is None:
                continue
            replaced: Any = packet
            if number == at:
                data = bytes(packet)
                replaced = av.Packet(data[: len(data) // 2] if end is None else data + end)
                replaced.pts, replaced.dts, replaced.time_base = packet.pts, packet.dts, packet.time_base
            replaced.stream = target
            copy.mux(replaced)
    return path


@pytest.mark.parametrize("name", ["a.avi", "a.mkv", "a.mov"])
@pytest.mark.parametrize("at", [0, 5])
def test_a_picture_without_its_end_is_not_shown(tmp_path: Path, name: str, at: int) -> None:
    source = source_of(str(with_one_changed(tmp_path / name, at, None)))
    assert len(all_of(source)) == 11
    assert source.broken == 1


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n\r\n", bytes(5000), b"\xff\xff", b"a few more"])
def test_what_cameras_put_after_the_end_of_a_picture_does_no_harm(tmp_path: Path, end: bytes) -> None:
    source = source_of(str(with_one_changed(tmp_path / "a.mkv", 5, end)))
    assert len(all_of(source)) == 12
    assert source.broken == 0


def test_a_small_file_that_unfolds_to_gigabytes_is_not_decoded(tmp_path: Path) -> None:
    huge = cv2.imencode(".jpg", np.zeros((8200, 8200), np.uint8))[1].tobytes()
    (tmp_path / "a.mjpeg").write_bytes(huge)
    source = source_of(str(tmp_path / "a.mjpeg"))
    assert all_of(source) == []
    assert source.broken == 1
