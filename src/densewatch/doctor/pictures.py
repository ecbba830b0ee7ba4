"""What the picture files tell: whether they can be read, how large they are, and who is whose double."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from densewatch.doctor.objects import Bools, Floats, Ints
from densewatch.imaging.read import ImageError, Size, read_reduced

_THUMB_PX = 32
_HASH_SIDE = 8
_PAIRS_AT_ONCE = 8_000_000

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
    """Pictures that are there already, each with the earlier one that it is most like.

    Attributes:
        first: int64 [D], row of the earlier one.
        second: int64 [D], row of the later one.
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


def find_doubles(facts: Sequence[PictureFacts], owners: Ints | None = None) -> Doubles:
    """Return which pictures are the same as an earlier one, or look the same.

    Pictures look the same where their hashes differ by at most `MAX_HASH_DISTANCE` bits and their thumbs
    correlate by `MIN_CORRELATION`: after scaling, another compression, small changes of colour. Cut, turned
    or mirrored pictures are not found.

    Of a thousand frames of one camera, half a million pairs look the same. So a picture gets at most two
    earlier ones from each part of the data: one with the same bytes, and the one that it is most like.

    Args:
        facts: of all pictures.
        owners: int64 [P], rising, which part of the data each is of; None where there is one part.
    """
    rows = np.array([row for row, item in enumerate(facts) if item.size is not None], np.int64)
    looks = _Looks.of([facts[row] for row in rows])
    parts = np.zeros(len(rows), np.int64) if owners is None else owners[rows]
    found = [Doubles(rows[:0], rows[:0], np.zeros(0, np.bool_), np.zeros(0, np.float32))]
    step = max(1, _PAIRS_AT_ONCE // max(len(rows), 1))
    for start in range(0, len(rows), step):
        for part in np.unique(parts[: start + step]):
            earlier = np.flatnonzero(parts[: start + step] == part)
            found += looks.most_like(np.arange(start, min(start + step, len(rows))), earlier)
    first, second, identical, correlation = (
        np.concatenate([getattr(some, name) for some in found]) for name in Doubles.__annotations__
    )
    return Doubles(rows[first], rows[second], identical, correlation)


@dataclass(frozen=True, eq=False)
class _Looks:
    """What pictures are compared by.

    Attributes:
        signs: float32 [N, 64], 1 and -1 for the bits of the hash.
        thumbs: float32 [N, 1024].
        contents: int64 [N], the same number for the same bytes.
    """

    signs: Floats
    thumbs: Floats
    contents: Ints

    @classmethod
    def of(cls, facts: Sequence[PictureFacts]) -> _Looks:
        _, contents = np.unique([item.digest.hex() for item in facts], return_inverse=True)
        return cls(
            signs=np.array([item.bits for item in facts], np.float32).reshape(-1, _HASH_SIDE**2) * 2 - 1,
            thumbs=np.array([item.thumb for item in facts], np.float32).reshape(-1, _THUMB_PX**2),
            contents=contents.astype(np.int64),
        )

    def most_like(self, later: Ints, earlier: Ints) -> Iterator[Doubles]:
        """Give for each of `later` [L] which of `earlier` [E] has the same bytes, and which looks most alike.

        Only pictures that come before another in their order are earlier ones of it.
        """
        agreeing = self.signs[later] @ self.signs[earlier].T  # 64 less twice the distance
        near = (agreeing >= self.signs.shape[1] - 2 * MAX_HASH_DISTANCE) & (earlier < later[:, None])
        later, earlier = later[near.any(axis=1)], earlier[near.any(axis=0)]
        if not len(later):
            return
        near = near[near.any(axis=1)][:, near.any(axis=0)]
        identical = near & (self.contents[later][:, None] == self.contents[earlier])
        alike = np.where(near & ~identical, self.thumbs[later] @ self.thumbs[earlier].T, -1)
        for values, is_identical in ((identical.astype(np.float32), True), (alike, False)):
            best = values.argmax(axis=1)
            correlation = values[np.arange(len(later)), best].astype(np.float32)
            rows = np.flatnonzero(correlation >= MIN_CORRELATION)
            yield Doubles(
                earlier[best[rows]], later[rows], np.full(len(rows), is_identical), correlation[rows]
            )
