"""`densewatch detect`: photos in, objects out."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from densewatch.cli.console import SOME_FAILED, ProgressBar, progress_bar, report_error, say, warn
from densewatch.cli.inputs import choose_inputs
from densewatch.cli.options import (
    BatchOption,
    DeadlineOption,
    DeviceOption,
    EngineOption,
    IouOption,
    ModelOption,
    NmsOption,
    PrecisionOption,
    ThreadsOption,
    TilesOption,
    check_tiles,
    class_names,
    deadline_ms,
    load_detector,
)
from densewatch.cli.reports import PictureReport, counted, topk_in_words
from densewatch.cli.writers import DetectFormat, Writer, create_writer

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from densewatch.detections import Detections
    from densewatch.imaging.sources import Source, SourceError
    from densewatch.runtime.detector import Detector, Settings


def detect(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Photos, folders, globs such as 'shop/**/*.jpg', http(s) URLs, or - for standard input.",
            show_default=False,
        ),
    ],
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            metavar="0..1",
            help="Report objects with at least this score.",
            show_default="the model's own, usually 0.5",
        ),
    ] = None,
    iou: IouOption = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAMES", help="Report these classes alone, such as person,chair.", show_default=False
        ),
    ] = None,
    max_detections: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Report at most the N best of each picture.", show_default="no limit"
        ),
    ] = None,
    output_format: Annotated[
        DetectFormat, typer.Option("--format", "-f", help="How results are written to standard output.")
    ] = "table",
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            file_okay=False,
            help="Write the pictures with boxes drawn into this folder, which must hold no photos of yours.",
            show_default=False,
        ),
    ] = None,
    max_pixels: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Refuse pictures with more pixels; the limit guards against picture bombs.",
            show_default="200 million",
        ),
    ] = None,
    nms: NmsOption = "greedy",
    tiles: TilesOption = "off",
    deadline: DeadlineOption = None,
    model: ModelOption = None,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = "auto",
    batch: BatchOption = None,
) -> None:
    """Find every object in photos.

    Results go to standard output, everything else to standard error. The exit code is 0 when all pictures
    were done, 1 when some failed (each is named, the others are done), 2 when the command makes no sense,
    130 after Ctrl-C (what was done by then is written).

    \b
    Examples:
      densewatch detect photo.jpg
      densewatch detect hall/ --only person,chair --save annotated/
      densewatch detect stadium.jpg --tiles auto --save annotated/
      densewatch detect gate.jpg --tiles auto --deadline 200ms
      densewatch detect 'shop/**/*.jpg' --threshold 0.3 --format csv > objects.csv
      densewatch detect archive/ --device cuda --batch 16 --format jsonl > objects.jsonl
      curl -s https://example.org/street.jpg | densewatch detect - --format json
    """
    from densewatch.imaging.read import DEFAULT_MAX_PIXELS

    check_tiles(tiles)
    items = choose_inputs(sources, save)
    detector = load_detector(
        model, engine, threads, precision, device=device, batch=batch, pictures=len(items)
    )
    settings: Settings = {
        "threshold": threshold,
        "iou": iou,
        "only": class_names(only, detector.names),
        "max_detections": max_detections,
        "nms": nms,
        "tiles": tiles,
        "deadline_ms": deadline_ms(deadline),
        "max_pixels": max_pixels or DEFAULT_MAX_PIXELS,
    }
    run = _Run(detector, settings)
    writer = create_writer(output_format, detector.info, sys.stdout)
    try:
        with progress_bar("detecting", len(items)) as bar:
            failed = run.write_to(writer, _tasks(items, save), bar)
    except KeyboardInterrupt:
        writer.finish()
        raise
    writer.finish()
    if run.drawn:
        say(f"{counted(run.drawn, 'annotated picture')} in {save}")
    if failed:
        raise typer.Exit(SOME_FAILED)


@dataclass(frozen=True)
class _Task:
    """A picture to do; `target` is where it goes with boxes drawn, or why it can go nowhere, or None."""

    position: int
    item: Source | SourceError
    target: Path | OSError | None


@dataclass(frozen=True)
class _Outcome:
    """What became of a task: a report, unless the picture could not be done, and what went wrong."""

    report: PictureReport | None
    errors: tuple[Exception, ...]


class _Run:
    """One pass over the pictures, several of them at a time."""

    def __init__(self, detector: Detector, settings: Settings) -> None:
        self._detector = detector
        self._settings = settings
        self.drawn = 0

    def write_to(self, writer: Writer, tasks: Sequence[_Task], bar: ProgressBar) -> int:
        """Do every picture, and return how many could not be done, or not be drawn."""
        from densewatch.imaging.threads import one_thread_a_picture
        from densewatch.runtime.in_order import map_in_order

        if len(tasks) > 1:
            one_thread_a_picture()
        failed = 0
        for task, outcome in zip(tasks, map_in_order(self._do, tasks, self._detector.workers), strict=True):
            sentences = [_why(task.item, error) for error in outcome.errors]
            for sentence in sentences:
                report_error(sentence)
            with bar.aside():
                if outcome.report is None:
                    writer.fail(task.item.name, sentences[0])
                else:
                    self._write(writer, outcome.report)
            failed += bool(sentences)
            self.drawn += task.target is not None and not sentences
            bar.advance()
        return failed

    def _write(self, writer: Writer, report: PictureReport) -> None:
        if report.detections.saturated:
            warn(f"{report.source}: {self._what_cut(report.detections)}")
        if report.timing.left_out is not None:
            warn(f"{report.source}: the deadline left no time for {report.timing.left_out}")
        writer.add(report)

    def _what_cut(self, detections: Detections) -> str:
        """Say which limit cut objects that passed the threshold, and what to do about it."""
        most = self._settings["max_detections"]
        if most is not None and len(detections) == most:
            return (
                f"--max-detections {most} cut objects that passed the threshold; a larger number shows more"
            )
        return (
            f"the model file passes on {topk_in_words(self._detector.info)}, and more may have passed the "
            "threshold; raise --threshold, or export the model with a larger --topk"
        )

    def _do(self, task: _Task) -> _Outcome:
        """Read a picture, find its objects, draw them; this runs in several threads."""
        from densewatch.imaging.read import ImageError
        from densewatch.runtime.engine import EngineError
        from densewatch.runtime.tiles import TilesError

        try:
            report, image = self._find(task)
        except (ImageError, EngineError, TilesError, MemoryError) as error:
            return _Outcome(None, (error,))
        try:
            if image is not None:
                _draw(image, report, task.target)
        except (OSError, MemoryError) as error:
            return _Outcome(report, (error,))
        return _Outcome(report, ())

    def _find(self, task: _Task) -> tuple[PictureReport, npt.NDArray[np.uint8] | None]:
        """Return what was found in a picture, and the picture itself where it is to be drawn."""
        if isinstance(task.item, Exception):
            raise task.item
        if task.target is None:  # the detector reads large photos at a reduced size
            detections, timing = self._detector.detect_timed(task.item, **self._settings)
            return PictureReport(task.position, task.item.name, detections, timing), None
        start = perf_counter()
        image = task.item.read(max_pixels=self._settings["max_pixels"])
        read_ms = (perf_counter() - start) * 1000
        detections, timing = self._detector.detect_timed(image, **self._settings)
        timing = replace(timing, read_ms=read_ms)
        return PictureReport(task.position, task.item.name, detections, timing), image


def _tasks(items: Sequence[Source | SourceError], folder: Path | None) -> list[_Task]:
    """Number the pictures, and decide where each goes with boxes drawn; none goes over another."""
    from densewatch.imaging.save import annotated_path

    inputs = {item.path for item in items if not isinstance(item, Exception) and item.path is not None}
    taken: set[Path] = set()
    tasks = []
    for position, item in enumerate(items, start=1):
        target: Path | OSError | None = None
        if folder is not None and not isinstance(item, Exception):
            try:
                target = annotated_path(item.name, folder, taken, inputs)
                taken.add(target)
            except OSError as error:
                target = error
        tasks.append(_Task(position, item, target))
    return tasks


def _draw(image: npt.NDArray[np.uint8], report: PictureReport, target: Path | OSError | None) -> None:
    """Write the picture with boxes where that is wanted."""
    from densewatch.imaging.draw import draw
    from densewatch.imaging.save import save_image

    if isinstance(target, OSError):
        raise target
    assert target is not None
    save_image(target, draw(image, report.detections))


def _why(item: Source | SourceError, error: Exception) -> str:
    """Return the sentence that names a picture and what went wrong with it."""
    from densewatch.imaging.read import ImageError

    if isinstance(error, ImageError):
        return str(error)
    reason = "there is not enough memory for this picture" if isinstance(error, MemoryError) else str(error)
    return f"{item.name}: {reason}"
