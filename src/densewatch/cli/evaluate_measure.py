"""What `evaluate` measures, and where it comes from: a detector that runs now, or a file of results."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from densewatch.cli.console import SOME_FAILED, progress_bar, say, stop
from densewatch.cli.options import load_detector
from densewatch.cli.reports import counted, topk_in_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from densewatch.cli.options import EngineName, PrecisionName
    from densewatch.data.coco_schema import InstancesFile
    from densewatch.data.dataset import Dataset, Sample
    from densewatch.evaluation.study import Study
    from densewatch.metadata import ModelInfo
    from densewatch.runtime.detector import Detector

_LOWEST_SCORE = 0.01
_USUAL_THRESHOLD = 0.5
_NO_NMS = 1.0  # no two boxes overlap by more


@dataclass(frozen=True)
class Measured:
    """Detections, and how they came about.

    Attributes:
        title: model or file, for headings.
        how: the same for JSON: model, engine, threshold, …
        operating_threshold: score from which on an object would be reported.
        results: COCO results.
        candidates: COCO results without NMS, from the operating threshold on; None where not looked at.
    """

    title: str
    how: Mapping[str, Any]
    operating_threshold: float
    results: list[dict[str, Any]]
    candidates: list[dict[str, Any]] | None = None


@dataclass(frozen=True)
class ModelChoice:
    """Which model runs, and how; all of it is left alone where results are read from a file."""

    model: str | None
    engine: EngineName
    device: str
    threads: int | None
    precision: PrecisionName
    batch: int | None
    iou: float | None
    tiles: str

    def given(self) -> list[str]:
        """Return the flags that were given."""
        untouched = vars(ModelChoice(None, "auto", "auto", None, "auto", None, None, "off"))
        return [f"--{name}" for name, value in vars(self).items() if value != untouched[name]]

    def load(self, pictures: int) -> Detector:
        """Load it for so many pictures, or end the program with the sentence that says why that cannot be."""
        return load_detector(
            self.model,
            self.engine,
            self.threads,
            self.precision,
            device=self.device,
            batch=self.batch,
            pictures=pictures,
        )

    def path(self) -> Path:
        """Return its file."""
        from densewatch.loading import find_model_for

        return find_model_for(self.model, engine=self.engine, device=self.device, precision=self.precision)


@dataclass(frozen=True)
class Wanted:
    """How detections are measured: as the command line has it, None where it says nothing."""

    threshold: float | None
    at: float | None
    max_detections: int
    resamples: int
    seed: int
    against: Path | None

    def operating_threshold(self, usual: float, lowest: float) -> float:
        """Return `at`, or what is usual; end the program where nothing is known of what counts there."""
        if self.at is not None and self.at < lowest:
            stop(f"--at {self.at:g} is below the lowest score that counts, --threshold {lowest:g}")
        return max(usual, lowest) if self.at is None else self.at


def detect_all(
    detector: Detector,
    dataset: Dataset,
    samples: Sequence[Sample],
    wanted: Wanted,
    choice: ModelChoice,
    *,
    nms_losses: bool,
) -> Measured:
    """Find the objects of all pictures, and with `nms_losses` also what there is before NMS.

    That costs a second run, in which NMS is the only thing that differs. A picture that cannot be read ends
    it: numbers without it would be numbers of another data set.
    """
    from densewatch.evaluation.run import collect_results
    from densewatch.runtime.engine import describe_engine

    threshold = _LOWEST_SCORE if wanted.threshold is None else wanted.threshold
    at = wanted.operating_threshold(detector.info.threshold, threshold)
    saturated: list[Sample] = []
    candidates = None
    with progress_bar("evaluating", len(samples) * (2 if nms_losses else 1)) as bar:
        collect = partial(
            collect_results, detector, dataset, samples, tiles=choice.tiles, on_picture=bar.advance
        )
        results = collect(threshold=threshold, iou=choice.iou, on_saturated=saturated.append)
        if nms_losses:
            candidates = collect(threshold=at, iou=_NO_NMS)
    document = {
        "model": detector.info.name,
        "engine": describe_engine(detector.engine),
        "threshold": threshold,
        "iou": detector.info.iou if choice.iou is None else choice.iou,
        "tiles": choice.tiles,
        "saturated_images": len(saturated),
    }
    _say_what_limits_cut(detector.info, dataset, samples, results, saturated, wanted.max_detections)
    return Measured(detector.info.name, document, at, results, candidates)


def read_results(path: Path, wanted: Wanted) -> Measured:
    """Read detections from a COCO results file.

    Raises:
        DataError: it is no such file.
    """
    records = _read_records(path)
    if wanted.threshold is not None:
        records = [record for record in records if record["score"] >= wanted.threshold]
    at = wanted.operating_threshold(_USUAL_THRESHOLD, wanted.threshold or 0.0)
    return Measured(path.name, {"results": str(path), "threshold": wanted.threshold}, at, records)


def _read_records(path: Path) -> list[dict[str, Any]]:
    from densewatch.data.coco_schema import RESULTS, parse_json

    return [vars(record) for record in parse_json(path, RESULTS)]


def make_study(
    content: InstancesFile, samples: Sequence[Sample], measured: Measured, wanted: Wanted
) -> Study:
    """Put detections and labels side by side.

    Raises:
        DataError: labels or results cannot be used.
    """
    from densewatch.data.dataset import DataError
    from densewatch.evaluation.comparison import compare
    from densewatch.evaluation.study import Study, StudySettings

    image_ids = [sample.image_id for sample in samples]
    comparison = compare(content, measured.results, image_ids)
    candidates = None if measured.candidates is None else compare(content, measured.candidates, image_ids)
    other = None
    if wanted.against is not None:
        try:
            other = compare(content, _read_records(wanted.against), image_ids)
        except DataError as error:
            raise DataError(f"--against: {error}") from error
    settings = StudySettings(
        measured.operating_threshold, (1, 10, wanted.max_detections), wanted.resamples, wanted.seed
    )
    return Study(comparison, settings, candidates=candidates, against=other)


def _say_what_limits_cut(
    info: ModelInfo,
    dataset: Dataset,
    samples: Sequence[Sample],
    results: Sequence[Mapping[str, Any]],
    saturated: Sequence[Sample],
    max_detections: int,
) -> None:
    """Say which limits may have changed AP; at a low threshold they cut something in nearly every picture.

    What the model cut scores low. It matters where a class that is labelled in the picture has fewer
    detections than count. The limit on what counts matters where the labels alone come near to it.
    """
    found = Counter((result["image_id"], result["category_id"]) for result in results)

    def classes(sample: Sample) -> Iterator[tuple[int, int]]:
        """Yield how many objects of each labelled class are labelled, and how many are found."""
        for category_id, labelled in Counter(dataset.classes[label].id for label in sample.labels).items():
            yield labelled, found[sample.image_id, category_id]

    limits = {
        f"the model file passes on {topk_in_words(info)}, `densewatch export --topk` raises it": [
            sample for sample in saturated if any(count < max_detections for _, count in classes(sample))
        ],
        f"the best {max_detections} of a class in a picture count, --max-detections raises it": [
            sample
            for sample in samples
            if any(count > max_detections < 2 * labelled for labelled, count in classes(sample))
        ],
    }
    parts = [
        f"{limit} ({counted(len(cut), 'picture')}, such as {cut[0].path})"
        for limit, cut in limits.items()
        if cut
    ]
    if parts:
        say(f"limits may have cut objects that count: {'; '.join(parts)}")


def refuse_to_overwrite(save_results: Path, inputs: Iterable[Path]) -> None:
    """Stop where results would replace an input."""
    for path in inputs:
        if save_results.exists() and save_results.samefile(path):
            stop(f"--save-results {save_results}: it is {path}, an input; choose another file")


def save(results: list[dict[str, Any]], path: Path) -> None:
    """Write COCO results."""
    try:
        path.write_text(json.dumps(results))
    except OSError as error:
        stop(f"--save-results {path}: {error.strerror or error}", SOME_FAILED)
