"""The options that only `evaluate` has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

DataOption = Annotated[
    Path,
    typer.Option(
        metavar="DATA",
        exists=True,
        help="Labels: COCO JSON, YOLO, Pascal VOC, CSV or Roboflow, a file or a folder.",
        show_default=False,
    ),
]
LimitOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Only the first N pictures.", show_default="all")
]
ThresholdOption = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        metavar="0..1",
        help="Count detections from this score on; low, because AP looks at the whole range of scores.",
        show_default="0.01; with --results, all",
    ),
]
AtOption = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        max=1.0,
        metavar="0..1",
        help="Score from which on an object would be reported: for counts, kinds of errors, confusion.",
        show_default="the model's own threshold, usually 0.5",
    ),
]
MaxDetectionsOption = Annotated[
    int,
    typer.Option(
        min=11,
        metavar="N",
        help="How many detections of one class in one picture count; dense scenes need more than 100. "
        "Names say it: AP@500.",
    ),
]
ResultsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="Measure these detections, COCO results JSON of any detector, instead of a model.",
        show_default=False,
    ),
]
AgainstOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="Other COCO results on the same pictures: how much better AP and AP50 are than theirs.",
        show_default=False,
    ),
]
ResamplesOption = Annotated[
    int,
    typer.Option(min=0, metavar="N", help="Of the pictures, for 95 % intervals; 0 leaves them out."),
]
SeedOption = Annotated[int, typer.Option(min=0, metavar="N", help="Of the resampling.")]
NmsLossesOption = Annotated[
    bool | None,
    typer.Option(
        "--nms-losses/--no-nms-losses",
        help="Find out which objects NMS deletes; each picture is done twice for it.",
        show_default="with --report",
    ),
]
OutputFormatOption = Annotated[
    Literal["table", "json"], typer.Option("--format", "-f", help="How the numbers are written.")
]
ReportOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        file_okay=False,
        help="Write a page with charts and the worst pictures too: DIR/index.html, which needs nothing else.",
        show_default=False,
    ),
]
SaveResultsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        dir_okay=False,
        help="Keep the detections too, as COCO results JSON.",
        show_default=False,
    ),
]
