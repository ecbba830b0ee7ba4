"""Weights that training starts from: checkpoints, model files, names, ImageNet weights."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from densewatch.metadata import ClassInfo, ModelInfo
from densewatch.models.checkpoint import CheckpointError, read_checkpoint, save_checkpoint
from densewatch.models.retinanet import RetinaNet
from densewatch.training.initial import initialise
from densewatch.training.loop import Trainer
from densewatch.training.settings import TrainingError, TrainSettings
from drawn_scenes import DrawnScenes, draw_scenes
from tiny_training import tiny_settings

DATA = {"data": [{"annotations": "train.json"}]}
NARROW = {"pyramid": {"width": 16}, "head": {"width": 16, "depth": 1, "groups": 4}}


def network(num_classes: int = 2) -> RetinaNet:
    settings = TrainSettings.model_validate({**DATA, "model": NARROW})
    return RetinaNet(settings.network(num_classes))


@pytest.fixture
def scenes(tmp_path: Path) -> DrawnScenes:
    return draw_scenes(tmp_path, count=4, size=64, shapes=(2, 4))


def test_the_embedded_model_by_its_name() -> None:
    own = RetinaNet(TrainSettings.model_validate(DATA).network(80))
    before = {name: value.clone() for name, value in own.state_dict().items()}
    initialise(own, Path("everyday-light"))
    assert not any(torch.equal(value, before[name]) for name, value in own.state_dict().items())


def test_files_that_are_no_weights(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("hello")
    foreign = tmp_path / "foreign.onnx"
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [])), foreign)
    for path, complaint in (
        (tmp_path / "text.onnx", "cannot be read as a model file"),
        (foreign, "no densewatch metadata"),
        (tmp_path / "absent.onnx", "no model file"),
        (Path("everyday-lite"), "no model 'everyday-lite'"),
    ):
        with pytest.raises(CheckpointError, match=complaint):
            initialise(network(), path)


def test_a_checkpoint_of_which_nothing_fits(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    info = ModelInfo(name="other", family="other", classes=(ClassInfo(name="cup", id=1),))
    save_checkpoint(path, nn.Linear(1, 1), info)
    with pytest.raises(CheckpointError, match="none of its 2 tensors fits"):
        initialise(network(), path)


def test_a_run_starts_from_a_checkpoint(scenes: DrawnScenes, tmp_path: Path) -> None:
    """Three classes and, when the data has one more, all but the class output."""
    Trainer(tiny_settings(scenes, epochs=1)).run()
    start = tiny_settings(scenes, out=tmp_path / "next", init=tmp_path / "run/model.safetensors")
    trained, _ = read_checkpoint(tmp_path / "run/model.safetensors")
    whole = Trainer(start)
    assert whole.untaught == ()
    same = whole.plain_network.state_dict()
    assert all(torch.equal(same[name], value) for name, value in trained.items())

    content = json.loads(scenes.annotations.read_text())
    content["categories"].append({"id": 99, "name": "star"})
    scenes.annotations.write_text(json.dumps(content))
    wider = Trainer(tiny_settings(scenes, out=tmp_path / "four", init=start.init))
    four = wider.plain_network.state_dict()
    changed = {
        name
        for name, value in four.items()
        if value.shape != trained[name].shape or (value != trained[name]).any()
    }
    assert changed == {"class_head.output.1.weight", "class_head.output.1.bias"}
    assert set(wider.untaught) == changed


def test_frozen_batch_norm_needs_weights(tmp_path: Path) -> None:
    """Its statistics would be those of no data, for good."""
    settings = TrainSettings.model_validate(
        {**DATA, "model": {"backbone": {"name": "resnet18", "norm": "frozen"}}}
    )
    with pytest.raises(TrainingError, match=r"--init.*--set model\.backbone\.norm=batch"):
        initialise(RetinaNet(settings.network(2)), None)


def test_imagenet_weights_are_for_a_mobilenet_only(tmp_path: Path) -> None:
    settings = TrainSettings.model_validate(
        {**DATA, "model": {"backbone": {"name": "resnet18", "norm": "batch"}}}
    )
    with pytest.raises(CheckpointError, match="is for a mobilenet_v2, not for a resnet18"):
        initialise(RetinaNet(settings.network(2)), tmp_path / "weights.npz")


def test_imagenet_weights_fit(shared: Path) -> None:
    settings = TrainSettings.model_validate(DATA)
    network = RetinaNet(settings.network(2))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    untaught = initialise(network, shared / "weights/mobilenet_v2_imagenet.npz")
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if name.startswith("backbone.")}
    assert set(untaught) == set(before) - changed
