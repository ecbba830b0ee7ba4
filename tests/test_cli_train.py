"""`densewatch train`: flags and YAML are one schema, mistakes are sentences, and a run can be stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from densewatch.cli import needs, train_output
from densewatch.cli import train as train_module
from densewatch.cli.main import app
from densewatch.cli.train_flags import attribute_help
from densewatch.data.augment_settings import AugmentSettings
from densewatch.data.formats import read_labels, write_labels
from densewatch.training.settings import DataSource, TrainSettings
from drawn_scenes import DrawnScenes, draw_scenes
from tiny_training import TINY_NETWORK, tiny_settings


@pytest.fixture
def scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DrawnScenes:
    """Four pictures, so that two a step make two steps an epoch; the working directory is empty."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return draw_scenes(tmp_path / "data", count=4, size=64, shapes=(2, 4))


@pytest.fixture
def recipe(scenes: DrawnScenes, tmp_path: Path) -> Path:
    """A YAML file with everything a tiny run needs."""
    content = tiny_settings(scenes, epochs=1).model_dump(mode="json", exclude={"out", "resume"})
    return write_yaml(tmp_path / "recipe.yaml", content)


def write_yaml(path: Path, content: Any) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def train(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["train", *(str(argument) for argument in arguments)])


def settings_of(run: str) -> TrainSettings:
    return TrainSettings.model_validate(yaml.safe_load(Path(run, "settings.yaml").read_text()))


def test_it_says_how_much_of_the_network_starts_anew(recipe: Path, scenes: DrawnScenes) -> None:
    assert "starting from" not in train("--config", recipe).output
    weights = "runs/train/model.safetensors"
    flags = ["--config", recipe, "--init", weights, "--out"]
    assert f"starting from {weights}\n" in train(*flags, "runs/same").output
    content = json.loads(scenes.annotations.read_text())
    content["categories"].append({"id": 99, "name": "star"})
    scenes.annotations.write_text(json.dumps(content))
    output = train(*flags, "runs/more").output
    assert f"starting from {weights}; 2 of " in output
    assert "tensors have no fitting ones there: class_head.output.1\n" in output
    output = train(*flags, "runs/other", "--set", "model.backbone.name=resnet18").output
    assert f"warning: starting from {weights}; " in output


def test_a_run_from_a_recipe(recipe: Path, scenes: DrawnScenes) -> None:
    result = train("--config", recipe, "--val", scenes.annotations, "--name", "shapes")
    assert result.exit_code == 0, result.output
    assert result.stdout == "runs/train/model.safetensors\n"
    assert Path("runs/train/model.safetensors").is_file()
    for sentence in (
        "in 4 pictures: 2 steps of 2 on cpu, in runs/train",
        "step 2/2  loss ",
        "0:00:00 left",
        "epoch 1: AP ",
        f"densewatch export {Path('runs/train/model.safetensors')}",
        f"densewatch evaluate --model {Path('runs/train/model.onnx')} --data {scenes.annotations}",
    ):
        assert sentence in result.stderr


def test_flags_and_set_go_over_the_recipe(recipe: Path) -> None:
    arguments = ["--lr", "0.02", "--imgsz", "96,128", "--milestones", "0.5", "--backbone-lr", "0.5"]
    sets = ["--set", "model.head.width=32", "--set", "augment.flip=0", "--set", "data.0.repeat=2"]
    result = train("--config", recipe, *arguments, *sets, "--set", "augment.zoom=[0.5, 2]", "--out", "other")
    assert result.exit_code == 0, result.output
    settings = settings_of("other")
    assert (settings.lr, settings.imgsz, settings.milestones, settings.backbone_lr) == (
        0.02,
        (96, 128),
        (0.5,),
        0.5,
    )
    assert settings.model["head"] == {**TINY_NETWORK["head"], "width": 32}
    assert (settings.augment.flip, settings.augment.zoom) == (0, (0.5, 2))
    assert settings.augment.photometric == 0.5  # the recipe's own
    assert settings.data[0].repeat == 2


def test_flags_alone_are_enough(scenes: DrawnScenes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a run: what matters is what the settings become."""
    seen: list[TrainSettings] = []
    monkeypatch.setattr(train_module, "_train", seen.append)
    folder = scenes.images
    data = ["--data", "a.json", "--images", folder, "--data", "b.json", "--images", folder]
    result = train(*data, "--val", "v.json", "--val-images", folder, "--optimizer", "adamw")
    assert result.exit_code == 0, result.output
    (settings,) = seen
    assert settings.data == (
        DataSource(annotations=Path("a.json"), images=folder),
        DataSource(annotations=Path("b.json"), images=folder),
    )
    assert settings.val == DataSource(annotations=Path("v.json"), images=folder)
    defaults = TrainSettings(data=settings.data, val=settings.val, optimizer="adamw")
    assert settings == defaults  # an option that is not given leaves the schema's default


def test_every_plain_field_has_a_flag_with_help() -> None:
    output = " ".join(train("--help").output.split())
    for name, field in TrainSettings.model_fields.items():
        if name not in ("model", "augment", "resize"):
            assert f"--{name.replace('_', '-')}" in output
        assert attribute_help(TrainSettings)[name], f"{name} is not in the docstring"
        if isinstance(field.default, int | float) and not isinstance(field.default, bool):
            assert f"[default: {field.default}]" in output
    assert "densewatch train --config recipe.yaml" in output


@pytest.mark.parametrize("schema", [TrainSettings, DataSource, AugmentSettings])
def test_docstrings_know_all_fields(schema: type[TrainSettings]) -> None:
    assert list(attribute_help(schema)) == list(schema.model_fields)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--set", "augment.flipp=0"],
            "--set augment.flipp=0: unknown setting 'flipp': did you mean 'flip'?",
        ),
        (
            ["--set", "model.head.widht=8"],
            "--set model.head.widht=8: unknown setting 'widht': did you mean 'width'?",
        ),
        (["--set", "modle.head.width=8"], "unknown setting 'modle': did you mean 'model'?"),
        (["--set", "data.3.repeat=2"], "--set data.3.repeat=2: there is no data.3 to set"),
        (["--set", "augment.flip"], "write it as NAME=VALUE"),
        (["--set", "augment.zoom=[1"], "its value cannot be read as YAML"),
        (["--set", "lr.peak=1"], "--set lr.peak=1: there is no lr.peak to set"),
        (["--lr", "-1"], "--lr -1.0: input should be greater than 0, but it is -1.0"),
        (["--imgsz", "256,large"], "--imgsz 256,large: input should be a valid integer"),
        (["--imgsz", "100"], "imgsz 100 is not a multiple of 32"),
        (["--images", "somewhere"], "give one --images for each --data"),
        (["--device", "gpu0"], "--device gpu0: string should match pattern"),
    ],
)
def test_mistakes_on_the_command_line(recipe: Path, arguments: list[str], sentence: str) -> None:
    result = train("--config", recipe, *arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("content", "sentences"),
    [
        ({"epoch": 3}, ["recipe.yaml: epoch: unknown setting 'epoch': did you mean 'epochs'?"]),
        (
            {"data": [{"annotation": "a.json"}]},
            [
                "recipe.yaml: data.0.annotation: unknown setting 'annotation': did you mean 'annotations'?",
                "recipe.yaml: data.0.annotations: is missing",
            ],
        ),
        (
            {"optimizer": "adam"},
            ["recipe.yaml: optimizer: input should be 'sgd' or 'adamw', but it is 'adam'"],
        ),
        ({"model": {"head": {"norm": "batch"}}}, ["recipe.yaml: model.head.norm: input should be 'none' or"]),
        ({"val": {"annotations": "v.json", "wher": {}}}, ["did you mean 'where'?"]),
        ([1, 2], ["recipe.yaml: must be a mapping of settings"]),
    ],
)
def test_mistakes_in_a_recipe(recipe: Path, content: Any, sentences: list[str]) -> None:
    """`content` goes over a recipe that is right."""
    if isinstance(content, dict):
        content = {**yaml.safe_load(recipe.read_text()), **content}
    result = train("--config", write_yaml(recipe, content))
    assert result.exit_code == 2
    for sentence in sentences:
        assert sentence in result.stderr


def test_a_recipe_that_is_no_yaml(recipe: Path) -> None:
    recipe.write_text("lr: [1")
    result = train("--config", recipe)
    assert result.exit_code == 2
    assert "recipe.yaml: cannot be read as YAML: " in result.stderr


def test_nothing_to_learn_from(scenes: DrawnScenes) -> None:
    result = train("--epochs", "1")
    assert result.exit_code == 2
    assert "there is nothing to learn from: give --data DATA" in result.stderr


def test_missing_files(recipe: Path) -> None:
    assert "absent.yaml" in train("--config", "absent.yaml").stderr
    result = train("--config", recipe, "--data", "absent.json")
    assert result.exit_code == 1
    assert "absent.json: cannot be read" in result.stderr
    result = train("--config", recipe, "--init", "absent.safetensors")
    assert result.exit_code == 1
    assert "absent.safetensors: cannot be read" in result.stderr


def test_a_broken_picture_is_named_before_training(recipe: Path, scenes: DrawnScenes) -> None:
    picture = scenes.images / "001.png"
    picture.write_bytes(picture.read_bytes()[:200])
    result = train("--config", recipe)
    assert result.exit_code == 1
    assert (
        f"{scenes.annotations}: 1 broken picture(s): {picture} (the PNG picture is truncated" in result.stderr
    )
    assert not Path("runs").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_breaks_on_the_way_is_named_in_one_line(
    recipe: Path, scenes: DrawnScenes, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = scenes.images / "001.png"
    introduce = train_output.introduce

    def break_picture(trainer: Any) -> None:
        introduce(trainer)
        picture.write_bytes(picture.read_bytes()[:200])

    monkeypatch.setattr(train_module, "introduce", break_picture)
    result = train("--config", recipe, "--workers", workers)
    assert result.exit_code == 1
    (error,) = [line for line in result.stderr.splitlines() if "error" in line]
    assert error.startswith(f"error: cannot read {picture}: ")


def test_a_measured_picture_that_breaks_on_the_way(
    recipe: Path, scenes: DrawnScenes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    val = draw_scenes(tmp_path / "val", count=2, size=64, shapes=(2, 4))
    introduce = train_output.introduce

    def remove_picture(trainer: Any) -> None:
        introduce(trainer)
        (val.images / "001.png").unlink()

    monkeypatch.setattr(train_module, "introduce", remove_picture)
    result = train("--config", recipe, "--val", val.annotations)
    assert result.exit_code == 1
    assert f"error: cannot read {val.images / '001.png'}: there is no such file" in result.stderr


def test_oddities_of_the_data_are_told_once(recipe: Path, scenes: DrawnScenes, tmp_path: Path) -> None:
    content = json.loads(scenes.annotations.read_text())
    first = {**content["annotations"][0], "bbox": [1, 1, 0, 5]}
    content["annotations"] = [first, *content["annotations"][1:]]
    content["categories"].append({"id": 77, "name": "star"})
    scenes.annotations.write_text(json.dumps(content))
    result = train("--config", recipe, "--val", scenes.annotations)
    assert result.exit_code == 0, result.output
    assert result.stderr.count("not positive") == 1
    where = f"such as annotation 1 of image {first['image_id']}, bbox [1.0, 1.0, 0.0, 5.0] (1 time)"
    assert where in result.stderr
    assert "warning: no object to learn from: star\n" in result.stderr


def test_run_folders(recipe: Path) -> None:
    """A new run takes the next free name; a folder that is named must be free; resuming takes the newest."""
    assert train("--config", recipe).exit_code == 0
    assert train("--config", recipe).stdout == "runs/train-2/model.safetensors\n"
    taken = train("--config", recipe, "--out", "runs/train")
    assert taken.exit_code == 1
    assert "holds a run already: go on with it (--resume), or choose another (--out)" in taken.stderr
    resumed = train("--resume", "--epochs", "2")
    assert resumed.exit_code == 0, resumed.output
    assert resumed.stdout == "runs/train-2/model.safetensors\n"
    assert settings_of("runs/train-2").epochs == 2
    changed = train("--resume", "--lr", "0.5")
    assert changed.exit_code == 1
    assert "lr is 0.5, but runs/train-2/settings.yaml says 0.01" in changed.stderr
    assert "start a new run from its model.safetensors (--init)" in changed.stderr


def test_resuming_a_finished_run_says_so_and_how_to_go_on(recipe: Path) -> None:
    assert train("--config", recipe).exit_code == 0
    result = train("--resume")
    assert result.exit_code == 0
    assert result.stdout == "runs/train/model.safetensors\n"
    finished, longer, _, anew = result.stderr.splitlines()
    assert finished == "the run in runs/train is finished: it has done its 1 epoch. Train on with:"
    for command, folder in ((longer, "runs/train"), (anew, "runs/train-2")):
        program, verb, *arguments = command.split()
        assert (program, verb) == ("densewatch", "train")
        assert train(*arguments).stdout == f"{folder}/model.safetensors\n"
    assert settings_of("runs/train").epochs == 2
    assert settings_of("runs/train-2").init == Path("runs/train/model.safetensors")


def test_resume_with_data_that_moved(recipe: Path, scenes: DrawnScenes) -> None:
    """What is not said again stays as it was, and flags go over it."""
    assert train("--config", recipe, "--lr", "0.02").exit_code == 0
    moved = scenes.annotations.rename(scenes.annotations.with_name("moved.json"))
    arguments = ["--data", moved, "--images", scenes.images, "--epochs", 2]
    result = train("--resume", *arguments)
    assert result.exit_code == 0, result.output
    settings = settings_of("runs/train")
    assert (settings.lr, settings.epochs) == (0.02, 2)
    assert settings.data == (DataSource(annotations=moved, images=scenes.images),)


@pytest.mark.parametrize(
    ("where", "asked"),
    [({"source": "coco"}, " --where source=coco"), ({"hour": "1", "source": "coco"}, None)],
)
def test_what_to_do_next_measures_the_same_pictures(
    recipe: Path, scenes: DrawnScenes, tmp_path: Path, where: dict[str, str], asked: str | None
) -> None:
    content = json.loads(scenes.annotations.read_text())
    for record in content["images"]:
        record.update(source="coco", hour=1)
    labels = tmp_path / "labels of mine.json"
    labels.write_text(json.dumps(content))
    val = {"annotations": str(labels), "images": str(scenes.images), "where": where}
    result = train("--config", write_yaml(recipe, {**yaml.safe_load(recipe.read_text()), "val": val}))
    assert result.exit_code == 0, result.output
    subset = ", ".join(f"{key}={value}" for key, value in where.items())
    assert f" on labels of mine.json, {subset}\n" in result.stderr
    shown = next(line for line in result.stderr.splitlines() if "densewatch evaluate" in line)
    if asked is None:
        assert shown.endswith("--data VAL.json --images VAL/")
    else:
        assert shown.endswith(f"--data '{labels}' --images {scenes.images}{asked}")


def test_a_folder_that_is_a_file(recipe: Path) -> None:
    result = train("--config", recipe, "--out", recipe)
    assert result.exit_code == 1
    assert result.stderr == f"error: {recipe} is a file, so no run can be in it: choose another (--out)\n"


def test_resume_without_a_run(recipe: Path) -> None:
    nowhere = train("--resume")
    assert nowhere.exit_code == 2
    assert "there is no run in runs/train; name its folder with --out" in nowhere.stderr
    absent = train("--resume", "--out", "elsewhere")
    assert absent.exit_code == 2
    assert "elsewhere has no settings.yaml, so there is no run to resume" in absent.stderr
    unsaved = train("--config", recipe, "--resume", "--out", "elsewhere")
    assert unsaved.exit_code == 1
    assert "elsewhere has no state.pt, so there is no run to resume" in unsaved.stderr


def test_ctrl_c_saves_and_resume_goes_on(recipe: Path) -> None:
    """In a process of its own, with a worker, which the terminal's signal reaches as well."""
    command = [sys.executable, "-c", "from densewatch.cli.main import main; main()", "train"]
    arguments = ["--config", str(recipe), "--epochs", "1000", "--workers", "1"]
    process = subprocess.Popen(
        [*command, *arguments], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line.startswith("step "):
            os.killpg(process.pid, signal.SIGINT)
            break
    lines += process.stderr.readlines()
    assert process.wait(timeout=60) == 130, "".join(lines)
    assert "saving after this step" in "".join(lines)
    assert lines[-1] == "  densewatch train --resume --out runs/train\n"
    stopped_at = int(lines[-2].split()[3])
    resumed = train("--resume", "--epochs", stopped_at // 2 + 1)  # to the end of the epoch, or one more
    assert resumed.exit_code == 0, resumed.output


def test_without_pytorch_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "find_spec", lambda name: None if name == "torch" else object())
    result = train("--data", "a.json")
    assert result.exit_code == 2
    assert (
        "install densewatch with its [train] extra (in a checkout: pip install '.[train]')" in result.stderr
    )
    assert "training needs torch:" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_smoke_asks_for_what_exporting_needs_before_it_trains(
    recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs, "find_spec", lambda name: None if name == "onnxscript" else object())
    result = train("--config", recipe, "--smoke")
    assert result.exit_code == 2
    assert "--smoke, which exports too, needs onnxscript: install densewatch" in result.stderr


def test_a_folder_with_splits_is_learned_and_measured(
    scenes: DrawnScenes, recipe: Path, tmp_path: Path
) -> None:
    labels = read_labels(scenes.annotations)
    write_labels({"train": labels, "val": labels}, tmp_path / "shapes", "voc")
    content = yaml.safe_load(recipe.read_text())
    write_yaml(recipe, {key: value for key, value in content.items() if key not in ("data", "val")})
    result = train("--config", recipe, "--data", tmp_path / "shapes", "--epochs", "1")
    assert result.exit_code == 0, result.output
    assert settings_of("runs/train").val == DataSource(annotations=tmp_path / "shapes", split="val")
    assert "in 4 pictures: 2 steps" in result.stderr
    assert " on shapes, val" in result.stderr
    assert f"--data {tmp_path / 'shapes'} --split val" in result.stderr
    assert Path("runs/train/validation.csv").is_file()
    again = train("--config", recipe, "--data", tmp_path / "shapes", "--val", scenes.annotations)
    assert again.exit_code == 0, again.output
    assert settings_of("runs/train-2").val == DataSource(annotations=scenes.annotations)


@pytest.mark.slow
def test_smoke_goes_the_whole_way_and_leaves_nothing(recipe: Path, scenes: DrawnScenes) -> None:
    before = {path for path in Path().rglob("*") if "__pycache__" not in path.parts}
    result = train("--config", recipe, "--val", scenes.annotations, "--smoke")
    assert result.exit_code == 0, result.output
    done = [line for line in result.stderr.splitlines() if line.startswith("smoke: ")]
    assert [line.split()[1] for line in done] == ["train", "export", "evaluate", "detect", "all"]
    assert {path for path in Path().rglob("*") if "__pycache__" not in path.parts} == before


def test_default_is_the_embedded_model_to_start_from(recipe: Path, scenes: DrawnScenes) -> None:
    result = train("--config", recipe, "--model", "default", "--preset", "light", "--out", "here")
    assert result.exit_code == 0, result.output
