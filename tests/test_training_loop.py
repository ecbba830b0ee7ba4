"""The training loop: an interrupted run ends where a straight one does, and trouble stops with a reason."""

from __future__ import annotations

import csv
import json
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from densewatch.data.dataset import DataError
from densewatch.models.checkpoint import (
    CheckpointError,
    load_network,
    load_state,
    read_checkpoint,
    save_state,
)
from densewatch.training import loop
from densewatch.training.batches import Batch
from densewatch.training.folder import free_folder, newest_run
from densewatch.training.loop import Progress, Trainer
from densewatch.training.settings import TrainingError
from drawn_scenes import CATEGORY_IDS, NAMES, DrawnScenes, draw_scenes
from tiny_training import tiny_settings


@pytest.fixture
def scenes(tmp_path: Path) -> DrawnScenes:
    """Five pictures: with two a step, an epoch has three steps, and the last is smaller."""
    return draw_scenes(tmp_path, count=5, size=64, shapes=(2, 4))


def run_until(trainer: Trainer, step: int) -> None:
    """Train, and stop after `step` as Ctrl-C does."""

    def report(progress: Progress) -> None:
        if progress.step == step:
            trainer.stop()

    trainer.run(report)


def assert_equal(actual: Any, expected: Any) -> None:
    """Compare nested states, tensors bit by bit."""
    assert type(actual) is type(expected)
    if isinstance(expected, torch.Tensor):
        assert torch.equal(actual, expected)
    elif isinstance(expected, dict):
        assert actual.keys() == expected.keys()
        for key, value in expected.items():
            assert_equal(actual[key], value)
    elif isinstance(expected, list):
        for one, other in zip(actual, expected, strict=True):
            assert_equal(one, other)
    else:
        assert actual == expected


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


SGD = {"optimizer": "sgd", "schedule": "step"}
ADAMW = {"optimizer": "adamw", "schedule": "cosine", "lr": 0.001, "imgsz": [64, 96]}


@pytest.mark.parametrize(
    ("changes", "stop_at", "workers"),
    [
        (SGD, 2, 0),  # in the middle of the first epoch
        (ADAMW | {"ema": 0.99}, 3, 0),  # between two epochs
        (ADAMW | {"ema": 0.99}, 4, 1),  # with a worker that had read ahead, resumed without
    ],
)
def test_resume_is_exact(
    scenes: DrawnScenes, tmp_path: Path, changes: dict[str, Any], stop_at: int, workers: int
) -> None:
    """Weights, averaged weights, optimizer, schedule and random numbers are bit-equal after six steps."""
    straight = Trainer(tiny_settings(scenes, out=tmp_path / "straight", **changes))
    straight.run()
    settings = tiny_settings(scenes, out=tmp_path / "parts", **changes)
    first = Trainer(settings.model_copy(update={"workers": workers}))
    run_until(first, stop_at)
    assert first.step == stop_at
    assert not first.finished
    second = Trainer(settings.model_copy(update={"resume": True}))
    assert second.step == stop_at
    second.run()
    assert second.finished
    assert_equal(load_state(tmp_path / "parts/state.pt"), load_state(tmp_path / "straight/state.pt"))


def test_resume_of_a_finished_run_does_nothing(scenes: DrawnScenes) -> None:
    settings = tiny_settings(scenes, epochs=1)
    Trainer(settings).run()
    before = (settings.out / "state.pt").read_bytes()
    again = Trainer(settings.model_copy(update={"resume": True}))
    assert again.run() == {}
    assert again.finished
    assert (settings.out / "state.pt").read_bytes() == before


def test_tables_have_every_step_once_after_a_crash(
    scenes: DrawnScenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Saved at step 4, died after step 5: the row of step 5 is written again, not twice."""
    monkeypatch.setattr(loop, "LOG_STEPS", 1)
    settings = tiny_settings(scenes, save_every=2)

    def die(progress: Progress) -> None:
        if progress.step == 5:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        Trainer(settings).run(die)
    metrics = settings.out / "metrics.csv"
    assert [row["step"] for row in rows(metrics)] == ["1", "2", "3", "4", "5"]
    with metrics.open("a") as stream:
        stream.write("6,2.0,1")  # cut off while it was written
    Trainer(settings.model_copy(update={"resume": True})).run()
    assert [row["step"] for row in rows(metrics)] == ["1", "2", "3", "4", "5", "6"]
    board = EventAccumulator(str(settings.out / "tensorboard"))
    board.Reload()
    assert [event.step for event in board.Scalars("metrics/loss")] == [1, 2, 3, 4, 5, 6]


def test_what_a_run_leaves(scenes: DrawnScenes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "LOG_STEPS", 2)
    settings = tiny_settings(
        scenes, val={"annotations": scenes.annotations}, eval_every=2, name="shapes", licence="CC0-1.0"
    )
    seen: list[Progress] = []
    metrics = Trainer(settings).run(seen.append)

    assert [progress.step for progress in seen] == [1, 2, 3, 4, 5, 6]
    assert [progress.epoch for progress in seen] == [0, 0, 1, 1, 1, 2]
    assert [bool(progress.metrics) for progress in seen] == [False] * 5 + [True]
    table = rows(settings.out / "metrics.csv")
    assert [row["step"] for row in table] == ["2", "4", "6"]
    assert float(table[0]["loss"]) == pytest.approx(seen[1].loss, rel=1e-5)
    assert [float(row["lr"]) for row in table] == pytest.approx([0.01, 0.01, 0.001])  # of these very steps
    assert seen[0].lr == pytest.approx(0.005)  # the one step of warm-up
    assert [row["step"] for row in rows(settings.out / "validation.csv")] == ["6"]

    network, info = load_network(settings.out / "model.safetensors")
    assert (info.name, info.licence, info.family) == ("shapes", "CC0-1.0", "retinanet")
    assert [(item.name, item.id) for item in info.classes] == list(zip(NAMES, CATEGORY_IDS, strict=True))
    assert info.metrics == {"scenes.json": metrics}
    assert info.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert info.training["steps"] == 6
    assert str(scenes.images.parent) not in info.model_dump_json()  # no folder of this machine goes along


def test_figures_of_other_weights_do_not_go_into_the_model(scenes: DrawnScenes) -> None:
    """Measured after step 3, saved again after step 4: those weights were never measured."""
    settings = tiny_settings(scenes, val={"annotations": scenes.annotations})
    trainer = Trainer(settings)
    run_until(trainer, 3)
    assert read_checkpoint(settings.out / "model.safetensors")[1].metrics
    run_until(trainer, 4)
    assert not read_checkpoint(settings.out / "model.safetensors")[1].metrics


def test_averaged_weights_are_what_is_saved(scenes: DrawnScenes) -> None:
    settings = tiny_settings(scenes, ema=0.9, epochs=1)
    trainer = Trainer(settings)
    trainer.run()
    assert trainer.final_network is not trainer.plain_network
    with safe_open(settings.out / "model.safetensors", framework="pt") as file:
        saved = file.get_tensor("class_head.output.0.weight")
    assert torch.equal(saved, trainer.final_network.state_dict()["class_head.output.0.weight"])
    assert not torch.equal(saved, trainer.plain_network.state_dict()["class_head.output.0.weight"])


def test_gradients_are_clipped(scenes: DrawnScenes) -> None:
    """SGD's first step moves the weights by lr x gradient, so by at most lr x limit."""
    settings = tiny_settings(scenes, clip_grad=0.01, lr=0.5, warmup=0, weight_decay=0, epochs=1)
    trainer = Trainer(settings)
    before = [parameter.detach().clone() for parameter in trainer.plain_network.parameters()]
    run_until(trainer, 1)
    moved = [
        (new - old).detach().square().sum()
        for new, old in zip(trainer.plain_network.parameters(), before, strict=True)
    ]
    assert math.sqrt(float(sum(moved))) == pytest.approx(0.5 * 0.01, rel=1e-3)


def test_bf16_runs_and_resumes(scenes: DrawnScenes) -> None:
    settings = tiny_settings(scenes, precision="bf16", epochs=1)
    run_until(Trainer(settings), 2)
    trainer = Trainer(settings.model_copy(update={"resume": True}))
    trainer.run()
    weights = trainer.plain_network.state_dict().values()
    assert all(value.dtype != torch.bfloat16 for value in weights)
    assert all(bool(value.isfinite().all()) for value in weights)


def test_nonfinite_loss_stops_and_keeps_the_batch(scenes: DrawnScenes) -> None:
    settings = tiny_settings(scenes, lr=1e30, warmup=0, clip_grad=0)
    with pytest.raises(TrainingError, match=r"step \d: the loss is .*nonfinite-step\d\.pt.*learning rate"):
        Trainer(settings).run()
    (file,) = settings.out.glob("nonfinite-step*.pt")
    batch = torch.load(file, weights_only=True)
    assert batch["images"].shape[1:] == (3, 96, 96)
    assert len(batch["targets"]) == len(batch["images"])
    assert batch["targets"][0]["boxes"].shape[1] == 4


@pytest.mark.parametrize(
    ("state", "goes_on"), [({}, False), ({"scale": 65536.0}, True), ({"scale": 1.0}, False)]
)
def test_only_a_gradient_scaler_that_can_go_lower_may_skip_a_step(
    scenes: DrawnScenes, monkeypatch: pytest.MonkeyPatch, state: dict[str, float], goes_on: bool
) -> None:
    """`state` is that of fp16's scaler; the other types have none."""
    trainer = Trainer(tiny_settings(scenes))
    monkeypatch.setattr(trainer.fabric.strategy.precision, "state_dict", lambda: state)
    batch = Batch(torch.zeros(0, 3, 32, 32, dtype=torch.uint8), [])
    finite = loop.StepResult(1.0, 0.5, 0.5, 2.0, 0.01)
    trainer._check_finite(batch, finite)
    if goes_on:
        trainer._check_finite(batch, finite._replace(grad_norm=math.inf))
    else:
        with pytest.raises(TrainingError, match="norm inf"):
            trainer._check_finite(batch, finite._replace(grad_norm=math.inf))
    with pytest.raises(TrainingError, match="nan"):
        trainer._check_finite(batch, finite._replace(loss=math.nan, classification=math.nan))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_cannot_be_decoded_is_named(scenes: DrawnScenes, workers: int) -> None:
    trainer = Trainer(tiny_settings(scenes, workers=workers))
    broken = trainer.train_data[0].path
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(DataError, match=r"000\.png"):
        trainer.run()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "holds a run already"),
        ({"resume": True, "out": "elsewhere"}, r"no state\.pt, so there is no run to resume"),
        ({"resume": True, "lr": 0.5}, r"lr is 0\.5, but .*settings\.yaml says 0\.01"),
        ({"resume": True, "augment": {}}, "augment is"),
    ],
)
def test_folders_that_a_run_may_not_use(
    scenes: DrawnScenes, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    run_until(Trainer(tiny_settings(scenes)), 1)
    if "out" in changes:
        changes = changes | {"out": tmp_path / changes["out"]}
    with pytest.raises(TrainingError, match=sentence):
        Trainer(tiny_settings(scenes, **changes))


def test_what_is_in_the_way_of_a_new_run(scenes: DrawnScenes, tmp_path: Path) -> None:
    model = tmp_path / "models/model.safetensors"
    model.parent.mkdir()
    model.write_bytes(b"somebody's")
    with pytest.raises(
        TrainingError, match=r"models holds a model\.safetensors, which the run would replace"
    ):
        Trainer(tiny_settings(scenes, out=model.parent))
    with pytest.raises(TrainingError, match=r"model\.safetensors is a file, so no run can be in it"):
        Trainer(tiny_settings(scenes, out=model))
    with pytest.raises(TrainingError, match=r"below cannot be made \(Not a directory\): choose another"):
        Trainer(tiny_settings(scenes, out=model / "below"))
    assert model.read_bytes() == b"somebody's"


@pytest.mark.parametrize(
    "changes",
    [
        {"data": [{"annotations": "absent.json"}]},
        {"init": "absent.safetensors"},
        {"model": {"backbone": {"norm": "frozen"}}},
        {"model": {"backbone": {"name": "vgg", "norm": "batch"}}},
    ],
)
def test_a_run_that_cannot_start_leaves_no_folder(scenes: DrawnScenes, changes: dict[str, Any]) -> None:
    settings = tiny_settings(scenes, **changes)
    with pytest.raises((TrainingError, DataError, CheckpointError)):
        Trainer(settings)
    assert not settings.out.exists()


def rewrite(scenes: DrawnScenes, **changes: Any) -> None:
    content = json.loads(scenes.annotations.read_text())
    scenes.annotations.write_text(json.dumps({**content, **changes}))


def test_a_run_is_resumed_with_its_own_data(scenes: DrawnScenes) -> None:
    settings = tiny_settings(scenes)
    run_until(Trainer(settings), 1)
    content = json.loads(scenes.annotations.read_text())
    resumed = settings.model_copy(update={"resume": True})
    moved = scenes.annotations.rename(scenes.annotations.with_name("moved.json"))
    source = {"annotations": moved, "images": scenes.images}
    assert Trainer(tiny_settings(scenes, resume=True, data=[source])).step == 1
    moved.rename(scenes.annotations)

    rewrite(scenes, images=content["images"][:-1], annotations=[])
    with pytest.raises(TrainingError, match=r"the data has 4 pictures, not 5: .*resumed with the data"):
        Trainer(resumed)
    rewrite(scenes, images=content["images"][::-1])
    with pytest.raises(TrainingError, match="the data has other image ids or classes"):
        Trainer(resumed)
    renamed = [{**category, "name": category["name"] + "s"} for category in content["categories"]]
    rewrite(scenes, images=content["images"], categories=renamed)
    with pytest.raises(TrainingError, match="the data has other image ids or classes"):
        Trainer(resumed)


def test_a_state_of_before_data_was_remembered_is_resumed(scenes: DrawnScenes) -> None:
    settings = tiny_settings(scenes)
    run_until(Trainer(settings), 1)
    state = load_state(settings.out / "state.pt")
    del state["data"]
    save_state(settings.out / "state.pt", state)
    assert Trainer(settings.model_copy(update={"resume": True})).step == 1


def test_saved_settings_that_are_not_understood(scenes: DrawnScenes) -> None:
    settings = tiny_settings(scenes)
    run_until(Trainer(settings), 1)
    (settings.out / "settings.yaml").write_text("milestones: [8, 11]")
    with pytest.raises(TrainingError, match=r"settings\.yaml is not understood"):
        Trainer(settings.model_copy(update={"resume": True}))


def test_a_resumed_run_does_not_need_what_it_started_from(scenes: DrawnScenes, tmp_path: Path) -> None:
    Trainer(tiny_settings(scenes, epochs=1)).run()
    start = (tmp_path / "run/model.safetensors").rename(tmp_path / "start.safetensors")
    settings = tiny_settings(scenes, out=tmp_path / "next", init=start)
    run_until(Trainer(settings), 1)
    start.unlink()
    assert Trainer(settings.model_copy(update={"resume": True})).step == 1


def test_metrics_say_which_pictures_they_are_about(scenes: DrawnScenes) -> None:
    content = json.loads(scenes.annotations.read_text())
    rewrite(scenes, images=[{**record, "source": "coco"} for record in content["images"]])
    val = {"annotations": scenes.annotations, "where": {"source": "coco"}}
    settings = tiny_settings(scenes, val=val, epochs=1)
    Trainer(settings).run()
    _, info = read_checkpoint(settings.out / "model.safetensors")
    assert list(info.metrics) == ["scenes.json, source=coco"]


def test_a_resumed_run_may_be_longer(scenes: DrawnScenes) -> None:
    Trainer(tiny_settings(scenes, epochs=1)).run()
    trainer = Trainer(tiny_settings(scenes, epochs=2, resume=True))
    trainer.run()
    assert trainer.step == 6


def test_a_state_that_does_not_fit_is_refused(scenes: DrawnScenes) -> None:
    settings = tiny_settings(scenes)
    run_until(Trainer(settings), 1)
    (settings.out / "settings.yaml").unlink()  # what would have told
    wider = {**settings.model, "head": {"width": 32, "depth": 1, "groups": 4}}
    with pytest.raises(TrainingError, match="does not fit this network"):
        Trainer(tiny_settings(scenes, resume=True, model=wider))


def test_unusable_devices_are_named(scenes: DrawnScenes) -> None:
    if torch.cuda.is_available():
        pytest.skip("has a GPU")
    with pytest.raises(TrainingError, match="device 'cuda' cannot be used"):
        Trainer(tiny_settings(scenes, device="cuda"))


def test_fp16_is_not_for_cpus(scenes: DrawnScenes) -> None:
    with pytest.raises(TrainingError, match="fp16 needs a GPU"), warnings.catch_warnings(action="ignore"):
        Trainer(tiny_settings(scenes, precision="fp16"))


def test_names_of_run_folders(tmp_path: Path) -> None:
    base = tmp_path / "runs/train"
    assert free_folder(base) == base
    assert newest_run(base) is None
    for name in ("train", "train-2"):
        (base.parent / name).mkdir(parents=True)
    assert free_folder(base) == base.with_name("train-3")
    (base / "state.pt").touch()
    assert newest_run(base) == base
