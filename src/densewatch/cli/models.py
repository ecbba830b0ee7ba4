"""`densewatch models`: what models there are, what a model file says of itself, and how to get more."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from densewatch.cli.console import SOME_FAILED, progress_bar, say, stop
from densewatch.suggest import suggest

if TYPE_CHECKING:
    from densewatch.hub import RemoteFile
    from densewatch.metadata import ModelInfo

_TORCHVISION = "torchvision:"

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="List, inspect, fetch and convert models."
)

FormatOption = Annotated[
    Literal["table", "json"],
    typer.Option("--format", "-f", help="How the answer is written to standard output."),
]


@app.command("list")
def list_models(output_format: FormatOption = "table") -> None:
    """List embedded, pulled and published models.

    \b
    Examples:
      densewatch models list
      densewatch models list --format json
    """
    rows = _known_models()
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
    from densewatch.runtime.model_file import find_model, read_info

    try:
        path = find_model(model)
        description = read_info(path)
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
    goes on where it stopped. Converting needs PyTorch: pip install 'densewatch[export]'.

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
    _convert(published.architecture, weights, model_file)


@app.command("import")
def import_model(
    source: Annotated[
        str,
        typer.Argument(
            metavar="torchvision:NAME", help="Whose weights, and of which network.", show_default=False
        ),
    ],
    weights: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", exists=True, dir_okay=False, help="The weights, .pth.", show_default=False
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE.onnx", help="The model file to write.", show_default="NAME.onnx"
        ),
    ] = None,
) -> None:
    """Convert another toolkit's weights to a model file.

    They are read without running any code in them, and the model file is written only after its boxes were
    compared with the original's. Needs PyTorch: pip install 'densewatch[export]'.

    \b
    Examples:
      densewatch models import torchvision:retinanet_resnet50_fpn_v2 weights.pth
      densewatch models import torchvision:retinanet_resnet50_fpn mine.pth --output mine.onnx
    """
    from densewatch.hub import PUBLISHED_MODELS

    importable = [_TORCHVISION + model.architecture for model in PUBLISHED_MODELS.values()]
    if source not in importable:
        stop(f"{source!r} cannot be imported: {suggest(source, importable)}")
    architecture = source.removeprefix(_TORCHVISION)
    _convert(architecture, weights, output or Path(f"{architecture}.onnx"))


def _convert(architecture: str, weights: Path, model_file: Path) -> None:
    """Turn torchvision's weights into a model file, and say where it is."""
    from densewatch.runtime.engines import EngineError

    try:
        from densewatch.export.torchvision_import import convert_torchvision
    except ImportError as error:
        stop(f"converting weights needs PyTorch ({error}): pip install 'densewatch[export]'", SOME_FAILED)
    try:
        convert_torchvision(architecture, weights, model_file)
    except (ValueError, OSError, EngineError) as error:  # an ExportError is a ValueError
        stop(error, SOME_FAILED)
    say(f"wrote {model_file}")


def _download(remote: RemoteFile, path: Path) -> Path:
    from rich.progress import DownloadColumn, TransferSpeedColumn

    from densewatch.hub import download

    with progress_bar(remote.name, None, columns=(DownloadColumn(), TransferSpeedColumn())) as bar:
        return download(remote, path, on_progress=bar.move_to)


def _known_models() -> list[dict[str, str]]:
    """Return `{"name", "state", "about", "file"}` of each model, the embedded one first."""
    from densewatch.hub import PUBLISHED_MODELS
    from densewatch.runtime.model_file import ModelNotFoundError, embedded_model, models_dir

    rows = []
    try:
        rows.append(_row(embedded_model(), "embedded"))
    except ModelNotFoundError:
        say("this installation carries no embedded model")
    pulled = sorted(models_dir().glob("*.onnx"))
    rows += [_row(path, "pulled", name=path.stem) for path in pulled]
    there = {path.stem for path in pulled}
    rows += [
        {"name": model.name, "state": "can be pulled", "about": model.summary, "file": ""}
        for model in PUBLISHED_MODELS.values()
        if model.name not in there
    ]
    return rows


def _row(path: Path, state: str, name: str | None = None) -> dict[str, str]:
    from densewatch.runtime.model_file import ModelFileError, read_info

    try:
        description = read_info(path)
    except ModelFileError as error:
        return {"name": name or path.stem, "state": "broken", "about": str(error), "file": str(path)}
    about = f"{description.family}, {len(description.classes)} classes, {description.numeric_type}"
    return {"name": name or description.name, "state": state, "about": about, "file": str(path)}


def _print_info(path: Path, description: ModelInfo) -> None:
    """Print one `key  value` line for everything that the file says."""
    from densewatch.cli.writers import results_console

    console = results_console(sys.stdout)
    facts: dict[str, Any] = {"file": path, **description.model_dump(mode="json")}
    facts["classes"] = f"{len(description.classes)}: {', '.join(description.names)}"
    facts["parameters"] = f"{description.parameters:,}"
    for key, value in facts.items():
        text = json.dumps(value) if isinstance(value, dict | list) else str(value)
        console.print(f"{key:<14}  {text}", soft_wrap=True)
