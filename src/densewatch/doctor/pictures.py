"""What the picture files tell: whether they can be read, how large they are, and who is whose double."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from densewatch.doctor.objects import Bools, Floats, Ints
from densewatch.imaging.read import ImageError, Size, read_reduced

_THUMB_PX = 32
_HASH_SIDE = 8
_ROWS_AT_ONCE = 2048

MAX_HASH_DISTANCE = 10
"""Of the 64 bits of the difference hash, near duplicates differ in no more."""

MIN_CORRELATION = 0.95
"""Of the brightness of 32×32 pixels of near duplicates, at least: hashes of flat pictures agree by chance."""


@dataclass(frozen=True, eq=False)
class PictureFacts:
    """What one file tells.

    Attributes:
        path: of the file.
        size: (height, width) of the upright picture; None where it cannot be read.
        problem: why it cannot be read, else None.
        digest: SHA-256 of its bytes; empty where there are none.
        thumb: brightness of 32×32 pixels, with mean 0 and length 1, or all 0 in an even picture, float32
            [1024].
        bits: difference hash, bool [64].
    """

    path: Path
    size: Size | None
    problem: str | None
    digest: bytes
    thumb: Floats
    bits: Bools


def look_at_pictures(
    paths: Sequence[Path], threads: int, on_picture: Callable[[], None] = lambda: None
) -> list[PictureFacts]:
    """Read every picture once, at a reduced size; one that cannot be read is told, and stops nothing.

    Args:
        paths: of the files.
        threads: how many at a time.
        on_picture: called after each picture.
    """
    facts = []
    with ThreadPoolExecutor(threads) as pool:
        for item in pool.map(look_at, paths):
            facts.append(item)
            on_picture()
    return facts


def look_at(path: Path) -> PictureFacts:
    """Read one picture; one that cannot be read is told in its `problem`."""
    thumb, bits = np.zeros(_THUMB_PX**2, np.float32), np.zeros(_HASH_SIDE**2, np.bool_)
    try:
        data = path.read_bytes()
    except OSError as error:
        return PictureFacts(path, None, error.strerror or str(error), b"", thumb, bits)
    digest = hashlib.sha256(data).digest()
    try:
        pixels, size = read_reduced(data, _thumb_size, name=str(path))
    except ImageError as error:
        return PictureFacts(path, None, error.reason, digest, thumb, bits)
    return PictureFacts(path, size, None, digest, *_describe(pixels))


def _thumb_size(size: Size) -> Size:
    return min(size[0], _THUMB_PX), min(size[1], _THUMB_PX)


def _describe(pixels: npt.NDArray[np.uint8]) -> tuple[Floats, Bools]:
    """Return thumb and difference hash: each bit tells whether brightness rises to the next pixel."""
    import cv2

    grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.float32)
    thumb = cv2.resize(grey, (_THUMB_PX, _THUMB_PX), interpolation=cv2.INTER_AREA).ravel()
    thumb = thumb - thumb.mean()
    length = float(np.linalg.norm(thumb))
    steps = cv2.resize(grey, (_HASH_SIDE + 1, _HASH_SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(thumb / length if length else thumb, np.float32), (steps[:, 1:] > steps[:, :-1]).ravel()


@dataclass(frozen=True, eq=False)
class Doubles:
    """Pairs of pictures that are one.

    Attributes:
        first: int64 [D], row of one.
        second: int64 [D], row of the other, greater.
        identical: bool [D], their bytes are the same; else they only look the same.
        correlation: float32 [D], of the brightness of their thumbs, at most 1.
    """

    first: Ints
    second: Ints
    identical: Bools
    correlation: Floats

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, rows: Ints | Bools) -> Doubles:
        return Doubles(self.first[rows], self.second[rows], self.identical[rows], self.correlation[rows])


def find_doubles(facts: Sequence[PictureFacts]) -> Doubles:
    """Return all pairs of pictures that are the same, or look the same.

    Pictures look the same where their hashes differ by at most `MAX_HASH_DISTANCE` bits and their thumbs
    correlate by `MIN_CORRELATION`: after scaling, another compression, small changes of colour. Cut, turned
    or mirrored pictures are not found.
    """
    rows = np.array([row for row, item in enumerate(facts) if item.size is not None], np.int64)
    signs = np.array([facts[row].bits for row in rows], np.float32).reshape(-1, _HASH_SIDE**2) * 2 - 1
    thumbs = np.array([facts[row].thumb for row in rows], np.float32).reshape(-1, _THUMB_PX**2)
    _, contents = np.unique([facts[row].digest.hex() for row in rows], return_inverse=True)
    found = [Doubles(rows[:0], rows[:0], np.zeros(0, np.bool_), np.zeros(0, np.float32))]
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        agreeing = signs[start : start + _ROWS_AT_ONCE] @ signs.T  # 64 less twice the distance
        firsts, seconds = np.nonzero(agreeing >= signs.shape[1] - 2 * MAX_HASH_DISTANCE)
        firsts += start
        firsts, seconds = firsts[firsts < seconds], seconds[firsts < seconds]
        identical = contents[firsts] == contents[seconds]
        values = np.einsum("ij,ij->i", thumbs[firsts], thumbs[seconds])
        pairs = Doubles(rows[firsts], rows[seconds], identical, np.where(identical, 1, values))
        found.append(pairs[pairs.correlation >= MIN_CORRELATION])
    return Doubles(
        *(np.concatenate([getattr(part, name) for part in found]) for name in Doubles.__annotations__)
    )
