"""The settings of a RetinaNet: every point in which RetinaNets differ is a named option here."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails

Preset = Literal[
    "paper",
    "paper-r101",
    "paper-x101-32x8d",
    "paper-x101-64x4d",
    "torchvision-v1",
    "torchvision-v2",
    "detectron2",
    "mmdetection",
    "light",
]
PRESETS: tuple[str, ...] = get_args(Preset)
BoxLoss = Literal["smooth_l1", "l1", "giou"]

_Several = Annotated[tuple[PositiveFloat, ...], Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BackboneConfig(_Strict):
    """What computes C3 to C5, and C2 where the pyramid has P2.

    Attributes:
        name: `resnet18` … `resnet152`, `resnext50_32x4d`, `resnext101_32x4d`, `resnext101_32x8d`,
            `resnext101_64x4d`, `mobilenet_v2`, or `timm:NAME` for any timm model that offers `features_only`.
        stride_in: which convolution of a bottleneck (ResNet-50 and deeper, ResNeXt) halves the picture: the
            first `1x1`, as in the ResNets of the paper, of Caffe and of detectron2, or the `3x3`, as
            torchvision has it. ResNet-18, ResNet-34 and MobileNetV2 have no bottlenecks, and no choice.
        norm: `batch` trains batch norm; `frozen` keeps its statistics and weights; `folded` has none: each
            convolution carries a bias instead (mobilenet_v2 only).
        norm_eps: epsilon of batch norm. torchvision overwrites it with 0 for its published V1 weights.
        freeze_stages: how many leading stages get no gradient; 1 is the stem, 2 the stem and C2, …
        mean: RGB, of pixel values 0 to 1, subtracted before the first convolution.
        std: RGB, divided by. Networks that subtract the mean from 0 to 255 and divide by nothing have 1/255.
    """

    name: str = "resnet50"
    stride_in: Literal["1x1", "3x3"] = "3x3"
    norm: Literal["batch", "frozen", "folded"] = "frozen"
    norm_eps: float = Field(1e-5, ge=0)
    freeze_stages: int = Field(0, ge=0, le=5)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = (0.229, 0.224, 0.225)


class PyramidConfig(_Strict):
    """The feature pyramid P3 to P7, or P2 to P7.

    Attributes:
        p2: adds a level at stride 4, from C2, for objects that are far away and small.
        width: channels of every level.
        p6_from: the paper takes P6 from C5; torchvision V1 from P5.
        p7_relu: P7 is computed from P6 after a ReLU, as in the paper; mmdetection leaves the ReLU out.
        depthwise: 3×3 convolutions are split into a depthwise and a pointwise one.
    """

    p2: bool = Field(False, strict=True)
    width: int = Field(256, ge=8)
    p6_from: Literal["C5", "P5"] = "C5"
    p7_relu: bool = True
    depthwise: bool = False

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the levels, finest first, in pixels of the input."""
        return (4, 8, 16, 32, 64, 128) if self.p2 else (8, 16, 32, 64, 128)


class HeadConfig(_Strict):
    """The two towers, shared by all levels: one ends in class logits, one in box deltas.

    Attributes:
        width: channels of a tower.
        depth: 3×3 convolutions before the output.
        shared: both outputs stand on one tower, which halves the work of the towers.
        norm: after each tower convolution.
        groups: of GroupNorm; `width` is a multiple of it.
        depthwise: 3×3 convolutions are split into a depthwise and a pointwise one.
        prior: probability of an object that the last bias starts from (paper, section 4.1).
    """

    width: int = Field(256, ge=8)
    depth: int = Field(4, ge=0)
    shared: bool = False
    norm: Literal["none", "group"] = "none"
    groups: int = Field(32, ge=1)
    depthwise: bool = False
    prior: float = Field(0.01, gt=0, lt=1)

    @model_validator(mode="after")
    def _groups_divide_width(self) -> Self:
        if self.norm == "group" and self.width % self.groups:
            raise ValueError(f"head width {self.width} is not a multiple of its {self.groups} norm groups")
        return self


class AnchorConfig(_Strict):
    """Boxes that detections start from.

    Attributes:
        sizes: side of the smallest square anchor of each level, finest first, pixels: five for P3 … P7, six
            for P2 … P7.
        scales: each size is also used times these.
        ratios: height divided by width.
        rounding: `integer` cuts sizes and rounds corners to whole pixels, as torchvision does.
        center: of the anchors in a cell: its top left `corner`, or its middle (`half` a stride on).
        stride_rule: `fixed` is the level's own; `grid` is input side // grid side, as torchvision has it.
    """

    sizes: _Several = (32, 64, 128, 256, 512)
    scales: _Several = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
    ratios: _Several = (0.5, 1.0, 2.0)
    rounding: Literal["none", "integer"] = "none"
    center: Literal["corner", "half"] = "corner"
    stride_rule: Literal["fixed", "grid"] = "fixed"

    @property
    def per_cell(self) -> int:
        """Anchors in a cell."""
        return len(self.scales) * len(self.ratios)


class LossConfig(_Strict):
    """What training minimises.

    Attributes:
        foreground_iou: an anchor with at least this IoU learns the object.
        background_iou: an anchor below learns "nothing here"; between the two it learns nothing.
        low_quality_matches: the best anchors of every object learn it, however low their IoU.
        alpha: weight of the foreground in the focal loss.
        gamma: focusing exponent of the focal loss: 0, which does not focus, or at least 1.
        box_loss: `smooth_l1` and `l1` compare deltas, `giou` compares decoded boxes.
        beta: where smooth L1 turns from square to line.
        box_weight: of the box loss in the sum.
        normaliser: what the sums are divided by: `image`: each picture's own foreground count, then the mean
            over pictures (torchvision; sparse pictures weigh more an object); `batch`: the batch's count;
            `ema`: the batch's count, smoothed over batches (detectron2; momentum 0.9, start 100).
        soft_labels: an object of weight w, such as one that a teacher found with the score w, is to be found
            with the score w itself (quality focal loss, arXiv 2006.04388), instead of counting w times; in
            the box loss it counts w times all the same.
        ignore_overlap: an anchor of which at least this share lies in an ignored region gets no loss in the
            region's class.
    """

    foreground_iou: float = Field(0.5, gt=0, le=1)
    background_iou: float = Field(0.4, ge=0, le=1)
    low_quality_matches: bool = False
    alpha: float = Field(0.25, ge=0, le=1)
    gamma: float = Field(2.0, ge=0)
    box_loss: BoxLoss = "smooth_l1"
    beta: float = Field(0.1, gt=0)
    box_weight: float = Field(1.0, ge=0)
    normaliser: Literal["image", "batch", "ema"] = "image"
    soft_labels: bool = False
    ignore_overlap: float = Field(0.5, gt=0, le=1)

    @field_validator("gamma")
    @classmethod
    def _gamma_has_a_gradient(cls, gamma: float) -> float:
        if 0 < gamma < 1:
            raise ValueError(
                f"gamma {gamma:g} must be 0 or at least 1: in between, the gradient is not finite where an "
                "anchor is classified well"
            )
        return gamma

    @model_validator(mode="after")
    def _thresholds_in_order(self) -> Self:
        if self.background_iou > self.foreground_iou:
            raise ValueError(
                f"background_iou {self.background_iou} is above foreground_iou {self.foreground_iou}"
            )
        return self


class RetinaNetConfig(_Strict):
    """A whole RetinaNet. Every field has the paper's value by default, but for three of the backbone.

    Mean, deviation and the bottleneck's stride are as in torchvision's ResNets. The paper started from
    others, see the preset `detectron2`.
    """

    num_classes: int = Field(80, ge=1)
    backbone: BackboneConfig = BackboneConfig()
    pyramid: PyramidConfig = PyramidConfig()
    head: HeadConfig = HeadConfig()
    anchors: AnchorConfig = Field(AnchorConfig(), validate_default=True)
    loss: LossConfig = LossConfig()

    @field_validator("anchors")
    @classmethod
    def _every_level_has_a_size(cls, anchors: AnchorConfig, info: ValidationInfo) -> AnchorConfig:
        if "pyramid" not in info.data:  # then that is the mistake to speak of
            return anchors
        levels, sizes = len(info.data["pyramid"].strides), len(anchors.sizes)
        if sizes != levels:
            error = ValueError(
                f"{levels} sizes are expected, one for each of P{8 - levels} to P7, but there are {sizes}"
            )
            mistake = InitErrorDetails(
                type="value_error", loc=("sizes",), input=anchors.sizes, ctx={"error": error}
            )
            raise ValidationError.from_exception_data(cls.__name__, [mistake])
        return anchors


_TORCHVISION_ANCHORS = {"rounding": "integer", "stride_rule": "grid"}

_PRESETS: dict[str, dict[str, Any]] = {
    # Lin et al., Focal Loss for Dense Object Detection, arXiv 1708.02002, sections 4 and 5.
    # Its figures are with ResNet-50, ResNet-101 and ResNeXt-101, of which Detectron published two forms.
    "paper": {},
    "paper-r101": {"backbone": {"name": "resnet101"}},
    "paper-x101-32x8d": {"backbone": {"name": "resnext101_32x8d"}},
    "paper-x101-64x4d": {"backbone": {"name": "resnext101_64x4d"}},
    "torchvision-v1": {
        "backbone": {"norm_eps": 0.0},
        "pyramid": {"p6_from": "P5"},
        "anchors": _TORCHVISION_ANCHORS,
        "loss": {"low_quality_matches": True, "box_loss": "l1"},
    },
    "torchvision-v2": {
        "backbone": {"norm": "batch"},
        "head": {"norm": "group"},
        "anchors": _TORCHVISION_ANCHORS,
        "loss": {"low_quality_matches": True, "box_loss": "giou"},
    },
    # configs/Base-RetinaNet.yaml and the defaults of detectron2 0.6; FREEZE_AT 2 is the stem and C2. The
    # first ResNets were trained on pixels of 0 to 255, less the mean of ImageNet, and divided by nothing.
    "detectron2": {
        "backbone": {
            "stride_in": "1x1",
            "freeze_stages": 2,
            "mean": (123.675 / 255, 116.28 / 255, 103.53 / 255),
            "std": (1 / 255,) * 3,
        },
        "loss": {"low_quality_matches": True, "box_loss": "l1", "normaliser": "ema"},
    },
    # configs/_base_/models/retinanet_r50_fpn.py of mmdetection 3.3, style pytorch; frozen_stages 1 counts C2.
    "mmdetection": {
        "backbone": {"freeze_stages": 2},
        "pyramid": {"p7_relu": False},
        "loss": {"low_quality_matches": True, "box_loss": "l1", "normaliser": "batch"},
    },
    # Narrow, for CPUs. Mean and deviation map pixels to -1 … 1, which the MobileNetV2 it starts from expects.
    # Anchors begin at 24 px because its pictures are small.
    "light": {
        "backbone": {"name": "mobilenet_v2", "norm": "folded", "mean": (0.5,) * 3, "std": (0.5,) * 3},
        "pyramid": {"width": 96, "p6_from": "P5", "depthwise": True},
        "head": {"width": 96, "depth": 3, "norm": "group", "groups": 16, "depthwise": True},
        "anchors": {"sizes": (24, 48, 96, 192, 384), "scales": (1.0, 2**0.5)},
        "loss": {"low_quality_matches": True, "box_loss": "giou", "box_weight": 2.0, "normaliser": "batch"},
    },
}


def preset(name: str, num_classes: int = 80, **sections: dict[str, Any]) -> RetinaNetConfig:
    """Return a named configuration, with single options changed.

    Where `pyramid` asks for P2 and `anchors` gives no sizes, the preset's sizes get one more in front, half
    of the first: an anchor of P2 then covers as many cells as one of P3.

    Args:
        name: one of `PRESETS`.
        num_classes: of the data.
        sections: `backbone={"name": "resnet18"}` and the like, over the preset's own values.

    Raises:
        ValueError: the preset or an option is unknown.
    """
    if name not in _PRESETS:
        raise ValueError(f"unknown preset {name!r}: known are {', '.join(PRESETS)}")
    values: dict[str, Any] = {key: dict(section) for key, section in _PRESETS[name].items()}
    for key, section in sections.items():
        values[key] = {**values.get(key, {}), **section}
    if values.get("pyramid", {}).get("p2") is True and "sizes" not in sections.get("anchors", {}):
        anchors = values.setdefault("anchors", {})
        sizes = anchors.get("sizes", AnchorConfig().sizes)
        anchors["sizes"] = (sizes[0] / 2, *sizes)
    return RetinaNetConfig.model_validate({"num_classes": num_classes, **values})
