"""`densewatch evaluate`: a model's COCO numbers on a labelled data set."""

from __future__ import annotations

import json
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from densewatch.cli.console import SOME_FAILED, progress_bar, say, stop, warn
from densewatch.cli.options import (
    BatchOption,
    DeviceOption,
    EngineOption,
    ImagesOption,
    IouOption,
    ModelOption,
    PrecisionOption,
    ThreadsOption,
    TilesOption,
    WhereOption,
    check_tiles,
    load_detector,
)
from densewatch.cli.reports import counted, topk_in_words
from densewatch.extras import how_to_install

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from densewatch.data.dataset import Dataset, Sample
    from densewatch.evaluation import CocoMetrics
    from densewatch.metadata import ModelInfo
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
    images: ImagesOption = None,
    where: WhereOption = None,
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
    tiles: TilesOption = "off",
    model: ModelOption = None,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = "auto",
    batch: BatchOption = None,
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
      densewatch evaluate --data crowds.json --tiles auto
    """
    from densewatch.data.dataset import DataError
    from densewatch.evaluation.run import UnknownClassError
    from densewatch.imaging.read import ImageError
    from densewatch.loading import find_model_for
    from densewatch.runtime.engine import EngineError, describe_engine
    from densewatch.runtime.tiles import TilesError

    _check_ahead(save_results)
    check_tiles(tiles)
    try:
        dataset, samples = read_samples(data, images, where, limit)
        detector = load_detector(
            model, engine, threads, precision, device=device, batch=batch, pictures=len(samples)
        )
        if save_results is not None:
            path = find_model_for(model, engine=engine, device=device, precision=precision)
            _refuse_to_overwrite(save_results, [data, path, *(item.path for item in samples)])
        results, saturated = _detect_all(detector, dataset, samples, threshold, iou, tiles)
        metrics = _measure(data, results, samples, max_detections)
        _say_what_limits_cut(detector.info, dataset, results, samples, saturated, max_detections)
    except UnknownClassError as error:
        stop(error)
    except (DataError, ImageError, EngineError, TilesError) as error:
        stop(error, SOME_FAILED)
    if output_format == "json":
        document = {
            "model": detector.info.name,
            "data": str(data),
            "images": len(samples),
            "engine": describe_engine(detector.engine),
            "threshold": threshold,
            "iou": detector.info.iou if iou is None else iou,
            "tiles": tiles,
            "saturated_images": len(saturated),
            **metrics.to_dict(),
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        _print_table(metrics, f"{detector.info.name} on {data}, {counted(len(samples), 'picture')}")
    if save_results is not None:
        _save(results, save_results)


def _check_ahead(save_results: Path | None) -> None:
    """Stop now for what would otherwise fail only after every picture was done."""
    if find_spec("faster_coco_eval") is None:
        stop(f"evaluating needs faster-coco-eval: {how_to_install('eval')}")
    if save_results is not None and not save_results.parent.is_dir():
        stop(f"--save-results {save_results}: there is no folder {save_results.parent}")


def _refuse_to_overwrite(save_results: Path, inputs: Iterable[Path]) -> None:
    for path in inputs:
        if save_results.exists() and save_results.samefile(path):
            stop(f"--save-results {save_results}: it is {path}, an input; choose another file")


def read_samples(
    data: Path, images: Path | None, where: str | None, limit: int | None = None
) -> tuple[Dataset, list[Sample]]:
    """Read the data set, and pick the pictures that are wanted."""
    from densewatch.data.coco import read_coco
    from densewatch.data.dataset import DataError
    from densewatch.evaluation.run import select

    dataset = read_coco(data, images)
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
    return dataset, samples[:limit]


def _split_where(where: str) -> tuple[str, str]:
    """Return the two sides of KEY=VALUE."""
    key, separator, value = where.partition("=")
    if not separator:
        stop(f"--where {where}: write it as KEY=VALUE, such as source=coco")
    return key, value


def _detect_all(
    detector: Detector,
    dataset: Dataset,
    samples: Sequence[Sample],
    threshold: float,
    iou: float | None,
    tiles: str,
) -> tuple[list[dict[str, Any]], list[Sample]]:
    """Return COCO results of all pictures, and those in which a limit of the model cut objects.

    A picture that cannot be read ends it: numbers without it would be numbers of another data set.
    """
    from densewatch.evaluation.run import collect_results

    saturated: list[Sample] = []
    with progress_bar("evaluating", len(samples)) as bar:
        results = collect_results(
            detector,
            dataset,
            samples,
            threshold=threshold,
            iou=iou,
            tiles=tiles,
            on_picture=bar.advance,
            on_saturated=saturated.append,
        )
    return results, saturated


def _measure(
    data: Path, results: list[dict[str, Any]], samples: Sequence[Sample], max_detections: int
) -> CocoMetrics:
    from densewatch.evaluation import evaluate_coco

    image_ids = [sample.image_id for sample in samples]
    return evaluate_coco(data, results, image_ids=image_ids, max_detections=(1, 10, max_detections))


def _say_what_limits_cut(
    info: ModelInfo,
    dataset: Dataset,
    results: Sequence[Mapping[str, Any]],
    samples: Sequence[Sample],
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


def _save(results: list[dict[str, Any]], path: Path) -> None:
    try:
        path.write_text(json.dumps(results))
    except OSError as error:
        stop(f"--save-results {path}: {error.strerror or error}", SOME_FAILED)


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
