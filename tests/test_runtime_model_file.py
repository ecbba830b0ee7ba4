"""Model files are found by path and name, describe themselves, and say why when they cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from densewatch.runtime import model_file
from densewatch.runtime.model_file import (
    ModelFileError,
    ModelNotFoundError,
    find_model,
    models_dir,
    read_info,
)
from tiny_model import tiny_info, write_embedded_pair, write_tiny_model


def write_metadata(path: Path, entries: dict[str, str]) -> Path:
    model = onnx.ModelProto(ir_version=10, producer_name="test", model_version=2**63 - 1)
    model.graph.name = "network" * 100
    onnx.helper.set_model_props(model, entries)
    path.write_bytes(model.SerializeToString())
    return path


def test_info_round_trip(tmp_path: Path) -> None:
    info = tiny_info(strides=(8, 16), topk=7)
    assert read_info(write_tiny_model(tmp_path / "tiny.onnx", info)) == info


@settings(max_examples=40)
@given(
    entries=st.dictionaries(
        st.text(max_size=20).filter(lambda key: key != "densewatch"), st.text(max_size=300)
    ),
    name=st.text(max_size=200),
)
def test_info_among_any_other_metadata(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[str, str], name: str
) -> None:
    info = tiny_info().model_copy(update={"name": name})
    path = tmp_path_factory.mktemp("models") / "any.onnx"
    write_metadata(path, {**entries, "densewatch": info.model_dump_json(), "last": "x"})
    assert read_info(path) == info


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"x\.onnx \(0 bytes\) is not an ONNX file"),
        (b"this is not a network\n" * 9, "is not an ONNX file"),
        (b"\xff" * 40, "is not an ONNX file"),
        (b"\x08\x0a", "has no 'densewatch' entry"),
    ],
)
def test_other_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=message):
        read_info(path)


def test_every_truncation_is_noticed(tmp_path: Path) -> None:
    whole = write_tiny_model(tmp_path / "whole.onnx").read_bytes()
    path = tmp_path / "cut.onnx"
    for length in range(0, len(whole) - 8, 97):  # the last field, the opset, takes a few bytes
        path.write_bytes(whole[:length])
        with pytest.raises(ModelFileError, match=r"cut\.onnx"):
            read_info(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "metadata is not JSON"),
        ("[]", "metadata is wrong"),
        (json.dumps({"schema_version": 99, "name": 3}), "has model file schema 99.*upgrade densewatch"),
        (json.dumps({"name": "x", "family": "y"}), "wrong at 'classes': Field required"),
        (json.dumps({"name": "x", "family": "y", "classes": [], "colour": 1}), "wrong at 'colour'"),
    ],
)
def test_wrong_metadata(tmp_path: Path, text: str, message: str) -> None:
    path = write_metadata(tmp_path / "x.onnx", {"densewatch": text})
    with pytest.raises(ModelFileError, match=message):
        read_info(path)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    models_dir().mkdir(parents=True)
    return models_dir()


def test_find_by_path_and_by_name(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    by_path = write_tiny_model(tmp_path / "mine.onnx")
    by_name = write_tiny_model(cache / "retinanet-r50-v2.1.onnx")
    assert find_model("mine.onnx") == Path("mine.onnx")
    assert find_model(by_path) == by_path
    assert find_model("retinanet-r50-v2.1") == by_name


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "retinanet-r18",
            r"no model 'retinanet-r18'.*densewatch.models.*`densewatch models list`",
        ),
        ("missing.onnx", r"there is no model file missing\.onnx"),
        ("folder/missing", "there is no model file folder/missing"),
        (".", "is a folder"),
    ],
)
def test_not_found(cache: Path, model: str, message: str) -> None:
    with pytest.raises(ModelNotFoundError, match=message):
        find_model(model)


def test_no_embedded_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_file, "files", lambda package: tmp_path)
    with pytest.raises(ModelNotFoundError, match=r"no embedded model.*default\.onnx.*--model"):
        find_model()
    (tmp_path / "weights").mkdir()
    path = write_tiny_model(tmp_path / "weights" / "default.onnx")
    assert find_model() == path


@pytest.mark.parametrize("has_products", [True, False])
def test_int8_is_the_default_where_the_cpu_is_made_for_it(
    has_products: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exact, int8 = write_embedded_pair(tmp_path)
    monkeypatch.setattr(model_file, "files", lambda package: tmp_path)
    monkeypatch.setattr(model_file, "has_int8_products", lambda: has_products)
    assert find_model() == (int8 if has_products else exact)
    assert (find_model("light"), find_model("light-int8")) == (exact, int8)
