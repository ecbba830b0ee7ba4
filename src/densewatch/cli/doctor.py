"""`densewatch doctor`: what cannot be learned from labelled pictures, and what to change, before training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from densewatch.cli.console import SOME_FAILED, WRONG_USAGE, progress_bar, report_error, say, stop
from densewatch.cli.needs import need
from densewatch.cli.options import ImagesOption, ValImagesOption
from densewatch.cli.reports import counted

if TYPE_CHECKING:
    from densewatch.doctor.diagnosis import Diagnosis, Part
    from densewatch.doctor.setup import Setup

_PAGE = "index.html"
_NEEDED = ("torch", "torchvision", "yaml", "jinja2")


def doctor(
    data: Annotated[
        Path,
        typer.Argument(
            metavar="DATA",
            exists=True,
            help="Labels to learn from: COCO JSON, YOLO, Pascal VOC, CSV or Roboflow, a file or a folder.",
            show_default=False,
        ),
    ],
    images: ImagesOption = None,
    val: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            exists=True,
            help="Labels to measure on.",
            show_default="the val split of DATA, if any",
        ),
    ] = None,
    val_images: ValImagesOption = None,
    preset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The network that is to be trained.", show_default="light"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="FILE|NAME",
            help="Take network and size from a trained model instead of a preset.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="RECIPE.yaml",
            exists=True,
            dir_okay=False,
            help="Take network and size from a recipe of densewatch train.",
            show_default=False,
        ),
    ] = None,
    imgsz: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,…", help="Training size in pixels, as for train.", show_default="as for train"
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any other setting of train, such as model.pyramid.p2=true; may be repeated.",
            show_default=False,
        ),
    ] = None,
    iou_nms: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=0.95,
            metavar="0..0.95",
            help="NMS will take two boxes of one class for one object that overlap by more than this.",
        ),
    ] = 0.5,
    max_detections: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="How many objects of one class in one picture will count."),
    ] = 100,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            file_okay=False,
            help=f"Write a page with pictures of the worst cases, DIR/{_PAGE}, too.",
            show_default=False,
        ),
    ] = None,
    output_format: Annotated[
        Literal["table", "json"], typer.Option("--format", "-f", help="How the answer is written.")
    ] = "table",
) -> None:
    """Examine labelled pictures before anything is trained on them.

    Tells which objects no anchor learns, which NMS deletes even from an oracle, which gives exactly the
    labelled boxes, and so the highest AR of an oracle; pictures that are there twice; classes with few
    examples; labels and files that look wrong; and what each change would gain. Needs the [train] extra; in a
    checkout: pip install '.[train]'.

    \b
    Examples:
      densewatch doctor train.json --val val.json --imgsz 640
      densewatch doctor shelves/data.yaml --report report/
      densewatch doctor train.json --preset light --set model.pyramid.p2=true
      densewatch doctor new.json --model runs/train/model.safetensors
    """
    need(_NEEDED, "the doctor", "train")
    if model is not None and (preset or config or assignments):
        stop("--model brings its own network: leave --preset, --config and --set away")
    from densewatch.cli.doctor_output import print_document, print_tables
    from densewatch.doctor.ceiling import Limits
    from densewatch.doctor.words import setup_in_words

    _check_report(report)
    if model is not None:
        setup, name = _plan_of_model(model, imgsz)
    else:
        setup, name = _plan(data, preset, config, imgsz, assignments or [])
    setup = replace(setup, limits=Limits(iou_nms, max_detections))
    diagnosis = _diagnose(_read(data, images, val, val_images), setup)
    heading = setup_in_words(setup, name)
    if output_format == "json":
        print_document(diagnosis, name)
    else:
        print_tables(diagnosis, heading)
    if report is not None:
        _write_report(report, diagnosis, heading)
    if any(finding.kind == "unreadable" for finding in diagnosis.findings):
        raise typer.Exit(SOME_FAILED)


def _check_report(folder: Path | None) -> None:
    """Stop now for what would otherwise fail only after everything was done."""
    from densewatch.doctor.report import MARK

    page = None if folder is None else folder / _PAGE
    if page is not None and page.exists() and MARK not in page.read_text("utf-8", "replace")[:1000]:
        stop(f"--report {folder}: {page} is there, and is no report of the doctor; choose another folder")


def _plan(
    data: Path,
    preset: str | None,
    config: Path | None,
    imgsz: str | None,
    assignments: Sequence[str],
) -> tuple[Setup, str]:
    """Return what is to be trained, and what it is called."""
    from densewatch.cli.train_settings import RawSettings, SettingsError
    from densewatch.doctor.ceiling import Limits
    from densewatch.doctor.setup import Setup

    raw = RawSettings()
    try:
        if config is not None:
            raw.read(config)
        raw.put(("data",), [{"annotations": data}], str(data))
        if preset is not None:
            raw.put(("preset",), preset, f"--preset {preset}")
        if imgsz is not None:
            raw.put(("imgsz",), imgsz.split(","), f"--imgsz {imgsz}")
        for assignment in assignments:
            raw.put_assignment(assignment)
        settings = raw.check()
    except SettingsError as error:
        for sentence in error.sentences:
            report_error(sentence)
        raise typer.Exit(WRONG_USAGE) from error
    # Sizes for training count, whatever a recipe says of use.
    policy = settings.model_copy(update={"resize": None}).resize_policy
    setup = Setup(settings.network(1), policy, Limits(), settings.augment.min_side)
    return setup, settings.preset


def _plan_of_model(model: str, imgsz: str | None) -> tuple[Setup, str]:
    """Return how a trained model is used, and what it is called."""
    from densewatch.data.augment_settings import AugmentSettings
    from densewatch.doctor.ceiling import Limits
    from densewatch.doctor.setup import Setup
    from densewatch.models.checkpoint import CheckpointError, read_checkpoint
    from densewatch.models.config import RetinaNetConfig
    from densewatch.runtime.model_file import ModelFileError, ModelNotFoundError, find_model, read_info

    try:
        path = find_model(model)
        info = read_checkpoint(path)[1] if path.suffix == ".safetensors" else read_info(path)
    except (CheckpointError, ModelFileError, ModelNotFoundError, OSError) as error:
        stop(error)
    if info.family != "retinanet":
        stop(f"{model}: is no RetinaNet, so it has no anchors to examine")
    config = RetinaNetConfig.model_validate(info.architecture)
    policy = info.resize
    if imgsz is not None:
        if not imgsz.isdecimal() or int(imgsz) < 32:
            stop(f"--imgsz {imgsz}: with --model, it is one number of pixels, at least 32")
        policy = policy.model_copy(update={"size": int(imgsz)})
    topk = tuple(level.topk for level in info.levels) or None  # a checkpoint has no levels
    return Setup(config, policy, Limits(), AugmentSettings().min_side, topk), info.name


def _read(data: Path, images: Path | None, val: Path | None, val_images: Path | None) -> list[Part]:
    """Read the labels to learn from, and those to measure on, if there are any."""
    from densewatch.data.dataset import DataError
    from densewatch.data.formats import choose_split, splits_of

    try:
        parts = [_part("train", data, images, choose_split(data, None, "train"))]
        if val is not None:
            parts.append(_part("val", val, val_images, choose_split(val, None, "val")))
        elif "val" in splits_of(data):
            parts.append(_part("val", data, images, "val"))
    except DataError as error:
        stop(error, SOME_FAILED)
    return parts


def _part(name: str, data: Path, images: Path | None, split: str | None) -> Part:
    from densewatch.data.formats import read_labels
    from densewatch.data.read import make_dataset
    from densewatch.doctor.diagnosis import Part

    dataset = make_dataset(read_labels(data, images, split=split), check_images=False)
    return Part(name, str(data), dataset)


def _diagnose(parts: Sequence[Part], setup: Setup) -> Diagnosis:
    import torch

    from densewatch.doctor.diagnosis import diagnose
    from densewatch.runtime.cores import available_cores

    torch.set_num_threads(1)  # its matrices are small: threads would only wait for each other
    with progress_bar("examining", sum(len(part.dataset) for part in parts)) as bar:
        diagnosis = diagnose(parts, setup, threads=available_cores(), on_picture=bar.advance)
    for finding in diagnosis.findings:
        if finding.kind == "unreadable":
            for case in finding.cases:
                report_error(f"cannot read {case.pictures[0]}: {case.caption}")
            if finding.count > len(finding.cases):
                report_error(
                    f"{finding.count - len(finding.cases)} more pictures of {finding.split} likewise"
                )
    return diagnosis


def _write_report(folder: Path, diagnosis: Diagnosis, heading: str) -> None:
    from densewatch.doctor.report import write_report

    title = ", ".join(
        f"{part.part.source} ({counted(len(part.part.dataset), 'picture')})" for part in diagnosis.parts
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_report(folder / _PAGE, diagnosis, title, heading)
    except OSError as error:
        stop(f"--report {folder}: {error.strerror or error}", SOME_FAILED)
    say(f"the report is {folder / _PAGE}")
