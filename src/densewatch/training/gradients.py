"""The gradient of one step, in parts where memory is short, and over several processes."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from densewatch.models.criterion import Criterion, Losses, Share
from densewatch.training.batches import Batch


def add_gradients(fabric: Fabric, network: Any, criterion: Criterion, batch: Batch, parts: int) -> Losses:
    """Compute the gradient of a step's loss, and return the loss, without a graph.

    Pictures are divided by what the whole step has, all parts and processes together. So neither the number
    of parts nor that of processes changes the gradient, but for the order of sums (and for batch norm that
    learns: it sees one part of one process at a time).

    Args:
        fabric: of the run.
        network: as `fabric.setup` returned it.
        criterion: of the run.
        batch: this process' pictures of the step.
        parts: how many passes they are shared out to.
    """
    size = math.ceil(len(batch.images) / parts)
    targets = [target.to(fabric.device) for target in batch.targets]
    shares: list[Share] = []
    terms = torch.zeros(2, device=fabric.device)
    for start in range(0, len(targets), size):
        part = slice(start, start + size)
        with fabric.no_backward_sync(network, enabled=start + size < len(targets)):
            output = network(_as_input(batch.images[part], fabric.device))
            anchors = torch.cat(output.anchors)
            shares = shares or criterion.share_out(anchors, targets, lambda counts: total(fabric, counts))
            losses: Losses = criterion(
                torch.cat(output.cls_logits, dim=1),
                torch.cat(output.bbox_deltas, dim=1).float(),
                anchors,
                targets[part],
                shares[part],
            )
            fabric.backward(losses.total * fabric.world_size)  # of which processes then take the mean
        terms += torch.stack([losses.classification.detach(), losses.box_regression.detach()])
    return Losses(*total(fabric, terms))


def total(fabric: Fabric, values: Tensor) -> Tensor:
    """Return values added up over all processes."""
    if fabric.world_size == 1:
        return values
    added = fabric.all_reduce(values.to(fabric.device), reduce_op="sum")
    assert isinstance(added, Tensor)  # as what is given
    return added


def _as_input(images: Tensor, device: torch.device) -> Tensor:
    pixels = images.to(device, non_blocking=True).float().div_(255)
    return pixels.contiguous(memory_format=torch.channels_last)
