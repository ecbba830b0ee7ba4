from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from densewatch.data.dataset import DataError, Dataset, Sample, merge
from densewatch.metadata import ClassInfo

CLASSES = (ClassInfo(name="person", id=1), ClassInfo(name="car", id=3), ClassInfo(name="chair", id=62))


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (CLASSES[:2], r"data sets 1 and 2 have different classes: they disagree on \[\(62, 'chair'\)\]"),
        (CLASSES[::-1], "their order differs"),
    ],
)
def test_merge_refuses_different_classes(other: tuple[ClassInfo, ...], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        merge([Dataset((), CLASSES), Dataset((), other)])


def test_merge_of_nothing() -> None:
    with pytest.raises(DataError, match="no data set to merge"):
        merge([])


def test_misaligned_samples_are_refused() -> None:
    boxes = np.zeros((2, 4), np.float32)
    with pytest.raises(DataError, match="image 5: 2 boxes, but 1 labels"):
        Sample(5, Path("x"), (1, 1), boxes, np.zeros(1, np.int64))
    with pytest.raises(DataError, match="image 5: labels run from 0 to 3, but there are 3 classes"):
        Dataset((Sample(5, Path("x"), (1, 1), boxes, np.array([0, 3])),), CLASSES)


def test_fingerprint_tells_pictures_their_order_and_classes() -> None:
    def fingerprint(ids: list[int | str], classes: tuple[ClassInfo, ...] = CLASSES, folder: str = "a") -> str:
        return Dataset(tuple(Sample(id_, Path(folder), (1, 1)) for id_ in ids), classes).fingerprint()

    base = fingerprint([1, 2])
    assert fingerprint([1, 2], folder="b") == base  # pictures may move
    others = [
        fingerprint([2, 1]),
        fingerprint([1]),
        fingerprint([1, "2"]),
        fingerprint([1, 2], CLASSES[:2]),
        fingerprint([1, 2], (*CLASSES[:2], ClassInfo(name="sofa", id=62))),
    ]
    assert len({base, *others}) == 6
