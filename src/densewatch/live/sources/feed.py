"""What brings the bytes of a video: a file, a device, a web server, an RTSP server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from densewatch.live.address import Address, Credentials
from densewatch.live.frames import SourceError
from densewatch.live.policy import SourcePolicy


class Readable(Protocol):
    """What PyAV reads from; it must not raise."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, none at the end."""
        ...


@dataclass(frozen=True)
class Access:
    """How a camera is reached over the network.

    Attributes:
        address: of its video.
        credentials: user and password; None where it asks for none.
        policy: says which addresses may be connected to.
        open_timeout_s: seconds within which it must answer.
        read_timeout_s: seconds within which it must go on sending.
        verify_tls: whether its certificate must be trusted.
    """

    address: Address
    credentials: Credentials | None = field(repr=False)
    policy: SourcePolicy
    open_timeout_s: float
    read_timeout_s: float
    verify_tls: bool


@dataclass(frozen=True)
class Input:
    """What FFmpeg is given to open. It gets no way to the network or to files but this one.

    Attributes:
        file: a file object, or the address of a device or of this computer; it may hold a password.
        format: name of the container format; None lets FFmpeg look.
        options: for the demuxer.
        io_open: opens further files that the first one names, such as the segments of an HLS playlist.
        paced: the bytes come faster than time, so the frames must wait for theirs.
        on_packet: called after each packet that was made of the bytes.
    """

    file: str | Readable = field(repr=False)
    format: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    io_open: Callable[[str, int, dict[str, str]], Any] | None = None
    paced: bool = False
    on_packet: Callable[[], None] | None = None


class Feed(Protocol):
    """A connection that brings a video once; thrown away when it ended.

    Attributes:
        failure: why it ended before its time; None while all is well.
    """

    failure: SourceError | None

    @property
    def lost(self) -> int:
        """Gaps so far in what was received."""
        ...

    def open(self) -> Input:
        """Connect, and say what to read.

        Raises:
            SourceError: it cannot be opened, or `close` was called.
        """
        ...

    def close(self, failure: SourceError | None = None) -> None:
        """End it, from any thread; a read that hangs ends at once where the system allows it."""
        ...


def refuse(_url: str, _flags: int, _options: dict[str, str]) -> Nothing:
    """Open nothing: for formats that need one file only."""
    return Nothing()


class Nothing:
    """A file that is empty. An exception in its place would be printed by PyAV, with what it holds."""

    def read(self, _size: int) -> bytes:
        """Return the end of the file."""
        return b""

    def close(self) -> None:
        """Do nothing."""
