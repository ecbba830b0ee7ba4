"""The learning-rate finder: on curves that are known, and on a network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from densewatch.training.find_lr import Point, find_learning_rate, grid, suggest_rate
from densewatch.training.loop import Trainer
from densewatch.training.settings import TrainingError
from drawn_scenes import draw_scenes
from tiny_training import tiny_settings

RATES = np.logspace(-6, 0, 100)


def curve(losses: np.ndarray) -> list[Point]:
    return [Point(float(lr), float(loss)) for lr, loss in zip(RATES, losses, strict=True)]


def test_the_rate_is_a_tenth_of_the_lowest_loss_or_where_it_falls_fastest() -> None:
    """A loss that falls by a logistic curve around 1e-3 and explodes at 0.1."""
    exponents = np.log10(RATES)
    falling = 2 - 1 / (1 + np.exp(-4 * (exponents + 3)))
    exploding = np.exp(6 * (exponents + 1))
    assert suggest_rate(curve(falling + exploding)) == pytest.approx(1e-3, rel=0.2)
    late = 2 - 0.5 / (1 + np.exp(-8 * (exponents + 1.2)))
    points = curve(late)
    lowest = min(points, key=lambda point: point.loss).lr
    assert suggest_rate(points) <= lowest / 10 + 1e-9


@pytest.mark.parametrize("losses", [np.linspace(1, 2, 100), np.full(100, np.nan)])
def test_a_loss_that_never_falls_is_said(losses: np.ndarray) -> None:
    with pytest.raises(TrainingError, match="look at the data and weights"):
        suggest_rate(curve(losses))


def test_a_network_is_tried_and_its_parts_keep_their_share(tmp_path: Path) -> None:
    scenes = draw_scenes(tmp_path, count=8, size=64, shapes=(1, 5))
    trainer = Trainer(tiny_settings(scenes, backbone_lr=0.25, lr=0.5))
    seen: list[int] = []
    found = find_learning_rate(trainer, 40, seen.append)
    assert seen == list(range(1, len(found.points) + 1))
    rates = [point.lr for point in found.points]
    assert rates[0] == pytest.approx(1e-6)
    assert rates == sorted(rates)
    assert 1e-6 < found.suggested < 1
    last = {group["lr"] / rates[-1] for group in trainer.optimizer.param_groups}
    assert sorted(last) == pytest.approx([0.25, 1.0])
    assert len(grid(found, 5)) == 5
    assert not (trainer.folder / "model.safetensors").exists()
