"""`densewatch watch`: cameras in, a live table, lines of JSON, or a site with its dashboard."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from densewatch.cli.console import SOME_FAILED, stop
from densewatch.cli.options import (
    DeviceOption,
    EngineOption,
    ModelOption,
    PrecisionOption,
    ThreadsOption,
    TilesOption,
    check_tiles,
    class_names,
    load_detector,
)
from densewatch.extras import how_to_install

if TYPE_CHECKING:
    from pathlib import Path

WatchFormat = Literal["table", "jsonl"]
_OF_A_SITE = ("sources", "output_format", "frames", "seconds", "serve", "port", "check")
"""What may be said of a site on the command line; all else stands in its file."""


def _print_schema(wanted: bool) -> None:
    if wanted:
        from densewatch.site.settings import SiteSettings

        typer.echo(json.dumps(SiteSettings.model_json_schema(), indent=2))
        raise typer.Exit


def watch(
    context: typer.Context,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE|CONFIG.yaml",
            help="Cameras (rtsp://, http://, /dev/video0), video files, folders of pictures, or `demo`, "
            "which needs no camera; or the YAML file of a site.",
            show_default=False,
        ),
    ],
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=1.0,
            metavar="0..1",
            help="Count objects with at least this score.",
            show_default="the model's own, usually 0.5",
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAMES", help="Count these classes alone, such as person,chair.", show_default=False
        ),
    ] = None,
    output_format: Annotated[
        WatchFormat, typer.Option("--format", "-f", help="A table that lives, or a line of JSON a frame.")
    ] = "table",
    frames: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Stop after N frames.", show_default="never")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.1, metavar="N", help="Stop after N seconds.", show_default="never")
    ] = None,
    max_fps: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            metavar="N",
            help="Look at no more frames a second.",
            show_default="all that time allows",
        ),
    ] = None,
    realtime: Annotated[
        bool,
        typer.Option(
            "--realtime",
            help="Play files as a camera would, over and over, newest frame first; else every frame of them "
            "is looked at, once.",
        ),
    ] = False,
    tiles: TilesOption = "off",
    serve: Annotated[
        bool | None,
        typer.Option(
            "--serve/--no-serve", help="Show a dashboard in the browser.", show_default="only for a site"
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Of the dashboard; 0 takes a free one.", show_default="8000"),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Check the file of a site, and leave; no camera is opened.")
    ] = False,
    schema: Annotated[  # noqa: ARG001 - its callback has answered it
        bool,
        typer.Option(
            "--schema",
            is_eager=True,
            callback=_print_schema,
            help="Print the JSON Schema of a site's file, for editors, and leave.",
        ),
    ] = False,
    model: ModelOption = None,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = "auto",
) -> None:
    """Watch cameras: find, follow and count what they see, as it happens.

    Results go to standard output, everything else to standard error. A camera that goes away is `lost`, which
    is no data and never 0 objects, and is tried again for ever. The exit code is 0 when all sources were
    seen, 1 when one could not be, 2 when the command makes no sense, 130 after Ctrl-C.

    \b
    Examples:
      densewatch watch demo
      densewatch watch demo --serve
      densewatch watch rtsp://camera.example/stream --only person
      densewatch watch /dev/video0 --max-fps 5
      densewatch watch hall.mp4 --format jsonl > hall.jsonl
      densewatch watch site.yaml --check
      densewatch watch site.yaml
    """
    check_tiles(tiles)
    try:
        from densewatch.cli import watch_start
    except ImportError as error:
        stop(f"watching needs {error.name or error}: {how_to_install('live')}")
    from densewatch.cli.watch_sources import Flags, site_file

    with watch_start.said_plainly():
        site = site_file(sources)
        if check and site is None:
            stop("--check is for the YAML file of a site")
        if site is not None:
            _refuse_flags(context, site)
        if site is not None and check:
            watch_start.check_site(site)
            return
        run = watch_start.new_run(output_format, frames, seconds)
        if site is not None:
            seen = watch_start.watch_site(site, run, serve=serve is not False, port=port)
        else:
            detector = load_detector(model, engine, threads, precision, device=device, streams=len(sources))
            flags = Flags(threshold, class_names(only, detector.names), max_fps, tiles, realtime)
            seen = watch_start.watch_sources(sources, flags, detector, run, serve=bool(serve), port=port)
    if not seen:
        raise typer.Exit(SOME_FAILED)


def _refuse_flags(context: typer.Context, site: Path) -> None:
    """End the program where a flag says what the file of the site has to say."""
    for name in context.params:
        if name not in _OF_A_SITE and _typed(context, name):
            stop(f"--{name.replace('_', '-')} is not for a site: set it in {site}")


def _typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
