"""Names of pictures in labels: where they may lead, and to which file."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

from densewatch.data.checks import Findings
from densewatch.data.dataset import DataError

_PLAIN = re.compile(r"(?:[^/\\.\0\s][^/\\\0]*/)*[^/\\.\0\s][^/\\\0]*")
"""Names that need no second look: no `..`, nothing absolute, no backslash; most are."""
_WINDOWS_ABSOLUTE = re.compile(r"[A-Za-z]:[\\/]")


def picture_name(name: str, folder: Path, base: Path, findings: Findings, where: str) -> str:
    """Return a picture's path relative to `folder`, with `/`, as labels name it; it stays inside.

    A relative name counts from `folder`, and where that leads out of it, from `base`. Absolute names and `..`
    are fine as long as they end inside `folder`; links that lie there are followed, wherever they lead.

    Args:
        name: as it stands in the labels.
        folder: of the pictures.
        base: folder of the labels.
        findings: takes names that needed mending.
        where: the record, for messages.

    Raises:
        DataError: there is no name, or it leads out of `folder`.
    """
    if _PLAIN.fullmatch(name):
        return name
    if not name.strip() or "\0" in name:
        raise DataError(f"{findings.file}: {where}: {name!r} is no name of a picture")
    if "\\" in name and not (folder / name).exists():
        findings.note("path with backslashes, read as slashes", f"{where}: {name}")
        name = name.replace("\\", "/")
    if _WINDOWS_ABSOLUTE.match(name):
        raise _leads_out(name, folder, name.rpartition("/")[0], findings.file, where)
    for start in (folder, base):
        relative = inside(start / name, folder)
        if relative is not None:
            return relative
    target = Path(os.path.normpath(base.absolute() / name))
    raise _leads_out(name, folder, str(target.parent), findings.file, where)


def inside(path: Path, folder: Path) -> str | None:
    """Return `path` from `folder` on, or None where it lies outside; links count as what they are called."""
    relative = Path(os.path.relpath(path.absolute(), folder.absolute()))
    return None if ".." in relative.parts or relative.is_absolute() else relative.as_posix()


def _leads_out(name: str, folder: Path, target: str, file: Path, where: str) -> DataError:
    return DataError(
        f"{file}: {where}: the picture {name!r} lies outside of {folder}, and labels are not followed out of "
        f"their folder; if you trust them, name the folder of the pictures yourself: --images {target}"
    )


def list_files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Return the files below a folder, sorted by path; links are followed, but each folder only once.

    Args:
        folder: to look into.
        suffixes: of the files that are wanted, in lower case.
    """
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        status = Path(parent).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        found += [Path(parent, name) for name in names if Path(name).suffix.lower() in suffixes]
    return sorted(found)
