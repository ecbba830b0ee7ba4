"""What an RTSP server sends over one TCP connection, looked through while it passes by."""

from __future__ import annotations

import re
import struct

_MAX_HEAD, _MAX_BODY = 64 * 2**10, 2**20
_STATUS = re.compile(rb"RTSP/\d\.\d (\d{3})")
_LENGTH = re.compile(rb"^content-length:\s*(\d{1,9})\s*$", re.IGNORECASE | re.MULTILINE)
_RTP_HEADER = 12


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

    Attributes:
        lost: RTP packets that never came, told by gaps in their sequence numbers.
    """

    def __init__(self) -> None:
        self.lost = 0
        self._pending = bytearray()
        self._skip = 0
        self._sequence: dict[int, int] = {}

    def feed(self, data: bytes) -> None:
        """Look at the next bytes.

        Raises:
            RtspError: the server sends its visitors elsewhere, or this is no RTSP.
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
        del self._pending[:position]

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
        end = self._pending.find(b"\r\n\r\n", start)
        if end < 0:
            if len(self._pending) - start > _MAX_HEAD:
                raise RtspError("it does not speak RTSP", "invalid")
            return 0
        head = bytes(self._pending[start:end])
        status = _STATUS.match(head.lstrip(b"\r\n"))
        if status and status[1].startswith(b"3"):
            raise RtspError(
                "it redirects, which is not followed; give the address of the stream itself", "redirect"
            )
        length = _LENGTH.search(head)
        body = int(length[1]) if length else 0
        if body > _MAX_BODY:
            raise RtspError("its answer is too long", "invalid")
        return end + 4 - start + body
