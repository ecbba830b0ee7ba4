"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning_fabric import Fabric
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from densewatch.metadata import ModelInfo
from densewatch.models.criterion import Criterion, Losses
from densewatch.models.retinanet import RetinaNet
from densewatch.training.batches import Batch, StepSampler, make_loader, read_source, read_sources
from densewatch.training.checkpoint import load_state, save_checkpoint, save_state
from densewatch.training.describe import describe
from densewatch.training.initial import initialise
from densewatch.training.log import RunLog
from densewatch.training.optimisation import average_weights, learning_rate_factor, make_optimizer
from densewatch.training.settings import TrainSettings
from densewatch.training.validate import validate

STATE_FILE = "state.pt"
MODEL_FILE = "model.safetensors"
SETTINGS_FILE = "settings.yaml"
_LOG_STEPS = 20
_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


class TrainingError(RuntimeError):
    """Training that cannot go on; the message says why and where to look."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands, for whoever shows it."""

    step: int
    total_steps: int
    epoch: int
    loss: float
    images_per_second: float


class Trainer:
    """One training run in a folder: `settings.yaml`, `metrics.csv`, `model.safetensors`, `state.pt`."""

    def __init__(self, settings: TrainSettings) -> None:
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        self.settings = settings
        self.folder = prepare_folder(settings)
        self.train_data = read_sources(settings.data)
        self.val_data = read_source(settings.val, self.train_data.classes) if settings.val else None
        self.fabric = _fabric(settings)
        self.fabric.seed_everything(settings.seed, verbose=False)
        config = settings.network(len(self.train_data.classes))
        network = RetinaNet(config)
        initialise(network, settings.init)
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.criterion = Criterion(config.loss).to(self.fabric.device)
        optimizer = make_optimizer(network, settings)
        self.steps_per_epoch = math.ceil(len(self.train_data) / settings.batch)
        self.total_steps = self.steps_per_epoch * settings.epochs
        self.schedule = LambdaLR(optimizer, learning_rate_factor(settings, self.total_steps))
        self.network, self.optimizer = self.fabric.setup(network, optimizer)
        self.plain_network = network
        self.averaged = average_weights(network, settings.ema) if settings.ema else None
        self.step = 0
        if settings.resume:
            self._restore(load_state(self.folder / STATE_FILE))

    @property
    def best_network(self) -> nn.Module:
        """The network that is saved and measured: the averaged one where there is one."""
        return self.averaged.module if self.averaged is not None else self.plain_network

    def run(self, report: Callable[[Progress], None] = lambda _: None) -> dict[str, float]:
        """Train to the end and return the last measurement, as metric → value.

        Raises:
            TrainingError: the loss is no longer finite; the batch is then in the run's folder.
        """
        settings = self.settings
        sampler = StepSampler(
            len(self.train_data), settings.batch, settings.imgsz, settings.seed, self.step, self.total_steps
        )
        metrics: dict[str, float] = {}
        with RunLog(self.folder) as log:
            started, images = time.monotonic(), 0
            for batch in make_loader(self.train_data, sampler, settings.augment, settings.workers):
                losses, grad_norm = self._train_step(batch)
                self.step += 1
                images += len(batch.images)
                epoch = self.step // self.steps_per_epoch
                if self.step % _LOG_STEPS == 0 or self.step == self.total_steps:
                    speed = images / (time.monotonic() - started)
                    report(Progress(self.step, self.total_steps, epoch, float(losses.total), speed))
                    log.write("metrics", self.step, self._row(losses, grad_norm, speed))
                    started, images = time.monotonic(), 0
                if self._is_measured():
                    metrics = self._measure(log)
                    started = time.monotonic()
                if self.step % settings.save_every == 0 or self.step == self.total_steps:
                    self._save(metrics)
        return metrics

    def _train_step(self, batch: Batch) -> tuple[Losses, float]:
        self.network.train()
        images = batch.images.to(self.fabric.device, non_blocking=True).float().div_(255)
        output = self.network(images.contiguous(memory_format=torch.channels_last))
        losses: Losses = self.criterion(
            torch.cat(output.cls_logits, dim=1).float(),
            torch.cat(output.bbox_deltas, dim=1).float(),
            torch.cat(output.anchors),
            [target.to(self.fabric.device) for target in batch.targets],
        )
        self.optimizer.zero_grad()
        self.fabric.backward(losses.total)
        limit = self.settings.clip_grad or math.inf
        norm = self.fabric.clip_gradients(
            self.network, self.optimizer, max_norm=limit, error_if_nonfinite=False
        )
        if not (math.isfinite(losses.total.item()) and math.isfinite(norm)) and self.settings.precision != "fp16":
            self._stop_on_nonfinite(batch, losses, float(norm))
        self.optimizer.step()
        self.schedule.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.plain_network)
        return losses, float(norm)

    def _stop_on_nonfinite(self, batch: Batch, losses: Losses, norm: float) -> None:
        file = self.folder / f"nonfinite-step{self.step}.pt"
        torch.save({"images": batch.images, "targets": [vars(target) for target in batch.targets]}, file)
        raise TrainingError(
            f"step {self.step}: the loss is {float(losses.classification):g} (class) + "
            f"{float(losses.box_regression):g} (box), its gradient's norm {norm:g}; the batch is in {file}. "
            "Usual causes: a learning rate that is too high, or too short a warm-up"
        )

    def _row(self, losses: Losses, grad_norm: float, speed: float) -> dict[str, float | None]:
        return {
            "epoch": self.step / self.steps_per_epoch,
            "loss": float(losses.total),
            "classification": float(losses.classification),
            "box_regression": float(losses.box_regression),
            "grad_norm": grad_norm,
            "lr": max(self.schedule.get_last_lr()),
            "images_per_second": speed,
        }

    def _is_measured(self) -> bool:
        if self.val_data is None:
            return False
        epoch, inside = divmod(self.step, self.steps_per_epoch)
        return inside == 0 and (epoch % self.settings.eval_every == 0 or self.step == self.total_steps)

    def _measure(self, log: RunLog) -> dict[str, float]:
        assert self.val_data is not None and self.settings.val is not None
        metrics = validate(
            self.best_network, self.val_data, self.settings.val.annotations, self.settings.resize, self.fabric.device
        )
        log.write("validation", self.step, metrics)
        return {name: value for name, value in metrics.items() if value is not None}

    def _save(self, metrics: dict[str, float]) -> None:
        info = self.describe(metrics)
        save_checkpoint(self.folder / MODEL_FILE, self.best_network, info)
        save_state(self.folder / STATE_FILE, self._state())

    def describe(self, metrics: dict[str, float]) -> ModelInfo:
        """Return the self-description of the model as it is now."""
        return describe(self.settings, self.plain_network, self.train_data, self.step, metrics)

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "network": self.plain_network.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged is not None else None,
            "criterion": self.criterion.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "rng": torch.get_rng_state(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.plain_network.load_state_dict(state["network"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        self.criterion.load_state_dict(state["criterion"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["rng"])


def prepare_folder(settings: TrainSettings) -> Path:
    """Return the run's folder, with the settings written into it.

    Raises:
        TrainingError: a new run would write over an old one.
    """
    folder = settings.out
    if not settings.resume and (folder / STATE_FILE).exists():
        raise TrainingError(f"{folder} holds a run already: go on with it (resume), or choose another folder (out)")
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    (folder / SETTINGS_FILE).write_text(text)
    return folder


def _fabric(settings: TrainSettings) -> Fabric:
    kind, _, number = settings.device.partition(":")
    devices: Any = [int(number)] if number else 1
    return Fabric(accelerator=kind, devices=devices, precision=_PRECISIONS[settings.precision])  # type: ignore[arg-type]


