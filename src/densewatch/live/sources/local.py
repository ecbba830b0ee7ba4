"""Videos from a file, and webcams."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO

from densewatch.live.address import Address
from densewatch.live.frames import SourceError
from densewatch.live.policy import SourcePolicy
from densewatch.live.sources.feed import Input, refuse

_BUFFER = 2**20
_DEMUXERS = {"linux": "v4l2", "darwin": "avfoundation"}


class FileFeed:
    """A video file. FFmpeg gets its bytes and no other file, whatever the content says.

    Attributes:
        failure: why it ended before its time.
        lost: always 0.
    """

    lost = 0

    def __init__(self, address: Address, policy: SourcePolicy, *, paced: bool) -> None:
        self.failure: SourceError | None = None
        self._address = address
        self._policy = policy
        self._paced = paced
        self._file: BinaryIO | None = None

    def open(self) -> Input:
        """Open the file."""
        self._policy.check(self._address)
        failure: SourceError | None = None
        try:
            self._file = Path(self._address.location).open("rb", buffering=_BUFFER)  # noqa: SIM115
        except FileNotFoundError:
            failure = SourceError(f"{self._address}: there is no such file or folder", "not_found")
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or "it is no path"
            failure = SourceError(f"{self._address}: {why}", "unreadable")
        if failure is not None or self._file is None:
            raise failure or SourceError(f"{self._address}: closed", "closed")
        return Input(_Reader(self._file), None, {"protocol_whitelist": "none"}, refuse, self._paced)

    def close(self, failure: SourceError | None = None) -> None:
        """Close the file; who reads on finds its end."""
        self.failure = self.failure or failure
        if self._file is not None:
            self._file.close()


class _Reader:
    """A file that ends where it cannot be read, instead of raising: PyAV would print that."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        """Return the next bytes; none at the end."""
        try:
            return self._file.read(size)
        except (OSError, ValueError):
            return b""

    def seek(self, offset: int, whence: int) -> int:
        """Go elsewhere, and return where that is; -1 where it is nowhere."""
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):
            return -1

    def tell(self) -> int:
        """Return where it is."""
        return -1 if self._file.closed else self._file.tell()


class DeviceFeed:
    """A webcam: Video4Linux, or AVFoundation on a Mac. A read that hangs in the driver cannot be ended.

    Attributes:
        failure: why it ended before its time.
        lost: always 0.
    """

    lost = 0

    def __init__(self, address: Address, policy: SourcePolicy) -> None:
        self.failure: SourceError | None = None
        self._address = address
        self._policy = policy

    def open(self) -> Input:
        """Say which device to open."""
        self._policy.check(self._address)
        number = self._address.location
        demuxer = _DEMUXERS.get(sys.platform)
        if demuxer is None:
            raise SourceError(f"{self._address}: webcams work on Linux and macOS only", "unsupported")
        if demuxer == "v4l2" and not Path(f"/dev/video{number}").exists():
            raise SourceError(f"{self._address}: there is no such device", "not_found")
        return Input(f"/dev/video{number}" if demuxer == "v4l2" else number, demuxer)

    def close(self, failure: SourceError | None = None) -> None:
        """Take note why it ended."""
        self.failure = self.failure or failure
