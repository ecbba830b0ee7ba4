"""What an RTSP server sends over one TCP connection, looked through while it passes by."""

from __future__ import annotations

import re
import struct

_MAX_HEAD, _MAX_BODY = 16 * 2**10, 2**20
_STATUS = re.compile(rb"RTSP/1\.[01] ([0-9]{3})(?: .*)?")
_REQUEST = re.compile(rb"[A-Z_]{1,32} [!-~]{1,2048} RTSP/1\.[01]")
_LENGTH = re.compile(rb"content-length:[ \t]{0,8}([0-9]{1,9})[ \t]{0,8}", re.IGNORECASE)
# FFmpeg ends a line at a bare line feed, and a text at a zero, and leaves out each carriage return.
_STRAY = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r(?!\n|\Z)")
_UNSUPPORTED_TRANSPORT = b"461"  # RFC 2326, section 11.3.14; all that FFmpeg asks for here is TCP
_RTP_HEADER, _LEAST_PACKET = 12, 8


class RtspError(Exception):
    """The server sent something that must not pass; the text is the rest of a sentence about it.

    Attributes:
        reason: as that of a `SourceError`.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class RtspMessages:
    """Follows the messages and the interleaved packets of RTSP (RFC 2326, sections 7 and 10.12).

    FFmpeg reads messages loosely, and goes by itself where a redirect leads. So a head is held back until it
    is whole, and passes only if it can be read in one way.

    Attributes:
        lost: RTP packets that never came, told by gaps in their sequence numbers.
    """

    def __init__(self) -> None:
        self.lost = 0
        self._pending = bytearray()
        self._skip = 0
        self._sequence: dict[int, int] = {}

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes, and return those that may pass on.

        Raises:
            RtspError: the server sends its visitors elsewhere, has no TCP for pictures, or this is no RTSP.
        """
        self._pending += data
        position = 0
        while True:
            step = min(self._skip, len(self._pending) - position)
            position, self._skip = position + step, self._skip - step
            length = 0 if self._skip else self._message(position)
            if length == 0:
                break
            self._skip = length
        passed = bytes(self._pending[:position])
        del self._pending[:position]
        return passed

    def _message(self, start: int) -> int:
        """Return the length of the message that begins at `start`, 0 where more is needed to know it."""
        if start >= len(self._pending):
            return 0
        return self._packet(start) if self._pending[start] == ord("$") else self._text(start)

    def _packet(self, start: int) -> int:
        available = len(self._pending) - start
        if available < 4:
            return 0
        channel, length = struct.unpack_from(">xBH", self._pending, start)
        if 0 < length < _LEAST_PACKET:  # FFmpeg does not skip such a packet, but reads it as text
            raise RtspError("it sends packets that are too short", "invalid")
        if channel % 2 == 0 and length >= _RTP_HEADER:  # odd channels carry RTCP
            if available < 8:
                return 0
            self._count(channel, struct.unpack_from(">H", self._pending, start + 6)[0])
        return 4 + int(length)

    def _count(self, channel: int, sequence: int) -> None:
        last = self._sequence.get(channel)
        if last is not None:
            self.lost += (sequence - last - 1) % 2**16
        self._sequence[channel] = sequence

    def _text(self, start: int) -> int:
        if self._pending.startswith(b"\r\n", start):  # some put an empty line after a message
            return 2
        end = self._pending.find(b"\r\n\r\n", start, start + _MAX_HEAD)
        head = bytes(self._pending[start : end + 2 if end >= 0 else start + _MAX_HEAD])
        if _STRAY.search(head) or len(head) == _MAX_HEAD:
            raise RtspError("it does not speak RTSP", "invalid")
        return end + 4 - start + _body_length(head) if end >= 0 else 0


def _body_length(head: bytes) -> int:
    first, *lines = head.removesuffix(b"\r\n").split(b"\r\n")
    status = _STATUS.fullmatch(first)
    if status and status[1].startswith(b"3"):
        raise RtspError(
            "it redirects, which is not followed; give the address of the stream itself", "redirect"
        )
    if status and status[1] == _UNSUPPORTED_TRANSPORT:
        raise RtspError(
            "it sends pictures by UDP only, and RTSP is read over TCP; let it offer TCP (interleaved)",
            "transport",
        )
    named = [line for line in lines if line.partition(b":")[0].strip().lower() == b"content-length"]
    lengths = [match for line in named if (match := _LENGTH.fullmatch(line))]
    clear = len(lengths) == len(named) <= 1 and not any(line.startswith(b"$") for line in lines)
    if not clear or not (status or _REQUEST.fullmatch(first)):
        raise RtspError("it does not speak RTSP", "invalid")
    length = int(lengths[0][1]) if lengths else 0
    if length > _MAX_BODY:
        raise RtspError("its answer is too long", "invalid")
    return length
