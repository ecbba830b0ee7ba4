"""`densewatch train`: a detector from labelled pictures."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import MofNCompleteColumn, ProgressColumn, Task
from rich.text import Text

from densewatch.cli.console import (
    SOME_FAILED,
    WRONG_USAGE,
    progress_bar,
    report_error,
    say,
    stderr_console,
    stop,
    warn,
)
from densewatch.cli.needs import TRAINING, need
from densewatch.cli.options import ValImagesOption
from densewatch.cli.reports import counted
from densewatch.cli.train_flags import with_setting_flags
from densewatch.cli.train_output import command_line, conclude, introduce, is_finished, metrics_in_words
from densewatch.cli.train_settings import RawSettings, SettingsError
from densewatch.training.settings import TrainSettings

if TYPE_CHECKING:
    from densewatch.training.loop import Progress, Trainer

_INTERRUPTED = 130
_DEFAULT_OUT: Path = TrainSettings.model_fields["out"].default


@with_setting_flags
def train(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            "-c",
            metavar="RECIPE.yaml",
            exists=True,
            dir_okay=False,
            help="Settings, as YAML; flags go over it. Its paths are relative to the current directory.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DATA",
            help="Labels: COCO JSON, YOLO, Pascal VOC, CSV or Roboflow, a file or a folder; repeat it to "
            "join several. Of data with splits, train is learned, and val measured unless --val is given.",
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Folder of the pictures; once for each --data.",
            show_default="where the format has it; for COCO the folder beside ANN.json with the same name",
        ),
    ] = None,
    val: Annotated[
        Path | None,
        typer.Option(
            metavar="DATA",
            help="Labels to measure AP on while it trains; of splits, val.",
            show_default=False,
        ),
    ] = None,
    val_images: ValImagesOption = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Any other setting, by its place in the YAML, such as model.head.width=64; may be repeated.",
            show_default=False,
        ),
    ] = None,
    smoke: Annotated[
        bool,
        typer.Option(
            "--smoke",
            help="Try the whole way first, in a minute: train on 8 pictures, export, evaluate, detect; keep "
            "nothing.",
        ),
    ] = False,
    find_lr: Annotated[
        bool,
        typer.Option(
            "--find-lr",
            help="Try 100 steps with a rising learning rate, say which --lr to take, and keep nothing.",
        ),
    ] = False,
    **flags: Any,
) -> None:
    """Train a detector on labelled pictures.

    The run's folder gets model.safetensors, state.pt to resume from, metrics.csv, validation.csv,
    tensorboard/ and settings.yaml. Without --out it is the first free one of runs/train, runs/train-2, …
    Ctrl-C saves and stops; --resume goes on exactly there, with the same settings, in the run named by
    --out or else in the newest one.
    Needs the [train] extra; in a checkout: pip install '.[train]'.

    \b
    Examples:
      densewatch train --data train.json --images train/ --val val.json --epochs 3 --lr 0.01
      densewatch train --data shelves/data.yaml --init everyday-light
      densewatch train --data shelves/data.yaml --init everyday-light --smoke
      densewatch train --config recipe.yaml --imgsz 256,320 --set model.head.width=64 --set augment.flip=0
      densewatch train --resume
      torchrun --nproc-per-node 4 -m densewatch train --config recipe.yaml --out runs/shelves
    """
    need(TRAINING, "training", "train")
    try:
        learned = _sources(data or [], images or [], "--data", "--images")
        measured = _sources([val] if val else [], [val_images] if val_images else [], "--val", "--val-images")
        sources = {"data": learned, "val": measured}
        settings = _build_settings(config, sources, flags, assignments or [])
    except SettingsError as error:
        for sentence in error.sentences:
            report_error(sentence)
        raise typer.Exit(WRONG_USAGE) from error
    if smoke:
        from densewatch.cli.train_smoke import run_smoke

        run_smoke(settings)
        return
    if find_lr:
        from densewatch.cli.train_find_lr import run_find_lr

        run_find_lr(settings)
        return
    _train(settings)


def _sources(
    files: Sequence[Path], folders: Sequence[Path], flag: str, images_flag: str
) -> list[dict[str, Path]]:
    """Pair label files with folders of pictures, as raw settings."""
    if folders and len(folders) != len(files):
        given = (
            f"{flag} is given {counted(len(files), 'time')}, {images_flag} {counted(len(folders), 'time')}"
        )
        raise SettingsError(f"{given}: give one {images_flag} for each {flag}, or none")
    if not folders:
        return [{"annotations": file} for file in files]
    return [{"annotations": file, "images": folder} for file, folder in zip(files, folders, strict=True)]


def _build_settings(
    config: Path | None,
    sources: dict[str, list[dict[str, Path]]],
    flags: dict[str, Any],
    assignments: Sequence[str],
) -> TrainSettings:
    """Lay flags over the YAML file, or over the settings of the run that is resumed, and check the whole."""
    raw = RawSettings()
    if config is not None:
        raw.read(config)
    given = {name: value for name, value in flags.items() if value is not None and value is not False}
    resume = bool(given.get("resume") or raw.values.get("resume"))
    if "WORLD_SIZE" in os.environ and not (given.get("out") or raw.values.get("out")):
        raise SettingsError("several processes must agree on the run's folder: name it with --out")
    out = Path(given.get("out") or raw.values.get("out") or _choose_folder(resume))
    if resume and config is None:
        raw.read(_saved_settings(out))
    for name, value in given.items():
        flag = f"--{name.replace('_', '-')}"
        several = isinstance(TrainSettings.model_fields[name].default, tuple)
        raw.put((name,), value.split(",") if several else value, f"{flag} {value}")
    raw.put(("out",), out, f"--out {out}")
    if sources["data"]:
        raw.put(("data",), sources["data"], "--data")
    if sources["val"]:
        raw.put(("val",), sources["val"][0], "--val")
    elif sources["data"] and raw.values.get("val") is None and (val := _val_split(sources["data"])):
        raw.put(("val",), val, "--data")
    for assignment in assignments:
        raw.put_assignment(assignment)
    return raw.check()


def _val_split(sources: Sequence[dict[str, Path]]) -> dict[str, Any] | None:
    """Return the first val split that the data to learn from has itself."""
    from densewatch.data.dataset import DataError
    from densewatch.data.formats import splits_of

    for source in sources:
        try:
            splits = splits_of(source["annotations"])
        except DataError:  # reading it, which comes next, says so
            continue
        if "val" in splits:
            return {**source, "split": "val"}
    return None


def _choose_folder(resume: bool) -> Path:
    from densewatch.training.folder import free_folder, newest_run

    if not resume:
        return free_folder(_DEFAULT_OUT)
    newest = newest_run(_DEFAULT_OUT)
    if newest is None:
        raise SettingsError(f"--resume: there is no run in {_DEFAULT_OUT}; name its folder with --out")
    return newest


def _saved_settings(folder: Path) -> Path:
    from densewatch.training.folder import SETTINGS_FILE

    if not (folder / SETTINGS_FILE).is_file():
        raise SettingsError(f"--resume: {folder} has no {SETTINGS_FILE}, so there is no run to resume")
    return folder / SETTINGS_FILE


def _train(settings: TrainSettings) -> None:
    from densewatch.data.dataset import DataError
    from densewatch.imaging.read import ImageError
    from densewatch.models.checkpoint import CheckpointError
    from densewatch.training.loop import Trainer
    from densewatch.training.settings import TrainingError

    try:
        trainer = Trainer(settings)
        if not trainer.leads:  # of several processes, one speaks
            with _stopped_by_ctrl_c(trainer):
                trainer.run()
            return
        if is_finished(trainer):
            return
        introduce(trainer)
        _open_cache(trainer)
        with _stopped_by_ctrl_c(trainer):
            metrics = _run(trainer)
    except TrainingError as error:
        stop(_with_flags(str(error)), SOME_FAILED)
    except (CheckpointError, ImageError) as error:
        stop(error, SOME_FAILED)
    except DataError as error:  # one from a worker process carries a traceback before its sentence
        stop(str(error).splitlines()[-1].split("DataError: ")[-1], SOME_FAILED)
    if not trainer.finished:
        say(f"stopped at step {trainer.step} of {trainer.total_steps}; it is saved. Go on with:")
        say(command_line("train", "--resume", "--out", trainer.folder))
        raise typer.Exit(_INTERRUPTED)
    conclude(trainer, metrics)


def _with_flags(message: str) -> str:
    """Return a message of training, which names settings as in `choose another (out)`, with flags instead."""
    return re.sub(r"\((init|out|resume|cache|cache_\w+)\)", _as_flag, message)


def _as_flag(setting: re.Match[str]) -> str:
    return f"(--{setting[1].replace('_', '-')})"


def _open_cache(trainer: Trainer) -> None:
    """Fill the cache of pictures, and show how it goes; nothing is said where there is none to fill."""
    from densewatch.training.pack import Pack

    with progress_bar("caching pictures", None) as bar:

        def report(done: int, total: int) -> None:
            if done == 0:
                say(f"decoding {counted(total, 'picture')} once, for the cache")
            bar.move_to(done, total)

        pictures = trainer.open_cache(report)
    if isinstance(pictures, Pack) and pictures.left_out:
        kept = len(pictures.places)
        warn(
            f"the cache has room for {kept} of {counted(kept + pictures.left_out, 'picture')}; the others "
            "are decoded each time (--cache-gb)"
        )


def _run(trainer: Trainer) -> dict[str, float]:
    """Train, and show how it goes: a bar on a terminal, else a line now and then."""
    from densewatch.training.loop import LOG_STEPS

    is_terminal = stderr_console().is_terminal
    status = _StatusColumn()
    with progress_bar("training", trainer.total_steps, columns=(MofNCompleteColumn(), status)) as bar:
        bar.move_to(trainer.step, trainer.total_steps)

        def report(progress: Progress) -> None:
            status.text = _status(progress)
            bar.move_to(progress.step, progress.total_steps)
            if not is_terminal and (progress.step % LOG_STEPS == 0 or progress.step == progress.total_steps):
                say(f"step {progress.step}/{progress.total_steps}  {status.text}  {_eta(trainer, progress)}")
            if progress.metrics:
                _say_above_bar(f"epoch {progress.epoch}: {metrics_in_words(progress.metrics)}")

        return trainer.run(report)


def _say_above_bar(message: str) -> None:
    """Say something while the bar runs: it makes room for what is written to `sys.stderr` itself."""
    sys.stderr.write(f"{message}\n")


class _StatusColumn(ProgressColumn):
    """Shows whatever `text` holds."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""

    def render(self, task: Task) -> Text:
        """Return the text, the same for every task."""
        del task
        return Text(self.text)


def _status(progress: Progress) -> str:
    return f"loss {progress.loss:.3f}  lr {progress.lr:.2g}  {progress.images_per_second:.1f} images/s"


def _eta(trainer: Trainer, progress: Progress) -> str:
    images_left = (progress.total_steps - progress.step) * trainer.settings.batch
    minutes, seconds = divmod(round(images_left / progress.images_per_second), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02} left"


@contextmanager
def _stopped_by_ctrl_c(trainer: Trainer) -> Iterator[None]:
    """Make the first Ctrl-C end the run after its step; a second one ends it at once."""

    def finish_step(signal_number: int, frame: object) -> None:
        del signal_number, frame
        signal.signal(signal.SIGINT, before)
        _say_above_bar("saving after this step; Ctrl-C again stops at once, without saving")
        trainer.stop()

    before = signal.signal(signal.SIGINT, finish_step)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _as_command() -> Any:
    app = typer.Typer(rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})
    app.command("train")(train)
    return typer.main.get_command(app)


command = _as_command()
"""The verb in the form that the group of all verbs takes."""
