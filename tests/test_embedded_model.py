"""The model that is shipped: its size, what it says of itself, and whether it sees what its card promises."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from densewatch.cli.main import app
from densewatch.metadata import ModelInfo
from densewatch.models.model_file_weights import read_model_file_weights
from densewatch.runtime.model_file import embedded_models, find_model, read_info

ROOT = Path(__file__).resolve().parents[1]
CARD = ROOT / "docs" / "models" / "everyday-light.md"
ASTRONAUT = ROOT / "src" / "densewatch" / "assets" / "astronaut.jpg"
ON_COCO_PHOTOS = "val.json, source=coco"
"""What the description calls the COCO photos of everyday/val."""


NAME = "everyday-light"


@pytest.fixture(scope="module", params=[NAME, f"{NAME}-int8"])
def info(request: pytest.FixtureRequest) -> ModelInfo:
    return read_info(find_model(request.param))


def run(*arguments: str) -> Any:
    """Return the JSON document that the command line answers with."""
    result = CliRunner().invoke(app, [*arguments, "--format", "json"])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def texts(value: Any) -> list[str]:
    """Return every text in a JSON value, however deep."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) else []


def test_it_is_small_enough_to_ship() -> None:
    assert sum(path.stat().st_size for path in embedded_models()) <= 25_000_000


def test_its_weights_are_there_to_train_on_from() -> None:
    weights = read_model_file_weights(find_model(NAME))
    assert sum(tensor.numel() for tensor in weights.values()) == read_info(find_model(NAME)).parameters


def test_it_comes_in_float_and_in_int8() -> None:
    exact, int8 = (read_info(path) for path in embedded_models())
    assert (exact.numeric_type, int8.numeric_type) == ("float32", "int8")
    assert int8.int8 is not None
    assert int8.int8.float_ap == exact.metrics[ON_COCO_PHOTOS]["AP"]
    assert int8.int8.ap_loss <= 0.005


def test_it_describes_itself(info: ModelInfo) -> None:
    assert len(set(info.names)) == len(set(info.category_ids)) == 80
    assert info.licence == "Apache-2.0"
    assert info.training["recipe"]
    assert ON_COCO_PHOTOS in info.metrics


def test_it_was_proved_equal_to_its_network(info: ModelInfo) -> None:
    assert info.proof is not None
    assert len({shape[1:] for shape in info.proof.shapes}) >= 3
    assert len({shape[0] for shape in info.proof.shapes}) >= 2
    assert info.proof.candidates >= 100


def test_it_tells_nothing_of_the_machine_it_was_trained_on(info: ModelInfo) -> None:
    assert [text for text in texts(info.model_dump(mode="json")) if Path(text).is_absolute()] == []


def test_its_card_quotes_the_figures_in_the_file(info: ModelInfo) -> None:
    card = CARD.read_text()
    assert info.name in card
    for data, metrics in info.metrics.items():
        assert f"{metrics['AP']:.3f}" in card, f"AP on {data} is missing in {CARD.name}"


def test_it_measures_what_is_promised(shared: Path, info: ModelInfo) -> None:
    data = shared / "data" / "everyday" / "val.json"
    flags = ("--where", "source=coco", "--precision", "float32")
    measured = run("evaluate", "--model", info.name, "--data", str(data), *flags)
    assert measured["images"] == 100
    assert measured["AP"] >= 0.115
    assert measured["per_class"]["person"]["AP50"] >= 0.51
    # Other instructions of another CPU may move a few boxes.
    assert measured["AP"] == pytest.approx(info.metrics[ON_COCO_PHOTOS]["AP"], abs=0.003)


def test_it_finds_the_person_in_the_shipped_photo() -> None:
    (picture,) = run("detect", str(ASTRONAUT))["images"]
    assert picture["counts"]["person"] >= 1


def test_both_are_found_by_name(info: ModelInfo) -> None:
    assert read_info(find_model(info.name)) == info
    assert find_model() in embedded_models()
