"""Whole runs with everything that mixes, repeats and keeps pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from densewatch.cli.main import app
from densewatch.models.checkpoint import load_state
from densewatch.training.loop import Progress, Trainer
from drawn_scenes import DrawnScenes, draw_scenes
from tiny_training import tiny_settings

AUGMENT = {
    "geometry": "square",
    "zoom": [0.7, 1.4],
    "photometric": 0.5,
    "mosaic": 0.6,
    "copy_paste": 0.6,
    "close_mosaic": 1,
}


@pytest.fixture
def scenes(tmp_path: Path) -> DrawnScenes:
    return draw_scenes(tmp_path, count=5, size=64, shapes=(1, 2))


def test_a_resumed_run_mixes_the_same_pictures(scenes: DrawnScenes, tmp_path: Path) -> None:
    """Weights are bit-equal, with and without a cache and a worker; the repeats make four steps an epoch."""
    changes = {"augment": AUGMENT, "balance": 0.9, "epochs": 2}
    straight = Trainer(tiny_settings(scenes, out=tmp_path / "straight", **changes))
    assert straight.steps_per_epoch == 4
    straight.run()
    settings = tiny_settings(
        scenes, out=tmp_path / "parts", cache="disk", cache_dir=tmp_path / "packs", workers=1, **changes
    )
    first = Trainer(settings)

    def stop(progress: Progress) -> None:
        if progress.step == 3:
            first.stop()

    first.run(stop)
    second = Trainer(settings.model_copy(update={"resume": True, "cache": "off", "workers": 0}))
    assert second.step == 3
    second.run()
    one, other = (load_state(tmp_path / name / "state.pt")["network"] for name in ("parts", "straight"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_command_fills_the_cache_and_says_what_has_no_room(scenes: DrawnScenes, tmp_path: Path) -> None:
    settings = tiny_settings(scenes, out=tmp_path / "run", epochs=1)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(settings.model_dump_json(exclude={"out", "resume"}))
    room = 3 * (3 * 64 * 64 + 1) / 1e9
    arguments = ["--cache", "disk", "--cache-dir", str(tmp_path / "packs"), "--cache-gb", f"{room:.9f}"]
    command = ["train", "--config", str(recipe), "--out", str(tmp_path / "run"), *arguments]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "decoding 3 pictures once, for the cache" in result.stderr
    assert (
        "the cache has room for 3 of 5 pictures; the others are decoded each time (--cache-gb)"
        in result.stderr
    )
    again = CliRunner().invoke(app, [*command[:4], str(tmp_path / "again"), *arguments])
    assert "once" not in again.stderr


def test_a_cache_that_cannot_be_written_is_explained_with_flags(scenes: DrawnScenes, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    settings = tiny_settings(scenes, out=tmp_path / "run", epochs=1)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(settings.model_dump_json(exclude={"out", "resume"}))
    command = ["train", "--config", str(recipe), "--out", str(tmp_path / "run"), "--cache", "disk"]
    result = CliRunner().invoke(app, [*command, "--cache-dir", str(tmp_path / "file")])
    assert result.exit_code == 1
    assert (
        "choose another folder (--cache-dir), a smaller pack (--cache-gb), or none: off (--cache)"
        in " ".join(result.stderr.split())
    )
