"""Options that several verbs share, so that they read and mean the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from densewatch.cli.console import stop
from densewatch.cli.known_models import stop_for_unknown_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from densewatch.runtime.detector import Detector

# As `densewatch.loading` and `densewatch.runtime.engine` have them, whose imports every start would pay for.
EngineName = Literal["auto", "openvino", "onnxruntime", "tensorrt", "torch"]
PrecisionName = Literal["auto", "float32", "bfloat16"]

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="FILE|NAME",
        help="A model file, or the name of a pulled model; with PyTorch, a checkpoint too.",
        show_default="the embedded model",
    ),
]
EngineOption = Annotated[
    EngineName,
    typer.Option(
        "--engine", help="What runs the network; auto is OpenVINO, and ONNX Runtime or PyTorch on a GPU."
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="cpu|cuda|cuda:N|auto",
        help="Where it runs; auto is the CPU, unless --engine names one that finds a GPU.",
    ),
]
BatchOption = Annotated[
    int | None,
    typer.Option(
        "--batch",
        min=1,
        metavar="N",
        help="Up to so many pictures of one size go through the network together.",
        show_default="1, on a GPU 8",
    ),
]
ThreadsOption = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        metavar="N",
        help="CPU threads.",
        show_default="the cores this process may use",
    ),
]
PrecisionOption = Annotated[
    PrecisionName,
    typer.Option(
        "--precision",
        help="Numeric type of the arithmetic; auto is bfloat16 where engine and hardware are fast with it.",
    ),
]
IouOption = Annotated[
    float | None,
    typer.Option(
        "--iou",
        min=0.0,
        max=1.0,
        metavar="0..1",
        help="Two boxes of one class that overlap by more than this are one object.",
        show_default="the model's own, usually 0.5",
    ),
]
NmsOption = Annotated[
    Literal["greedy", "agnostic", "soft", "merge"],
    typer.Option(
        "--nms",
        help="What becomes of boxes that overlap: the best of a class stays (greedy), the best of all "
        "classes stays (agnostic), they lose score (soft), or they are averaged (merge).",
    ),
]
TilesOption = Annotated[
    str,
    typer.Option(
        "--tiles",
        metavar="off|auto|COLSxROWS",
        help="Look at parts of the picture more closely too, for far and small objects: as many as it needs "
        "(auto), or such as 3x2. It takes as many times longer.",
    ),
]
DeadlineOption = Annotated[
    str | None,
    typer.Option(
        "--deadline",
        metavar="TIME",
        help="Time for a picture once it is read, such as 100ms: tiles and resolution are given up to keep "
        "it, and what was left out is said.",
        show_default=False,
    ),
]
ImagesOption = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="Folder of the labelled pictures.",
        show_default="where the format has it; for COCO the folder beside ANN.json with the same name",
    ),
]
ValImagesOption = Annotated[
    Path | None,
    typer.Option(
        "--val-images",
        metavar="DIR",
        exists=True,
        file_okay=False,
        help="Folder of the pictures of --val.",
        show_default="as for --images",
    ),
]
SplitOption = Annotated[
    str | None,
    typer.Option(
        "--split",
        metavar="train|val|test",
        help="Which part of data that has several.",
        show_default="val where there are several",
    ),
]
WhereOption = Annotated[
    str | None,
    typer.Option(
        "--where",
        metavar="KEY=VALUE",
        help="Measure only on pictures whose record in the labels says so, such as source=coco.",
        show_default=False,
    ),
]


def check_tiles(tiles: str) -> None:
    """End the program where `--tiles` is no possible value."""
    from densewatch.runtime.tiles import TilesError, parse_grid

    try:
        if tiles != "auto":
            parse_grid(tiles)
    except TilesError as error:
        stop(f"--{error}")


def deadline_ms(text: str | None) -> float | None:
    """Return `--deadline` in milliseconds, or end the program where it is no time."""
    from densewatch.runtime.deadline import DeadlineError, parse_deadline

    try:
        return None if text is None else parse_deadline(text)
    except DeadlineError as error:
        stop(f"--deadline: {error}")


def class_names(only: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...] | None:
    """Split `person,chair`; end the program where a name is no class, before any picture is touched."""
    from densewatch.detections import UnknownNameError, class_index

    if only is None:
        return None
    names = tuple(name.strip() for group in only for name in group.split(",") if name.strip())
    if not names:
        stop("--only names no class: write it as --only person,chair")
    try:
        for name in names:
            class_index(name, known)
    except UnknownNameError as error:
        stop(f"--only: {error}")
    return names


_PICTURES_PER_STREAM = 4
"""With fewer, most of the time would go by with one stream at work, on a share of the cores."""


def load_detector(
    model: str | None,
    engine: EngineName,
    threads: int | None,
    precision: PrecisionName,
    *,
    device: str = "auto",
    batch: int | None = None,
    pictures: int = 1,
    streams: int | None = None,
) -> Detector:
    """Load a model, or end the program with the sentence that says why that cannot be.

    Args:
        model: as `load` takes it, and the next three.
        engine: likewise.
        threads: likewise.
        precision: likewise.
        device: likewise.
        batch: likewise.
        pictures: how many there are to do; many are done several at a time.
        streams: how many at a time; None leaves that to `pictures`.
    """
    from densewatch.loading import load
    from densewatch.runtime.engine import EngineError
    from densewatch.runtime.model_file import UnknownModelError

    streams = streams or max(1, pictures // _PICTURES_PER_STREAM)
    try:
        return load(
            model,
            engine=engine,
            device=device,
            threads=threads,
            precision=precision,
            streams=streams,
            batch=batch,
        )
    except UnknownModelError as error:
        stop_for_unknown_model(error)
    except (ValueError, OSError, EngineError) as error:
        stop(error)
