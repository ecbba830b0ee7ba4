"""Where a run computes: one device, or the processes that `torchrun` has started."""

from __future__ import annotations

import os
from typing import Any

from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException

from densewatch.training.settings import TrainingError, TrainSettings

_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def make_fabric(settings: TrainSettings) -> Fabric:
    """Return what moves tensors, and adds up gradients of several processes; it is launched.

    Raises:
        TrainingError: the device cannot be used, or not in this way.
    """
    kind, _, number = settings.device.partition(":")
    processes = int(os.environ.get("WORLD_SIZE", "1"))  # torchrun says so, and LOCAL_WORLD_SIZE
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if number and processes > 1:
        raise TrainingError(
            f"device {settings.device!r}: with several processes, each takes its own; say {kind}"
        )
    devices: Any = [int(number)] if number else here
    precision: Any = _PRECISIONS[settings.precision]
    try:
        fabric = Fabric(
            accelerator=kind,
            devices=devices,
            num_nodes=processes // here,
            strategy="ddp" if processes > 1 else "auto",
            precision=precision,
        )
        fabric.launch()
    except (ValueError, RuntimeError, MisconfigurationException) as error:
        raise TrainingError(f"device {settings.device!r} cannot be used: {error}") from error
    if settings.precision == "fp16" and fabric.device.type == "cpu":
        raise TrainingError("precision fp16 needs a GPU; on a CPU, bf16 does the same")
    return fabric
