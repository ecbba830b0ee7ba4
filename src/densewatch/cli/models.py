"""`densewatch models`: what models there are, what a model file says of itself, and how to get more."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from densewatch.cli.console import SOME_FAILED, progress_bar, say, stop
from densewatch.cli.known_models import known_models, stop_for_unknown_model
from densewatch.cli.needs import EXPORTING, TRAINING, need
from densewatch.cli.reports import counted
from densewatch.suggest import suggest

if TYPE_CHECKING:
    from densewatch.hub import RemoteFile
    from densewatch.metadata import ModelInfo
    from densewatch.models.foreign.conversion import Style, Toolkit

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="List, inspect, fetch and convert models."
)

FormatOption = Annotated[
    Literal["table", "json"],
    typer.Option("--format", "-f", help="How the answer is written to standard output."),
]


@app.command("list")
def list_models(output_format: FormatOption = "table") -> None:
    """List embedded, pulled and published models, and presets with their published AP.

    \b
    Examples:
      densewatch models list
      densewatch models list --format json
    """
    rows = known_models()
    if output_format == "json":
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
        return
    from densewatch.cli.writers import results_console, results_table

    console = results_console(sys.stdout)
    headings = ["name", "state", "about"]
    table = results_table(console, headings, text=headings)
    for row in rows:
        table.add_row(row["name"], row["state"], row["about"])
    console.print(table)


@app.command("info")
def info(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE|NAME]",
            help="A model file, or the name of a pulled model.",
            show_default="the embedded model",
        ),
    ] = None,
    output_format: FormatOption = "table",
) -> None:
    """Show what a model file says of itself.

    Classes, sizes, training, measured figures, licence, and the proof that its boxes are right.

    \b
    Examples:
      densewatch models info
      densewatch models info mine.onnx --format json
    """
    from densewatch.runtime.model_file import UnknownModelError, find_model, read_info

    try:
        path = find_model(model)
        description = read_info(path)
    except UnknownModelError as error:
        stop_for_unknown_model(error)
    except (ValueError, OSError) as error:
        stop(error)
    if output_format == "json":
        sys.stdout.write(description.model_dump_json(indent=2) + "\n")
    else:
        _print_info(path, description)


@app.command("pull")
def pull(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="As `densewatch models list` shows it.", show_default=False)
    ],
) -> None:
    """Fetch a published model.

    The weights are checked and converted to a model file that --model NAME finds. An interrupted download
    goes on where it stopped. Converting needs the [export] extra; in a checkout: pip install '.[export]'.

    \b
    Examples:
      densewatch models pull retinanet-r50-v2
      densewatch detect photo.jpg --model retinanet-r50-v2
    """
    from densewatch.hub import PUBLISHED_MODELS, HubError
    from densewatch.runtime.model_file import models_dir

    published = PUBLISHED_MODELS.get(name)
    if published is None:
        stop(f"no model {name!r} can be pulled: {suggest(name, list(PUBLISHED_MODELS))}")
    model_file = models_dir() / f"{name}.onnx"
    if model_file.exists():
        say(f"{name} is there already: {model_file}")
        return
    try:
        remote = published.remote_file()
        weights = _download(remote, models_dir().parent / "downloads" / remote.name)
    except HubError as error:
        stop(error, SOME_FAILED)
    _convert(weights, model_file, "torchvision")


@app.command("import")
def import_model(
    weights: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", exists=True, dir_okay=False, help="The weights, .pth or .pkl.", show_default=False
        ),
    ],
    toolkit: Annotated[
        Literal["torchvision", "detectron2", "mmdetection"] | None,
        typer.Option("--from", help="Whose they are.", show_default="found by the names of the tensors"),
    ] = None,
    style: Annotated[
        Literal["caffe", "caffe2", "pytorch"] | None,
        typer.Option(
            help="What the backbone takes, where the file does not say it: caffe (BGR, stride in the 1×1), "
            "caffe2 (BGR, stride in the 3×3), pytorch (RGB, stride in the 3×3).",
            show_default="what the file says",
        ),
    ] = None,
    names: Annotated[
        str | None,
        typer.Option(
            metavar="coco|FILE",
            help="Class names, where the file has none: a name a line, or a COCO file (.json).",
            show_default="those in the file",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="What to write: a model file, .onnx, or a checkpoint to train on, .safetensors.",
            show_default="FILE.onnx",
        ),
    ] = None,
) -> None:
    """Convert a RetinaNet of torchvision, detectron2 or mmdetection to a model file.

    The weights are read without running any code in them, and the model file is written only after its boxes
    were compared with PyTorch's. Converting needs the [export] extra; in a checkout: pip install '.[export]'.

    \b
    Examples:
      densewatch models import model_final_5bd44e.pkl --names coco
      densewatch models import epoch_12.pth --from mmdetection --style pytorch -o shelves.onnx
      densewatch models import weights.pth --from torchvision -o r50.safetensors
    """
    _convert(weights, output or Path(weights.with_suffix(".onnx").name), toolkit, style, names)


@app.command("average")
def average_models(
    parts: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL[=SHARE]...",
            help="Checkpoints, float model files or names of models, and how much each counts.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="The checkpoint to write.", show_default=False),
    ],
) -> None:
    """Average the weights of networks that were trained from the same start.

    A network and what further training made of it, or several runs from one start, are often better together
    than each alone, and as fast as one. Needs the [train] extra; in a checkout: pip install '.[train]'.

    \b
    Examples:
      densewatch models average runs/a/model.safetensors runs/b/model.safetensors -o both.safetensors
      densewatch models average everyday-light=0.6 runs/a/model.safetensors=0.4 -o better.safetensors
    """
    need(TRAINING, "averaging weights", "train")
    from densewatch.models.checkpoint import CheckpointError
    from densewatch.training.averaging import Part, average

    try:
        info = average([Part(Path(source), share) for source, share in map(_part, parts)], output)
    except (CheckpointError, OSError) as error:
        stop(error, SOME_FAILED)
    except ValueError as error:
        stop(error)
    say(f"wrote {output}: {info.name}, the average of {counted(len(parts), 'network')}")


def _part(text: str) -> tuple[str, float]:
    """Return source and share of `MODEL=SHARE`; a `=` that no number follows belongs to the name."""
    source, _, share = text.rpartition("=")
    try:
        return source, float(share)
    except ValueError:
        return text, 1.0


@app.command("cache")
def cache(
    clear: Annotated[
        bool, typer.Option("--clear", help="Delete them; the next start of each model compiles it again.")
    ] = False,
    output_format: FormatOption = "table",
) -> None:
    """Show where compiled networks are kept, and how much room they take.

    OpenVINO compiles a network when a model is loaded for the first time, and TensorRT for each new size of
    picture; later starts take what is kept. A model file that has changed or gone leaves its compiled
    networks behind: --clear is always safe.

    \b
    Examples:
      densewatch models cache
      densewatch models cache --clear
    """
    from densewatch.runtime.model_file import compiled_dir

    folder = compiled_dir()
    if clear:
        _empty(folder)
    networks = [path for path in folder.glob("*") if path.is_dir()]
    size = _size(folder)
    if output_format == "json":
        document = {"folder": str(folder), "networks": len(networks), "bytes": size}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return
    sys.stdout.write(f"{folder}\n{counted(len(networks), 'compiled network')}, {size / 1e6:.1f} MB\n")


def _empty(folder: Path) -> None:
    size = _size(folder)
    try:
        if folder.exists():
            shutil.rmtree(folder)
    except OSError as error:
        stop(f"{folder} cannot be emptied: {error.strerror or error}", SOME_FAILED)
    say(f"deleted {size / 1e6:.1f} MB")


def _size(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _convert(
    weights: Path,
    model_file: Path,
    toolkit: Toolkit | None,
    style: Style | None = None,
    names: str | None = None,
) -> None:
    """Turn somebody else's weights into a model file, and say where it is."""
    from densewatch.runtime.engine import EngineError

    need(EXPORTING, "converting weights", "export")
    say("converting the weights, and comparing the boxes with PyTorch's")
    from densewatch.export.foreign_import import convert_weights

    try:
        info, notes = convert_weights(weights, model_file, toolkit, style, names)
    except (ValueError, OSError, EngineError) as error:  # an ExportError is a ValueError
        stop(error, SOME_FAILED)
    for note in notes:
        say(f"{weights}: {note}")
    say(f"wrote {model_file}: {info.name}, {counted(len(info.classes), 'class output')}")


def _download(remote: RemoteFile, path: Path) -> Path:
    from rich.progress import DownloadColumn, TransferSpeedColumn

    from densewatch.hub import download

    with progress_bar(remote.name, None, columns=(DownloadColumn(), TransferSpeedColumn())) as bar:
        return download(remote, path, on_progress=bar.move_to)


def _print_info(path: Path, description: ModelInfo) -> None:
    """Print everything that the file says, for people."""
    from densewatch.cli.model_facts import CUT, fact_lines
    from densewatch.cli.writers import results_console

    console = results_console(sys.stdout)
    lines = list(fact_lines(path, description))
    for line in lines:
        console.print(line, soft_wrap=True)
    if any(line.endswith(CUT) for line in lines):
        say(f"what ends in {CUT} is cut; --format json has it whole")
