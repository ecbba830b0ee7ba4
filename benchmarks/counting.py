"""Count the same scene at several frame rates: tracks, crossings of a line, mean occupancy.

python benchmarks/counting.py [CLIP|demo] [--only person] [--threshold 0.5] [--line X1,Y1,X2,Y2] [--rates 30]

A rate is made by leaving frames out, once from each first frame, so a row shows the least, mean and most.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

import densewatch
from densewatch.benchmarking.machine import describe_machine
from densewatch.detections import Detections
from densewatch.live.analysis import Analysis
from densewatch.live.settings import CameraSettings, LineSettings
from densewatch.live.sources.demo import CYCLE_S, DemoScene

DEMO_FPS = 30
Frames = Sequence[tuple[float, Detections]]


@dataclass(frozen=True)
class Counted:
    tracks: int
    entered: int
    left: int
    occupancy: float


def pictures(source: str) -> Iterator[tuple[float, npt.NDArray[np.uint8]]]:
    """Give the frames of a clip, or of one cycle of the demo, with their times in seconds."""
    if source == "demo":
        scene = DemoScene()
        for frame in range(round(CYCLE_S * DEMO_FPS)):
            yield frame / DEMO_FPS, scene.at(frame / DEMO_FPS)
        return
    import av

    with av.open(source) as container:
        for picture in container.decode(video=0):
            yield float(picture.time or 0), np.asarray(picture.to_ndarray(format="rgb24"), np.uint8)


def count(frames: Frames, settings: CameraSettings, names: Sequence[str]) -> Counted:
    """Count all frames; the occupancy is the mean over time of what was in view."""
    analysis = Analysis("clip", settings, names)
    numbers: set[int] = set()
    seconds = total = 0.0
    before: tuple[float, int] | None = None
    for time, found in frames:
        analysed = analysis.update(found, time)
        numbers |= analysed.dwell_s.keys()
        if before is not None:
            seconds += time - before[0]
            total += (time - before[0]) * before[1]
        before = time, sum(analysed.counts.values())
    line = analysed.lines["line"]
    return Counted(len(numbers), line["in"], line["out"], total / seconds)


def spread(values: Sequence[float]) -> str:
    """Return the mean, and least and most where they differ."""
    mean = statistics.fmean(values)
    if min(values) == max(values):
        return f"{mean:g}" if mean == round(mean) else f"{mean:.3f}"
    return f"{mean:.3f} ({min(values):.4g} to {max(values):.4g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source", nargs="?", default="demo")
    parser.add_argument("--model")
    parser.add_argument("--only", default="person")
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--line", default="0.5,1,0.5,0")
    parser.add_argument("--rates", default="30,10,5,2")
    arguments = parser.parse_args()
    x1, y1, x2, y2 = (float(share) for share in arguments.line.split(","))
    settings = CameraSettings(
        source=arguments.source,
        only=tuple(arguments.only.split(",")),
        threshold=arguments.threshold,
        lines={"line": LineSettings(start=(x1, y1), end=(x2, y2))},
    )
    detector = densewatch.load(arguments.model)
    threshold = Analysis("clip", settings, detector.names).lowest_threshold
    frames = [
        (time, detector.detect(image, threshold=threshold)) for time, image in pictures(arguments.source)
    ]
    fps = (len(frames) - 1) / (frames[-1][0] - frames[0][0])
    machine = describe_machine()
    print(f"{arguments.source}, {len(frames)} frames, {fps:.3g} fps, {detector.info.name}; {machine.cpu}")
    for rate in sorted({float(rate) for rate in arguments.rates.split(",")}, reverse=True):
        step = max(1, round(fps / rate))
        if abs(fps / step - rate) > 0.05 * rate:
            continue
        runs = [count(frames[offset::step], settings, detector.names) for offset in range(step)]
        columns = ("tracks", "entered", "left", "occupancy")
        shown = "  ".join(f"{name} {spread([getattr(run, name) for run in runs])}" for name in columns)
        print(f"{rate:4g} fps: {shown}")


if __name__ == "__main__":
    main()
