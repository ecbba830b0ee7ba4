"""`densewatch evaluate`: how good detections are, a model's or those of a file, on labelled pictures."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from densewatch.cli.console import SOME_FAILED, say, stop, warn
from densewatch.cli.evaluate_measure import (
    Measured,
    ModelChoice,
    Wanted,
    detect_all,
    make_study,
    read_results,
    refuse_to_overwrite,
    save,
)
from densewatch.cli.evaluate_options import (
    AgainstOption,
    AtOption,
    DataOption,
    LimitOption,
    MaxDetectionsOption,
    NmsLossesOption,
    OutputFormatOption,
    ReportOption,
    ResamplesOption,
    ResultsOption,
    SaveResultsOption,
    SeedOption,
    ThresholdOption,
)
from densewatch.cli.options import (
    BatchOption,
    DeviceOption,
    EngineOption,
    ImagesOption,
    IouOption,
    ModelOption,
    PrecisionOption,
    SplitOption,
    ThreadsOption,
    TilesOption,
    WhereOption,
    check_tiles,
)
from densewatch.cli.reports import counted

if TYPE_CHECKING:
    from densewatch.data.dataset import Dataset, Sample
    from densewatch.data.labels import Labels
    from densewatch.evaluation.study import Study


def evaluate(
    data: DataOption,
    images: ImagesOption = None,
    split: SplitOption = None,
    where: WhereOption = None,
    limit: LimitOption = None,
    threshold: ThresholdOption = None,
    at: AtOption = None,
    iou: IouOption = None,
    max_detections: MaxDetectionsOption = 100,
    results: ResultsOption = None,
    against: AgainstOption = None,
    resamples: ResamplesOption = 500,
    seed: SeedOption = 0,
    nms_losses: NmsLossesOption = None,
    output_format: OutputFormatOption = "table",
    report: ReportOption = None,
    save_results: SaveResultsOption = None,
    tiles: TilesOption = "off",
    model: ModelOption = None,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = "auto",
    batch: BatchOption = None,
) -> None:
    """Measure a model, or the results of any detector, on labelled pictures.

    The answer is COCO's numbers, and for every class AP, oLRP with its best threshold, and how far counts are
    off; then what kinds of errors there are. The model's classes are matched to those of the data by name.
    Classes that a picture lists under not_exhaustive_category_ids are not punished there for being found.

    \b
    Examples:
      densewatch evaluate --data val.json --images val/
      densewatch evaluate --data shelves/data.yaml --split test --report report/
      densewatch evaluate --data val.json --where source=coco --format json > ap.json
      densewatch evaluate --model mine.onnx --data val.json --limit 50
      densewatch evaluate --data crowds.json --tiles auto --max-detections 500
      densewatch evaluate --data val.json --results theirs.json --against ours.json
    """
    from densewatch.data.dataset import DataError
    from densewatch.evaluation.run import UnknownClassError
    from densewatch.imaging.read import ImageError
    from densewatch.runtime.engine import EngineError
    from densewatch.runtime.tiles import TilesError

    choice = ModelChoice(model, engine, device, threads, precision, batch, iou, tiles)
    wanted = Wanted(threshold, at, max_detections, resamples, seed, against)
    if nms_losses is None:
        nms_losses = report is not None and results is None
    _check_ahead(save_results, report)
    check_tiles(tiles)
    if results is not None:
        _check_nothing_runs(choice, save_results, nms_losses)
    try:
        labels, dataset, samples = read_samples(
            data, images, split, where, limit, check_images=results is None
        )
        if results is not None:
            measured = read_results(results, wanted)
        else:
            detector = choice.load(len(samples))
            if save_results is not None:
                refuse_to_overwrite(save_results, [data, choice.path(), *(item.path for item in samples)])
            measured = detect_all(detector, dataset, samples, wanted, choice, nms_losses=nms_losses)
        study = make_study(labels.content, samples, measured, wanted)
        document = _document(measured, study, data, labels, samples)
    except UnknownClassError as error:
        stop(error)
    except (DataError, ImageError, EngineError, TilesError) as error:
        stop(error, SOME_FAILED)
    title = f"{measured.title} on {data}, {counted(len(samples), 'picture')}"
    _write(study, document, title, output_format)
    if save_results is not None:
        save(measured.results, save_results)
    if report is not None:
        from densewatch.cli.evaluate_report import write_report

        write_report(report, study, samples, document, title)


def _check_ahead(save_results: Path | None, report: Path | None) -> None:
    """Stop now for what would otherwise fail only after every picture was done."""
    if save_results is not None and not save_results.parent.is_dir():
        stop(f"--save-results {save_results}: there is no folder {save_results.parent}")
    if report is not None:
        from densewatch.cli.evaluate_report import check_report

        check_report(report)


def _check_nothing_runs(choice: ModelChoice, save_results: Path | None, nms_losses: bool) -> None:
    """Stop where an option with --results is about a model."""
    flags = choice.given()
    flags += ["--save-results"] if save_results is not None else []
    flags += ["--nms-losses"] if nms_losses else []
    if flags:
        stop(f"{flags[0]} is about a model that runs now; --results has its detections already")


def _document(
    measured: Measured, study: Study, data: Path, labels: Labels, samples: list[Sample]
) -> dict[str, Any]:
    """Return everything that was measured, and with what, ready for JSON."""
    from densewatch import __version__
    from densewatch.commit import code_commit

    return {
        "data": str(data),
        "split": labels.split,
        "images": len(samples),
        **measured.how,
        "code": f"densewatch {__version__}, commit {code_commit() or 'unknown'}",
        **study.to_dict(),
    }


def _write(study: Study, document: dict[str, Any], title: str, output_format: str) -> None:
    if output_format == "json":
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return
    from densewatch.cli.evaluate_output import print_table

    print_table(study, title)


def read_samples(
    data: Path,
    images: Path | None,
    split: str | None,
    where: str | None,
    limit: int | None = None,
    *,
    check_images: bool = True,
) -> tuple[Labels, Dataset, list[Sample]]:
    """Read the data set, its `val` split by default, and pick the pictures that are wanted."""
    from densewatch.data.dataset import DataError
    from densewatch.data.formats import choose_split, read_labels
    from densewatch.data.read import make_dataset
    from densewatch.evaluation.run import select

    labels = read_labels(data, images, split=choose_split(data, split, "val"))
    dataset = make_dataset(labels, check_images=check_images)
    for text, count in dataset.warnings.items():
        warn(f"{text} ({counted(count, 'time')})")
    if dataset.warnings:
        say("numbers take the labels as they stand in the file, as COCO's do: one left out counts as missed")
    try:
        samples = list(dataset) if where is None else select(dataset, *_split_where(where))
    except DataError as error:
        stop(error)
    if not samples:
        stop(f"{data}: there is no picture")
    return labels, dataset, samples[:limit]


def _split_where(where: str) -> tuple[str, str]:
    """Return the two sides of KEY=VALUE."""
    key, separator, value = where.partition("=")
    if not separator:
        stop(f"--where {where}: write it as KEY=VALUE, such as source=coco")
    return key, value
