"""The data of a run: what its settings name, read and joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from densewatch.data.coco_schema import InstancesFile
from densewatch.data.dataset import DataError, Dataset, merge, unify
from densewatch.data.formats import choose_split, read_labels
from densewatch.data.labels import Labels
from densewatch.data.read import make_dataset
from densewatch.data.teacher import add_teacher
from densewatch.evaluation.run import select
from densewatch.suggest import suggest
from densewatch.training.settings import DataSource


@dataclass(frozen=True)
class ValidationData:
    """What a run is measured on.

    Attributes:
        data: the pictures; classes and ids are the data's own, not those of the run.
        content: the labels as they stand in the file, which is what is measured against.
    """

    data: Dataset
    content: InstancesFile


def read_source(source: DataSource) -> Dataset:
    """Read one data source, with its teacher's boxes where it has some; its classes are its own.

    Of data with several splits, that is the one named in `source`, else `train`.

    Raises:
        DataError: the data cannot be used, or `where` leaves no picture.
    """
    return _read(source, _labels(source, "train"))


def read_sources(sources: Sequence[DataSource]) -> Dataset:
    """Read and join the data of a run; classes are joined by name, see `densewatch.data.dataset.unify`.

    Raises:
        DataError: a source cannot be used.
    """
    repeated: list[Dataset] = []
    for source, dataset in zip(sources, unify([read_source(source) for source in sources]), strict=True):
        repeated += [dataset] * source.repeat
    return merge(repeated)


def read_validation(source: DataSource, names: Sequence[str]) -> ValidationData:
    """Read what a run is measured on; of data with several splits the one named in `source`, else `val`.

    Args:
        source: where the data lies.
        names: of the classes that are learned.

    Raises:
        DataError: like `read_source`, or there are objects of a class that is not learned.
    """
    labels = _labels(source, "val")
    data = _read(source, labels)
    for name, count in data.class_counts().items():
        if count and name not in names:
            raise DataError(
                f"{source.annotations}: {count} objects of class {name!r}, which is not learned, so it "
                f"cannot be measured: {suggest(name, names)}"
            )
    if not set(data.names) & set(names):
        raise DataError(
            f"{source.annotations}: none of its classes is learned: it has {', '.join(data.names)}; learned "
            f"are {', '.join(names)}"
        )
    return ValidationData(data, labels.content)


def _labels(source: DataSource, default_split: str) -> Labels:
    split = choose_split(source.annotations, source.split, default_split)
    return read_labels(source.annotations, source.images, split=split)


def _read(source: DataSource, labels: Labels) -> Dataset:
    dataset = make_dataset(labels, unlabelled=not source.labelled)
    if source.teacher is not None:
        dataset = add_teacher(
            dataset,
            source.teacher,
            min_score=source.teacher_score,
            ignore_score=source.ignore_score,
            weighted=source.teacher_weighted,
        )
    if not len(dataset):
        raise DataError(f"{source.annotations}: there is no picture")
    for key, value in source.where.items():
        try:
            dataset = replace(dataset, samples=tuple(select(dataset, key, value)))
        except DataError as error:
            raise DataError(f"{source.annotations}: {error}") from error
    return replace(dataset, samples=dataset.samples[: source.limit])
