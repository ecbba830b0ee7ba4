"""P2: one level more, and all that it must leave as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torchvision.models import get_model

from densewatch.cli.train_settings import RawSettings, SettingsError
from densewatch.models.candidates import CandidateNet
from densewatch.models.checkpoint import load_network, read_checkpoint, save_checkpoint
from densewatch.models.config import AnchorConfig, PyramidConfig, RetinaNetConfig, preset
from densewatch.models.retinanet import RetinaNet
from densewatch.training.initial import initialise
from densewatch.training.loop import Trainer
from drawn_scenes import draw_scenes
from small_network import small_info
from tiny_training import TINY_NETWORK, tiny_settings

P2_WEIGHTS = [
    "pyramid.lateral_c2.0.weight",
    "pyramid.lateral_c2.0.bias",
    "pyramid.output_p2.0.weight",
    "pyramid.output_p2.0.bias",
]
PICTURE = torch.rand(1, 3, 96, 160, generator=torch.Generator().manual_seed(1))
GRIDS = [(24, 40), (12, 20), (6, 10), (3, 5), (2, 3), (1, 2)]
"""(rows, columns) of P2 … P7 of the picture."""


def network(p2: bool, seed: int = 0, backbone: str = "resnet18", **pyramid: Any) -> RetinaNet:
    torch.manual_seed(seed)
    config = preset(
        "paper",
        num_classes=3,
        backbone={"name": backbone, "norm": "batch"},
        pyramid={"width": 16, "p2": p2, **pyramid},
        head={"width": 16, "depth": 1},
    )
    return RetinaNet(config).eval()


def names(built: RetinaNet, part: str) -> list[str]:
    return [name for name in built.state_dict() if name.startswith(part)]


@pytest.mark.parametrize(("p2", "strides"), [(False, (8, 16, 32, 64, 128)), (True, (4, 8, 16, 32, 64, 128))])
def test_strides(p2: bool, strides: tuple[int, ...]) -> None:
    assert PyramidConfig(p2=p2).strides == strides


@pytest.mark.parametrize("p2", [False, True])
@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v2"])
def test_shapes(backbone: str, p2: bool) -> None:
    counts = [8640, 2160, 540, 135, 54, 18][0 if p2 else 1 :]  # rows × columns × 9
    with torch.inference_mode():
        output = network(p2, backbone=backbone)(PICTURE)
    assert [tuple(level.shape) for level in output.cls_logits] == [(1, count, 3) for count in counts]
    assert [tuple(level.shape) for level in output.bbox_deltas] == [(1, count, 4) for count in counts]
    assert [tuple(level.shape) for level in output.anchors] == [(count, 4) for count in counts]


def test_anchors_of_p2_lie_4_px_apart_and_begin_at_half_the_size() -> None:
    config = preset("paper", pyramid={"p2": True}, anchors={"scales": (1.0,), "ratios": (1.0,)})
    finest = RetinaNet(config).anchors((96, 160), GRIDS)[0]
    assert finest[0].tolist() == [-8, -8, 8, 8]
    assert finest[41].tolist() == [4 - 8, 4 - 8, 4 + 8, 4 + 8]


def test_every_level_passes_on_its_best() -> None:
    image = (PICTURE * 255).to(torch.uint8).permute(0, 2, 3, 1)
    with torch.inference_mode():
        boxes, scores = CandidateNet(network(p2=True), topk=100)(image)
    assert (boxes.shape[1], scores.shape[1]) == (4 * 100 + 54 + 18,) * 2


def test_weights_of_a_network_without_p2_have_the_names_that_they_always_had() -> None:
    modules = [*(f"{kind}.{place}" for kind in ("lateral", "output") for place in range(3)), "p6", "p7"]
    plain = network(p2=False)
    assert names(plain, "pyramid.") == [
        f"pyramid.{module}.{part}" for module in modules for part in ("weight", "bias")
    ]
    assert names(plain, "class_head.") + names(plain, "box_head.") == [
        f"{head}.{module}.{part}"
        for head in ("class_head", "box_head")
        for module in ("tower.0", "output")
        for part in ("weight", "bias")
    ]
    places = {"conv1": "0.0", "bn1": "0.1", "layer1": "1.1", "layer2": "2", "layer3": "3", "layer4": "4"}
    parted = [name.partition(".") for name in get_model("resnet18", weights=None).state_dict()]
    assert names(plain, "backbone.") == [
        f"backbone.stages.{places[layer]}.{rest}" for layer, _, rest in parted if layer != "fc"
    ]
    assert len(plain.state_dict()) == sum(len(names(plain, part)) for part in ("back", "pyr", "class", "box"))


@pytest.mark.parametrize("p6_from", ["C5", "P5"])
def test_p2_adds_its_own_weights_and_no_others(p6_from: str) -> None:
    plain, finer = (network(p2, p6_from=p6_from).state_dict() for p2 in (False, True))
    assert [name for name in finer if name not in plain] == P2_WEIGHTS
    assert {name: finer[name].shape for name in plain} == {name: plain[name].shape for name in plain}


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v2"])
def test_weights_without_p2_land_at_their_levels(tmp_path: Path, backbone: str) -> None:
    """P3 to P7 then say exactly what they said before."""
    plain, finer = network(p2=False, backbone=backbone), network(p2=True, seed=1, backbone=backbone)
    before = {name: finer.state_dict()[name].clone() for name in P2_WEIGHTS}
    save_checkpoint(tmp_path / "plain.safetensors", plain, small_info(plain))
    initialise(finer, tmp_path / "plain.safetensors")
    assert all(torch.equal(finer.state_dict()[name], value) for name, value in before.items())
    with torch.inference_mode():
        for ours, expected in zip(finer(PICTURE), plain(PICTURE), strict=True):
            for level, same in zip(ours[1:], expected, strict=True):
                assert torch.equal(level, same)


def test_the_embedded_model_gives_all_weights_but_those_of_p2() -> None:
    finer = RetinaNet(preset("light", pyramid={"p2": True}))
    before = {name: value.clone() for name, value in finer.state_dict().items()}
    initialise(finer, Path("everyday-light"))
    same = {name for name, value in finer.state_dict().items() if torch.equal(value, before[name])}
    assert same == {name for name in before if "lateral_c2" in name or "output_p2" in name}
    assert len(same) == 6


def test_p2_is_made_of_c2_and_of_what_the_next_level_knows() -> None:
    """Each of the two moves it, and neither C2's lateral nor P2's output touches another level."""
    net = network(p2=True)
    with torch.no_grad():
        before = net(PICTURE).cls_logits
        for name, changed in (
            ("lateral_c2", [0]),
            ("output_p2", [0]),
            ("lateral", [0, 1, 2, 3]),  # all that P5 and the levels finer than it take; P6 is from C5
        ):
            saved = {key: value.clone() for key, value in net.state_dict().items()}
            getattr(net.pyramid, name)[-1].weight.mul_(2)
            after = net(PICTURE).cls_logits
            pairs = enumerate(zip(before, after, strict=True))
            assert [level for level, (one, other) in pairs if not torch.equal(one, other)] == changed
            net.load_state_dict(saved)


SIZES: dict[str, tuple[float, ...]] = {
    "paper": (16, 32, 64, 128, 256, 512),
    "torchvision-v1": (16, 32, 64, 128, 256, 512),
    "light": (12, 24, 48, 96, 192, 384),
}


@pytest.mark.parametrize("name", SIZES)
def test_presets_begin_at_half_the_size_with_p2(name: str) -> None:
    assert preset(name, pyramid={"p2": True}).anchors.sizes == SIZES[name]
    assert preset(name, pyramid={"p2": True}, anchors={"center": "half"}).anchors.sizes == SIZES[name]
    assert preset(name, pyramid={"p2": False}).anchors.sizes == SIZES[name][1:]
    assert preset(name).anchors.sizes == SIZES[name][1:]


def test_sizes_that_are_given_are_taken_as_they_are() -> None:
    sizes = (8, 20, 40, 80, 160, 320)
    assert preset("light", pyramid={"p2": True}, anchors={"sizes": sizes}).anchors.sizes == sizes


@pytest.mark.parametrize(
    ("p2", "sizes", "message"),
    [
        (False, (32, 64), "5 sizes are expected, one for each of P3 to P7, but there are 2"),
        (False, SIZES["paper"], "5 sizes are expected, one for each of P3 to P7, but there are 6"),
        (True, SIZES["paper"][1:], "6 sizes are expected, one for each of P2 to P7, but there are 5"),
    ],
)
def test_sizes_that_do_not_fit_the_levels(p2: bool, sizes: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        preset("light", pyramid={"p2": p2}, anchors={"sizes": sizes})
    assert [mistake["loc"] for mistake in caught.value.errors()] == [("anchors", "sizes")]
    with pytest.raises(ValidationError, match=message):
        RetinaNetConfig(pyramid=PyramidConfig(p2=p2), anchors=AnchorConfig(sizes=sizes))


def test_a_configuration_of_ones_own_says_its_sizes() -> None:
    """Only a preset has sizes that P2's follow from."""
    with pytest.raises(ValidationError, match="6 sizes are expected"):
        RetinaNetConfig(pyramid=PyramidConfig(p2=True))


def test_a_configuration_survives_json() -> None:
    config = preset("light", pyramid={"p2": True})
    assert RetinaNetConfig.model_validate_json(config.model_dump_json()) == config


def test_configurations_from_before_p2_are_understood() -> None:
    architecture = preset("light").model_dump(mode="json")
    del architecture["pyramid"]["p2"]
    assert RetinaNetConfig.model_validate(architecture) == preset("light")


def raw_settings(*assignments: str) -> RawSettings:
    raw = RawSettings()
    raw.values = {"data": [{"annotations": "train.json"}]}
    for assignment in assignments:
        raw.put_assignment(assignment)
    return raw


def test_typed_on_the_command_line() -> None:
    config = raw_settings("model.pyramid.p2=true").check().network(1)
    assert config.pyramid.strides[0] == 4
    assert config.anchors.sizes == SIZES["light"]


@pytest.mark.parametrize(
    ("assignments", "sentence"),
    [
        (
            ("model.pyramid.p2=true", "model.anchors.sizes=[24, 48, 96, 192, 384]"),
            "--set model.anchors.sizes=[24, 48, 96, 192, 384]: 6 sizes are expected, one for each of P2 to "
            "P7, but there are 5",
        ),
        (
            ("model.pyramid.p2='no'",),
            "--set model.pyramid.p2='no': input should be a valid boolean, but it is 'no'",
        ),
    ],
)
def test_mistakes_on_the_command_line(assignments: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        raw_settings(*assignments).check()
    assert caught.value.sentences == (sentence,)


def test_it_is_trained_saved_and_resumed(tmp_path: Path) -> None:
    model = {**TINY_NETWORK, "pyramid": {"width": 16, "p2": True}}
    scenes = draw_scenes(tmp_path, count=4, size=64, shapes=(2, 4))
    settings = tiny_settings(scenes, model=model, epochs=1)
    trainer = Trainer(settings)
    before = {name: value.clone() for name, value in trainer.plain_network.state_dict().items()}
    trainer.run()
    trained, info = read_checkpoint(settings.out / "model.safetensors")
    unmoved = [name for name, value in trained.items() if torch.equal(value, before[name])]
    assert not [name for name in unmoved if "lateral_c2" in name or "output_p2" in name]
    assert info.architecture["anchors"]["sizes"] == list(SIZES["light"])
    resumed = Trainer(settings.model_copy(update={"resume": True, "epochs": 2}))
    assert resumed.step == trainer.step
    resumed.run()
    loaded, _ = load_network(settings.out / "model.safetensors")
    assert loaded.config.pyramid.strides == (4, 8, 16, 32, 64, 128)
    assert any(not torch.equal(value, trained[name]) for name, value in loaded.state_dict().items())
