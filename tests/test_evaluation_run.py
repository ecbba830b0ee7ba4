"""Which samples are chosen, and what a detector's finds become, with a detector that is told what to find."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from densewatch.data.dataset import DataError, Dataset, Sample
from densewatch.detections import Detections
from densewatch.evaluation.run import UnknownClassError, collect_results, select
from densewatch.metadata import ClassInfo

PERSON, ZEBRA = 0, 1
CLASSES = (ClassInfo(name="person", id=7), ClassInfo(name="zebra", id=9))


def sample(image_id: int, *labels: int, **attributes: object) -> Sample:
    boxes = np.tile(np.array([0, 0, 5, 5], np.float32), (len(labels), 1))
    return Sample(
        image_id, Path(f"{image_id}.jpg"), (10, 10), boxes, np.array(labels, np.int64), attributes=attributes
    )


SAMPLES = (
    sample(1, PERSON, source="odd"),
    sample(2, ZEBRA, source="even"),
    sample(3, source="odd"),
    sample(4),
)
DATASET = Dataset(SAMPLES, CLASSES)


class Told:
    """Finds one person in every picture, and says of the named files that a limit cut more."""

    def __init__(self, names: tuple[str, ...] = ("car", "person"), saturated: tuple[str, ...] = ()) -> None:
        self.names = names
        self.asked: list[Sequence[str] | None] = []
        self._saturated = saturated

    def detect_many(
        self,
        sources: Iterable[Path],
        *,
        threshold: float | None,
        iou: float | None,
        only: Sequence[str] | None,
        tiles: str,
    ) -> Iterator[Detections]:
        del threshold, iou, tiles
        self.asked.append(only)
        label = np.array([self.names.index("person")])
        box = np.array([[1, 2, 4, 6]], np.float32)
        for source in sources:
            cut = source.name in self._saturated
            yield Detections(box, np.array([0.5]), label, self.names, (10, 10), saturated=cut)


def ids(samples: Sequence[Sample]) -> list[int | str]:
    return [item.image_id for item in samples]


def test_samples_are_selected_by_attribute() -> None:
    assert ids(select(DATASET, "source", "odd")) == [1, 3]
    assert ids(select(DATASET, "source", "even")) == [2]


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("sauce", "odd", "no picture has an attribute 'sauce': did you mean 'source'?"),
        ("source", "odds", "no picture has source=odds: did you mean 'odd'?"),
        ("source", "voc", "no picture has source=voc: known are even, odd"),
    ],
)
def test_a_selection_of_nothing_is_an_error(key: str, value: str, sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        select(DATASET, key, value)
    assert str(caught.value) == sentence


def test_results_have_the_ids_of_the_data_and_shared_classes_alone_are_looked_for() -> None:
    detector, done = Told(), []
    results = collect_results(detector, DATASET, [SAMPLES[0]], on_picture=lambda: done.append(1))
    assert results == [{"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4], "score": 0.5}]
    assert (detector.asked, done) == ([["person"]], [1])


def test_saturated_pictures_are_told() -> None:
    cut: list[Sample] = []
    collect_results(Told(saturated=("3.jpg",)), DATASET, [SAMPLES[0], SAMPLES[2]], on_saturated=cut.append)
    assert ids(cut) == [3]


def test_only_the_chosen_samples_must_be_of_known_classes() -> None:
    with pytest.raises(
        UnknownClassError, match="class 'zebra', which the model does not know: known are car"
    ):
        collect_results(Told(), DATASET, SAMPLES)
    assert len(collect_results(Told(), DATASET, select(DATASET, "source", "odd"))) == 2


def test_no_shared_class_is_an_error() -> None:
    with pytest.raises(
        UnknownClassError, match="share no class: the model knows car, the data person, zebra"
    ):
        collect_results(Told(names=("car",)), DATASET, [SAMPLES[3]])
