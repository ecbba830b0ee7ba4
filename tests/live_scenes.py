"""Scenes of known truth: what a detector might say of objects that move, with noise, misses and ghosts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from densewatch.detections import Detections
from densewatch.live.analysis import Analysed
from densewatch.live.results import FrameResult

NAMES = ("person", "chair", "car", "truck")
SIZE = (480, 640)
START = 1_700_000_040.0  # a multiple of 60, so that minutes are easy to read
BLACK = np.zeros((48, 64, 3), np.uint8)

Row = tuple[str, float, Sequence[float]]
"""Class name, score, box xyxy as shares of the picture."""


def detections(*rows: Row, size: tuple[int, int] = SIZE) -> Detections:
    """Return detections from relative boxes."""
    height, width = size
    boxes = np.array([box for _, _, box in rows], np.float64).reshape(-1, 4) * (width, height, width, height)
    labels = [NAMES.index(name) for name, _, _ in rows]
    scores = [score for _, score, _ in rows]
    return Detections(
        boxes.astype(np.float32), np.array(scores, np.float32), np.array(labels, np.int64), NAMES, size
    )


def around(
    x: float, y: float, width: float = 0.08, height: float = 0.25
) -> tuple[float, float, float, float]:
    """Return a box around a centre."""
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


@dataclass(frozen=True)
class Walker:
    """Moves straight from one centre to another, then is gone; what is outside the picture is not seen."""

    begins: float
    seconds: float
    start: tuple[float, float]
    end: tuple[float, float]
    name: str = "person"

    def box(self, second: float) -> tuple[float, float, float, float] | None:
        """Return where it is, None where it is not there."""
        share = (second - self.begins) / self.seconds
        if not 0 <= share < 1:
            return None
        x, y = (a + (b - a) * share for a, b in zip(self.start, self.end, strict=True))
        return around(x, y)


@dataclass(frozen=True)
class Noise:
    """How bad the detector is.

    Attributes:
        miss: share of objects that it misses in a frame.
        weak: share that it sees with a score below the threshold.
        shake: of a box's sides, as a share of them.
        ghosts: boxes of nothing, a frame.
    """

    miss: float = 0.0
    weak: float = 0.0
    shake: float = 0.0
    ghosts: float = 0.0


def play(
    walkers: Sequence[Walker], seconds: float, fps: float, noise: Noise | None = None, seed: int = 0
) -> Iterator[tuple[float, Detections]]:
    """Give capture times and what a detector says."""
    noise = noise or Noise()
    random = np.random.default_rng(seed)
    for frame in range(round(seconds * fps)):
        second = frame / fps
        rows: list[Row] = []
        for walker in walkers:
            box = walker.box(second)
            if box is None or random.random() < noise.miss:
                continue
            visible = _shaken(box, noise.shake, random)
            if visible[2] - visible[0] < 0.02:
                continue
            low = random.random() < noise.weak
            score = random.uniform(0.35, 0.49) if low else random.uniform(0.6, 0.9)
            rows.append((walker.name, score, visible))
        for _ in range(random.poisson(noise.ghosts)):
            ghost = around(random.uniform(0.1, 0.9), random.uniform(0.2, 0.8))
            rows.append((NAMES[random.integers(len(NAMES))], random.uniform(0.5, 0.8), ghost))
        yield START + second, detections(*rows)


def _shaken(box: Sequence[float], shake: float, random: np.random.Generator) -> Sequence[float]:
    left, top, right, bottom = box
    sides = np.array([right - left, bottom - top, right - left, bottom - top])
    moved = np.array(box) + random.normal(0, shake, 4) * sides
    return [min(max(float(side), 0.0), 1.0) for side in moved]


def result(
    analysed: Analysed, time: float, frame: int = 0, image: npt.NDArray[np.uint8] = BLACK
) -> FrameResult:
    """Return the loop's result of a frame."""
    return FrameResult(
        camera="door",
        frame=frame,
        time=time,
        time_source="pts",
        age_ms=0.0,
        stale=False,
        detections=analysed.detections,
        counts=analysed.counts,
        zones=analysed.zones,
        lines=analysed.lines,
        crossings=analysed.crossings,
        image=image,
        dwell_s=analysed.dwell_s,
    )
