"""What `train` says before and after: what it learns from, what came out, how to go on."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from densewatch.cli.console import say, warn
from densewatch.cli.reports import counted

if TYPE_CHECKING:
    from densewatch.training.loop import Trainer
    from densewatch.training.settings import DataSource

_MOST_PARTS = 4  # named of those that start anew


def is_finished(trainer: Trainer) -> bool:
    """Return whether a resumed run has nothing left to do, and say so, and how to go on all the same."""
    from densewatch.training.folder import MODEL_FILE, SETTINGS_FILE, free_folder

    if not trainer.finished:
        return False
    epochs, model = trainer.step // trainer.steps_per_epoch, trainer.folder / MODEL_FILE
    say(
        f"the run in {trainer.folder} is finished: it has done its {counted(epochs, 'epoch')}. Train on with:"
    )
    say(command_line("train", "--resume", "--out", trainer.folder, "--epochs", str(2 * epochs)))
    say("or start a new run from its weights with:")
    out = free_folder(trainer.folder)
    say(command_line("train", "--config", trainer.folder / SETTINGS_FILE, "--init", model, "--out", out))
    sys.stdout.write(f"{model}\n")
    return True


def introduce(trainer: Trainer) -> None:
    """Say what is about to happen, and what was odd about the data."""
    data, settings = trainer.train_data, trainer.settings
    warnings = {**data.warnings, **(trainer.val_data.data.warnings if trainer.val_data is not None else {})}
    for text, count in warnings.items():
        warn(f"{text} ({counted(count, 'time')})")
    counts = data.class_counts()
    absent = [name for name, count in counts.items() if count == 0]
    if absent:
        warn(f"no object to learn from: {', '.join(absent)}")
    if settings.init is not None and not settings.resume:
        _tell_start(settings.init, trainer.untaught, len(trainer.plain_network.state_dict()))
    objects, pictures = counted(sum(counts.values()), "object"), counted(len(data), "picture")
    say(
        f"learning {objects} of {len(data.classes)} classes in {pictures}: "
        f"{trainer.total_steps} steps of {settings.batch} on {trainer.fabric.device}, in {trainer.folder}"
    )


def _tell_start(init: Path, untaught: Sequence[str], total: int) -> None:
    """Say how much of the network the weights to start from gave."""
    if not untaught:
        say(f"starting from {init}")
        return
    parts = dict.fromkeys(name.rpartition(".")[0] for name in untaught)
    named = ", ".join([*islice(parts, _MOST_PARTS), *(["…"] if len(parts) > _MOST_PARTS else [])])
    text = f"starting from {init}; {len(untaught)} of {total} tensors have no fitting ones there: {named}"
    (warn if 2 * len(untaught) > total else say)(text)


def conclude(trainer: Trainer, metrics: dict[str, float]) -> None:
    """Say what came out, where it is, and what to do with it."""
    from densewatch.evaluation.run import data_title
    from densewatch.training.folder import BEST_FILE, MODEL_FILE

    model, best = trainer.folder / MODEL_FILE, trainer.best
    val = trainer.settings.val
    if trainer.settled and trainer.step < trainer.total_steps:
        say(f"AP has not risen for {counted(trainer.settings.patience, 'epoch')}: stopped")
    if 0 < best.step < trainer.step:
        epoch = best.step // trainer.steps_per_epoch
        say(f"the best weights, AP {best.ap:.3f} after epoch {epoch}, are in {trainer.folder / BEST_FILE}")
    if val is not None and metrics:
        say(f"{metrics_in_words(metrics)} on {data_title(val.annotations, val.where, val.split)}")
    say("trained; make it a model file, and measure that, with:")
    say(command_line("export", model))
    say(_evaluate_command(model.with_suffix(".onnx"), val))
    sys.stdout.write(f"{model}\n")


def _evaluate_command(model: Path, val: DataSource | None) -> str:
    """Return the command that measures a model file as the run did; it knows one condition at most."""
    if val is None or len(val.where) > 1:
        return command_line("evaluate", "--model", model, "--data", "VAL.json", "--images", "VAL/")
    images = () if val.images is None else ("--images", val.images)
    where = [part for key, value in val.where.items() for part in ("--where", f"{key}={value}")]
    split = () if val.split is None else ("--split", val.split)
    return command_line("evaluate", "--model", model, "--data", val.annotations, *images, *split, *where)


def command_line(*parts: str | Path) -> str:
    """Return a command of densewatch as it can be pasted into a shell."""
    return "  " + shlex.join(["densewatch", *(str(part) for part in parts)])


def metrics_in_words(metrics: Mapping[str, float]) -> str:
    """Return AP and AP50, as far as they are there."""
    return ", ".join(f"{name} {metrics[name]:.3f}" for name in ("AP", "AP50") if name in metrics)
