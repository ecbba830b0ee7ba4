"""All settings of a training run: one schema for the YAML file, the flags and the API; needs no torch."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from statistics import median_low
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from densewatch.data.augment_settings import AugmentSettings
from densewatch.metadata import ResizePolicy
from densewatch.models.config import Preset, RetinaNetConfig, preset


class TrainingError(RuntimeError):
    """Training that cannot start or go on; the message says why and what to do."""


class DataSource(BaseModel):
    """A labelled data set, or an unlabelled one with a teacher's boxes.

    Attributes:
        annotations: file or folder of the labels, in any of the formats of docs/data.md.
        images: folder of the pictures; by default where the format has it.
        split: of data that has several; by default `train` to learn from, and `val` to measure on.
        labelled: False where nobody labelled anything: every class is then unlabelled in every picture.
        teacher: COCO results JSON of another detector, which fills in what nobody labelled.
        teacher_score: a teacher's box with at least this score is learned as an object.
        ignore_score: a teacher's box with at least this score, and less than `teacher_score`, is ignored.
        teacher_weighted: whether a teacher's box counts in the loss as much as its score says.
        repeat: how often an epoch goes through this data.
        where: keep pictures with these attributes only, as in `{source: coco}`.
        limit: only so many pictures, the first of those; by default all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    annotations: Path
    images: Path | None = None
    split: Literal["train", "val", "test"] | None = None
    labelled: bool = True
    teacher: Path | None = None
    teacher_score: float = Field(0.5, ge=0, le=1)
    ignore_score: float = Field(0.25, ge=0, le=1)
    teacher_weighted: bool = False
    repeat: int = Field(1, ge=1)
    where: dict[str, str] = {}
    limit: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _scores_rise(self) -> DataSource:
        if self.ignore_score > self.teacher_score:
            raise ValueError(
                f"ignore_score {self.ignore_score:g} must be at most teacher_score {self.teacher_score:g}"
            )
        return self


class TrainSettings(BaseModel):
    """Settings of a training run; the defaults are the paper's where it names one.

    Attributes:
        data: what to learn from.
        balance: classes in fewer pictures than this share are seen more often, by repeat-factor sampling; 0
            sees every picture alike.
        val: what to measure AP on; None measures nothing.
        preset: the network, by name; `light` is for CPUs.
        model: single options of the network over the preset, as in `{head: {width: 64}}`.
        init: weights to start from: a checkpoint (`.safetensors`); a model file (`.onnx`) or the name of a
            model, such as `everyday-light`, which is the `default`; or ImageNet weights of a MobileNetV2
            (`.npz`).
        freeze: parts of the network that stay as they are, batch norm included, by their names in it, such as
            `backbone,pyramid` or `backbone.stages.3`.
        out: folder of the run; it must hold no run unless `resume` is set.
        resume: go on with the run in `out`, with the settings that it began with.
        epochs: passes over the data.
        patience: stop when AP has not risen for so many epochs; 0 never stops early.
        batch: pictures a step, of all processes together.
        accumulate: parts that the pictures of a step go through the network in, where memory is short; batch
            norm that learns sees one part at a time.
        imgsz: sides to train at, pixels; each step takes one of them.
        optimizer: what makes the steps; `sgd` has momentum 0.9.
        lr: peak learning rate.
        backbone_lr: the backbone's share of the learning rate.
        weight_decay: decay of the weights; biases and norms have none.
        schedule: how the learning rate falls: `step` divides by 10 at `milestones`; `cosine` goes down to
            `final_lr` of the peak.
        milestones: where `step` falls, as shares of the run, rising.
        final_lr: share of the peak that a cosine ends at.
        warmup: steps of linear warm-up; at most a fifth of the run.
        clip_grad: largest gradient norm; 0 does not clip.
        ema: decay of the averaged weights, which are what is saved and measured; 0 averages nothing.
        precision: numeric type of the network's forward; weights stay fp32.
        device: where the network runs: `auto`, `cpu`, `cuda`, `cuda:1`, …
        workers: processes that read and vary pictures; 0 does it in the main one.
        threads: threads of the CPU; by default torch chooses.
        cache: keep pictures decoded and scaled: on `disk`, for later runs too, or in `ram`; `off` decodes
            them anew each time.
        cache_gb: size of the cache at most, GB; pictures that do not fit are read from their files.
        cache_dir: folder of the cache on disk; by default that of the user.
        seed: what everything random starts from.
        augment: how pictures are varied.
        resize: how pictures are prepared when the model is used and measured; by default as `imgsz` and
            `augment.geometry` have it, see `resize_policy`.
        eval_every: epochs between measurements; the last one is always measured.
        save_every: steps between saves; the end of a measured epoch is always saved.
        name: what the model is called.
        licence: licence of the weights, as it is written into the model file.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: tuple[DataSource, ...] = Field(min_length=1)
    balance: float = Field(0.0, ge=0, le=1)
    val: DataSource | None = None
    preset: Preset = "light"
    model: dict[str, dict[str, Any]] = {}
    init: Path | None = None
    freeze: tuple[str, ...] = ()
    out: Path = Path("runs/train")
    resume: bool = False
    epochs: int = Field(12, ge=1)
    patience: int = Field(0, ge=0)
    batch: int = Field(16, ge=1)
    accumulate: int = Field(1, ge=1)
    imgsz: tuple[Annotated[int, Field(ge=32)], ...] = Field((800,), min_length=1)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = Field(0.01, gt=0)
    backbone_lr: float = Field(1.0, ge=0)
    weight_decay: float = Field(1e-4, ge=0)
    schedule: Literal["step", "cosine"] = "step"
    milestones: tuple[float, ...] = (0.667, 0.889)
    final_lr: float = Field(0.01, ge=0, le=1)
    warmup: int = Field(500, ge=0)
    clip_grad: float = Field(10.0, ge=0)
    ema: float = Field(0.0, ge=0, lt=1)
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda|gpu|mps)(:\d+)?$")
    workers: int = Field(1, ge=0)
    threads: int | None = Field(None, ge=1)
    cache: Literal["off", "ram", "disk"] = "off"
    cache_gb: float = Field(16.0, gt=0)
    cache_dir: Path | None = None
    seed: int = 0
    augment: AugmentSettings = AugmentSettings()
    resize: ResizePolicy | None = None
    eval_every: int = Field(1, ge=1)
    save_every: int = Field(500, ge=1)
    name: str = "model"
    licence: str = "unknown"

    @field_validator("model")
    @classmethod
    def _network_is_known(
        cls, model: dict[str, dict[str, Any]], info: ValidationInfo
    ) -> dict[str, dict[str, Any]]:
        if "preset" in info.data:  # else that is the mistake to speak of
            preset(info.data["preset"], num_classes=1, **model)
        return model

    @field_validator("milestones")
    @classmethod
    def _milestones_are_shares(cls, milestones: tuple[float, ...]) -> tuple[float, ...]:
        if not all(before < after for before, after in pairwise((0.0, *milestones, 1.0))):
            given = ", ".join(f"{share:g}" for share in milestones)
            raise ValueError(
                f"milestones {given} must rise between 0 and 1: they are shares of the run, such as 0.5 for "
                "half of its epochs"
            )
        return milestones

    @model_validator(mode="after")
    def _sizes_fit_the_strides(self) -> TrainSettings:
        if self.augment.geometry == "square":
            for side in self.imgsz:
                if side % 32:
                    raise ValueError(f"imgsz {side} is not a multiple of 32, which square geometry needs")
        return self

    @model_validator(mode="after")
    def _val_is_labelled(self) -> TrainSettings:
        if self.val is not None and (self.val.teacher is not None or not self.val.labelled):
            raise ValueError("val must be labelled, and without a teacher: AP on its own labels is measured")
        return self

    @model_validator(mode="after")
    def _patience_has_something_to_watch(self) -> TrainSettings:
        if self.patience and self.val is None:
            raise ValueError("patience needs val: without it, no AP is measured")
        return self

    @property
    def resize_policy(self) -> ResizePolicy:
        """How pictures are prepared when the model is used.

        That is `resize`, or else the middle one of the training sizes, for the side that training scales: in
        `square` geometry the longer one, else the shorter one.
        """
        if self.resize is not None:
            return self.resize
        size, augment = median_low(self.imgsz), self.augment
        if augment.geometry == "square":
            return ResizePolicy(mode="longer", size=size, max_size=None, pad_value=augment.pad_value)
        return ResizePolicy(mode="shorter", size=size, max_size=augment.max_size, pad_value=augment.pad_value)

    def network(self, num_classes: int) -> RetinaNetConfig:
        """Return the network's configuration for data with `num_classes` classes."""
        return preset(self.preset, num_classes, **self.model)
