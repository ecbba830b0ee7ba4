"""Settings of a run, and the files that it starts from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from pydantic import ValidationError

from densewatch.metadata import ClassInfo, ModelInfo, ResizePolicy
from densewatch.models.checkpoint import (
    CheckpointError,
    load_network,
    load_state,
    save_checkpoint,
    save_state,
)
from densewatch.training.settings import DataSource, TrainSettings

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.yaml"))
assert RECIPES
DATA = {"data": [{"annotations": "train.json"}]}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_recipes_are_understood(recipe: Path) -> None:
    settings = TrainSettings.model_validate(yaml.safe_load(recipe.read_text()))
    assert TrainSettings.model_validate(settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"epoch": 3}, "Extra inputs are not permitted"),
        ({"data": []}, "at least 1 item"),
        ({"imgsz": [320, 330], "augment": {"geometry": "square"}}, "imgsz 330 is not a multiple of 32"),
        ({"imgsz": [16]}, "greater than or equal to 32"),
        ({"lr": 0}, "greater than 0"),
        ({"device": "gpu0"}, "match pattern"),
        ({"val": {"annotations": "v.json", "teacher": "t.json"}}, "val must be labelled"),
        ({"data": [{"annotations": "a.json", "teacher_score": 0.1}]}, "must be at most teacher_score 0.1"),
        ({"model": {"head": {"widht": 64}}}, "widht"),
        ({"model": {"loss": {"gamma": 0.5}}}, "gamma 0.5 must be 0 or at least 1"),
        ({"milestones": [8, 11]}, "milestones 8, 11 must rise between 0 and 1: they are shares of the run"),
        ({"milestones": [0.9, 0.6]}, "must rise"),
        ({"milestones": [0, 0.5]}, "must rise"),
        ({"milestones": [0.5, 0.5]}, "must rise"),
        ({"model": {"neck": {"width": 64}}}, "neck"),
    ],
)
def test_mistakes_are_found_before_any_work(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        TrainSettings.model_validate({**DATA, **changes})


@pytest.mark.parametrize("gamma", [0, 1, 2.5])
def test_possible_focusing_exponents(gamma: float) -> None:
    settings = TrainSettings.model_validate({**DATA, "model": {"loss": {"gamma": gamma}}})
    assert settings.network(1).loss.gamma == gamma


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ResizePolicy(mode="shorter", size=800, max_size=1333)),
        (
            {"imgsz": [480], "augment": {"max_size": 640}},
            ResizePolicy(mode="shorter", size=480, max_size=640),
        ),
        (
            {"imgsz": [352, 256, 320], "augment": {"geometry": "square", "pad_value": [0, 0, 0]}},
            ResizePolicy(mode="longer", size=320, max_size=None, pad_value=(0, 0, 0)),
        ),
        (
            {"imgsz": [256, 288, 320, 352], "augment": {"geometry": "square"}},  # one of those trained at
            ResizePolicy(mode="longer", size=288, max_size=None),
        ),
        ({"imgsz": [480], "resize": {"size": 640}}, ResizePolicy(mode="shorter", size=640, max_size=1333)),
    ],
)
def test_pictures_are_used_as_they_were_trained_on(changes: dict[str, Any], expected: ResizePolicy) -> None:
    settings = TrainSettings.model_validate({**DATA, **changes})
    assert settings.resize_policy == expected
    assert TrainSettings.model_validate(settings.model_dump(mode="json")) == settings


def test_settings_need_no_torch() -> None:
    """The command line makes its flags of them, in a plain install too."""
    code = "import sys, densewatch.training.settings; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_network_lays_options_over_the_preset() -> None:
    settings = TrainSettings(
        data=(DataSource(annotations=Path("a.json")),), preset="light", model={"head": {"width": 32}}
    )
    config = settings.network(7)
    assert (config.num_classes, config.head.width, config.head.depth) == (7, 32, 3)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "cannot be read as safetensors"), (b"not a checkpoint", "cannot be read as safetensors")],
)
def test_unusable_checkpoints(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    path = tmp_path / "model.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"model.safetensors: {complaint}"):
        load_network(path)


@pytest.mark.parametrize(
    ("architecture", "complaint"),
    [
        ({"head": {"widht": 8}}, "its architecture is not understood: head.widht: Extra inputs"),
        ({"backbone": {"name": "vgg"}}, "its network cannot be built: unknown backbone 'vgg'"),
        ({"num_classes": 2, "backbone": {"name": "resnet18"}}, "its weights do not fit its own description"),
    ],
)
def test_checkpoints_that_describe_no_network_of_ours(
    tmp_path: Path, architecture: dict[str, Any], complaint: str
) -> None:
    path = tmp_path / "model.safetensors"
    classes = (ClassInfo(name="cup", id=1),)
    info = ModelInfo(name="odd", family="retinanet", architecture=architecture, classes=classes)
    save_checkpoint(path, torch.nn.Linear(1, 1), info)
    with pytest.raises(CheckpointError, match=f"model.safetensors: {complaint}"):
        load_network(path)


def test_state_round_trip_and_its_errors(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    with pytest.raises(CheckpointError, match="no run to resume"):
        load_state(path)
    save_state(path, {"step": 3, "rng": torch.arange(3)})
    assert load_state(path)["rng"].tolist() == [0, 1, 2]
    assert [file.name for file in tmp_path.iterdir()] == ["state.pt"]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_state(path)
