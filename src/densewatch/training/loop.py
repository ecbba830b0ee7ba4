"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import torch
from torch.optim.lr_scheduler import LambdaLR

from densewatch.data.augment import ReadPicture
from densewatch.metadata import ModelInfo
from densewatch.models.checkpoint import load_state, save_checkpoint, save_state
from densewatch.models.criterion import Criterion
from densewatch.models.retinanet import RetinaNet
from densewatch.training.batches import Batch, StepSampler, make_loader
from densewatch.training.describe import describe
from densewatch.training.devices import make_fabric
from densewatch.training.folder import (
    BEST_FILE,
    MODEL_FILE,
    STATE_FILE,
    check_folder,
    make_folder,
    write_settings,
)
from densewatch.training.freezing import freeze
from densewatch.training.gradients import add_gradients, total
from densewatch.training.initial import initialise
from densewatch.training.log import RunLog
from densewatch.training.optimisation import average_weights, learning_rate_factor, make_optimizer
from densewatch.training.pack import open_pictures
from densewatch.training.sampling import pictures_per_epoch, repeat_factors
from densewatch.training.settings import TrainingError, TrainSettings
from densewatch.training.sources import read_sources, read_validation
from densewatch.training.validate import validate

LOG_STEPS = 20
"""Steps between two rows of `metrics.csv`; a row is about its own step, not a mean."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands, for whoever shows it.

    Attributes:
        step: steps done.
        total_steps: of the whole run.
        epoch: epochs done.
        loss: of this step.
        lr: learning rate of this step, the highest where parts of the network have their own.
        images_per_second: since the last row of the log.
        metrics: of the validation data, where this step was measured.
    """

    step: int
    total_steps: int
    epoch: int
    loss: float
    lr: float
    images_per_second: float
    metrics: Mapping[str, float] = field(default_factory=dict)


class StepResult(NamedTuple):
    """The numbers of one step; `grad_norm` is the one before clipping."""

    loss: float
    classification: float
    box_regression: float
    grad_norm: float
    lr: float


class Best(NamedTuple):
    """The highest AP that was measured, and after which step; -1 before the first."""

    ap: float = -1.0
    step: int = 0


class Trainer:
    """One training run in a folder: `settings.yaml`, `metrics.csv`, `model.safetensors`, `state.pt`.

    Attributes:
        folder: of the run.
        train_data: what it learns from.
        val_data: what it is measured on, if anything.
        step: steps done.
        total_steps: of the whole run.
        untaught: tensors of the network that the weights to start from did not give; none in a resumed run.
    """

    def __init__(self, settings: TrainSettings) -> None:
        """Read the data and build the network; with `settings.resume`, go back to where the run was saved.

        Raises:
            TrainingError: the folder, the device or the network's settings cannot be used, or the run that is
                resumed began with other settings or data.
            DataError: the data cannot be used.
            CheckpointError: the weights to start from, or the state to resume from, cannot be used.
        """
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        self.settings = settings
        self.folder = settings.out
        check_folder(settings)
        self.fabric = make_fabric(settings)
        self.train_data = read_sources(settings.data)
        self.val_data = read_validation(settings.val, self.train_data.names) if settings.val else None
        self.repeats = repeat_factors(self.train_data, settings.balance)
        self.steps_per_epoch = math.ceil(pictures_per_epoch(self.repeats) / settings.batch)
        self.total_steps = self.steps_per_epoch * settings.epochs
        self.step = 0
        self.best = Best()
        self.untaught: tuple[str, ...] = ()
        self._stopping = False
        self._read: ReadPicture | None = None
        self._build()
        if settings.resume:
            self._restore(load_state(self.folder / STATE_FILE))
        self._check_processes()
        self.fabric.barrier()  # or the last to look would find the folder of this very run
        if self.leads:
            make_folder(self.folder)
            write_settings(settings, self.folder)
        self.fabric.barrier()

    def _check_processes(self) -> None:
        """See that each process has pictures in every step."""
        batch, processes = self.settings.batch, self.fabric.world_size
        last = pictures_per_epoch(self.repeats) % batch or batch
        if min(batch, last) < processes:
            raise TrainingError(
                f"{processes} processes share each step's pictures, but an epoch ends with a step of {last}; "
                "choose another batch"
            )

    def _build(self) -> None:
        settings = self.settings
        self.fabric.seed_everything(settings.seed, verbose=False)
        config = settings.network(len(self.train_data.classes))
        try:
            network = RetinaNet(config)
        except ValueError as error:
            raise TrainingError(f"the network cannot be built: {error}") from error
        if not settings.resume:
            self.untaught = initialise(network, settings.init)
        self._frozen = freeze(network, settings.freeze)
        network = network.to(memory_format=torch.channels_last)
        self.criterion = Criterion(config.loss).to(self.fabric.device)
        optimizer = make_optimizer(network, settings)
        self.schedule = LambdaLR(optimizer, learning_rate_factor(settings, self.total_steps))
        self.plain_network = network
        self.network, self.optimizer = self.fabric.setup(network, optimizer)
        self.averaged = average_weights(network, settings.ema) if settings.ema else None

    @property
    def final_network(self) -> RetinaNet:
        """The network that is saved and measured: the averaged one where there is one."""
        if self.averaged is None:
            return self.plain_network
        return cast(RetinaNet, self.averaged.module)

    @property
    def finished(self) -> bool:
        """Whether every step is done, or AP has not risen for as long as `patience` waits."""
        return self.step >= self.total_steps or self.settled

    @property
    def settled(self) -> bool:
        """Whether AP has not risen in the last `patience` epochs."""
        patience_steps = self.settings.patience * self.steps_per_epoch
        return 0 < patience_steps <= self.step - self.best.step and self.best.ap >= 0

    @property
    def leads(self) -> bool:
        """Whether this process, of several, is the one that measures and writes."""
        return self.fabric.is_global_zero

    def stop(self) -> None:
        """Make `run` save and return after the step that it is at; for signal handlers."""
        self._stopping = True

    def open_cache(self, report: Callable[[int, int], None] = lambda *_: None) -> ReadPicture:
        """Fill the cache that the settings ask for, and return what gives pictures; `run` does it too.

        Args:
            report: is told how many pictures are in the cache, and how many will be.

        Raises:
            TrainingError: there is no room for it.
            DataError: a picture cannot be read.
        """
        if self._read is None:
            self._read = open_pictures(self.train_data, self.settings, report)
        return self._read

    def run(self, report: Callable[[Progress], None] = lambda _: None) -> dict[str, float]:
        """Train to the end, or until `stop`, and return the last measurement, as metric → value.

        Args:
            report: is called after every step.

        Raises:
            TrainingError: the loss is no longer finite; the batch is then in the run's folder.
            DataError: a picture to learn from cannot be decoded.
            ImageError: a picture to measure on cannot be decoded.
        """
        settings = self.settings
        sampler = StepSampler(
            len(self.train_data),
            settings.batch,
            settings.imgsz,
            settings.seed,
            self.step,
            self.total_steps,
            repeats=self.repeats,
            augment=settings.augment,
            process=(self.fabric.global_rank, self.fabric.world_size),
        )
        loader = make_loader(self.train_data, sampler, settings.augment, settings.workers, self.open_cache())
        last_metrics: dict[str, float] = {}
        if self.finished:
            return last_metrics
        with RunLog(self.folder, self.step) if self.leads else nullcontext() as log:
            started, images = time.monotonic(), 0
            for batch in loader:
                result = self._train_step(batch)
                self.step += 1
                images += len(batch.images) * self.fabric.world_size
                speed = images / (time.monotonic() - started)
                if log is not None and (self.step % LOG_STEPS == 0 or self.finished):
                    log.write("metrics", self.step, self._row(result, speed))
                if self.step % LOG_STEPS == 0:
                    started, images = time.monotonic(), 0
                metrics = self._measure(log) if self._is_measured() else {}
                report(self._progress(result, speed, metrics))
                self._stopping = self._anybody(self._stopping)
                if metrics or self.step % settings.save_every == 0 or self.finished or self._stopping:
                    self._save(metrics)
                    started, images = time.monotonic(), 0  # neither measuring nor saving is training
                last_metrics = metrics or last_metrics
                if self._stopping or self.finished:
                    break
        return last_metrics

    def _train_step(self, batch: Batch) -> StepResult:
        self.set_training_mode()
        self.optimizer.zero_grad()
        losses = add_gradients(self.fabric, self.network, self.criterion, batch, self.settings.accumulate)
        grad_norm = self.clip_gradients()
        result = StepResult(
            losses.total.item(),
            losses.classification.item(),
            losses.box_regression.item(),
            grad_norm,
            float(max(self.schedule.get_last_lr())),
        )
        self._check_finite(batch, result)
        self.optimizer.step()
        self.schedule.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.plain_network)
        return result

    def set_training_mode(self) -> None:
        """Switch the network to training, but for what is frozen."""
        self.network.train()
        for part in self._frozen:
            part.eval()

    def clip_gradients(self) -> float:
        """Limit the gradient's norm, and return what it was."""
        norm = self.fabric.clip_gradients(
            self.network,
            self.optimizer,
            max_norm=self.settings.clip_grad or math.inf,
            error_if_nonfinite=False,
        )
        assert isinstance(norm, torch.Tensor)  # it is None only where values are clipped instead
        return norm.item()

    def _check_finite(self, batch: Batch, result: StepResult) -> None:
        """Stop, with the batch written out, unless loss and gradient are finite.

        In fp16 a gradient may overflow while its scale is still being sought: the gradient scaler then skips
        the step and lowers the scale. At a scale of 1 or less, that is no longer the reason.
        """
        if math.isfinite(result.loss):
            scale = self.fabric.strategy.precision.state_dict().get("scale", 0)
            if math.isfinite(result.grad_norm) or scale > 1:
                return
        file = self.folder / f"nonfinite-step{self.step}.pt"
        torch.save({"images": batch.images, "targets": [vars(target) for target in batch.targets]}, file)
        raise TrainingError(
            f"step {self.step}: the loss is {result.classification:g} (class) + "
            f"{result.box_regression:g} (box), its gradient's norm {result.grad_norm:g}; the batch is in "
            f"{file}. Usual causes: a learning rate that is too high, or too short a warm-up"
        )

    def _row(self, result: StepResult, images_per_second: float) -> dict[str, float | None]:
        epoch = self.step / self.steps_per_epoch
        return {"epoch": epoch, **result._asdict(), "images_per_second": images_per_second}

    def _progress(
        self, result: StepResult, images_per_second: float, metrics: Mapping[str, float]
    ) -> Progress:
        epoch = self.step // self.steps_per_epoch
        return Progress(
            self.step, self.total_steps, epoch, result.loss, result.lr, images_per_second, metrics
        )

    def _is_measured(self) -> bool:
        epoch, inside = divmod(self.step, self.steps_per_epoch)
        due = inside == 0 and (epoch % self.settings.eval_every == 0 or self.finished)
        return due and self.val_data is not None

    def _measure(self, log: RunLog | None) -> dict[str, float]:
        """Measure in the process that leads, for all; keep the weights if none were better before."""
        metrics: dict[str, float] = {}
        if log is not None:
            assert self.val_data is not None
            resize, classes = self.settings.resize_policy, self.train_data.classes
            found = validate(self.final_network, classes, self.val_data, resize, self.fabric.device)
            log.write("validation", self.step, found)
            metrics = {name: value for name, value in found.items() if value is not None}
        metrics = self.fabric.broadcast(metrics)
        if metrics.get("AP", -1.0) > self.best.ap:
            self.best = Best(metrics["AP"], self.step)
            if self.leads:
                save_checkpoint(self.folder / BEST_FILE, self.final_network, self.describe(metrics))
        return metrics

    def _anybody(self, flag: bool) -> bool:
        """Return whether a flag is set in any process."""
        return bool(total(self.fabric, torch.tensor(float(flag))))

    def _save(self, metrics: dict[str, float]) -> None:
        """Write model and state; only figures of these very weights may stand in the model."""
        if self.leads:
            save_checkpoint(self.folder / MODEL_FILE, self.final_network, self.describe(metrics))
            save_state(self.folder / STATE_FILE, self._state())
        self.fabric.barrier()

    def describe(self, metrics: dict[str, float]) -> ModelInfo:
        """Return the self-description of the model as it is now, with `metrics` as measured."""
        return describe(self.settings, self.plain_network, self.train_data, self.step, metrics)

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "best": tuple(self.best),
            "data": self._data_identity(),
            "network": self.plain_network.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged is not None else None,
            "criterion": self.criterion.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all(),
        }

    def _data_identity(self) -> dict[str, int | str]:
        """Return what tells whether a resumed run would see the pictures that it began with."""
        return {"pictures": len(self.train_data), "fingerprint": self.train_data.fingerprint()}

    def _check_same_data(self, before: dict[str, int | str]) -> None:
        now = self._data_identity()
        if now == before:
            return
        difference = "the data has other image ids or classes"
        if now["pictures"] != before["pictures"]:
            difference = f"the data has {now['pictures']} pictures, not {before['pictures']}"
        raise TrainingError(
            f"{difference}: the run in {self.folder} is resumed with the data that it began with. To learn "
            f"from other data, start a new run from its {MODEL_FILE} (init)"
        )

    def _restore(self, state: dict[str, Any]) -> None:
        if "data" in state:  # older versions did not write it
            self._check_same_data(state["data"])
        try:
            self.plain_network.load_state_dict(state["network"])
            if self.averaged is not None:
                self.averaged.load_state_dict(state["averaged"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, TypeError) as error:
            raise TrainingError(
                f"{self.folder / STATE_FILE}: its state does not fit this network: {error}"
            ) from error
        self.step = state["step"]
        self.best = Best(*state.get("best", ()))
        self.criterion.load_state_dict(state["criterion"])
        self.schedule.load_state_dict(state["schedule"])
        self.fabric.strategy.precision.load_state_dict(state.get("precision", {}))
        torch.set_rng_state(state["rng"])
        if torch.cuda.is_available() and state.get("cuda_rng"):
            # Of as many GPUs as are here: the run may have been saved where there were more.
            torch.cuda.set_rng_state_all(state["cuda_rng"][: torch.cuda.device_count()])
