"""From packets to frames that are whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import av
import numpy as np
import numpy.typing as npt

from densewatch.live.frames import Frame, SourceError, TimeSource

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

    VideoPacket = Packet[VideoStream]

_QUICK_S = 0.002
_LARGE_PX = 1920 * 1088
_MOST_PX = 64 * 10**6  # 8K has 33 million
_JPEG_SCAN, _JPEG_END = b"\xff\xda", b"\xff\xd9"


class KeyframeGate:
    """Lets no frame through that did not decode, or that is built on one that did not.

    It is closed at the start, and closes at every damage and every gap; a whole keyframe opens it.

    Attributes:
        stopped: frames that did not come through, and packets that did not become frames.
    """

    def __init__(self) -> None:
        self.stopped = 0
        self._open = False
        self._lost = 0

    def packet(self, lost: int, corrupt: bool) -> None:
        """Take note of a packet.

        Args:
            lost: gaps so far in what was received.
            corrupt: the demuxer says that its data are damaged.
        """
        if corrupt or lost != self._lost:
            self._lost, self._open = lost, False

    def failed(self) -> None:
        """Take note of a packet that did not decode."""
        self._open = False
        self.stopped += 1

    def lets_through(self, frame: VideoFrame) -> bool:
        """Return whether a frame may be shown."""
        self._open = not frame.is_corrupt and (self._open or frame.key_frame)
        self.stopped += not self._open
        return self._open


def set_up(stream: VideoStream, *, live: bool) -> None:
    """Choose the threads of a decoder.

    A live stream is decoded by one thread: threads that take a frame each hold one back each. Only pictures
    above 1080p are shared out by slices, where the encoder made some. A file may take two, whatever they hold
    back. Pictures of more than 64 million pixels do not decode: one packet of a few megabytes would take
    gigabytes.
    """
    context = stream.codec_context
    context.options = {"max_pixels": str(_MOST_PX)}
    large = context.width * context.height > _LARGE_PX
    context.thread_type = "SLICE" if live else "AUTO"
    context.thread_count = 2 if large or not live else 1


def packets(container: InputContainer, stream: VideoStream) -> Iterator[tuple[VideoPacket, bool]]:
    """Give the packets of a stream, and whether each had to be waited for.

    Raises:
        av.FFmpegError: reading failed.
    """
    demuxed = container.demux(stream)
    while True:
        asked = time.monotonic()
        packet = next(demuxed, None)
        if packet is None:
            return
        yield packet, time.monotonic() - asked > _QUICK_S


def decode(packet: VideoPacket, gate: KeyframeGate) -> list[VideoFrame]:
    """Return the frames of a packet that may be shown.

    FFmpeg fills up a JPEG picture that came in part without a word, so its end is looked for here. What a
    flipped bit does to H.264 and H.265 is seen only where it breaks their syntax.
    """
    if packet.stream.codec_context.name == "mjpeg" and not _has_end(bytes(packet)):
        gate.failed()
        return []
    try:
        frames = packet.decode()
    except av.FFmpegError:
        gate.failed()
        return []
    return [frame for frame in frames if gate.lets_through(frame)]


def _has_end(jpeg: bytes) -> bool:
    """Return whether the end marker follows the last scan; an empty packet only drains the decoder."""
    return not jpeg or jpeg.rfind(_JPEG_END) > jpeg.rfind(_JPEG_SCAN)


def as_frame(frame: VideoFrame, when: float, source: TimeSource, name: str) -> Frame:
    """Return a decoded picture as a frame of ours, upright."""
    turns = round(frame.rotation / 90) % 4
    size = (frame.height, frame.width) if turns % 2 == 0 else (frame.width, frame.height)
    return Frame(when, source, time.monotonic(), size, _converter(frame, turns, name))


def _converter(frame: VideoFrame, turns: int, name: str) -> Callable[[], npt.NDArray[np.uint8]]:
    def to_rgb() -> npt.NDArray[np.uint8]:
        try:
            image = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
        except (av.FFmpegError, ValueError):
            image = None
        if image is None:
            raise SourceError(f"{name}: a picture cannot be converted", "broken")
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image

    return to_rgb
