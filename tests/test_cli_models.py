"""`densewatch models`: listing, self-description, and the ways that fetching can fail."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from densewatch import hub
from densewatch.cli.main import app
from densewatch.hub import PUBLISHED_MODELS, HubError, RemoteFile
from densewatch.metadata import ModelInfo
from tiny_model import write_tiny_model


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of pulled models, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "densewatch" / "models"
    folder.mkdir(parents=True)
    return folder


def models(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", *arguments])


def test_list_tells_pulled_from_published(cache: Path) -> None:
    write_tiny_model(cache / "mine.onnx")
    states = {row["name"]: row["state"] for row in json.loads(models("list", "--format", "json").stdout)}
    assert states["mine"] == "pulled"
    assert states["retinanet-r50-v2"] == "can be pulled"


def test_list_shows_a_pulled_model_once(cache: Path) -> None:
    write_tiny_model(cache / "retinanet-r50-v2.onnx")
    names = [line.split()[0] for line in models("list").stdout.splitlines()]
    assert names.count("retinanet-r50-v2") == 1


def test_list_goes_on_past_a_broken_file(cache: Path) -> None:
    (cache / "broken.onnx").write_text("no model")
    result = models("list", "--format", "json")
    assert result.exit_code == 0
    assert {"broken"} == {row["name"] for row in json.loads(result.stdout) if row["state"] == "broken"}


def test_info_is_what_the_file_says(tmp_path: Path) -> None:
    path = write_tiny_model(tmp_path / "tiny.onnx")
    described = ModelInfo.model_validate_json(models("info", str(path), "--format", "json").stdout)
    assert described.names == ("person", "chair", "car")
    lines = dict(line.split(maxsplit=1) for line in models("info", str(path)).stdout.splitlines())
    assert lines["classes"] == "3: person, chair, car"
    assert lines["licence"] == "Apache-2.0"


@pytest.mark.parametrize("name", ["absent", "absent.onnx", "."])
def test_info_of_what_is_not_there(cache: Path, name: str) -> None:
    result = models("info", name)
    assert result.exit_code == 2
    assert name in result.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["pull", "retinanet-r50-v3"], "did you mean 'retinanet-r50-v2'?"),
        (["pull", "yolo"], "known are retinanet-r50-v1, retinanet-r50-v2"),
        (["import", "torchvision:retinanet_resnet50_fpn_v3", __file__], "did you mean"),
        (["import", "torchvision:retinanet_resnet50_fpn", "absent.pth"], "absent.pth"),
    ],
)
def test_wrong_usage(cache: Path, arguments: list[str], sentence: str) -> None:
    result = models(*arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_pull_does_nothing_when_the_model_is_there(cache: Path) -> None:
    write_tiny_model(cache / "retinanet-r50-v2.onnx")
    result = models("pull", "retinanet-r50-v2")
    assert result.exit_code == 0
    assert "is there already" in result.stderr


def test_pull_without_a_network_ends_with_one_sentence(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(file: RemoteFile, path: Path, **_: object) -> Path:
        raise HubError(f"Cannot fetch {file.url}: put it at {path}.")

    monkeypatch.setattr(hub, "download", offline)
    monkeypatch.setattr(
        hub.PublishedModel,
        "remote_file",
        lambda self: RemoteFile("https://x.org/net-0123abcd.pth", "0123abcd"),
    )
    result = models("pull", "retinanet-r50-v2")
    assert result.exit_code == 1
    where = cache.parent / "downloads" / "net-0123abcd.pth"
    assert result.stderr == f"error: Cannot fetch https://x.org/net-0123abcd.pth: put it at {where}.\n"


def test_pull_without_torch_says_what_to_install(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    result = models("pull", "retinanet-r50-v2")
    assert result.exit_code == 1
    assert "pip install 'densewatch[export]'" in result.stderr


@pytest.mark.parametrize("name", PUBLISHED_MODELS)
def test_urls_and_hashes_come_from_torchvision(name: str) -> None:
    pytest.importorskip("torchvision")
    remote = PUBLISHED_MODELS[name].remote_file()
    assert PUBLISHED_MODELS[name].architecture in remote.url
    assert remote.name.endswith(f"-{remote.sha256_prefix}.pth")
    assert len(remote.sha256_prefix) == 8
