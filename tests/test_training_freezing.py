"""What is frozen stays as it is, to the last bit, and the rest learns."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from densewatch.models.checkpoint import read_checkpoint
from densewatch.training.loop import Trainer
from densewatch.training.settings import TrainingError
from drawn_scenes import DrawnScenes, draw_scenes
from tiny_training import TINY_NETWORK, tiny_settings


@pytest.fixture
def scenes(tmp_path: Path) -> DrawnScenes:
    return draw_scenes(tmp_path, count=4, size=64, shapes=(2, 4))


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_frozen_parts_stay_and_the_others_learn(scenes: DrawnScenes, tmp_path: Path, ema: float) -> None:
    network = {**TINY_NETWORK, "backbone": {"norm": "batch"}}  # whose statistics must stay, too
    frozen = ("backbone.stages.3", "pyramid", "box_head.tower")
    settings = tiny_settings(scenes, out=tmp_path / "run", model=network, lr=0.01, ema=ema, freeze=frozen)
    trainer = Trainer(settings)
    before = {name: value.clone() for name, value in trainer.plain_network.state_dict().items()}
    trainer.run()
    after, _ = read_checkpoint(tmp_path / "run" / "model.safetensors")
    same = {name for name, value in after.items() if torch.equal(value, before[name])}
    inside = {name for name in after if name.startswith(tuple(f"{part}." for part in frozen))}
    assert any("running_mean" in name for name in inside)
    assert inside <= same
    learned = after.keys() - same
    for part in ("backbone.stages.4.", "class_head.tower.", "box_head.output."):
        assert any(name.startswith(part) for name in learned)


def test_a_part_that_there_is_not_is_an_error_that_helps(scenes: DrawnScenes, tmp_path: Path) -> None:
    settings = tiny_settings(scenes, out=tmp_path / "run", freeze=("backbone.stage.3",))
    with pytest.raises(TrainingError, match=r"no part 'backbone.stage.3'.*backbone\.stages\.3"):
        Trainer(settings)
    assert not (tmp_path / "run").exists()


def test_something_must_learn(scenes: DrawnScenes, tmp_path: Path) -> None:
    parts = ("backbone", "pyramid", "class_head", "box_head")
    with pytest.raises(TrainingError, match="nothing is left to learn"):
        Trainer(tiny_settings(scenes, out=tmp_path / "run", freeze=parts))
