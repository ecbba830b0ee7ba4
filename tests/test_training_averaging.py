"""Averages of networks: exact, of one kind only, described, and used like any checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from densewatch.cli.main import app
from densewatch.metadata import ClassInfo, ModelInfo
from densewatch.models.checkpoint import CheckpointError, load_network, read_checkpoint, save_checkpoint
from densewatch.models.config import RetinaNetConfig, preset
from densewatch.models.retinanet import RetinaNet
from densewatch.training.averaging import Part, average

NARROW: dict[str, Any] = {"pyramid": {"width": 16}, "head": {"width": 16, "depth": 1, "groups": 4}}
CLASSES = (ClassInfo(name="cup", id=1), ClassInfo(name="cat", id=7))


def config(**sections: dict[str, Any]) -> RetinaNetConfig:
    return preset("light", 2, **{**NARROW, **sections})


def write(
    path: Path, seed: int, classes: tuple[ClassInfo, ...] = CLASSES, **sections: dict[str, Any]
) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    network = RetinaNet(config(**sections))
    architecture = network.config.model_dump(mode="json")
    info = ModelInfo(name=path.stem, family="retinanet", classes=classes, architecture=architecture)
    save_checkpoint(path, network, info)
    return network.state_dict()


def test_weights_are_averaged_by_their_shares(tmp_path: Path) -> None:
    one, other = write(tmp_path / "one.safetensors", 1), write(tmp_path / "other.safetensors", 2)
    out = tmp_path / "both.safetensors"
    info = average([Part(tmp_path / "one.safetensors", 3), Part(tmp_path / "other.safetensors", 1)], out)
    tensors, described = read_checkpoint(out)
    for name, value in tensors.items():
        torch.testing.assert_close(value, 0.75 * one[name] + 0.25 * other[name])
    assert described == info
    assert [(part["model"], part["share"]) for part in info.training["average"]] == [
        ("one", 0.75),
        ("other", 0.25),
    ]
    load_network(out)


def test_the_average_of_a_network_with_itself_is_itself(tmp_path: Path) -> None:
    weights = write(tmp_path / "one.safetensors", 1)
    average([Part(tmp_path / "one.safetensors")] * 3, tmp_path / "same.safetensors")
    tensors, _ = read_checkpoint(tmp_path / "same.safetensors")
    for name, value in tensors.items():
        torch.testing.assert_close(value, weights[name])


def test_counters_stay_whole_numbers(tmp_path: Path) -> None:
    sections: dict[str, Any] = {"backbone": {"name": "resnet18", "norm": "batch"}}
    for seed in (1, 2):
        write(tmp_path / f"{seed}.safetensors", seed, **sections)
    average([Part(tmp_path / f"{seed}.safetensors") for seed in (1, 2)], tmp_path / "both.safetensors")
    tensors, _ = read_checkpoint(tmp_path / "both.safetensors")
    counters = [value for name, value in tensors.items() if name.endswith("num_batches_tracked")]
    assert counters
    assert all(value.dtype == torch.int64 for value in counters)


def test_networks_that_have_nothing_in_common_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "one.safetensors", 1)
    write(tmp_path / "wide.safetensors", 1, head={"width": 32, "depth": 1, "groups": 4})
    write(tmp_path / "others.safetensors", 1, classes=(CLASSES[1], CLASSES[0]))
    for name, complaint in (
        ("wide", "is another network than one"),
        ("others", "has other classes than one"),
    ):
        parts = [Part(tmp_path / "one.safetensors"), Part(tmp_path / f"{name}.safetensors")]
        with pytest.raises(CheckpointError, match=complaint):
            average(parts, tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "one.safetensors", 1)
    part = Part(tmp_path / "one.safetensors")
    for parts, out, complaint in (
        ([part], "out.safetensors", "at least two"),
        ([part, Part(part.source, 0)], "out.safetensors", "must be positive"),
        ([part, part], "out.onnx", "ends in .safetensors"),
        ([part, part], "one.safetensors", "must be a new file"),
    ):
        with pytest.raises(ValueError, match=complaint):
            average(parts, tmp_path / out)


def test_command_line(tmp_path: Path) -> None:
    one = write(tmp_path / "one.safetensors", 1)
    write(tmp_path / "a=b.safetensors", 2)
    out = tmp_path / "both.safetensors"
    sources = [f"{tmp_path / 'one.safetensors'}=1e9", str(tmp_path / "a=b.safetensors")]
    result = CliRunner().invoke(app, ["models", "average", *sources, "-o", str(out)])
    assert result.exit_code == 0, result.output
    tensors, _ = read_checkpoint(out)
    torch.testing.assert_close(tensors["class_head.output.1.weight"], one["class_head.output.1.weight"])
    again = CliRunner().invoke(app, ["models", "average", *sources, "-o", str(out)])
    assert again.exit_code == 2
    missing, unwritten = str(tmp_path / "no.safetensors"), str(tmp_path / "x.safetensors")
    absent = CliRunner().invoke(app, ["models", "average", sources[1], missing, "-o", unwritten])
    assert absent.exit_code == 1
    assert "no.safetensors" in absent.output
    unknown = CliRunner().invoke(app, ["models", "average", sources[1], "everyday-lite", "-o", unwritten])
    assert unknown.exit_code == 1
    assert "error: there is no model 'everyday-lite'" in unknown.output
    for parent, code in (("new", 0), ("a=b.safetensors", 1)):
        elsewhere = tmp_path / parent / "x.safetensors"
        result = CliRunner().invoke(app, ["models", "average", *sources, "-o", str(elsewhere)])
        assert result.exit_code == code, result.output
        assert elsewhere.exists() is (code == 0)
