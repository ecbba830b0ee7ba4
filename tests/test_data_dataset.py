from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from densewatch.data.dataset import DataError, Dataset, Sample, merge
from densewatch.metadata import ClassInfo

CLASSES = (ClassInfo(name="person", id=1), ClassInfo(name="car", id=3), ClassInfo(name="chair", id=62))


def boxes(count: int) -> npt.NDArray[np.float32]:
    return np.tile(np.array([[0, 0, 1, 1]], np.float32), (count, 1))


def labelled(image_id: int, labels: list[int], ignored: list[int], unlabelled: list[int]) -> Sample:
    return Sample(
        image_id,
        Path("x"),
        (1, 1),
        boxes(len(labels)),
        np.array(labels, np.int64),
        boxes(len(ignored)),
        np.array(ignored, np.int64),
        np.array(unlabelled, np.int64),
    )


def test_classes_of_several_data_sets_are_joined_by_name() -> None:
    """What one data set does not list, nobody looked for in its pictures."""
    first = Dataset((labelled(1, [0, 2], [1], [1]),), CLASSES)
    others = (ClassInfo(name="dog", id=18), ClassInfo(name="chair", id=62), ClassInfo(name="person", id=1))
    second = Dataset((labelled(1, [0, 1, 2], [0], [2]),), others)
    joined = merge([first, second])
    assert joined.classes == (*CLASSES, ClassInfo(name="dog", id=18))
    person, car, chair, dog = range(4)
    before, after = joined
    assert (before.labels.tolist(), before.ignore_labels.tolist()) == ([person, chair], [car])
    assert before.unlabelled_classes.tolist() == [car, dog]
    assert (after.labels.tolist(), after.ignore_labels.tolist()) == ([dog, chair, person], [dog])
    assert after.unlabelled_classes.tolist() == [person, car]
    assert dict(joined.warnings) == {}


def test_ids_that_disagree_are_changed_and_told() -> None:
    """YOLO counts classes from 0, COCO leaves gaps: names decide."""
    others = (ClassInfo(name="chair", id=0), ClassInfo(name="van", id=3), ClassInfo(name="bus", id=63))
    joined = merge([Dataset((), CLASSES), Dataset((), others)])
    ids = [(item.name, item.id) for item in joined.classes]
    assert ids == [("person", 1), ("car", 3), ("chair", 62), ("van", 64), ("bus", 63)]
    sentence = "category id changed, as classes are joined by name, such as 'chair' from 0 to 62"
    assert dict(joined.warnings) == {f"data set 2: {sentence}": 2}


@pytest.mark.parametrize("other", ["Person", "persons", "per son", "per-son"])
def test_names_that_only_look_alike_stay_apart_and_are_told(other: str) -> None:
    joined = merge([Dataset((), CLASSES), Dataset((), (ClassInfo(name=other, id=9),))])
    assert joined.names == ("person", "car", "chair", other)
    assert f"data set 2: its class {other!r} is not 'person' of another one" in joined.warnings


def test_data_sets_with_the_same_classes_are_only_joined() -> None:
    first = Dataset((labelled(1, [0], [], []),), CLASSES, {"a": 1})
    joined = merge([first, first])
    assert (joined.samples, joined.classes, dict(joined.warnings)) == (
        (first[0], first[0]),
        CLASSES,
        {"a": 1},
    )


def test_two_classes_of_one_name_cannot_be_joined() -> None:
    twice = (ClassInfo(name="person", id=1), ClassInfo(name="person", id=2))
    with pytest.raises(DataError, match="data set 2 has two classes of the same name"):
        merge([Dataset((), CLASSES), Dataset((), twice)])


def test_merge_of_nothing() -> None:
    with pytest.raises(DataError, match="no data set to merge"):
        merge([])


def test_misaligned_samples_are_refused() -> None:
    boxes = np.zeros((2, 4), np.float32)
    with pytest.raises(DataError, match="image 5: 2 boxes, but 1 labels"):
        Sample(5, Path("x"), (1, 1), boxes, np.zeros(1, np.int64))
    with pytest.raises(DataError, match="image 5: 2 boxes, but 1 weights"):
        Sample(5, Path("x"), (1, 1), boxes, np.zeros(2, np.int64), weights=np.ones(1, np.float32))
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
