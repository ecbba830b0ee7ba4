"""Files of annotated pictures: where each goes, and how it is written and known again."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import numpy.typing as npt

from densewatch.imaging.encode import comment_segment, encode_jpeg, encode_png

_JPEG = (".jpg", ".jpeg")
_COMMENT = b"boxes drawn by densewatch"
_HEADER_BYTES = 1024  # the comment is among the first


def save_image(path: Path, image: npt.NDArray[np.uint8]) -> None:
    """Write a picture, as JPEG or PNG by its suffix; the folder is made where it is missing.

    A JPEG says in its comment that densewatch drew it, see `is_annotated`.

    Args:
        path: ends with `.jpg`, `.jpeg` or `.png`; a file that is there is replaced.
        image: uint8 [H, W, 3] RGB.

    Raises:
        ValueError: another suffix.
        OSError: the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in (*_JPEG, ".png"):
        raise ValueError(f"cannot write {path}: pictures are written as .jpg or .png")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_jpeg(image, _COMMENT) if suffix in _JPEG else encode_png(image))


def is_annotated(path: Path) -> bool:
    """Return whether `save_image` wrote this file as JPEG; False for what cannot be read."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
    except OSError:
        return False
    return header.startswith(b"\xff\xd8") and comment_segment(_COMMENT) in header


def annotated_path(
    source_name: str, folder: Path, taken: Collection[Path], inputs: Collection[Path] = frozenset()
) -> Path:
    """Return where the annotated picture of a source goes: `<stem>.jpg`, or else `<stem>-2.jpg`, and so on.

    Args:
        source_name: `Source.name`, or any path or URL.
        folder: for annotated pictures.
        taken: paths that this function returned before in the same run.
        inputs: files that are read in the same run; that of `source_name` need not be among them.

    Raises:
        FileExistsError: the path is that of an input, which is never overwritten.
    """
    stem = _stem(source_name)
    path, number = folder / f"{stem}.jpg", 1
    while path in taken:
        number += 1
        path = folder / f"{stem}-{number}.jpg"
    if path.exists() and any(path.samefile(item) for item in [Path(source_name), *inputs] if item.exists()):
        raise FileExistsError(f"cannot write {path}: it is an input; choose another folder for results")
    return path


def _stem(source_name: str) -> str:
    """Return a file name without suffix for a path, a URL or standard input."""
    if "://" in source_name:
        parts = urlsplit(source_name)
        source_name = unquote(parts.path).rstrip("/") or parts.hostname or ""
    return Path(source_name).stem.replace("standard input", "standard-input") or "picture"
