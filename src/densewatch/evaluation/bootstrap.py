"""How sure figures are: bootstrap intervals over pictures.

AP of few objects is biased upwards, and AP of a resampling, which has fewer different ones, is biased
as much again. So the intervals are the basic ones (Davison and Hinkley, "Bootstrap Methods and their
Application", 1997, section 5.2): as far as resamplings are off from the data, the data are taken to be off
from the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from densewatch.evaluation.comparison import Floats

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """Where a figure lies with 95 % confidence, as far as these pictures can tell."""

    low: float
    high: float

    def to_list(self) -> list[float]:
        """Return both ends."""
        return [self.low, self.high]


@dataclass(frozen=True)
class Intervals:
    """Intervals of AP and AP50, of all classes and of each; None where there is nothing to measure."""

    ap: Interval | None
    ap50: Interval | None
    class_ap: tuple[Interval | None, ...]
    class_ap50: tuple[Interval | None, ...]


@dataclass(frozen=True)
class Difference:
    """How much a first result set is better than a second one, on the same pictures.

    Attributes:
        value: first less second.
        interval: of the paired difference: both are measured on each resampling of the pictures.
    """

    value: float | None
    interval: Interval | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {"difference": self.value, "interval": self.interval and self.interval.to_list()}


def resample(pictures: int, resamples: int, seed: int) -> Floats:
    """Return how often each picture is drawn when as many as there are are drawn with replacement.

    Args:
        pictures: how many there are.
        resamples: how many times.
        seed: of the random numbers.

    Returns:
        float64 [B, I].
    """
    chances = np.full(pictures, 1 / pictures)
    return np.random.default_rng(seed).multinomial(pictures, chances, size=resamples).astype(np.float64)


def intervals(precisions: Floats, resampled: Floats) -> Intervals:
    """Return the intervals of AP and AP50.

    Args:
        precisions: float64 [T, C], of all pictures; NaN where there is no object.
        resampled: float64 [B, T, C], of resampled ones; a class may be missing in some.
    """
    by_class, by_class50 = precisions.mean(axis=0), precisions[0]
    again, again50 = resampled.mean(axis=1), resampled[:, 0]
    classes = range(precisions.shape[1])
    return Intervals(
        ap=_mean_interval(by_class, again),
        ap50=_mean_interval(by_class50, again50),
        class_ap=tuple(_precision_interval(by_class[label], again[:, label]) for label in classes),
        class_ap50=tuple(_precision_interval(by_class50[label], again50[:, label]) for label in classes),
    )


def ap_difference(first: Floats, second: Floats, resampled: tuple[Floats, Floats] | None) -> Difference:
    """Return how much better a first result set is, in the mean over classes.

    Args:
        first: float64 [C], precision of each class; NaN where there is no object.
        second: likewise.
        resampled: float64 [B, C] of each of both, on the same resamplings. None: no interval is wanted.
    """
    value = None if np.isnan(first).all() else float(np.nanmean(first) - np.nanmean(second))
    if value is None or resampled is None:
        return Difference(value, None)
    again = _mean_over_classes(resampled[0]) - _mean_over_classes(resampled[1])
    return Difference(value, _interval(value, again))


def _mean_over_classes(values: Floats) -> Floats:
    """Return the mean of [B, C] over the classes that are known, float64 [B]; NaN where none is."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        means: Floats = np.where(known, values, 0).sum(axis=1) / known.sum(axis=1)
    return means


def _mean_interval(precisions: Floats, resampled: Floats) -> Interval | None:
    """Return the interval of the mean over classes: [C] and [B, C]."""
    mean = float(_mean_over_classes(precisions[None])[0])
    return _precision_interval(mean, _mean_over_classes(resampled))


def _precision_interval(value: float, resampled: Floats) -> Interval | None:
    """Return the interval of a figure from 0 to 1."""
    found = _interval(value, resampled)
    return found and Interval(max(found.low, 0.0), min(found.high, 1.0))


def _interval(value: float, resampled: Floats) -> Interval | None:
    """Return the basic interval of a figure; None where it is not known."""
    known = resampled[~np.isnan(resampled)]
    if np.isnan(value) or not known.size:
        return None
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(2 * value - high), float(2 * value - low))
