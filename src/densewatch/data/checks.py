"""What every reader checks: that pictures are there and as large as recorded, and that boxes are boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from densewatch.data.dataset import DataError, Sample
from densewatch.imaging.read import ImageError, picture_size

CLIP_TOLERANCE_PX = 1.0
"""A box may reach this far out of its picture through rounding alone."""

_NOISE_PX = 1e-6
"""What arithmetic alone makes of a box at the border, such as one that was given in shares."""


def check_pictures(samples: Iterable[Sample], file: Path) -> None:
    """See that every picture is there, whole, and as large as recorded, mostly without decoding it.

    Args:
        samples: whose pictures to look at.
        file: where the samples come from, for the message.

    Raises:
        DataError: pictures are missing, cannot be read, are cut short, or are not as large as recorded when
            upright. It counts them, and names the first three of each kind.
    """
    complaints = _Complaints(file)
    for sample in samples:
        upright = complaints.measure(sample.path)
        if upright is not None and upright != sample.size:
            complaints.add(
                "picture(s) of another size than recorded",
                f"image {sample.image_id!r} is recorded as {sample.size[1]}x{sample.size[0]}, "
                f"but {sample.path} is {upright[1]}x{upright[0]} when upright",
            )
    complaints.raise_any()


def measure_pictures(paths: Iterable[Path], file: Path) -> list[tuple[int, int]]:
    """Return the (height, width) of every upright picture, mostly without decoding it.

    Args:
        paths: of the pictures.
        file: that names them, for the message.

    Raises:
        DataError: pictures are missing, cannot be read, or are cut short, as in `check_pictures`.
    """
    complaints = _Complaints(file)
    sizes = [complaints.measure(path) for path in paths]
    complaints.raise_any()
    return [size for size in sizes if size is not None]


class _Complaints:
    """What is wrong with pictures: all of it in one message, a few examples of each kind."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._examples: dict[str, list[str]] = {}

    def add(self, kind: str, details: str) -> None:
        self._examples.setdefault(kind, []).append(details)

    def measure(self, path: Path) -> tuple[int, int] | None:
        """Return the size of a picture, or None and complain."""
        try:
            return picture_size(path)
        except ImageError as error:
            if path.exists():
                self.add("broken picture(s)", f"{path} ({error.reason})")
            else:
                self.add("missing picture(s) (is the folder of the pictures right?)", str(path))
            return None

    def raise_any(self) -> None:
        if self._examples:
            sentences = (
                f"{len(items)} {kind}: {'; '.join(items[:3])}{'; …' if len(items) > 3 else ''}"
                for kind, items in self._examples.items()
            )
            raise DataError(f"{self._file}: {'. '.join(sentences)}")


@dataclass
class Findings:
    """What was wrong with the records of a file and could be mended: counted, or raised at once.

    Attributes:
        file: the file that is read.
        strict: raise at the first finding.
        counts: kind of finding → how often.
        examples: kind of finding → the first record.
    """

    file: Path
    strict: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(
        self,
        kind: str,
        rows: npt.NDArray[np.bool_],
        describe: Callable[[int], str],
        *,
        harmless: bool = False,
    ) -> None:
        """Count the True rows.

        Args:
            kind: what was found, and what was done about it.
            rows: bool [N].
            describe: row → the record in words.
            harmless: count them, but never raise.

        Raises:
            DataError: there is such a row, `strict` is on, and it is not harmless.
        """
        if not rows.any():
            return
        example = describe(int(np.flatnonzero(rows)[0]))
        if self.strict and not harmless:
            raise DataError(f"{self.file}: {example}: {kind}")
        self.counts[kind] += int(rows.sum())
        self.examples.setdefault(kind, example)

    def note(self, kind: str, example: str) -> None:
        """Count one mended record.

        Args:
            kind: what was found, and what was done about it.
            example: the record in words.
        """
        self.counts[kind] += 1
        self.examples.setdefault(kind, example)

    def warnings(self) -> dict[str, int]:
        """Return each kind of finding in words, with the file and its first record → count."""
        return {
            f"{self.file}: {kind}, such as {self.examples[kind]}": count
            for kind, count in self.counts.items()
        }


def clip_boxes(
    xywh: npt.NDArray[np.float64],
    sizes: npt.NDArray[np.float64],
    findings: Findings,
    describe: Callable[[int], str],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Clip boxes to their pictures, and tell which of them are boxes at all.

    A box that is not finite, has no area, or lies outside its picture is a finding; so is one that reaches
    out of its picture. By at most 1 px that is rounding, and harmless.

    Args:
        xywh: [N, 4], pixels.
        sizes: [N, 2], (height, width) of each box's picture.
        findings: takes what is found.
        describe: row → the record in words.

    Returns:
        Clipped boxes [N, 4] xyxy, and bool [N], False where a row is no box.

    Raises:
        DataError: something was found, and `findings.strict` is on.
    """
    finite: npt.NDArray[np.bool_] = np.isfinite(xywh).min(axis=1)
    has_area = finite & (xywh[:, 2:].min(axis=1) > 0)
    raw = np.where(has_area[:, None], np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1), 0)
    limits = sizes[:, [1, 0, 1, 0]]
    boxes = np.clip(raw, 0, limits).astype(np.float32)
    kept = has_area & ((boxes[:, 2:] - boxes[:, :2]).min(axis=1) > 0)
    overhang_px = np.maximum(-raw, raw - limits).max(axis=1)
    findings.add("box left out, because it is not finite", ~finite, describe)
    findings.add("box left out, because its width or height is not positive", finite & ~has_area, describe)
    findings.add("box left out, because no part of it is inside the picture", has_area & ~kept, describe)
    rounded = overhang_px <= CLIP_TOLERANCE_PX
    findings.add("box clipped to the picture", kept & ~rounded, describe)
    small_clip = f"box clipped by at most {CLIP_TOLERANCE_PX:g} px"
    findings.add(small_clip, kept & rounded & (overhang_px > _NOISE_PX), describe, harmless=True)
    return boxes, kept
