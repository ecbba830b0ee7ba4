"""Schedule, parameter groups and averaged weights, against values worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from densewatch.models.retinanet import RetinaNet
from densewatch.training.optimisation import average_weights, learning_rate_factor, make_optimizer
from densewatch.training.settings import DataSource, TrainSettings
from tiny_training import TINY_NETWORK


def settings(**changes: Any) -> TrainSettings:
    return TrainSettings(data=(DataSource(annotations=Path("train.json")),), **changes)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 1 / 5),  # four steps of warm-up; the fifth has the whole rate
        (1, 2 / 5),
        (3, 4 / 5),
        (4, 1),
        (59, 1),
        (60, 0.1),
        (79, 0.1),
        (80, 0.01),
        (99, 0.01),
    ],
)
def test_step_schedule(step: int, expected: float) -> None:
    factor = learning_rate_factor(settings(schedule="step", milestones=(0.6, 0.8), warmup=4), 100)
    assert factor(step) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 1),
        (25, 0.2 + 0.8 * (1 + math.sqrt(0.5)) / 2),
        (50, 0.6),
        (75, 0.2 + 0.8 * (1 - math.sqrt(0.5)) / 2),
        (100, 0.2),
    ],
)
def test_cosine_schedule(step: int, expected: float) -> None:
    factor = learning_rate_factor(settings(schedule="cosine", final_lr=0.2, warmup=0), 100)
    assert factor(step) == pytest.approx(expected)


def test_warm_up_goes_on_top_of_the_cosine() -> None:
    factor = learning_rate_factor(settings(schedule="cosine", final_lr=0, warmup=19), 100)
    assert factor(9) == pytest.approx(10 / 20 * (1 + math.cos(math.pi * 0.09)) / 2)


def test_warm_up_is_at_most_a_fifth_of_the_run() -> None:
    """Else a hundred steps with the default warm-up of 500 would end at a fifth of the learning rate."""
    factor = learning_rate_factor(settings(schedule="step", milestones=(), warmup=500), 100)
    assert [factor(step) for step in (0, 19, 20)] == pytest.approx([1 / 21, 20 / 21, 1])


@pytest.mark.parametrize(("name", "kind"), [("sgd", torch.optim.SGD), ("adamw", torch.optim.AdamW)])
def test_parameter_groups(name: str, kind: type[torch.optim.Optimizer]) -> None:
    """Weights decay, biases and norms do not; the backbone learns at a tenth; what is frozen is left out."""
    frozen_stem = {**TINY_NETWORK, "backbone": {"norm": "batch", "freeze_stages": 1}}
    chosen = settings(optimizer=name, lr=0.1, backbone_lr=0.1, weight_decay=0.05, model=frozen_stem)
    network = RetinaNet(chosen.network(3))
    optimizer = make_optimizer(network, chosen)
    assert type(optimizer) is kind
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    seen: set[str] = set()
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            in_backbone = names[id(parameter)].startswith("backbone.")
            assert group["lr"] == pytest.approx(0.01 if in_backbone else 0.1)
            assert group["weight_decay"] == (0.05 if parameter.ndim > 1 else 0)
            seen.add(names[id(parameter)])
    assert seen == {name for name in names.values() if not name.startswith("backbone.stages.0.")}


def test_averaged_weights() -> None:
    """Updates come with weight 1 - decay x (1 - exp(-n / 1000)); counters are copied."""
    network = nn.BatchNorm1d(1)
    averaged = average_weights(network, decay=0.9)
    expected = 0.0
    for number, value in enumerate([2.0, 3.0, 5.0]):
        with torch.no_grad():
            network.weight.fill_(value)
            network.running_mean.fill_(10 * value)  # type: ignore[union-attr]
            network.num_batches_tracked.fill_(number)  # type: ignore[union-attr]
        averaged.update_parameters(network)
        weight = 1.0 if number == 0 else 1 - 0.9 * (1 - math.exp(-number / 1000))
        expected += weight * (value - expected)
    state = averaged.module.state_dict()
    assert state["weight"].item() == pytest.approx(expected)
    assert state["running_mean"].item() == pytest.approx(10 * expected)
    assert state["num_batches_tracked"].item() == 2


def test_averaging_settles_at_its_decay() -> None:
    network = nn.Linear(1, 1, bias=False)
    averaged = average_weights(network, decay=0.5)
    averaged.load_state_dict({"n_averaged": torch.tensor(100_000), "module.weight": torch.tensor([[1.0]])})
    with torch.no_grad():
        network.weight.fill_(2.0)
    averaged.update_parameters(network)
    assert averaged.module.state_dict()["weight"].item() == pytest.approx(1.5)
