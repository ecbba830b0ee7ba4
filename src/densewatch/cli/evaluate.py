"""`densewatch evaluate`: a model's COCO numbers on a labelled data set."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from densewatch.cli.console import SOME_FAILED, progress_bar, stop, warn
from densewatch.cli.options import (
    EngineOption,
    IouOption,
    ModelOption,
    PrecisionOption,
    ThreadsOption,
    load_detector,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from densewatch.data.dataset import Dataset, Sample
    from densewatch.evaluation import CocoMetrics
    from densewatch.runtime.detector import Detector


def evaluate(
    data: Annotated[
        Path,
        typer.Option(
            metavar="ANN.json",
            exists=True,
            dir_okay=False,
            help="Labels, COCO instances JSON.",
            show_default=False,
        ),
    ],
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Folder of the pictures.",
            show_default="the folder beside ANN.json with the same name",
        ),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Only pictures whose record in ANN.json says so, such as source=coco.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only the first N pictures.", show_default="all")
    ] = None,
    threshold: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="0..1",
            help="Count detections from this score on; low, because AP looks at the whole range of scores.",
        ),
    ] = 0.01,
    iou: IouOption = None,
    max_detections: Annotated[
        int,
        typer.Option(
            min=11,
            metavar="N",
            help="How many detections of one class in one picture count; dense scenes need more than 100.",
        ),
    ] = 100,
    output_format: Annotated[
        Literal["table", "json"], typer.Option("--format", "-f", help="How the numbers are written.")
    ] = "table",
    save_results: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            help="Keep the detections too, as COCO results JSON.",
            show_default=False,
        ),
    ] = None,
    model: ModelOption = None,
    engine: EngineOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = "auto",
) -> None:
    """Measure a model on labelled pictures.

    The answer is the twelve COCO numbers, and AP and AP50 of every class. The model's classes are matched to
    those of the data by name. Classes that a picture lists under not_exhaustive_category_ids are not punished
    there for being found.

    \b
    Examples:
      densewatch evaluate --data val.json --images val/
      densewatch evaluate --data val.json --where source=coco --format json > ap.json
      densewatch evaluate --model mine.onnx --data val.json --limit 50
    """
    from densewatch.benchmarking.machine import describe_engine
    from densewatch.data.dataset import DataError
    from densewatch.evaluation.run import UnknownClassError
    from densewatch.imaging.read import ImageError

    _check_ahead(save_results)
    detector = load_detector(model, engine, threads, precision)
    try:
        dataset, samples = read_samples(data, images, where, limit)
        results = _detect_all(detector, dataset, samples, threshold, iou)
    except UnknownClassError as error:
        stop(error)
    except (DataError, ImageError) as error:
        stop(error, SOME_FAILED)
    if save_results is not None:
        save_results.write_text(json.dumps(results))
    metrics = _measure(data, results, samples, max_detections)
    if output_format == "json":
        document = {
            "model": detector.info.name,
            "data": str(data),
            "images": len(samples),
            "engine": describe_engine(detector.engine),
            "threshold": threshold,
            "iou": detector.info.iou if iou is None else iou,
            **metrics.to_dict(),
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        _print_table(metrics, f"{detector.info.name} on {data}, {len(samples)} pictures")


def _check_ahead(save_results: Path | None) -> None:
    """Stop now for what would otherwise fail only after every picture was done."""
    if find_spec("faster_coco_eval") is None:
        stop("evaluating needs faster-coco-eval: pip install 'densewatch[eval]'")
    if save_results is not None and not save_results.parent.is_dir():
        stop(f"--save-results {save_results}: there is no folder {save_results.parent}")


def read_samples(
    data: Path, images: Path | None, where: str | None, limit: int | None = None
) -> tuple[Dataset, list[Sample]]:
    """Read the data set, and pick the pictures that are wanted."""
    from densewatch.data.coco import read_coco
    from densewatch.data.dataset import DataError
    from densewatch.evaluation.run import select

    dataset = read_coco(data, images)
    for text, count in dataset.warnings.items():
        warn(f"{data}: {text} ({count} times)")
    try:
        samples = list(dataset) if where is None else select(dataset, *_split_where(where))
    except DataError as error:
        stop(error)
    if not samples:
        stop(f"{data}: there is no picture")
    return dataset, samples[:limit]


def _split_where(where: str) -> tuple[str, str]:
    """Return the two sides of KEY=VALUE."""
    key, separator, value = where.partition("=")
    if not separator:
        stop(f"--where {where}: write it as KEY=VALUE, such as source=coco")
    return key, value


def _detect_all(
    detector: Detector, dataset: Dataset, samples: Sequence[Sample], threshold: float, iou: float | None
) -> list[dict[str, Any]]:
    """Return COCO results of all pictures; one that cannot be read ends it.

    Numbers without that picture would be numbers of another data set.
    """
    from densewatch.evaluation.run import collect_results

    with progress_bar("evaluating", len(samples)) as bar:
        return collect_results(
            detector, dataset, samples, threshold=threshold, iou=iou, on_picture=bar.advance
        )


def _measure(
    data: Path, results: list[dict[str, Any]], samples: Sequence[Sample], max_detections: int
) -> CocoMetrics:
    from densewatch.evaluation import evaluate_coco

    image_ids = [sample.image_id for sample in samples]
    metrics = evaluate_coco(data, results, image_ids=image_ids, max_detections=(1, 10, max_detections))
    if metrics.cut_detections:
        warn(
            f"{metrics.cut_detections} detections did not count: beyond the best {max_detections} of their "
            "class in a picture; --max-detections raises this limit"
        )
    return metrics


def _print_table(metrics: CocoMetrics, title: str) -> None:
    from densewatch.cli.writers import results_console, results_table

    console = results_console(sys.stdout)
    console.print(title, style="bold", soft_wrap=True)
    numbers = results_table(console, list(metrics.numbers))
    numbers.add_row(*(_three_digits(value) for value in metrics.numbers.values()))
    console.print(numbers)
    per_class = results_table(console, ["class", "AP", "AP50"], text=["class"])
    for name, values in metrics.per_class.items():
        per_class.add_row(name, _three_digits(values["AP"]), _three_digits(values["AP50"]))
    console.print(per_class)


def _three_digits(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
