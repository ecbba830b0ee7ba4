"""Labelled pictures in memory: `Sample` is one picture with its labels, `Dataset` is many of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from densewatch.metadata import ClassInfo


class DataError(ValueError):
    """A data set that cannot be used as it is; the message names file, record and value."""


def _no_boxes() -> npt.NDArray[np.float32]:
    return np.zeros((0, 4), np.float32)


def _no_weights() -> npt.NDArray[np.float32]:
    return np.zeros(0, np.float32)


def _no_labels() -> npt.NDArray[np.int64]:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Sample:
    """One picture and what is known of it.

    Three kinds of knowledge are kept apart. `boxes` are objects. In `ignore_boxes` there may be objects of
    that label, so neither an object nor background is learned there: crowds, a teacher's doubtful boxes. A
    class of `unlabelled_classes` was not labelled exhaustively, so where it has no box, nothing is known.

    Attributes:
        image_id: the picture's id in its data set.
        path: the picture file.
        size: (height, width) of the upright picture in pixels.
        boxes: float32 [N, 4], xyxy, pixels of the upright picture.
        labels: int64 [N], index into `Dataset.classes`.
        ignore_boxes: float32 [M, 4], like `boxes`.
        ignore_labels: int64 [M], the class that gets no loss in each ignored region.
        unlabelled_classes: int64 [U], rising; labels that were not labelled exhaustively in this picture.
        attributes: what else the data set says of the picture, such as `source`.
        weights: float32 [N], how much each of `boxes` counts in the loss; by default 1 each.
    """

    image_id: int | str
    path: Path
    size: tuple[int, int]
    boxes: npt.NDArray[np.float32] = field(default_factory=_no_boxes)
    labels: npt.NDArray[np.int64] = field(default_factory=_no_labels)
    ignore_boxes: npt.NDArray[np.float32] = field(default_factory=_no_boxes)
    ignore_labels: npt.NDArray[np.int64] = field(default_factory=_no_labels)
    unlabelled_classes: npt.NDArray[np.int64] = field(default_factory=_no_labels)
    attributes: Mapping[str, Any] = field(default_factory=dict)
    weights: npt.NDArray[np.float32] = field(default_factory=_no_weights)

    def __post_init__(self) -> None:
        for name in ("boxes", "ignore_boxes"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float32).reshape(-1, 4))
        for name in ("labels", "ignore_labels", "unlabelled_classes"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.int64).reshape(-1))
        weights = self.weights if len(self.weights) else np.ones(len(self.boxes))
        object.__setattr__(self, "weights", np.asarray(weights, np.float32).reshape(-1))
        for boxes, others in (("boxes", "labels"), ("boxes", "weights"), ("ignore_boxes", "ignore_labels")):
            if len(getattr(self, boxes)) != len(getattr(self, others)):
                raise DataError(
                    f"image {self.image_id!r}: {len(getattr(self, boxes))} {boxes}, "
                    f"but {len(getattr(self, others))} {others}"
                )


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples that share one list of classes.

    Attributes:
        samples: in the order of the data set; pictures without objects are among them.
        classes: name and original category id of each label, in label order.
        warnings: what was mended or left out while reading: file, finding and first record → count.
    """

    samples: tuple[Sample, ...]
    classes: tuple[ClassInfo, ...]
    warnings: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples", tuple(self.samples))
        object.__setattr__(self, "classes", tuple(self.classes))
        for sample in self.samples:
            for labels in (sample.labels, sample.ignore_labels, sample.unlabelled_classes):
                if len(labels) and not 0 <= labels.min() <= labels.max() < len(self.classes):
                    raise DataError(
                        f"image {sample.image_id!r}: labels run from {labels.min()} to {labels.max()}, "
                        f"but there are {len(self.classes)} classes"
                    )

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        return self.samples[index]

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in label order."""
        return tuple(item.name for item in self.classes)

    @property
    def category_ids(self) -> tuple[int, ...]:
        """Original category ids in label order."""
        return tuple(item.id for item in self.classes)

    def class_counts(self) -> dict[str, int]:
        """Count boxes by class name, in label order; ignored regions are not counted."""
        counts = np.zeros(len(self.classes), np.int64)
        for sample in self.samples:
            counts += np.bincount(sample.labels, minlength=len(self.classes))
        return {name: int(count) for name, count in zip(self.names, counts, strict=True)}

    def fingerprint(self) -> str:
        """Return the SHA-256, in hex, of the classes and of the image ids in their order."""
        content = [
            [[item.id, item.name] for item in self.classes],
            [sample.image_id for sample in self.samples],
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def merge(datasets: Sequence[Dataset]) -> Dataset:
    """Join data sets; they get the same classes first, see `unify`. Samples keep their order and their ids.

    Image ids stay as they were, so they need not be unique afterwards. A warning that several of them have is
    one finding in one file, and is counted once.

    Raises:
        DataError: there is nothing to join.
    """
    if not datasets:
        raise DataError("there is no data set to merge")
    unified = unify(datasets)
    warnings = {text: count for dataset in unified for text, count in dataset.warnings.items()}
    samples = tuple(sample for dataset in unified for sample in dataset.samples)
    return Dataset(samples, unified[0].classes, warnings)


def unify(datasets: Sequence[Dataset]) -> list[Dataset]:
    """Give data sets the same classes: all that any of them has, matched by name.

    The classes of the first come first, then the new ones of each other. A class keeps the id that the first
    data set with that class gives it; where another class has that id already, it gets the next number above
    all ids. A class that a data set lacks is unlabelled in its pictures: nobody looked for it there. Names
    that only differ in their spelling stay two classes, and are warned of.

    Raises:
        DataError: two classes of one data set have the same name.
    """
    classes = _union([dataset.classes for dataset in datasets])
    label_of = {item.name: label for label, item in enumerate(classes)}
    return [
        replace(
            dataset,
            samples=tuple(_relabel(dataset, label_of)),
            classes=classes,
            warnings={**dataset.warnings, **_differences(dataset.classes, classes, position)},
        )
        for position, dataset in enumerate(datasets, start=1)
    ]


def _union(several: Sequence[tuple[ClassInfo, ...]]) -> tuple[ClassInfo, ...]:
    top = max((item.id for classes in several for item in classes), default=0)
    joined: dict[str, int] = {}
    for position, classes in enumerate(several, start=1):
        if len({item.name for item in classes}) < len(classes):
            raise DataError(f"data set {position} has two classes of the same name, which cannot be joined")
        for item in classes:
            if item.name in joined:
                continue
            is_taken = item.id in joined.values()
            top += is_taken
            joined[item.name] = top if is_taken else item.id
    return tuple(ClassInfo(name=name, id=id_) for name, id_ in joined.items())


def _relabel(dataset: Dataset, label_of: Mapping[str, int]) -> Iterator[Sample]:
    """Yield the samples with the labels of the joined classes."""
    if dataset.names == tuple(label_of):
        yield from dataset.samples
        return
    new = np.array([label_of[name] for name in dataset.names], np.int64)
    absent = np.array([label for name, label in label_of.items() if name not in dataset.names], np.int64)
    for sample in dataset.samples:
        yield replace(
            sample,
            labels=new[sample.labels],
            ignore_labels=new[sample.ignore_labels],
            unlabelled_classes=np.sort(np.concatenate([new[sample.unlabelled_classes], absent])),
        )


def _differences(
    classes: tuple[ClassInfo, ...], joined: tuple[ClassInfo, ...], position: int
) -> dict[str, int]:
    """Return what people should know of how a data set's classes became the joined ones."""
    id_of = {item.name: item.id for item in joined}
    own = {item.name for item in classes}
    warnings: dict[str, int] = {}
    renumbered = [item for item in classes if id_of[item.name] != item.id]
    if renumbered:
        first = renumbered[0]
        sentence = f"category id changed, as classes are joined by name, such as {first.name!r}"
        warnings[f"data set {position}: {sentence} from {first.id} to {id_of[first.name]}"] = len(renumbered)
    for name in own:
        for other in id_of.keys() - own:
            if _plain(name) == _plain(other):
                warnings[f"data set {position}: its class {name!r} is not {other!r} of another one"] = 1
    return warnings


def _plain(name: str) -> str:
    """Return a name without case, blanks, hyphens and the s of a plural."""
    return "".join(character for character in name.casefold() if character.isalnum()).rstrip("s")
