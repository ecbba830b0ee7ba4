"""`densewatch bench`: how long a picture takes, and how long it takes others."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from densewatch.cli.console import SOME_FAILED, progress_bar, say, stop
from densewatch.cli.options import (
    BatchOption,
    DeviceOption,
    EngineOption,
    ModelOption,
    PrecisionOption,
    ThreadsOption,
    load_detector,
)
from densewatch.extras import how_to_install

if TYPE_CHECKING:
    from collections.abc import Sequence

    from densewatch.benchmarking.report import BenchmarkReport, Peer
    from densewatch.benchmarking.torchvision_peer import TorchvisionPeer
    from densewatch.runtime.detector import Detector

PeerName = Literal[
    "onnxruntime", "openvino", "tensorrt", "torch", "torchvision", "torchvision-v1", "torchvision-v2"
]


def bench(
    pictures: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PICTURE",
            help="Photos, folders, globs or URLs.",
            show_default="a drawn picture of 640×480 px",
        ),
    ] = None,
    runs: Annotated[
        int, typer.Option(min=1, metavar="N", help="How often each picture is done and counted.")
    ] = 20,
    peer: Annotated[
        PeerName | None,
        typer.Option(
            help="Who takes turns with ours: another engine with the same model file, on the CPU or the same "
            "GPU as ours, or torchvision's own RetinaNet (eager PyTorch, random weights), as a rule the "
            "version that the model is nearest to.",
            show_default=False,
        ),
    ] = None,
    output_format: Annotated[
        Literal["table", "json"], typer.Option("--format", "-f", help="How the figures are written.")
    ] = "table",
    model: ModelOption = None,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    precision: PrecisionOption = "auto",
    batch: BatchOption = None,
) -> None:
    """Time the whole way from JPEG bytes to boxes, stage by stage.

    With --peer, both do each picture one right after the other, in one process, on the same number of
    threads, so that whatever else the machine does falls on both.

    \b
    Examples:
      densewatch bench
      densewatch bench photos/ --runs 50 --threads 2 --format json
      densewatch bench street.jpg --peer onnxruntime
      densewatch bench photos/ --device cuda --engine torch --batch 16
      densewatch bench street.jpg --model retinanet-r50-v2 --peer torchvision
    """
    from densewatch.benchmarking.clock import WARM_UP
    from densewatch.benchmarking.engine_peer import EnginePeer
    from densewatch.benchmarking.report import run_benchmark
    from densewatch.loading import find_model_for
    from densewatch.runtime.engine import EngineError

    encoded = _encoded(pictures)

    def load(streams: int) -> Detector:
        return load_detector(model, engine, threads, precision, device=device, batch=batch, streams=streams)

    def make_peer(detector: Detector) -> Peer:
        if peer in ("onnxruntime", "openvino", "tensorrt", "torch"):
            path = str(find_model_for(model, engine=engine, device=device, precision=precision))
            place = _peers_device(peer, detector.engine.device)
            return EnginePeer(load_detector(path, peer, detector.engine.threads, "auto", device=place))
        return _torchvision(peer or "torchvision", detector)

    try:
        with progress_bar("measuring", (WARM_UP + runs) * len(encoded)) as bar:
            report = run_benchmark(
                load, encoded, runs=runs, make_peer=make_peer if peer else None, on_turn=bar.advance
            )
    except EngineError as error:
        stop(error, SOME_FAILED)
    if output_format == "json":
        sys.stdout.write(json.dumps(report.to_dict(), indent=2) + "\n")
    else:
        _print_table(report)


def _peers_device(peer: PeerName, ours: str) -> str:
    """Return where a peer runs: where ours runs, a GPU or the CPU, where the peer can."""
    if peer == "openvino":
        return "cpu"
    place = ours.split()[0]  # without what else an engine says of its GPU
    return "cuda" if peer == "tensorrt" and place == "cpu" else place


def _encoded(pictures: Sequence[str] | None) -> list[bytes]:
    """Return the pictures as they lie on disk; a benchmark with some of them missing would mislead.

    Each is decoded once, so that one that cannot be is named before anything is measured.
    """
    from densewatch.benchmarking.pictures import drawn_picture
    from densewatch.imaging.read import ImageError, read_image
    from densewatch.imaging.sources import SourceError, expand_sources

    if not pictures:
        say("no picture was named: timing a drawn one of 640×480 px")
        return [drawn_picture()]
    encoded = []
    for item in expand_sources(pictures):
        try:
            if isinstance(item, SourceError):
                raise item
            picture = item.read_bytes()
            read_image(picture, name=item.name)
        except ImageError as error:
            stop(error, SOME_FAILED)
        encoded.append(picture)
    return encoded


def _torchvision(name: str, detector: Detector) -> TorchvisionPeer:
    from densewatch.benchmarking.torchvision_peer import TorchvisionPeer, architecture_like

    architectures = {
        "torchvision": architecture_like(detector.info),
        "torchvision-v1": "retinanet_resnet50_fpn",
        "torchvision-v2": "retinanet_resnet50_fpn_v2",
    }
    try:
        return TorchvisionPeer(architectures[name], detector.engine.threads)
    except ImportError as error:
        stop(f"--peer {name} needs torchvision ({error}): {how_to_install('train')}")


def _print_table(report: BenchmarkReport) -> None:
    from densewatch.benchmarking.clock import PERCENTILES
    from densewatch.cli.writers import results_console, results_table

    console = results_console(sys.stdout)
    sets = ", ".join(report.machine.instruction_sets) or "no special instructions"
    lines = {
        "machine": f"{report.machine.cpu} ({sets}), {report.machine.cores} cores",
        "system": report.machine.system,
        "code": report.code,
        "ours": report.model,
        "peer": report.peer,
        "pictures": f"{report.pictures}, each {report.runs} times",
    }
    for key, text in lines.items():
        if text is not None:
            console.print(f"{key:<9} {text}", soft_wrap=True)
    ours, peers = report.ours.summary(), report.peers.summary() if report.peers is not None else None
    whose = ("ours", "peer") if peers is not None else ("ours",)
    headings = ["ms", *(f"{name} p{percent}" for name in whose for percent in PERCENTILES)]
    table = results_table(console, headings, text=["ms"])
    for stage, figures in ours.items():
        row = [*figures.values(), *(peers[stage].values() if peers is not None else [])]
        table.add_row(stage, *(f"{value:.1f}" for value in row))
    console.print(table)
    console.print(
        f"cold: {report.load_ms:.0f} ms to load, {report.first_ms:.0f} ms for the first picture; warm, many "
        f"at once: {report.throughput:.1f} pictures a second; at most {report.peak_memory_mb:.0f} MB",
        soft_wrap=True,
    )
    if report.comparison is not None:
        console.print(
            f"the peer takes {report.comparison.ratio_of_medians:.2f} times as long (ratio of medians; "
            f"median of the turns' ratios {report.comparison.median_of_ratios:.2f})",
            style="bold",
            soft_wrap=True,
        )
