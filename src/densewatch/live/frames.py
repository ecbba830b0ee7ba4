"""A frame: one picture of a camera, and when it was taken."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

TimeSource = Literal["rtcp", "pts", "arrival"]
"""How a capture time is known: from the camera's own clock, from the stream's time stamps, or not at all."""


@dataclass(frozen=True)
class Frame:
    """A decoded picture that is converted to RGB only when somebody wants it.

    Attributes:
        time: when it was taken, Unix seconds.
        time_source: how `time` is known.
        arrived: `time.monotonic()` when it was decoded here.
        size: (height, width) in pixels.
        to_rgb: returns uint8 [H, W, 3] RGB; may raise `SourceError` where the picture is broken.
    """

    time: float
    time_source: TimeSource
    arrived: float
    size: tuple[int, int]
    to_rgb: Callable[[], npt.NDArray[np.uint8]]


class SourceError(Exception):
    """A source failed; the message is fit for users and holds no credentials.

    Attributes:
        reason: one word for figures by reason, such as `refused`, `timeout`, `unauthorized`, `ended`.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class FrameSource(Protocol):
    """Where frames come from."""

    live: bool
    """True where time goes on by itself: late frames are dropped, and an end is a failure."""

    broken: int
    """Frames that were not given, because they did not decode or are built on such."""

    def frames(self) -> Generator[Frame]:
        """Open the source and give its frames in the order of their times; only whole, decoded ones.

        Raises:
            SourceError: it cannot be opened, or failed, or kept silent for too long.
        """
        ...

    def close(self) -> None:
        """End `frames` soon, from any thread; harmless when called twice."""
        ...
