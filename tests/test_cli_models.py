"""`densewatch models`: listing, self-description, and the ways that fetching can fail."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from densewatch.cli.main import app
from densewatch.export import foreign_import
from densewatch.export.proof import ExportError
from densewatch.hub import PUBLISHED_MODELS, PublishedModel, RemoteFile
from densewatch.metadata import ClassInfo, ModelInfo
from densewatch.runtime.detector import load
from densewatch.runtime.engine import EngineError
from local_server import closed_port, serving
from tiny_model import tiny_info, write_tiny_model
from torchvision_networks import V2, random_network


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
    lines = [line.split(maxsplit=1) for line in models("info", str(path)).stdout.splitlines()]
    assert ["classes", "3: person, chair, car"] in lines
    assert ["licence", "Apache-2.0"] in lines


def test_info_for_people_has_no_long_lines_but_all_names(tmp_path: Path) -> None:
    info = tiny_info().model_copy(
        update={
            "classes": tuple(ClassInfo(name=f"class {number}", id=number) for number in range(80)),
            "training": {
                "recipe": {"data": [{"annotations": "x" * 300}], "lr": 0.1, "augment": {"flip": 0.5}}
            },
        }
    )
    path = write_tiny_model(tmp_path / "tiny.onnx", info)
    result = models("info", str(path))
    lines = result.stdout.splitlines()
    names = next(line for line in lines if line.startswith("classes "))
    assert names.endswith("class 78, class 79")
    assert max(len(line) for line in lines if line != names) < 160
    at = lines.index("training")
    assert lines[at + 1] == "  recipe"
    assert [line.split()[0] for line in lines[at + 2 : at + 5]] == ["data", "lr", "augment"]
    assert lines[at + 2].endswith("xxx…")
    assert lines[at + 4].split() == ["augment", "flip", "0.5"]
    assert result.stderr == "what ends in … is cut; --format json has it whole\n"


@pytest.mark.parametrize("command", [["models", "info"], ["detect", "x.jpg", "--model"]])
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("retinanet-r50-v3", "Did you mean 'retinanet-r50-v2'?"),
        ("shelve", "Did you mean 'shelves'?"),
        ("yolo", "Here are: everyday-light (embedded), everyday-light-int8 (embedded), shelves (pulled)."),
        ("yolo", "`densewatch models pull` fetches: retinanet-r50-v1, retinanet-r50-v2"),
        ("retinanet-r50-v1", "is not here yet: fetch it with `densewatch models pull retinanet-r50-v1`"),
    ],
)
def test_an_unknown_name_is_answered_with_those_that_there_are(
    cache: Path, command: list[str], name: str, sentence: str
) -> None:
    write_tiny_model(cache / "shelves.onnx")
    result = CliRunner().invoke(app, [*command, name])
    assert result.exit_code == 2
    assert sentence in result.stderr


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
        (["import", __file__, "--from", "torch"], "torchvision"),
        (["import", "absent.pth"], "absent.pth"),
    ],
)
def test_wrong_usage(cache: Path, arguments: list[str], sentence: str) -> None:
    result = models(*arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr


@pytest.mark.parametrize(
    "error", [ExportError("a box differs"), EngineError("no such engine"), OSError("no room")], ids=repr
)
def test_a_conversion_that_fails_ends_with_its_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(foreign_import, "convert_weights", fail)
    weights = tmp_path / "weights.pth"
    weights.touch()
    result = models("import", str(weights))
    assert result.exit_code == 1
    assert result.stderr.splitlines()[1:] == [f"error: {error}"]


def test_pull_does_nothing_when_the_model_is_there(cache: Path) -> None:
    write_tiny_model(cache / "retinanet-r50-v2.onnx")
    result = models("pull", "retinanet-r50-v2")
    assert result.exit_code == 0
    assert "is there already" in result.stderr


def publish(remote: RemoteFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every model be published at a place on this machine."""
    monkeypatch.setattr(PublishedModel, "remote_file", lambda model: remote)


def test_pull_without_a_network_ends_with_one_sentence(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"http://127.0.0.1:{closed_port()}/net-0123abcd.pth"
    publish(RemoteFile(url, "0123abcd"), monkeypatch)
    result = models("pull", "retinanet-r50-v2")
    assert result.exit_code == 1
    where = cache.parent / "downloads" / "net-0123abcd.pth"
    assert result.stderr == (
        f"error: Cannot fetch {url} (no connection): download it where there is a network, "
        f"put it at {where}, and run the same command again.\n"
    )


def test_pull_refuses_a_file_with_another_hash(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(b"something else") as server:
        publish(server.file("00000000"), monkeypatch)
        result = models("pull", "retinanet-r50-v2")
    assert result.exit_code == 1
    assert "but 00000000 is right" in result.stderr
    assert list((cache.parent / "downloads").iterdir()) == list(cache.iterdir()) == []


def test_pulled_weights_that_do_not_fit_are_named_and_not_installed(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = io.BytesIO()
    torch.save({"epoch": 3}, weights)
    with serving(weights.getvalue()) as server:
        remote = server.file()
        publish(remote, monkeypatch)
        result = models("pull", "retinanet-r50-v2")
    assert server.asked == [None]
    assert result.exit_code == 1
    downloaded = cache.parent / "downloads" / remote.name
    assert f"error: {downloaded}: holds no plain dictionary of tensors" in result.stderr
    assert list(cache.iterdir()) == []


@pytest.mark.slow
def test_a_pulled_model_is_found_by_its_name(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = io.BytesIO()
    torch.save(random_network(V2).state_dict(), weights)
    with serving(weights.getvalue()) as server:
        publish(server.file(), monkeypatch)
        result = models("pull", "retinanet-r50-v2")
    assert result.exit_code == 0, result.stderr
    described = ModelInfo.model_validate_json(models("info", "retinanet-r50-v2", "--format", "json").stdout)
    assert len(described.classes) == 80
    assert described.proof is not None


def test_pull_without_torch_says_what_to_install(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    result = models("pull", "retinanet-r50-v2")
    assert result.exit_code == 1
    assert (
        "install densewatch with its [export] extra (in a checkout: pip install '.[export]')" in result.stderr
    )


def test_the_cache_of_compiled_networks_is_shown_and_emptied(cache: Path) -> None:
    folder = cache.parent / "compiled"
    assert models("cache").stdout == f"{folder}\n0 compiled networks, 0.0 MB\n"
    model = write_tiny_model(cache / "tiny.onnx")
    load(model, engine="openvino")
    document = json.loads(models("cache", "--format", "json").stdout)
    assert (document["folder"], document["networks"]) == (str(folder), 1)
    assert document["bytes"] == sum(path.stat().st_size for path in folder.rglob("*.blob")) > 0
    cleared = models("cache", "--clear")
    assert (cleared.exit_code, folder.exists(), model.exists()) == (0, False, True)
    assert cleared.stderr.startswith("deleted ")
    assert cleared.stdout == f"{folder}\n0 compiled networks, 0.0 MB\n"
    assert models("cache", "--clear").exit_code == 0


def test_a_cache_that_cannot_be_emptied_is_named(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (cache.parent / "compiled").symlink_to(tmp_path / "elsewhere")
    result = models("cache", "--clear")
    assert result.exit_code == 1
    assert f"{cache.parent / 'compiled'} cannot be emptied: " in result.stderr


@pytest.mark.parametrize("name", PUBLISHED_MODELS)
def test_urls_and_hashes_come_from_torchvision(name: str) -> None:
    pytest.importorskip("torchvision")
    remote = PUBLISHED_MODELS[name].remote_file()
    assert PUBLISHED_MODELS[name].architecture in remote.url
    assert remote.name.endswith(f"-{remote.sha256_prefix}.pth")
    assert len(remote.sha256_prefix) == 8
