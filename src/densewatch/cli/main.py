"""The command `densewatch`: one file a verb, and this one, which gathers them.

Verbs import what is heavy inside their functions, so that `densewatch --help` and wrong usage answer at once.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from densewatch import __version__
from densewatch.cli import models
from densewatch.cli.bench import bench
from densewatch.cli.console import SOME_FAILED, leave_unread, report_error
from densewatch.cli.convert import convert
from densewatch.cli.detect import detect
from densewatch.cli.doctor import doctor
from densewatch.cli.evaluate import evaluate
from densewatch.cli.export import export
from densewatch.cli.needs import is_misfit
from densewatch.cli.watch import watch


class _Verbs(TyperGroup):
    """Loads `train` when it is asked for: its options are made from a schema, which takes long to import."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), "train"]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name != "train":
            return super().get_command(ctx, cmd_name)
        from densewatch.cli.train import command

        return command


app = typer.Typer(
    name="densewatch",
    cls=_Verbs,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: half the length, and greppable
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("detect")(detect)
app.command("evaluate")(evaluate)
app.command("export")(export)
app.command("convert")(convert)
app.command("doctor")(doctor)
app.command("bench")(bench)
app.command("watch")(watch)
app.add_typer(models.app, name="models")


def _print_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"densewatch {__version__}\n")
        raise typer.Exit


@app.callback()
def densewatch(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and leave."
        ),
    ] = False,
) -> None:
    """Find and count every object in photos of dense scenes; train, measure and export detectors.

    \b
    Examples:
      densewatch detect photo.jpg
      densewatch detect hall/ --only person,chair --save annotated/
      densewatch COMMAND --help
    """


def main() -> None:
    """Run the command line."""
    # A file name may hold bytes that the terminal's encoding has no character for; printing must not fail.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except SystemExit as end:
        leave_unread(end.code)
        raise
    except RuntimeError as error:
        if not is_misfit(error):
            raise
        report_error(
            "torchvision was built for another PyTorch than the one that is installed; install both from the "
            "same place: pip install --force-reinstall torch torchvision"
        )
        sys.exit(SOME_FAILED)
