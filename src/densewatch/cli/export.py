"""`densewatch export`: a checkpoint becomes a self-describing model file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from densewatch.cli.console import SOME_FAILED, progress_bar, say, stop
from densewatch.cli.options import ImagesOption, WhereOption
from densewatch.extras import how_to_install

if TYPE_CHECKING:
    from densewatch.data.dataset import Dataset, Sample
    from densewatch.export.model_file import Measure
    from densewatch.metadata import ModelInfo


def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            exists=True,
            dir_okay=False,
            help="As `densewatch train` leaves it: model.safetensors.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE.onnx",
            help="The model file to write.",
            show_default="beside CHECKPOINT",
        ),
    ] = None,
    topk: Annotated[
        int,
        typer.Option(
            min=1,
            metavar="N",
            help="Candidates that each pyramid level passes on; more for scenes with thousands of objects.",
        ),
    ] = 1000,
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Photos for the comparison with PyTorch, two or more; all of them are used.",
            show_default="two photos inside the package",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="ANN.json",
            exists=True,
            dir_okay=False,
            help="Labels, COCO instances JSON: AP is measured on them and written into the file.",
            show_default=False,
        ),
    ] = None,
    images: ImagesOption = None,
    where: WhereOption = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of the model.", show_default="the checkpoint's own"),
    ] = None,
) -> None:
    """Write a trained network as one model file that runs without PyTorch.

    The file is written only if its boxes equal PyTorch's on real pictures, at three sizes and two batch
    sizes, in OpenVINO and in ONNX Runtime; the proof goes into the file.
    Needs the [export] extra; in a checkout: pip install '.[export]'.

    \b
    Examples:
      densewatch export runs/train/model.safetensors
      densewatch export runs/train/model.safetensors -o shelves.onnx --data val.json --images val/
    """
    say("loading PyTorch")
    try:
        from densewatch.export.model_file import export_model
        from densewatch.imaging.sources import FileSource, expand_sources
        from densewatch.models.checkpoint import load_network
        from densewatch.runtime.engine import EngineError
    except ImportError as error:
        stop(f"exporting needs PyTorch and ONNX ({error}): {how_to_install('export')}")
    target = output or checkpoint.with_suffix(".onnx")
    try:
        network, info = load_network(checkpoint)
        if name is not None:
            info = info.model_copy(update={"name": name})
        chosen = None
        if pictures is not None:
            chosen = [
                source.path
                for source in expand_sources([str(pictures)])
                if isinstance(source, FileSource) and source.path is not None
            ]
        measure = None if data is None else _measure_on(data, images, where)
        info = export_model(network, info, target, topk=topk, pictures=chosen, measure=measure, on_step=say)
    except (EngineError, ValueError, OSError) as error:
        stop(error, SOME_FAILED)
    _report(info, target)


def _measure_on(data: Path, images: Path | None, where: str | None) -> Measure:
    """Return what measures AP on labelled pictures; the labels are read now, before the long work."""
    from densewatch.cli.evaluate import read_samples
    from densewatch.evaluation.run import data_title

    dataset, samples = read_samples(data, images, where)
    title = data_title(data, {} if where is None else dict([where.split("=", 1)]))

    def measure(model_file: Path) -> dict[str, dict[str, float]]:
        return {title: _numbers(model_file, data, dataset, samples)}

    return measure


def _numbers(model_file: Path, data: Path, dataset: Dataset, samples: list[Sample]) -> dict[str, float]:
    from densewatch.evaluation import evaluate_coco
    from densewatch.evaluation.run import collect_results
    from densewatch.runtime.detector import load

    with progress_bar("measuring", len(samples)) as bar:
        results = collect_results(load(model_file), dataset, samples, on_picture=bar.advance)
    metrics = evaluate_coco(data, results, image_ids=[sample.image_id for sample in samples])
    return {name: round(value, 4) for name, value in metrics.numbers.items() if value is not None}


def _report(info: ModelInfo, target: Path) -> None:
    proof = info.proof
    assert proof is not None  # export_model writes no file without
    say(
        f"{proof.candidates} candidates equal PyTorch's within {proof.max_box_error_px:.2g} px "
        f"and a score of {proof.max_score_error:.2g} ({proof.engine})"
    )
    for data, metrics in info.metrics.items():
        say(f"{data}: " + ", ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
    say(f"wrote {target}, {target.stat().st_size / 1e6:.1f} MB")
