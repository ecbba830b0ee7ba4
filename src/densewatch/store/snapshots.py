"""The pictures of events: one file each, under the day on which the event began."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from densewatch.store.database import is_out_of_room
from densewatch.store.errors import DiskFullError, StoreError

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_JPEG_END = b"\xff\xd9"


class Snapshots:
    """Files `YYYY/MM/DD/<event id>.jpg` in a folder.

    Attributes:
        folder: where they lie.
    """

    def __init__(self, folder: Path) -> None:
        """Make the folder, for nobody else to read.

        Raises:
            StoreError: it cannot be made, or nothing can be written there.
        """
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StoreError(f"{folder} cannot be made: {error.strerror}") from error
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise StoreError(f"{folder} cannot be written; let this user write there, or name another folder")

    def path(self, event_id: str, start_time: float) -> Path:
        """Return where the picture of an event lies.

        Raises:
            ValueError: the id could lead out of the folder, or the time is none.
        """
        check_event_id(event_id)
        try:
            day = datetime.fromtimestamp(start_time, UTC)
        except (ValueError, OverflowError, OSError):
            raise ValueError(f"{start_time} is no time in Unix seconds") from None
        return self.folder / f"{day:%Y}" / f"{day:%m}" / f"{day:%d}" / f"{event_id}.jpg"

    def write(self, event_id: str, start_time: float, data: bytes) -> None:
        """Put a picture in its place; who reads sees the old one or the new one, whole.

        Raises:
            ValueError: see `path`.
            DiskFullError: no room.
            StoreError: the file cannot be written.
        """
        path = self.path(event_id, start_time)
        # No event id begins with a dot.
        part = path.with_name(f".{event_id}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            part.write_bytes(data)
            part.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            kind = DiskFullError if is_out_of_room(error) else StoreError
            raise kind(f"{path} cannot be written: {error.strerror}") from error

    def read(self, event_id: str, start_time: float, size: int) -> bytes | None:
        """Return a picture, or None where its file is gone or was cut off by a power cut.

        Args:
            event_id: the event's id.
            start_time: the event's beginning, Unix seconds.
            size: bytes that the file should have.
        """
        try:
            data = self.path(event_id, start_time).read_bytes()
        except OSError:
            return None
        # A newer picture whose event was not written any more is whole as well.
        return data if len(data) == size or data.endswith(_JPEG_END) else None

    def delete(self, event_id: str, start_time: float) -> None:
        """Delete a picture where there is one, and the folders that it leaves empty."""
        path = self.path(event_id, start_time)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{path} cannot be deleted: {error.strerror}") from error
        self.delete_empty(path.parent)

    def delete_file(self, path: Path, born_before: float) -> None:
        """Delete a file of this folder, unless it was changed at or after a Unix second."""
        try:
            if path.stat().st_mtime < born_before:
                path.unlink()
                self.delete_empty(path.parent)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StoreError(f"{path} cannot be deleted: {error.strerror}") from error

    def delete_empty(self, folder: Path) -> None:
        """Delete a day's folder, its month's and its year's where nothing lies in them."""
        for level in (folder, *folder.parents):
            if level == self.folder:
                return
            try:
                level.rmdir()
            except OSError:
                return

    def files(self) -> Iterator[os.DirEntry[str]]:
        """Give all files in the days' folders, of pictures and of attempts, oldest day first."""
        for year in _folders(self.folder):
            for month in _folders(year):
                for day in _folders(month):
                    with contextlib.suppress(FileNotFoundError), os.scandir(day) as entries:
                        yield from (entry for entry in entries if entry.is_file(follow_symlinks=False))


def is_event_id(text: str) -> bool:
    """Tell whether a text can be the id of an event, and with it a file's name."""
    return _ID.fullmatch(text) is not None


def check_event_id(event_id: str) -> None:
    """Raise a ValueError where an id is not fit for a file's name."""
    if not is_event_id(event_id):
        raise ValueError(f"{event_id[:80]!r} is no event id: up to 128 letters, digits, dots, _ and -")


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.name.isdecimal() and path.is_dir())
    except FileNotFoundError:
        return []
