"""`densewatch export`: a checkpoint becomes a self-describing model file, in float or in int8."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from densewatch.cli.console import SOME_FAILED, progress_bar, say, stop
from densewatch.cli.needs import EXPORTING, need
from densewatch.cli.options import ImagesOption, SplitOption, WhereOption

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from densewatch.data.dataset import Dataset, Sample
    from densewatch.data.labels import Labels
    from densewatch.metadata import Int8Info, ModelInfo

_TOPK = 1000
_CALIBRATION_PICTURES = 300


def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT|MODEL.onnx",
            exists=True,
            dir_okay=False,
            help="As `densewatch train` leaves it: model.safetensors; or, for --int8, a float model file.",
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
            show_default="beside CHECKPOINT; NAME-int8.onnx with --int8",
        ),
    ] = None,
    topk: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Candidates that each pyramid level passes on; more for scenes with thousands of objects.",
            show_default="1000",
        ),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Photos for the comparison of boxes, two or more; all of them are used.",
            show_default="two photos inside the package",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            exists=True,
            help="Labels, in any format that `evaluate` takes: AP on them is measured and written down.",
            show_default=False,
        ),
    ] = None,
    images: ImagesOption = None,
    split: SplitOption = None,
    where: WhereOption = None,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of the model.", show_default="the checkpoint's own"),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Compute in 8 bits: smaller and faster. Needs --data.")
    ] = False,
    max_ap_loss: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=100.0,
            metavar="POINTS",
            help="How much AP on --data int8 may lose, in points: 0.5 is from 0.400 to 0.395.",
            show_default="0.5",
        ),
    ] = None,
    calibrate_on: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Photos, without labels, that give int8 its ranges; such as those it was trained on.",
            show_default="the pictures of --data",
        ),
    ] = None,
    calibration_pictures: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="At most so many of them, evenly spread.", show_default="300"),
    ] = None,
) -> None:
    """Write a trained network as one model file that runs without PyTorch.

    The file is written only if its boxes equal PyTorch's on real pictures, at three sizes and two batch
    sizes, in OpenVINO and in ONNX Runtime; the proof goes into the file.
    With --int8, what loses too much AP is left in float, and a file that still does is not written.
    Needs the [export] extra; in a checkout: pip install '.[export]'.

    \b
    Examples:
      densewatch export runs/train/model.safetensors
      densewatch export runs/train/model.safetensors -o shelves.onnx --data val.json --images val/
      densewatch export shelves.onnx --int8 --data val.json --images val/ --calibrate-on train/
    """
    int8_only = {
        "--max-ap-loss": max_ap_loss,
        "--calibrate-on": calibrate_on,
        "--calibration-pictures": calibration_pictures,
    }
    checkpoint_only = {"--topk": topk, "--name": name}
    _check_usage(checkpoint, int8, data, _given(int8_only), _given(checkpoint_only))
    need(EXPORTING, "exporting", "export")
    say("loading PyTorch")
    from densewatch.export.quantise import MAX_AP_LOSS
    from densewatch.runtime.engine import EngineError

    target = output or checkpoint.with_name(f"{checkpoint.stem}{'-int8' if int8 else ''}.onnx")
    try:
        photos = None if pictures is None else _photos(pictures)
        labelled = None if data is None else _read_labelled(data, images, split, where)
        if int8 and labelled is not None:
            info = _export_int8(
                _Source(checkpoint, name, topk, photos),
                target,
                labelled,
                _calibration_photos(labelled, calibrate_on, calibration_pictures or _CALIBRATION_PICTURES),
                labelled.title if calibrate_on is None else calibrate_on.resolve().name,
                MAX_AP_LOSS if max_ap_loss is None else max_ap_loss / 100,
            )
        else:
            info = _export_float(_Source(checkpoint, name, topk, photos), target, labelled)
    except (EngineError, ValueError, OSError) as error:
        stop(error, SOME_FAILED)
    _report(info, target)


@dataclass(frozen=True)
class _Source:
    """What is exported: a checkpoint or a float model file, and what was said of it."""

    path: Path
    name: str | None
    topk: int | None
    photos: Sequence[Path] | None


@dataclass(frozen=True)
class _Labelled:
    """Labelled pictures that AP is measured on."""

    labels: Labels
    title: str
    dataset: Dataset
    samples: Sequence[Sample]

    def measure(self, model_file: Path) -> dict[str, dict[str, float]]:
        """Return the numbers of a model file, as `densewatch.export.model_file.Measure` has it."""
        from densewatch.evaluation import evaluate_coco
        from densewatch.evaluation.run import collect_results
        from densewatch.runtime.cores import available_cores
        from densewatch.runtime.detector import Detector
        from densewatch.runtime.model_file import read_info
        from densewatch.runtime.openvino_engine import OpenVinoEngine

        cores = available_cores()
        # In float32, so that the figures do not depend on what this CPU has in hardware. Not kept compiled:
        # nobody will ever load this unfinished file again.
        engine = OpenVinoEngine(model_file, threads=cores, precision="float32", cache_dir=None, streams=cores)
        detector = Detector(read_info(model_file), engine)
        with progress_bar("measuring", len(self.samples)) as bar:
            results = collect_results(detector, self.dataset, self.samples, on_picture=bar.advance)
        metrics = evaluate_coco(
            self.labels.content, results, image_ids=[sample.image_id for sample in self.samples]
        )
        numbers = {name: round(value, 4) for name, value in metrics.numbers.items() if value is not None}
        return {self.title: numbers}


def _given(options: Mapping[str, object]) -> list[str]:
    return [flag for flag, value in options.items() if value is not None]


def _check_usage(
    path: Path, int8: bool, data: Path | None, int8_only: list[str], checkpoint_only: list[str]
) -> None:
    """Stop where options do not go together."""
    is_model_file = path.suffix == ".onnx"
    if int8 and data is None:
        stop("--int8 needs --data DATA: labelled pictures, on which AP must not fall")
    if not int8 and is_model_file:
        stop(f"{path} is a model file already; --int8 --data DATA makes an int8 file of it")
    if not int8 and int8_only:
        stop(f"{int8_only[0]} is about --int8")
    if is_model_file and checkpoint_only:
        stop(f"{path} is a model file: {checkpoint_only[0]} is for checkpoints (.safetensors)")


def _photos(folder: Path) -> list[Path]:
    from densewatch.imaging.sources import FileSource, expand_sources

    sources = expand_sources([str(folder)])
    return [item.path for item in sources if isinstance(item, FileSource) and item.path is not None]


def _read_labelled(data: Path, images: Path | None, split: str | None, where: str | None) -> _Labelled:
    """Read the labels; that is done before the long work."""
    from densewatch.cli.evaluate import read_samples
    from densewatch.evaluation.run import data_title

    labels, dataset, samples = read_samples(data, images, split, where)
    title = data_title(data, {} if where is None else dict([where.split("=", 1)]), labels.split)
    return _Labelled(labels, title, dataset, samples)


def _calibration_photos(labelled: _Labelled, folder: Path | None, limit: int) -> list[Path]:
    photos = [sample.path for sample in labelled.samples] if folder is None else _photos(folder)
    count = min(limit, len(photos))
    return [photos[index * len(photos) // count] for index in range(count)]


def _export_float(source: _Source, target: Path, labelled: _Labelled | None) -> ModelInfo:
    from densewatch.export.model_file import export_model
    from densewatch.models.checkpoint import load_network

    network, info = load_network(source.path)
    if source.name is not None:
        info = info.model_copy(update={"name": source.name})
    return export_model(
        network,
        info,
        target,
        topk=source.topk or _TOPK,
        pictures=source.photos,
        measure=None if labelled is None else labelled.measure,
        on_step=say,
    )


def _export_int8(
    source: _Source,
    target: Path,
    labelled: _Labelled,
    calibration_photos: Sequence[Path],
    calibration: str,
    max_ap_loss: float,
) -> ModelInfo:
    """Export the float model first where there is none yet: it is proven, quantised, and not kept."""
    from densewatch.export.quantise import Calibration, quantise_model

    with tempfile.TemporaryDirectory(prefix="densewatch-") as folder:
        model_file = source.path
        if model_file.suffix != ".onnx":
            model_file = Path(folder) / "float.onnx"
            _export_float(source, model_file, None)
        return quantise_model(
            model_file,
            target,
            Calibration(calibration_photos, calibration),
            labelled.measure,
            max_ap_loss=max_ap_loss,
            pictures=source.photos,
            on_step=say,
        )


def _report(info: ModelInfo, target: Path) -> None:
    proof, int8 = info.proof, info.int8
    if proof is not None:
        of_float = "" if int8 is None else " in float"
        say(
            f"{proof.candidates} candidates equal PyTorch's{of_float} within {proof.max_box_error_px:.2g} px "
            f"and a score of {proof.max_score_error:.2g} ({proof.engine})"
        )
    if int8 is not None:
        _report_int8(int8)
    for data, metrics in info.metrics.items():
        say(f"{data}: " + ", ".join(f"{name} {value:.3f}" for name, value in metrics.items()))
    say(f"wrote {target}, {target.stat().st_size / 1e6:.1f} MB")


def _report_int8(int8: Int8Info) -> None:
    agreement = int8.agreement
    say(
        f"99 of 100 candidates in int8 agree within a 1 - IoU of {agreement.box_error:.2g} and a score of "
        f"{agreement.score_error:.2g} ({', '.join(agreement.engines)})"
    )
    kept = f"; in float: {', '.join(int8.float_parts)}" if int8.float_parts else ""
    say(
        f"{int8.data}: AP {int8.float_ap:.4f} in float, {int8.int8_ap:.4f} in int8, "
        f"{100 * int8.ap_loss:.2f} points lost, {100 * int8.max_ap_loss:.2f} allowed{kept}"
    )
