"""Steps in parts, in several processes, stopped early, and killed: the outcome is the one of a plain run."""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from densewatch.models.checkpoint import load_state, read_checkpoint
from densewatch.training import loop
from densewatch.training.loop import Best, Progress, Trainer
from densewatch.training.settings import TrainingError, TrainSettings
from drawn_scenes import DrawnScenes, draw_scenes
from tiny_training import TINY_NETWORK, tiny_settings

STEADY = {**TINY_NETWORK, "backbone": {"norm": "folded"}}
"""Without batch norm, which sees one part at a time."""
RUN = str(Path(__file__).with_name("distributed_run.py"))


@pytest.fixture
def scenes(tmp_path: Path) -> DrawnScenes:
    return draw_scenes(tmp_path, count=8, size=64, shapes=(1, 5))


def losses(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open(newline="") as stream:
        return [float(row["loss"]) for row in csv.DictReader(stream)]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(folder / "model.safetensors")[0]


def assert_close(one: Path, other: Path) -> None:
    assert losses(one) == pytest.approx(losses(other), rel=1e-4)
    assert len(losses(one)) == 4
    for name, value in weights(other).items():
        torch.testing.assert_close(weights(one)[name], value, atol=2e-5, rtol=1e-3)


@pytest.mark.parametrize("normaliser", ["image", "batch", "ema"])
def test_a_step_in_parts_is_the_same_step(
    scenes: DrawnScenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, normaliser: str
) -> None:
    monkeypatch.setattr(loop, "LOG_STEPS", 1)
    model = {**STEADY, "loss": {"normaliser": normaliser}}
    for parts in (1, 3):
        settings = tiny_settings(
            scenes, out=tmp_path / str(parts), model=model, batch=4, accumulate=parts, lr=0.001
        )
        Trainer(settings).run()
    assert_close(tmp_path / "3", tmp_path / "1")


def together(settings: TrainSettings, nodes: int = 1, processes: int = 2) -> list[str]:
    """Train with `torchrun` on so many nodes, all this computer; return what those said that failed."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes)]
    if nodes == 1:
        torchrun += ["--standalone"]
    else:
        meeting = f"127.0.0.1:{free_port()}"
        torchrun += ["--nnodes", str(nodes), "--rdzv-backend", "c10d", "--rdzv-endpoint", meeting]
    started = [
        subprocess.Popen(
            [*torchrun, RUN, settings.model_dump_json()],
            env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(nodes)
    ]  # fmt: skip
    said = [one.communicate(timeout=120)[1] for one in started]
    return [text for one, text in zip(started, said, strict=True) if one.returncode]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


@pytest.mark.parametrize(("nodes", "processes"), [(1, 2), (2, 1)])
def test_two_processes_learn_what_one_does(
    scenes: DrawnScenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nodes: int, processes: int
) -> None:
    """Two with two pictures each, and one with four; the one that leads keeps AP and the best weights."""
    monkeypatch.setattr(loop, "LOG_STEPS", 1)
    changes: dict[str, Any] = {"model": STEADY, "batch": 4, "lr": 0.001, "ema": 0.9}
    changes["val"] = {"annotations": scenes.annotations}
    alone = Trainer(tiny_settings(scenes, out=tmp_path / "alone", **changes))
    alone.run()
    assert together(tiny_settings(scenes, out=tmp_path / "two", **changes), nodes, processes) == []
    assert_close(tmp_path / "two", tmp_path / "alone")
    assert Best(*load_state(tmp_path / "two" / "state.pt")["best"]).step > 0
    assert (tmp_path / "two" / "best.safetensors").is_file()


def test_processes_without_pictures_are_refused(scenes: DrawnScenes, tmp_path: Path) -> None:
    [said] = together(tiny_settings(scenes, out=tmp_path / "run", batch=7))
    assert "2 processes share each step's pictures, but an epoch ends with a step of 1" in said
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_killed_goes_on_bit_for_bit(
    scenes: DrawnScenes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes: dict[str, Any] = {"batch": 2, "epochs": 12, "save_every": 3, "ema": 0.9, "optimizer": "adamw"}
    Trainer(tiny_settings(scenes, out=tmp_path / "straight", **changes)).run()
    settings = tiny_settings(scenes, out=tmp_path / "killed", **changes)
    with subprocess.Popen([sys.executable, RUN, settings.model_dump_json()]) as process:
        metrics, deadline = tmp_path / "killed" / "metrics.csv", time.monotonic() + 60
        while not (metrics.exists() and len(losses(metrics.parent)) > 7) and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    again = Trainer(settings.model_copy(update={"resume": True}))
    assert 0 < again.step < again.total_steps
    again.run()
    expected = weights(tmp_path / "straight")
    assert all(torch.equal(value, expected[name]) for name, value in weights(tmp_path / "killed").items())


def test_training_stops_when_ap_no_longer_rises(scenes: DrawnScenes, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = iter([0.1, 0.3, 0.2, 0.3, 0.9, 0.5, 0.5, 0.5])
    monkeypatch.setattr(loop, "validate", lambda *_: {"AP": next(measured)})
    val = {"annotations": scenes.annotations}
    settings = tiny_settings(scenes, val=val, epochs=9, batch=4, patience=2)
    seen: list[Progress] = []
    trainer = Trainer(settings)
    trainer.run(seen.append)
    assert [dict(progress.metrics) for progress in seen if progress.metrics] == [
        {"AP": value} for value in (0.1, 0.3, 0.2, 0.3)
    ]
    assert trainer.finished
    assert trainer.best == Best(0.3, 4)
    [figures] = read_checkpoint(settings.out / "best.safetensors")[1].metrics.values()
    assert figures["AP"] == 0.3
    again = Trainer(settings.model_copy(update={"resume": True}))
    assert again.finished
    assert again.run() == {}
    longer = Trainer(settings.model_copy(update={"resume": True, "patience": 3}))
    longer.run()
    assert longer.best == Best(0.9, 10)
    assert longer.step == 16


def test_patience_needs_something_to_watch(scenes: DrawnScenes) -> None:
    with pytest.raises(ValueError, match="patience needs val"):
        tiny_settings(scenes, patience=3)


def test_a_numbered_device_is_not_for_several_processes(
    scenes: DrawnScenes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainingError, match="with several processes, each takes its own; say cuda"):
        Trainer(tiny_settings(scenes, device="cuda:1"))
