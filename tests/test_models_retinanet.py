"""RetinaNet: shapes, presets, and that every option in which RetinaNets differ changes what it should."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn
from torchvision.models import WeightsEnum
from torchvision.models.detection import RetinaNet_ResNet50_FPN_V2_Weights, RetinaNet_ResNet50_FPN_Weights

from densewatch.models.config import PRESETS, RetinaNetConfig, preset
from densewatch.models.criterion import Criterion, Target
from densewatch.models.retinanet import RetinaNet

STRIDES = (8, 16, 32, 64, 128)
SMALL: dict[str, dict[str, Any]] = {
    "backbone": {"name": "resnet18", "norm": "batch"},
    "pyramid": {"width": 16},
    "head": {"width": 16, "depth": 1, "groups": 4},
}


SCENE = Target(  # a small object that no anchor fits, a large one, and a region to ignore
    boxes=torch.tensor([[10.0, 10.0, 18.0, 22.0], [30.0, 20.0, 90.0, 85.0]]),
    labels=torch.tensor([0, 1]),
    ignore_boxes=torch.tensor([[100.0, 0.0, 160.0, 60.0]]),
    ignore_labels=torch.tensor([2]),
    unlabelled=torch.tensor([], dtype=torch.int64),
    weights=torch.ones(2),
)
EMPTY = Target(
    boxes=torch.zeros(0, 4),
    labels=SCENE.unlabelled,
    ignore_boxes=torch.zeros(0, 4),
    ignore_labels=SCENE.unlabelled,
    unlabelled=SCENE.unlabelled,
    weights=torch.zeros(0),
)


def small(name: str = "paper", /, **sections: dict[str, Any]) -> RetinaNetConfig:
    """Return a preset on a small network, with single options changed."""
    merged = {key: {**SMALL.get(key, {}), **sections.get(key, {})} for key in {*SMALL, *sections}}
    return preset(name, num_classes=3, **merged)


def make(config: RetinaNetConfig) -> RetinaNet:
    torch.manual_seed(0)
    return RetinaNet(config).eval()


def picture(height: int, width: int, pictures: int = 1) -> Tensor:
    return torch.rand(pictures, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("size", [(64, 64), (128, 128), (96, 160), (160, 224), (224, 32)])
@pytest.mark.parametrize("name", PRESETS)
def test_shapes(name: str, size: tuple[int, int]) -> None:
    config = small(name)
    network = make(config)
    with torch.inference_mode():
        output = network(picture(*size, pictures=2))
    per_cell = config.anchors.per_cell
    counts = [-(-size[0] // stride) * -(-size[1] // stride) * per_cell for stride in STRIDES]
    assert [tuple(level.shape) for level in output.cls_logits] == [(2, count, 3) for count in counts]
    assert [tuple(level.shape) for level in output.bbox_deltas] == [(2, count, 4) for count in counts]
    assert [tuple(level.shape) for level in output.anchors] == [(count, 4) for count in counts]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_start_from_the_prior(name: str) -> None:
    """With batch norm that learns: without weights, a frozen one lets the sums of 33 blocks explode."""
    torch.manual_seed(0)
    network = RetinaNet(preset(name, num_classes=20, backbone={"norm": "batch", "norm_eps": 1e-5})).train()
    with torch.inference_mode():
        scores = torch.cat(network(picture(96, 96)).cls_logits, dim=1).sigmoid()
    assert float(scores.mean()) == pytest.approx(0.01, rel=0.15)
    assert 0.001 < float(scores.min()) < float(scores.max()) < 0.1


@pytest.mark.parametrize("prior", [0.5, 0.001])
def test_prior(prior: float) -> None:
    network = make(small(head={"prior": prior}))
    with torch.inference_mode():
        scores = torch.cat(network(picture(64, 64)).cls_logits, dim=1).sigmoid()
    assert float(scores.mean()) == pytest.approx(prior, rel=0.05)


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("torchvision-v1", RetinaNet_ResNet50_FPN_Weights.COCO_V1),
        ("torchvision-v2", RetinaNet_ResNet50_FPN_V2_Weights.COCO_V1),
    ],
)
def test_presets_are_as_large_as_torchvisions(name: str, published: WeightsEnum) -> None:
    with torch.device("meta"):
        network = RetinaNet(preset(name, num_classes=91))
    assert sum(parameter.numel() for parameter in network.parameters()) == published.meta["num_params"]


class Fingerprint:
    """What a configuration amounts to: the weights it has, what it says of a picture and what it learns."""

    def __init__(self, config: RetinaNetConfig) -> None:
        network = make(config)
        output = network(picture(96, 160, pictures=2))
        logits, deltas = torch.cat(output.cls_logits, dim=1), torch.cat(output.bbox_deltas, dim=1)
        self.anchors = torch.cat(output.anchors)
        self.outputs = torch.cat([logits, deltas], dim=2).detach()
        self.weights = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        losses = Criterion(config.loss)(logits, deltas, self.anchors, [SCENE, EMPTY])
        self.losses = torch.stack([losses.classification, losses.box_regression]).detach()
        losses.total.backward()
        self.trained = {name: value.grad is not None for name, value in network.named_parameters()}

    def differs(self, other: Fingerprint, aspect: str) -> bool:
        """Return whether an aspect, one of this object's attributes, is another one in `other`."""
        ours, theirs = getattr(self, aspect), getattr(other, aspect)
        return not torch.equal(ours, theirs) if isinstance(ours, Tensor) else bool(ours != theirs)


@pytest.fixture(scope="module")
def usual() -> Fingerprint:
    return Fingerprint(small())


@pytest.mark.parametrize(
    ("section", "options", "aspect"),
    [
        ("anchors", {"sizes": (24, 48, 96, 192, 384)}, "anchors"),
        ("anchors", {"scales": (1.0, 1.5)}, "anchors"),
        ("anchors", {"ratios": (0.5, 1.0)}, "anchors"),
        ("anchors", {"rounding": "integer"}, "anchors"),
        ("anchors", {"center": "half"}, "anchors"),
        ("anchors", {"stride_rule": "grid"}, "anchors"),
        ("pyramid", {"p6_from": "P5"}, "weights"),
        ("pyramid", {"width": 24}, "weights"),
        ("pyramid", {"p2": True}, "weights"),
        ("pyramid", {"p2": True}, "anchors"),
        ("pyramid", {"depthwise": True}, "weights"),
        ("backbone", {"name": "resnet34"}, "weights"),
        ("backbone", {"name": "mobilenet_v2"}, "weights"),
        ("backbone", {"norm": "frozen"}, "weights"),
        ("backbone", {"norm_eps": 0.1}, "outputs"),
        ("backbone", {"mean": (0.0, 0.0, 0.0)}, "outputs"),
        ("backbone", {"std": (1.0, 1.0, 1.0)}, "outputs"),
        ("backbone", {"freeze_stages": 2}, "trained"),
        ("head", {"norm": "group"}, "weights"),
        ("head", {"norm": "group", "groups": 2}, "outputs"),
        ("head", {"depth": 2}, "weights"),
        ("head", {"depth": 0}, "weights"),
        ("head", {"width": 24}, "weights"),
        ("head", {"depthwise": True}, "weights"),
        ("head", {"prior": 0.1}, "outputs"),
        ("loss", {"foreground_iou": 0.7}, "losses"),
        ("loss", {"background_iou": 0.1}, "losses"),
        ("loss", {"low_quality_matches": True}, "losses"),
        ("loss", {"alpha": 0.5}, "losses"),
        ("loss", {"gamma": 0.0}, "losses"),
        ("loss", {"box_loss": "l1"}, "losses"),
        ("loss", {"box_loss": "giou"}, "losses"),
        ("loss", {"beta": 1 / 9}, "losses"),
        ("loss", {"box_weight": 2.0}, "losses"),
        ("loss", {"normaliser": "batch"}, "losses"),
        ("loss", {"normaliser": "ema"}, "losses"),
        ("loss", {"ignore_overlap": 1.0}, "losses"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_every_option_changes_what_it_should(
    usual: Fingerprint, section: str, options: dict[str, Any], aspect: str
) -> None:
    assert Fingerprint(small(**{section: options})).differs(usual, aspect)


def test_the_same_options_give_the_same_network(usual: Fingerprint) -> None:
    again = Fingerprint(small())
    for aspect in ("anchors", "outputs", "weights", "losses", "trained"):
        assert not again.differs(usual, aspect)


def test_p6_comes_from_c5_or_p5() -> None:
    shapes = {
        source: make(small(pyramid={"p6_from": source})).state_dict()["pyramid.p6.weight"].shape
        for source in ("C5", "P5")
    }
    assert shapes == {"C5": (16, 512, 3, 3), "P5": (16, 16, 3, 3)}


def test_group_norm_follows_every_convolution_of_a_tower() -> None:
    tower = make(small(head={"depth": 2, "norm": "group"})).class_head.tower
    assert [type(layer) for layer in tower] == [nn.Conv2d, nn.GroupNorm, nn.ReLU] * 2


def test_depthwise_towers_are_lighter() -> None:
    heavy, light = (
        sum(
            value.numel()
            for value in make(small(head={"depthwise": depthwise, "depth": 2})).class_head.parameters()
        )
        for depthwise in (False, True)
    )
    assert light < heavy / 3


def test_a_shared_tower_carries_both_outputs() -> None:
    options = {"width": 24, "depth": 2, "groups": 8, "norm": "group"}
    apart, together = (make(small(head={**options, "shared": shared})) for shared in (False, True))
    names = set(apart.state_dict()) - set(together.state_dict())
    assert names == {name for name in apart.state_dict() if name.startswith("box_head.tower.")}
    assert together.box_head.output.weight.shape == (36, 24, 3, 3)
    output = together(picture(64, 64))
    sum(deltas.sum() for deltas in output.bbox_deltas).backward()
    assert together.class_head.tower[0].weight.grad is not None
    assert together.class_head.output.weight.grad is None


def test_without_a_tower_there_is_nothing_to_share() -> None:
    network = make(small(head={"width": 24, "depth": 0, "shared": True}))
    assert network.box_head.output.weight.shape == (36, 16, 3, 3)
    assert [deltas.shape[-1] for deltas in network(picture(64, 64)).bbox_deltas] == [4] * 5


def test_levels_share_the_heads() -> None:
    network = make(small())
    level = torch.rand(1, 16, 4, 4)
    network.pyramid.forward = lambda features: [level] * 5  # type: ignore[method-assign]
    output = network(picture(64, 64))
    for logits, deltas in zip(output.cls_logits, output.bbox_deltas, strict=True):
        assert torch.equal(logits, output.cls_logits[0])
        assert torch.equal(deltas, output.bbox_deltas[0])


def test_a_picture_does_not_depend_on_its_batch() -> None:
    network = make(small("torchvision-v2"))
    pictures = picture(96, 160, pictures=3)
    with torch.inference_mode():
        together, alone = network(pictures), network(pictures[1:2])
    for batched, single in zip(together.cls_logits, alone.cls_logits, strict=True):
        torch.testing.assert_close(batched[1:2], single, rtol=1e-4, atol=1e-5)


def test_a_configuration_survives_json() -> None:
    for name in PRESETS:
        config = preset(name, num_classes=7, head={"prior": 0.05})
        assert RetinaNetConfig.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"head": {"widht": 3}}, "head.widht"),
        ({"heads": {"width": 3}}, "heads"),
        (
            {"head": {"norm": "group", "width": 40, "groups": 16}},
            "40 is not a multiple of its 16 norm groups",
        ),
        ({"loss": {"foreground_iou": 0.3}}, r"background_iou 0\.4 is above foreground_iou 0\.3"),
        ({"anchors": {"ratios": ()}}, "anchors.ratios"),
        ({"anchors": {"scales": (1.0, 0.0)}}, "anchors.scales"),
        ({"anchors": {"sizes": (32, 64)}}, "anchors.sizes"),
        ({"backbone": {"std": (1.0, 1.0, 0.0)}}, "backbone.std"),
    ],
)
def test_wrong_options_are_named(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        preset("paper", **sections)


def test_an_unknown_preset_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"unknown preset 'papre': known are paper, paper-r101, "):
        preset("papre")
