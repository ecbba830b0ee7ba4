"""A training run as `torchrun` starts it: argument 1 is the settings, JSON; every step is logged."""

from __future__ import annotations

import sys

from densewatch.training import loop
from densewatch.training.settings import TrainSettings

if __name__ == "__main__":
    loop.LOG_STEPS = 1
    loop.Trainer(TrainSettings.model_validate_json(sys.argv[1])).run()
