"""`densewatch train --find-lr`: a short run in which the learning rate rises."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from densewatch.cli.console import SOME_FAILED, progress_bar, say, stop
from densewatch.training.settings import TrainingError, TrainSettings

_STEPS = 100
_BAR = 40


def run_find_lr(settings: TrainSettings) -> None:
    """Say how the loss takes each learning rate, and print the one to take to standard output."""
    from densewatch.data.dataset import DataError
    from densewatch.models.checkpoint import CheckpointError
    from densewatch.training.find_lr import find_learning_rate, grid
    from densewatch.training.loop import Trainer

    with tempfile.TemporaryDirectory(prefix="densewatch-lr-") as folder:
        try:
            trainer = Trainer(settings.model_copy(update={"out": Path(folder) / "run", "resume": False}))
            with progress_bar("rising learning rate", _STEPS) as bar:
                found = find_learning_rate(trainer, _STEPS, lambda done: bar.move_to(done, _STEPS))
        except (TrainingError, DataError, CheckpointError) as error:
            stop(error, SOME_FAILED)
    say("learning rate      loss")
    most = max(point.loss for point in grid(found))
    for point in grid(found):
        say(f"{point.lr:13.2g}  {point.loss:8.3f}  {'█' * round(_BAR * min(1.0, point.loss / most))}")
    say(f"try --lr {found.suggested:g}: a tenth of the rate with the lowest loss, or where it falls fastest")
    sys.stdout.write(f"{found.suggested:g}\n")
