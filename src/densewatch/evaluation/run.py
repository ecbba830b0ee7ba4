"""Run a detector over a labelled data set, and collect what it finds as COCO results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol

from densewatch.data.dataset import DataError, Dataset, Sample
from densewatch.detections import Detections

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

    def detect(
        self, source: Path, *, threshold: float | None, iou: float | None, only: Sequence[str] | None
    ) -> Detections:
        """Find the objects of the classes `only` in a picture file."""
        ...


def select(dataset: Dataset, key: str, value: str) -> list[Sample]:
    """Return the samples whose attribute `key` is `value`, such as `source` and `coco`.

    Raises:
        DataError: no sample has such an attribute, or none has this value.
    """
    keys = sorted({name for sample in dataset for name in sample.attributes})
    if key not in keys:
        raise DataError(f"no picture has an attribute {key!r}: {_suggest(key, keys)}")
    chosen = [sample for sample in dataset if str(sample.attributes.get(key)) == value]
    if not chosen:
        values = sorted({str(sample.attributes[key]) for sample in dataset if key in sample.attributes})
        raise DataError(f"no picture has {key}={value}: {_suggest(value, values)}")
    return chosen


def collect_results(
    detector: PictureDetector,
    dataset: Dataset,
    samples: Sequence[Sample],
    *,
    threshold: float = LOW_THRESHOLD,
    iou: float | None = None,
    on_picture: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Return what a detector finds in the samples, as COCO results with the data's category ids.

    The detector's classes are matched to the data's by name; those that the data lacks are not looked for.

    Args:
        detector: with class names.
        dataset: whose classes count.
        samples: pictures of it.
        threshold: lowest score.
        iou: of NMS; None is the detector's own.
        on_picture: called after each picture.

    Raises:
        UnknownClassError: the data has objects of a class that the detector does not know.
        ImageError: a picture cannot be read.
    """
    id_of = {item.name: item.id for item in dataset.classes}
    _check_known(detector, dataset)
    known = [name for name in detector.names if name in id_of]
    category_ids = [id_of.get(name, -1) for name in detector.names]  # -1 is never used: `only` leaves it out
    results: list[dict[str, Any]] = []
    for sample in samples:
        detections = detector.detect(sample.path, threshold=threshold, iou=iou, only=known)
        results += detections.to_coco(sample.image_id, category_ids)
        on_picture()
    return results


def _check_known(detector: PictureDetector, dataset: Dataset) -> None:
    for name, count in dataset.class_counts().items():
        if count and name not in detector.names:
            hint = _suggest(name, detector.names)
            raise UnknownClassError(
                f"the data has objects of class {name!r}, which the model does not know: {hint}"
            )


def _suggest(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known) or 'none at all'}"
