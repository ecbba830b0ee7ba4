"""What is odd about a data set: one `Finding` a kind, with the worst cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from densewatch.data.dataset import Dataset
from densewatch.doctor.objects import Objects

MOST_CASES = 12
_CASES_PER_PICTURE = 2

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Case:
    """One example.

    Attributes:
        pictures: the file or, of doubles, both files.
        boxes: of the objects in question, xyxy in pixels of the first picture.
        caption: what is to be seen.
    """

    pictures: tuple[Path, ...]
    boxes: tuple[tuple[float, float, float, float], ...]
    caption: str


@dataclass(frozen=True)
class Finding:
    """One kind of oddity.

    Attributes:
        kind: short name, such as `tiny-boxes`.
        severity: `error` where training would stop or numbers would be wrong, `warning` where it may cost
            recall or precision, `note` for what one should know.
        split: of the data, such as `train`, or `train, val` for what is between them.
        count: how many there are.
        text: what was found, without the number.
        advice: what to do; may be empty.
        cases: the worst ones first.
    """

    kind: str
    severity: Severity
    split: str
    count: int
    text: str
    advice: str
    cases: tuple[Case, ...] = ()


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings that are there at all: errors, warnings, notes; of each, those with the most cases."""
    return sorted(
        (finding for finding in findings if finding.count),
        key=lambda finding: (SEVERITIES.index(finding.severity), -finding.count),
    )


def spread(dataset: Dataset, objects: Objects, rows: Iterable[int]) -> Iterator[tuple[int, Path]]:
    """Give the first few of `rows` with the picture of each, not too many of one picture."""
    seen: Counter[int] = Counter()
    for row in rows:
        picture = int(objects.pictures[row])
        seen[picture] += 1
        if seen[picture] <= _CASES_PER_PICTURE:
            yield row, dataset[picture].path
        if sum(min(count, _CASES_PER_PICTURE) for count in seen.values()) >= MOST_CASES:
            return


def box_of(objects: Objects, row: int) -> tuple[float, float, float, float]:
    """Return one object's box as plain numbers."""
    x1, y1, x2, y2 = (float(value) for value in np.round(objects.boxes[row], 2))
    return x1, y1, x2, y2
