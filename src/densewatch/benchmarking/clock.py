"""Contestants take turns on the same pictures: whatever else the machine does falls on all of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from time import perf_counter

import numpy as np
import numpy.typing as npt

Contestant = Callable[[bytes], Mapping[str, float]]
"""Takes an encoded picture, finds its objects, returns stage → ms; the stage `total` is the whole of it."""

TOTAL = "total"
PERCENTILES = (50, 95, 99)
WARM_UP = 2


@dataclass(frozen=True, eq=False)
class Recording:
    """Every measurement of one contestant.

    Attributes:
        stages: stage → float64 [M], milliseconds, in the order in which they were taken.
    """

    stages: Mapping[str, npt.NDArray[np.float64]]

    @property
    def total_ms(self) -> npt.NDArray[np.float64]:
        """Whole pictures, float64 [M]."""
        return self.stages[TOTAL]

    def summary(self) -> dict[str, dict[str, float]]:
        """Return `{stage: {"p50", "p95", "p99"}}` in milliseconds."""
        return {
            stage: {f"p{percent}": round(float(np.percentile(values, percent)), 3) for percent in PERCENTILES}
            for stage, values in self.stages.items()
        }


@dataclass(frozen=True)
class Comparison:
    """How many times as long a peer took.

    Attributes:
        ratio_of_medians: the peer's median divided by ours.
        median_of_ratios: median over the turns of the peer's time divided by ours in the same turn.
    """

    ratio_of_medians: float
    median_of_ratios: float


def compare(ours: Recording, peer: Recording) -> Comparison:
    """Compare two contestants that took turns."""
    return Comparison(
        ratio_of_medians=round(float(np.median(peer.total_ms) / np.median(ours.total_ms)), 3),
        median_of_ratios=round(float(np.median(peer.total_ms / ours.total_ms)), 3),
    )


def take_turns(
    contestants: Mapping[str, Contestant],
    pictures: Sequence[bytes],
    *,
    runs: int,
    warm_up: int = WARM_UP,
    on_turn: Callable[[], None] | None = None,
) -> dict[str, Recording]:
    """Let every contestant do every picture `runs` times.

    In each turn all contestants do the same picture, one right after the other; who begins changes from turn
    to turn, because the one that begins finds the caches as another's picture left them.

    Args:
        contestants: name → what is measured.
        pictures: encoded pictures.
        runs: how many times each picture is done and counted.
        warm_up: how many times each picture is done before, uncounted.
        on_turn: told after each turn, warm-up included.
    """
    if not contestants or not pictures or runs < 1:
        raise ValueError(
            f"{len(contestants)} contestants, {len(pictures)} pictures, {runs} runs: each must be at least 1"
        )
    turns: dict[str, list[Mapping[str, float]]] = {name: [] for name in contestants}
    for turn, picture in enumerate(picture for _ in range(warm_up + runs) for picture in pictures):
        for name in _order(list(contestants), turn):
            turns[name].append(contestants[name](picture))
        if on_turn is not None:
            on_turn()
    return {
        name: _recording(list(islice(taken, warm_up * len(pictures), None))) for name, taken in turns.items()
    }


def pictures_per_second(
    work: Callable[[Sequence[bytes]], object], pictures: Sequence[bytes], seconds: float = 2.0
) -> float:
    """Return how many pictures a second are done when all are given at once.

    Args:
        work: does all the pictures that it is given.
        pictures: encoded; they are repeated until the clock is worth reading.
        seconds: to measure for, about.
    """
    count = 4 * len(pictures)
    while True:
        start = perf_counter()
        work([picture for _, picture in zip(range(count), cycle(pictures), strict=False)])
        elapsed = perf_counter() - start
        if elapsed >= seconds / 2:
            return count / elapsed
        count = max(2 * count, math.ceil(count * seconds / elapsed))


def _order(names: list[str], turn: int) -> list[str]:
    first = turn % len(names)
    return names[first:] + names[:first]


def _recording(turns: Sequence[Mapping[str, float]]) -> Recording:
    return Recording({stage: np.array([turn[stage] for turn in turns]) for stage in turns[0]})
