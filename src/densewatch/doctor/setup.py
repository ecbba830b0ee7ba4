"""What a network, a size of pictures and limits mean for a data set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from densewatch.doctor.ceiling import Ceiling, Limits, ceiling
from densewatch.doctor.coverage import Coverage, cover
from densewatch.doctor.objects import Ints, Objects, Scaled
from densewatch.metadata import ResizePolicy
from densewatch.models.config import RetinaNetConfig


@dataclass(frozen=True)
class Setup:
    """What is to be trained and used.

    Attributes:
        config: of the network.
        policy: how pictures are prepared.
        limits: what cuts results.
        min_side_px: training ignores objects with a shorter side, in pixels of the network's input.
        topk: how many candidates each level passes on, finest first; None where no model file says it yet.
    """

    config: RetinaNetConfig
    policy: ResizePolicy
    limits: Limits
    min_side_px: float = 0.0
    topk: tuple[int, ...] | None = None

    @property
    def level_names(self) -> tuple[str, ...]:
        """`P3` … `P7`, finest first."""
        return tuple(f"P{stride.bit_length() - 1}" for stride in self.config.pyramid.strides)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a setup means for a data set.

    Attributes:
        scaled: the objects as the network sees them.
        coverage: which of them have anchors.
        by_iou: the ceiling where anchors learn objects by their IoU alone.
        as_trained: the ceiling where training's own rule decides, with low-quality matches if it has them.
        anchors: that a picture has on average.
    """

    scaled: Scaled
    coverage: Coverage
    by_iou: Ceiling
    as_trained: Ceiling
    anchors: float

    @property
    def uncovered(self) -> int:
        """How many objects that training does not ignore have no anchor at `foreground_iou`."""
        return int(self.coverage.uncovered.sum())

    @property
    def mean_best_iou(self) -> float | None:
        """IoU of the best anchors, averaged over the objects that are not ignored; None without any."""
        taught = self.coverage.best_iou[~self.coverage.ignored]
        return float(taught.mean()) if len(taught) else None


def examine(objects: Objects, setup: Setup) -> Outcome:
    """Return what a setup means for objects."""
    scaled = Scaled.of(objects, setup.policy)
    coverage = cover(scaled, setup.config, setup.min_side_px)
    return conclude(scaled, coverage, setup, anchors_per_picture(scaled.inputs, setup.config))


def conclude(scaled: Scaled, coverage: Coverage, setup: Setup, anchors: float) -> Outcome:
    """Return the outcome of a coverage that is known already; `anchors` are those of a picture."""
    by_iou = ceiling(scaled, coverage.place, setup.limits)
    as_trained = by_iou
    if setup.config.loss.low_quality_matches:
        as_trained = ceiling(scaled, coverage.low_quality_place, setup.limits)
    return Outcome(scaled, coverage, by_iou, as_trained, anchors)


def anchors_per_picture(inputs: Ints, config: RetinaNetConfig) -> float:
    """Return how many anchors a picture has on average; `inputs` int64 [P, 2] are padded sizes."""
    if not len(inputs):
        return 0.0
    cells = sum(np.prod(-(-inputs // stride), axis=1) for stride in config.pyramid.strides)
    return float(np.mean(cells) * config.anchors.per_cell)
