"""Optimiser, learning-rate schedule, and averaged weights."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.swa_utils import AveragedModel

from densewatch.training.settings import TrainSettings

_EMA_RAMP_UPDATES = 1000


def make_optimizer(network: nn.Module, settings: TrainSettings) -> Optimizer:
    """Return SGD (momentum 0.9) or AdamW over what is trainable.

    Biases and norms do not decay; the backbone has its own share of the learning rate.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((name.startswith("backbone."), parameter.ndim > 1), []).append(parameter)
    parameters = [
        {
            "params": members,
            "lr": settings.lr * (settings.backbone_lr if in_backbone else 1),
            "weight_decay": settings.weight_decay if decays else 0.0,
        }
        for (in_backbone, decays), members in groups.items()
    ]
    if settings.optimizer == "sgd":
        return SGD(parameters, lr=settings.lr, momentum=0.9)
    return AdamW(parameters, lr=settings.lr)


def learning_rate_factor(settings: TrainSettings, total_steps: int) -> Callable[[int], float]:
    """Return the share of the peak learning rate at each step, counted from 0.

    It rises linearly over the warm-up, on top of `settings.schedule`, which runs from the first step on. In a
    short run the warm-up takes a fifth of the steps, since a longer one would be most of the training.
    """
    warmup_steps = min(settings.warmup, total_steps // 5)

    def factor(step: int) -> float:
        warmup = min(1.0, (step + 1) / (warmup_steps + 1))
        progress = step / total_steps
        if settings.schedule == "step":
            return warmup * 0.1 ** sum(progress >= milestone for milestone in settings.milestones)
        falling = (1 + math.cos(math.pi * progress)) / 2
        return warmup * (settings.final_lr + (1 - settings.final_lr) * falling)

    return factor


def average_weights(network: nn.Module, decay: float) -> AveragedModel:
    """Return an exponential moving average of `network`'s weights and buffers.

    The decay grows from 0 to `decay` over the first thousands of updates, so that the random start is
    forgotten.
    """

    def update(
        averaged: tuple[Tensor, ...] | list[Tensor],
        current: tuple[Tensor, ...] | list[Tensor],
        num_averaged: Tensor | int,
    ) -> None:
        """Move tensors of one type towards the current ones; whole numbers, such as counters, are copied."""
        weight = 1 - decay * (1 - math.exp(-int(num_averaged) / _EMA_RAMP_UPDATES))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(list(averaged), list(current), weight)
        else:
            torch._foreach_copy_(list(averaged), list(current))

    return AveragedModel(network, multi_avg_fn=update, use_buffers=True)
