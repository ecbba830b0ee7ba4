"""Which learning rate: a short run in which it rises (Smith, arXiv 1506.01186, section 3.3)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from densewatch.training.batches import StepSampler, make_loader
from densewatch.training.gradients import add_gradients
from densewatch.training.loop import Trainer
from densewatch.training.settings import TrainingError

_LOWEST, _HIGHEST = 1e-6, 1.0
_SMOOTHING = 0.9
_DIVERGED = 3.0
"""The run ends where the smoothed loss is so many times the lowest one."""
_SKIPPED = 0.1
"""Share of the steps at the beginning whose smoothed loss still hangs on the first few batches."""


@dataclass(frozen=True)
class Point:
    """One step: the learning rate, and the loss, smoothed over the steps before."""

    lr: float
    loss: float


@dataclass(frozen=True)
class Found:
    """What a run with a rising learning rate shows.

    Attributes:
        points: one a step.
        suggested: a tenth of the rate at which the loss was lowest, and no higher than where it fell fastest.
    """

    points: tuple[Point, ...]
    suggested: float


def find_learning_rate(
    trainer: Trainer, steps: int = 100, report: Callable[[int], None] = lambda _: None
) -> Found:
    """Train with a learning rate that rises from 1e-6 to 1, and see how the loss takes it.

    The trainer's network is spoilt by it. Parts that have a share of the learning rate keep it.

    Args:
        trainer: new; its folder gets nothing more.
        steps: at most; fewer where the loss explodes.
        report: is told how many steps are done.

    Raises:
        TrainingError: the loss is not finite from the start, or never falls.
        DataError: a picture cannot be read.
    """
    settings, optimizer = trainer.settings, trainer.optimizer
    sampler = StepSampler(
        len(trainer.train_data), settings.batch, settings.imgsz, settings.seed, 0, steps,
        repeats=trainer.repeats, augment=settings.augment,
    )  # fmt: skip
    loader = make_loader(
        trainer.train_data, sampler, settings.augment, settings.workers, trainer.open_cache()
    )
    shares = [group["initial_lr"] / settings.lr for group in optimizer.param_groups]
    points: list[Point] = []
    average = 0.0
    for step, batch in enumerate(loader):
        lr = _LOWEST * (_HIGHEST / _LOWEST) ** (step / (steps - 1))
        for group, share in zip(optimizer.param_groups, shares, strict=True):
            group["lr"] = lr * share
        trainer.set_training_mode()
        optimizer.zero_grad()
        loss = add_gradients(trainer.fabric, trainer.network, trainer.criterion, batch, settings.accumulate)
        trainer.clip_gradients()
        optimizer.step()
        average = _SMOOTHING * average + (1 - _SMOOTHING) * float(loss.total)
        points.append(Point(lr, average / (1 - _SMOOTHING ** (step + 1))))
        report(step + 1)
        if not math.isfinite(average) or points[-1].loss > _DIVERGED * min(point.loss for point in points):
            break
    return Found(tuple(points), suggest_rate(points))


def suggest_rate(points: list[Point]) -> float:
    """Return a learning rate to begin with, to two digits.

    Raises:
        TrainingError: the loss never falls.
    """
    finite = [point for point in points if math.isfinite(point.loss)][int(_SKIPPED * len(points)) :]
    if len(finite) < 3:
        raise TrainingError("the loss is not finite at low learning rates: look at the data and weights")
    rates = np.array([point.lr for point in finite])
    losses = np.array([point.loss for point in finite])
    lowest = int(losses.argmin())
    if lowest == 0:
        raise TrainingError("the loss never falls, at no learning rate: look at the data and weights")
    slopes = np.gradient(losses, np.log(rates))[: lowest + 1]
    rate = min(rates[lowest] / 10, rates[int(slopes.argmin())])
    return float(f"{rate:.2g}")


def grid(found: Found, rows: int = 12) -> list[Point]:
    """Return some of the points, evenly spread, for a table."""
    last = len(found.points) - 1
    places = sorted({round(index * last / (rows - 1)) for index in range(rows)})
    return [found.points[place] for place in places]
