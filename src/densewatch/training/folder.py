"""The folder of a run: what lies in it, and which folder a run may use."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import ValidationError

from densewatch.training.settings import TrainingError, TrainSettings

STATE_FILE = "state.pt"
MODEL_FILE = "model.safetensors"
BEST_FILE = "best.safetensors"
SETTINGS_FILE = "settings.yaml"

_FREE_ON_RESUME = frozenset(
    (
        *("out", "resume", "init", "data", "val", "epochs", "patience", "eval_every", "save_every"),
        "accumulate",
        *("device", "workers", "threads", "cache", "cache_gb", "cache_dir", "resize", "name", "licence"),
    )
)
"""Settings that a resumed run may change; the others are part of its state, or of what makes it exact."""


def check_folder(settings: TrainSettings) -> None:
    """See that the run may use its folder; nothing is made or written.

    Raises:
        TrainingError: a new run would write over an old one or a model, or a resumed one would not be the
            same run.
    """
    folder = settings.out
    has_run = (folder / STATE_FILE).exists()
    if settings.resume and not has_run:
        raise TrainingError(f"{folder} has no {STATE_FILE}, so there is no run to resume")
    if settings.resume and (folder / SETTINGS_FILE).exists():
        _check_same_run(settings, folder / SETTINGS_FILE)
    if settings.resume:
        return
    if has_run:
        raise TrainingError(f"{folder} holds a run already: go on with it (resume), or choose another (out)")
    if (folder / MODEL_FILE).exists():
        raise TrainingError(
            f"{folder} holds a {MODEL_FILE}, which the run would replace: choose another (out)"
        )
    if folder.exists() and not folder.is_dir():
        raise TrainingError(f"{folder} is a file, so no run can be in it: choose another (out)")


def make_folder(folder: Path) -> None:
    """Make the folder of a run where it is absent.

    Raises:
        TrainingError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(
            f"{folder} cannot be made ({error.strerror or error}): choose another (out)"
        ) from error


def write_settings(settings: TrainSettings, folder: Path) -> None:
    """Write `settings.yaml`, from which the run can be repeated or resumed."""
    content = settings.model_dump(mode="json", exclude={"resume"})
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    (folder / SETTINGS_FILE).write_text(text, encoding="utf-8")


def free_folder(base: Path) -> Path:
    """Return the first of `base`, `base-2`, `base-3`, … that does not exist."""
    number, folder = 1, base
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder


def newest_run(base: Path) -> Path | None:
    """Return the folder among `base`, `base-2`, … whose run was saved last; None where there is no run."""
    folders = [base, *base.parent.glob(f"{base.name}-[0-9]*")]
    saved = {folder: folder / STATE_FILE for folder in folders if (folder / STATE_FILE).exists()}
    return max(saved, key=lambda folder: saved[folder].stat().st_mtime, default=None)


def _check_same_run(settings: TrainSettings, file: Path) -> None:
    try:
        old = TrainSettings.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, ValidationError) as error:
        raise TrainingError(f"{file} is not understood, so the run cannot be resumed: {error}") from error
    before, after = old.model_dump(mode="json"), settings.model_dump(mode="json")
    for name in before.keys() - _FREE_ON_RESUME:
        if before[name] != after[name]:
            raise TrainingError(
                f"{name} is {after[name]!r}, but {file} says {before[name]!r}: a run is resumed with the "
                f"settings that it began with. To change them, start a new run from its {MODEL_FILE} (init)"
            )
