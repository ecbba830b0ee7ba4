"""A folder of pictures, as a video."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from densewatch.imaging.read import ImageError, read_image
from densewatch.imaging.sources import PICTURE_SUFFIXES, natural_key
from densewatch.live.address import Address
from densewatch.live.frames import Frame, SourceError
from densewatch.live.policy import SourcePolicy


class FolderSource:
    """The pictures of a folder by name, `2.jpg` before `10.jpg`; folders inside are left alone.

    Attributes:
        live: they are shown in real time, again and again, and the folder is looked at anew each time.
        broken: pictures that could not be read.
    """

    def __init__(self, address: Address, policy: SourcePolicy, *, live: bool, fps: float = 1.0) -> None:
        """Prepare to read.

        Args:
            address: of the folder.
            policy: says whether it may be read.
            live: show them in real time, again and again; else each once, as fast as it goes.
            fps: pictures a second.
        """
        self.live = live
        self.broken = 0
        self._address = address
        self._policy = policy
        self._fps = fps
        self._closed = threading.Event()

    def frames(self) -> Generator[Frame]:
        """Read the pictures; see `FrameSource`."""
        began, wall = time.monotonic(), time.time()
        shown = 0
        while not self._closed.is_set():
            before = shown
            for path in self._pictures():
                image = self._read(path)
                if image is None:
                    continue
                moment = shown / self._fps
                if self._closed.wait(began + moment - time.monotonic() if self.live else 0):
                    return
                if self.live:  # this computer's clock may have been set meanwhile
                    wall = time.time() - time.monotonic() + began
                yield Frame(wall + moment, "pts", time.monotonic(), image.shape[:2], partial(np.copy, image))
                shown += 1
            if shown == before:
                raise SourceError(
                    f"{self._address}: the folder holds no pictures that can be read", "invalid"
                )
            if not self.live:
                return

    def close(self) -> None:
        """End `frames`; see `FrameSource`."""
        self._closed.set()

    def _pictures(self) -> list[Path]:
        self._policy.check(self._address)
        failure: str | None = None
        try:
            inside = list(Path(self._address.location).iterdir())
        except OSError as error:
            failure = error.strerror or "it cannot be read"
        if failure is not None:
            raise SourceError(f"{self._address}: {failure}", "not_found")
        named = [path for path in inside if path.suffix.lower() in PICTURE_SUFFIXES and path.name[0] != "."]
        return sorted(named, key=natural_key)

    def _read(self, path: Path) -> npt.NDArray[np.uint8] | None:
        try:
            self._policy.check(
                Address("file", "file", location=str(path))
            )  # links may lead out of the folder
            return read_image(path)
        except (ImageError, SourceError):
            self.broken += 1
            return None
