"""Parts of the network that stay as they are."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from densewatch.suggest import suggest
from densewatch.training.settings import TrainingError


def freeze(network: nn.Module, names: Sequence[str]) -> tuple[nn.Module, ...]:
    """Take the gradient from parts of a network, and return them.

    Batch norm in them must be kept in evaluation by whoever trains, so that it stays as it is, too.

    Args:
        network: whose weights are in place.
        names: of modules, such as `backbone`, `backbone.stages.3` or `box_head.tower`.

    Raises:
        TrainingError: the network has no such part, or nothing is left to learn.
    """
    modules = {name: module for name, module in network.named_modules() if name}
    for name in names:
        if name not in modules:
            known = [known for known in modules if known.count(".") <= name.count(".")]
            raise TrainingError(f"freeze: the network has no part {name!r}: {suggest(name, known)}")
        modules[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise TrainingError(f"freeze: with {', '.join(names)} frozen, nothing is left to learn")
    return tuple(modules[name] for name in names)
