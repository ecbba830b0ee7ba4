"""Classes: how many examples of each there are, and where there are too few."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from densewatch.data.dataset import Dataset
from densewatch.doctor.findings import Finding, Severity

FEW_TO_LEARN = 50
FEW_TO_MEASURE = 10
IMBALANCE = 100
_MOST_NAMES = 8


@dataclass(frozen=True)
class ClassCounts:
    """Examples of one class.

    Attributes:
        name: of the class.
        objects: in each part of the data; None where a part has no such class.
        pictures: with such objects, likewise.
    """

    name: str
    objects: tuple[int | None, ...]
    pictures: tuple[int | None, ...]


def count_classes(datasets: Sequence[Dataset]) -> list[ClassCounts]:
    """Return the examples of every class of any of the data sets; classes are matched by name."""
    names = list(dict.fromkeys(name for dataset in datasets for name in dataset.names))
    objects = [dataset.class_counts() for dataset in datasets]
    pictures = [_picture_counts(dataset) for dataset in datasets]
    return [
        ClassCounts(
            name,
            tuple(counts.get(name) for counts in objects),
            tuple(counts.get(name) for counts in pictures),
        )
        for name in names
    ]


def _picture_counts(dataset: Dataset) -> dict[str, int]:
    counts = np.zeros(len(dataset.classes), np.int64)
    for sample in dataset:
        counts[np.unique(sample.labels)] += 1
    return {name: int(count) for name, count in zip(dataset.names, counts, strict=True)}


def check_classes(classes: Sequence[ClassCounts], splits: Sequence[str]) -> Iterator[Finding]:
    """Give which classes lack examples; the first split is learned, the second, if any, is measured."""
    learned, measured = splits[0], splits[1] if len(splits) > 1 else None
    yield _finding(
        "class-not-learned",
        "error",
        learned,
        [item for item in classes if not item.objects[0]],
        f"classes without an object in {learned}",
        "label some, or take the class out: it cannot be learned",
    )
    yield _finding(
        "class-rare",
        "warning",
        learned,
        [item for item in classes if 0 < (item.objects[0] or 0) < FEW_TO_LEARN],
        f"classes with fewer than {FEW_TO_LEARN} objects in {learned}",
        "label more of them, or show them more often",
    )
    yield _imbalance(classes, learned)
    if measured is None:
        return
    yield _finding(
        "class-not-measured",
        "warning",
        measured,
        [item for item in classes if item.objects[0] and not item.objects[1]],
        f"classes without an object in {measured}",
        "they are learned, but nobody will know how well",
    )
    yield _finding(
        "class-hardly-measured",
        "note",
        measured,
        [item for item in classes if 0 < (item.objects[1] or 0) < FEW_TO_MEASURE],
        f"classes with fewer than {FEW_TO_MEASURE} objects in {measured}",
        "their AP jumps with every single object",
    )


def _finding(
    kind: str, severity: Severity, split: str, found: Sequence[ClassCounts], text: str, advice: str
) -> Finding:
    names = ", ".join(item.name for item in found[:_MOST_NAMES])
    more = ", …" if len(found) > _MOST_NAMES else ""
    return Finding(kind, severity, split, len(found), f"{text}: {names}{more}", advice)


def _imbalance(classes: Sequence[ClassCounts], split: str) -> Finding:
    counts = {item.name: item.objects[0] for item in classes if item.objects[0]}
    most, least = (
        (max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)) if counts else ("", "")
    )
    ratio = (counts[most] or 0) / (counts[least] or 1) if counts else 0
    return Finding(
        "imbalance",
        "note",
        split,
        int(ratio >= IMBALANCE),
        f"imbalance: {counts.get(most)} objects of {most}, {counts.get(least)} of {least}",
        "the mean over classes, AP, hangs on the rare ones",
    )
