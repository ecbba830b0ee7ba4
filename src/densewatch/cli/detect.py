"""`densewatch detect`: photos in, objects out."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

from densewatch.cli.console import SOME_FAILED, ProgressBar, progress_bar, report_error, say, stop, warn
from densewatch.cli.inputs import choose_inputs
from densewatch.cli.options import (
    EngineOption,
    IouOption,
    ModelOption,
    PrecisionOption,
    ThreadsOption,
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
    from densewatch.runtime.detector import Detector


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
    model: ModelOption = None,
    engine: EngineOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = "auto",
) -> None:
    """Find every object in photos.

    Results go to standard output, everything else to standard error. The exit code is 0 when all pictures
    were done, 1 when some failed (each is named, the others are done), 2 when the command makes no sense,
    130 after Ctrl-C (what was done by then is written).

    \b
    Examples:
      densewatch detect photo.jpg
      densewatch detect hall/ --only person,chair --save annotated/
      densewatch detect 'shop/**/*.jpg' --threshold 0.3 --format csv > objects.csv
      curl -s https://example.org/street.jpg | densewatch detect - --format json
    """
    items = choose_inputs(sources, save)
    detector = load_detector(model, engine, threads, precision)
    settings = _Settings(threshold, iou, _class_names(only, detector.names), max_detections, max_pixels)
    run = _Run(detector, settings, items, save)
    writer = create_writer(output_format, detector.info, sys.stdout)
    try:
        with progress_bar("detecting", len(items)) as bar:
            failed = run.write_to(writer, bar)
    except KeyboardInterrupt:
        writer.finish()
        raise
    writer.finish()
    if save is not None and run.saved:
        say(f"{counted(len(run.saved), 'annotated picture')} in {save}")
    if failed:
        raise typer.Exit(SOME_FAILED)


@dataclass(frozen=True)
class _Settings:
    """What counts as a result; None leaves the choice to the model."""

    threshold: float | None
    iou: float | None
    only: Sequence[str] | None
    max_detections: int | None
    max_pixels: int | None


class _Run:
    """One pass over the pictures."""

    def __init__(
        self,
        detector: Detector,
        settings: _Settings,
        items: Sequence[Source | SourceError],
        save: Path | None,
    ) -> None:
        self._detector = detector
        self._settings = settings
        self._items = items
        self._folder = save
        files = (item.path for item in items if not isinstance(item, Exception))
        self._inputs = {path for path in files if path is not None}
        self.saved: set[Path] = set()

    def write_to(self, writer: Writer, bar: ProgressBar) -> int:
        """Do every picture, and return how many could not be done."""
        from densewatch.imaging.read import ImageError
        from densewatch.runtime.engines import EngineError

        failed = 0
        for position, item in enumerate(self._items, start=1):
            try:
                report, image = self._find(position, item)
            except (ImageError, EngineError, MemoryError) as error:
                sentence = _why(item, error)
                report_error(sentence)
                with bar.aside():
                    writer.fail(item.name, sentence)
                failed += 1
            else:
                with bar.aside():
                    writer.add(report)
                failed += not self._draw(report, image)
            bar.advance()
        return failed

    def _find(self, position: int, item: Source | SourceError) -> tuple[PictureReport, npt.NDArray[np.uint8]]:
        """Return what was found in a picture, and the picture itself."""
        if isinstance(item, Exception):
            raise item
        start = perf_counter()
        limit = self._settings.max_pixels
        image = item.read() if limit is None else item.read(max_pixels=limit)
        read_ms = (perf_counter() - start) * 1000
        detections, timing = self._detector.detect_timed(
            image,
            threshold=self._settings.threshold,
            iou=self._settings.iou,
            only=self._settings.only,
            max_detections=self._settings.max_detections,
        )
        if detections.saturated:
            warn(f"{item.name}: {self._what_cut(detections)}")
        return PictureReport(position, item.name, detections, replace(timing, read_ms=read_ms)), image

    def _what_cut(self, detections: Detections) -> str:
        """Say which limit cut objects that passed the threshold, and what to do about it."""
        most = self._settings.max_detections
        if most is not None and len(detections) == most:
            return (
                f"--max-detections {most} cut objects that passed the threshold; a larger number shows more"
            )
        return (
            f"the model file passes on {topk_in_words(self._detector.info)}, and more may have passed the "
            "threshold; raise --threshold, or export the model with a larger --topk"
        )

    def _draw(self, report: PictureReport, image: npt.NDArray[np.uint8]) -> bool:
        """Write the picture with boxes where that is wanted; return whether all went well."""
        if self._folder is None:
            return True
        from densewatch.imaging.draw import annotated_path, draw, save_image

        try:
            path = annotated_path(report.source, self._folder, self.saved, self._inputs)
            save_image(path, draw(image, report.detections))
        except OSError as error:
            report_error(error)
            return False
        except MemoryError:
            report_error(f"{report.source}: there is not enough memory to draw this picture")
            return False
        self.saved.add(path)
        return True


def _why(item: Source | SourceError, error: Exception) -> str:
    """Return the sentence that names a picture and what went wrong with it."""
    from densewatch.imaging.read import ImageError

    if isinstance(error, ImageError):
        return str(error)
    reason = "there is not enough memory for this picture" if isinstance(error, MemoryError) else str(error)
    return f"{item.name}: {reason}"


def _class_names(only: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...] | None:
    """Split `person,chair`, and check the names before any picture is touched."""
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
