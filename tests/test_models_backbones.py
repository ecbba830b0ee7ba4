"""Backbones: channels, strides, what gets gradients, folding, and names that do not exist."""

from __future__ import annotations

import functools
import sys
from typing import Any

import pytest
import torch
from torch import nn
from torchvision.models import get_model
from torchvision.ops.misc import FrozenBatchNorm2d

from densewatch.models.backbones import RESNETS, Backbone, TimmBackbone, build_backbone, fold_batch_norm
from densewatch.models.config import BackboneConfig

BASIC, BOTTLENECK = (128, 256, 512), (512, 1024, 2048)


def build(name: str, **options: Any) -> Backbone:
    backbone = build_backbone(BackboneConfig(name=name, **options))
    assert isinstance(backbone, Backbone)
    return backbone


def randomise_norms(module: nn.Module) -> None:
    """Give every batch norm a function of its own."""
    generator = torch.Generator().manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            with torch.no_grad():
                for value in (layer.weight, layer.running_var):
                    assert value is not None
                    value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
                for value in (layer.bias, layer.running_mean):
                    assert value is not None
                    value.copy_(torch.randn(value.shape, generator=generator) * 0.1)


@pytest.mark.parametrize(
    ("name", "norm", "channels"),
    [
        *((name, "batch", BASIC) for name in ("resnet18", "resnet34")),
        *((name, "frozen", BOTTLENECK) for name in RESNETS if name not in ("resnet18", "resnet34")),
        ("mobilenet_v2", "batch", (32, 96, 320)),
        ("mobilenet_v2", "folded", (32, 96, 320)),
    ],
)
def test_channels_and_strides(name: str, norm: str, channels: tuple[int, int, int]) -> None:
    with torch.device("meta"):  # shapes alone: no weights are made and nothing is computed
        backbone = build(name, norm=norm)
        features = backbone(torch.zeros(2, 3, 96, 160))
    assert backbone.channels == channels
    assert backbone.strides == (8, 16, 32)
    assert [tuple(feature.shape) for feature in features] == [
        (2, channels[0], 12, 20),
        (2, channels[1], 6, 10),
        (2, channels[2], 3, 5),
    ]


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("resnet18", (64, *BASIC)),
        ("resnet50", (256, *BOTTLENECK)),
        ("resnext50_32x4d", (256, *BOTTLENECK)),
        ("mobilenet_v2", (24, 32, 96, 320)),
    ],
)
def test_c2_comes_first_where_it_is_asked_for(name: str, channels: tuple[int, ...]) -> None:
    with torch.device("meta"):
        backbone = build_backbone(BackboneConfig(name=name, norm="batch"), with_c2=True)
        features = backbone(torch.zeros(2, 3, 96, 160))
    assert backbone.channels == channels
    assert backbone.strides == (4, 8, 16, 32)
    grids = [(24, 40), (12, 20), (6, 10), (3, 5)]
    assert [tuple(feature.shape) for feature in features] == [
        (2, count, *grid) for count, grid in zip(channels, grids, strict=True)
    ]


def test_c2_changes_nothing_else() -> None:
    config = BackboneConfig(name="mobilenet_v2", norm="batch")
    backbone, with_c2 = build_backbone(config).eval(), build_backbone(config, with_c2=True).eval()
    with_c2.load_state_dict(backbone.state_dict())
    picture = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for feature, expected in zip(with_c2(picture)[1:], backbone(picture), strict=True):
            assert torch.equal(feature, expected)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_is_torchvisions_function(name: str) -> None:
    net = get_model(name, weights=None)
    randomise_norms(net)
    backbone = build(name, norm="batch").eval()
    backbone.load_state_dict(dict(zip(backbone.state_dict(), net.state_dict().values(), strict=False)))
    picture = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = picture
    if name == "resnet18":
        for layer in list(net.eval().children())[:-2]:
            expected = layer(expected)
    else:
        expected = net.eval().features[:18](picture)
    assert expected.std() > 0.05
    torch.testing.assert_close(backbone(picture)[-1], expected)


def test_folding_keeps_the_function() -> None:
    backbone = build("mobilenet_v2", norm="batch").eval()
    randomise_norms(backbone)
    picture = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = backbone(picture)
        fold_batch_norm(backbone)
        folded = backbone(picture)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in backbone.modules())
    assert all(feature.std() > 0.05 for feature in expected)
    torch.testing.assert_close(folded, expected, rtol=1e-4, atol=1e-5)


def test_a_folded_backbone_starts_from_a_signal_that_neither_vanishes_nor_explodes() -> None:
    torch.manual_seed(0)
    backbone = build("mobilenet_v2", norm="folded")
    with torch.inference_mode():
        features = backbone(torch.randn(2, 3, 128, 128))
    assert [0.3 < float(feature.std()) < 5 for feature in features] == [True] * 3


def test_every_weight_of_a_folded_backbone_is_trained() -> None:
    backbone = build("mobilenet_v2", norm="folded", freeze_stages=1)
    trained = {name: parameter.requires_grad for name, parameter in backbone.named_parameters()}
    assert trained == {name: not name.startswith("stages.0.") for name in trained}
    assert any(name.endswith(".bias") for name in trained)


def test_frozen_norm_has_nothing_to_train() -> None:
    backbone = build("resnet18", norm="frozen", norm_eps=0.5)
    norms = [layer for layer in backbone.modules() if isinstance(layer, FrozenBatchNorm2d)]
    assert norms
    assert {norm.eps for norm in norms} == {0.5}
    assert all(parameter.ndim == 4 for parameter in backbone.parameters())


def test_frozen_norms_keep_the_numeric_type() -> None:
    backbone = build("resnet18", norm="frozen").train()
    with torch.autocast("cpu", torch.bfloat16):
        features = backbone(torch.randn(1, 3, 64, 64))
    assert {feature.dtype for feature in features} == {torch.bfloat16}


def test_frozen_stages_learn_from_slices_of_a_batch_and_make_the_same_of_it() -> None:
    backbone = build("mobilenet_v2", norm="folded", freeze_stages=2).train().double()
    sizes: list[int] = []
    backbone.stages[0].register_forward_hook(lambda _stage, _inputs, output: sizes.append(len(output)))
    images = torch.randn(5, 3, 64, 96, generator=torch.Generator().manual_seed(1)).double()
    learned = backbone(images)
    whole = backbone.eval()(images)
    assert sizes == [2, 2, 1, 5]
    for one, other in zip(learned, whole, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("frozen", range(6))
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_freeze_stages(name: str, frozen: int) -> None:
    backbone = build(name, norm="batch", freeze_stages=frozen).train()
    for index, stage in enumerate(backbone.stages):
        assert all(parameter.requires_grad is (index >= frozen) for parameter in stage.parameters())
        norms = [layer for layer in stage.modules() if isinstance(layer, nn.BatchNorm2d)]
        assert norms
        assert all(norm.training is (index >= frozen) for norm in norms)
    assert not any(layer.training for layer in backbone.eval().modules())


def test_frozen_stages_get_no_gradient_and_keep_their_statistics() -> None:
    backbone = build("resnet18", norm="batch", freeze_stages=2).train()
    before = {name: value.clone() for name, value in backbone.state_dict().items() if "running" in name}
    sum(feature.sum() for feature in backbone(torch.randn(2, 3, 64, 64))).backward()
    for name, parameter in backbone.named_parameters():
        assert (parameter.grad is None) is name.startswith(("stages.0.", "stages.1.")), name
    for name, value in before.items():
        unchanged = torch.equal(backbone.state_dict()[name], value)
        assert unchanged is name.startswith(("stages.0.", "stages.1.")), name


@pytest.mark.parametrize(
    ("name", "channels"), [("resnet18", BASIC), ("mobilenetv3_small_050", (16, 24, 288))]
)
def test_timm(name: str, channels: tuple[int, int, int]) -> None:
    pytest.importorskip("timm")
    backbone = build_backbone(BackboneConfig(name=f"timm:{name}", norm="batch"))
    assert isinstance(backbone, TimmBackbone)
    assert backbone.channels == channels
    with torch.inference_mode():
        features = backbone.eval()(torch.zeros(1, 3, 96, 160))
    assert [feature.shape[1:] for feature in features] == [
        (channels[0], 12, 20),
        (channels[1], 6, 10),
        (channels[2], 3, 5),
    ]


def test_timm_with_c2() -> None:
    pytest.importorskip("timm")
    backbone = build_backbone(BackboneConfig(name="timm:mobilenetv3_small_050", norm="batch"), with_c2=True)
    assert (backbone.channels, backbone.strides) == ((8, 16, 24, 288), (4, 8, 16, 32))
    with torch.inference_mode():
        features = backbone.eval()(torch.zeros(1, 3, 96, 160))
    assert [feature.shape[1:] for feature in features] == [
        (8, 24, 40),
        (16, 12, 20),
        (24, 6, 10),
        (288, 3, 5),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "resnet51"}, "unknown backbone 'resnet51': known are resnet18,"),
        ({"name": "vgg16"}, "unknown backbone 'vgg16'"),
        ({"name": "resnet50", "norm": "folded"}, "'folded' goes with mobilenet_v2 only, not with resnet50"),
        ({"name": "timm:resnet18", "norm": "frozen"}, "'timm:resnet18' goes with norm 'batch'"),
        ({"name": "timm:resnet18", "norm": "folded"}, "'timm:resnet18' goes with norm 'batch'"),
        ({"name": "timm:resnet18", "norm": "batch", "norm_eps": 0.0}, "norm_eps 1e-05"),
        ({"name": "timm:resnet18", "norm": "batch", "freeze_stages": 1}, "freeze_stages 0"),
    ],
)
def test_what_does_not_exist_or_not_go_together(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_backbone(BackboneConfig(**options))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet_of_my_own", "timm cannot make a backbone of 'resnet_of_my_own'"),
        ("vit_tiny_patch16_224", r"features at strides \[16.*needs \[8, 16, 32\]"),
    ],
)
def test_timm_models_that_do_not_fit(name: str, message: str) -> None:
    pytest.importorskip("timm")
    with pytest.raises(ValueError, match=message):
        build_backbone(BackboneConfig(name=f"timm:{name}", norm="batch"))


def test_timm_models_without_stride_4_have_no_c2(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")
    coarse = functools.partial(timm.create_model, out_indices=(2, 3, 4))
    monkeypatch.setattr(timm, "create_model", coarse)
    config = BackboneConfig(name="timm:resnet18", norm="batch")
    assert build_backbone(config).strides == (8, 16, 32)
    message = r"features at strides \[8, 16, 32\], but a pyramid with P2 needs \[4, 8, 16, 32\]"
    with pytest.raises(ValueError, match=message):
        build_backbone(config, with_c2=True)


def test_without_timm_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install '\.\[timm\]'"):
        build_backbone(BackboneConfig(name="timm:resnet18", norm="batch"))
