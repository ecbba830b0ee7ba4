"""Run a detector over a labelled data set, and collect what it finds as COCO results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from densewatch.data.dataset import DataError, Dataset, Sample
from densewatch.detections import Detections
from densewatch.suggest import suggest

LOW_THRESHOLD = 0.01
"""AP looks at the whole range of scores; what lies below this hardly moves it."""


class UnknownClassError(DataError):
    """The data has objects of a class that the detector does not know."""


class PictureDetector(Protocol):
    """What can be evaluated: `densewatch.runtime.detector.Detector`, or a stand-in for it."""

    @property
    def names(self) -> tuple[str, ...]:
        """Class names in label order."""
        ...

    def detect_many(
        self,
        sources: Iterable[Path],
        *,
        threshold: float | None,
        iou: float | None,
        only: Sequence[str] | None,
        tiles: str,
    ) -> Iterator[Detections]:
        """Find the objects of the classes `only` in one picture file after another."""
        ...


def data_title(annotations: Path, where: Mapping[str, str], split: str | None = None) -> str:
    """Return what figures are measured on, for the metadata of a model: `val.json, source=coco`.

    Args:
        annotations: file or folder of the labels; the folder that it lies in is left out.
        where: attributes of the pictures that counted; empty where all did.
        split: which part of the data, where it has several.
    """
    name = annotations.resolve().name if annotations.name in ("", "..") else annotations.name
    return ", ".join([name, *([split] if split else []), *(f"{key}={value}" for key, value in where.items())])


def select(dataset: Dataset, key: str, value: str) -> list[Sample]:
    """Return the samples whose attribute `key` is `value`, such as `source` and `coco`.

    Raises:
        DataError: no sample has such an attribute, or none has this value.
    """
    keys = sorted({name for sample in dataset for name in sample.attributes})
    if key not in keys:
        raise DataError(f"no picture has an attribute {key!r}: {suggest(key, keys)}")
    chosen = [sample for sample in dataset if str(sample.attributes.get(key)) == value]
    if not chosen:
        values = sorted({str(sample.attributes[key]) for sample in dataset if key in sample.attributes})
        raise DataError(f"no picture has {key}={value}: {suggest(value, values)}")
    return chosen


def collect_results(
    detector: PictureDetector,
    dataset: Dataset,
    samples: Sequence[Sample],
    *,
    threshold: float = LOW_THRESHOLD,
    iou: float | None = None,
    tiles: str = "off",
    on_picture: Callable[[], None] = lambda: None,
    on_saturated: Callable[[Sample], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Return what a detector finds in the samples, as COCO results with the data's category ids.

    The detector's classes are matched to the data's by name; those that the data lacks are not looked for.

    Args:
        detector: with class names.
        dataset: whose classes count.
        samples: pictures of it.
        threshold: lowest score.
        iou: of NMS; None is the detector's own.
        tiles: parts of a picture that are looked at more closely, as `Detector` has it.
        on_picture: called after each picture.
        on_saturated: called with each sample in which a limit of the detector cut objects.

    Raises:
        UnknownClassError: the samples have objects of a class that the detector does not know, or the
            detector and the data share no class.
        ImageError: a picture cannot be read.
    """
    id_of = {item.name: item.id for item in dataset.classes}
    known = _shared_names(detector, dataset, samples)
    category_ids = [id_of.get(name, -1) for name in detector.names]  # -1 is never used: `only` leaves it out
    results: list[dict[str, Any]] = []
    paths = (sample.path for sample in samples)
    found = detector.detect_many(paths, threshold=threshold, iou=iou, only=known, tiles=tiles)
    for sample, detections in zip(samples, found, strict=True):
        results += detections.to_coco(sample.image_id, category_ids)
        if detections.saturated:
            on_saturated(sample)
        on_picture()
    return results


def _shared_names(detector: PictureDetector, dataset: Dataset, samples: Sequence[Sample]) -> list[str]:
    """Return the classes that both know, once it is sure that none of the samples' objects is of another."""
    used = {dataset.names[label] for sample in samples for label in sample.labels}
    for name in dataset.names:
        if name in used and name not in detector.names:
            hint = suggest(name, detector.names)
            raise UnknownClassError(
                f"the data has objects of class {name!r}, which the model does not know: {hint}"
            )
    shared = [name for name in detector.names if name in dataset.names]
    if not shared:
        raise UnknownClassError(
            f"the model and the data share no class: the model knows {', '.join(detector.names)}, "
            f"the data {', '.join(dataset.names) or 'none'}"
        )
    return shared
