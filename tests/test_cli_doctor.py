"""`densewatch doctor`: on drawn scenes, and on blood cells where they are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from densewatch.cli.main import app
from drawn_scenes import DrawnScenes, draw_scenes
from tiny_model import write_tiny_model


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> DrawnScenes:
    return draw_scenes(tmp_path_factory.mktemp("drawn"), count=4)


def doctor(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["doctor", *map(str, arguments)])


def document(*arguments: object) -> dict[str, Any]:
    result = doctor(*arguments, "--format", "json")
    assert result.exit_code == 0, result.stderr
    content: dict[str, Any] = json.loads(result.stdout)
    return content


def test_json_says_what_was_planned_and_what_it_reaches(scenes: DrawnScenes) -> None:
    answer = document(scenes.annotations, "--imgsz", "128", "--set", "augment.geometry=square")
    assert answer["network"] == "light"
    assert (answer["resize"]["mode"], answer["resize"]["size"]) == ("longer", 128)
    (part,) = answer["parts"]
    labels = json.loads(scenes.annotations.read_text())
    assert (part["split"], part["pictures"], part["objects"]) == ("train", 4, len(labels["annotations"]))
    assert part["ceiling"]["ar"] <= part["ceiling_as_trained"]["ar"] == 1.0
    assert part["nms_deletes"] == 0
    sizes = part["kinds"]["by COCO size"]
    assert sum(kind["objects"] for kind in sizes) == part["objects"]
    assert sum(kind["uncovered"] for kind in sizes) == part["uncovered"]
    assert [item["name"] for item in answer["classes"]] == ["disc", "square", "triangle"]
    assert answer["changes"][0]["name"] == "fitted anchors"


def test_settings_of_train_change_the_answer(scenes: DrawnScenes) -> None:
    few = document(scenes.annotations, "--imgsz", "64", "--iou-nms", "0.4", "--max-detections", "7")
    assert (few["iou_nms"], few["max_detections"]) == (0.4, 7)
    more = document(scenes.annotations, "--imgsz", "64", "--set", "model.pyramid.p2=true")
    assert few["strides"] == [8, 16, 32, 64, 128]
    assert more["strides"] == [4, 8, 16, 32, 64, 128]
    assert more["parts"][0]["uncovered"] < few["parts"][0]["uncovered"]


def test_the_table_begins_with_the_data_and_the_verdict(scenes: DrawnScenes) -> None:
    result = doctor(scenes.annotations, "--val", scenes.annotations, "--imgsz", "128")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith(f"train: {scenes.annotations}, 4 pictures, ")
    assert lines[1].startswith(f"val: {scenes.annotations}, 4 pictures, ")
    assert lines[2].startswith("light, shorter side 128 px, longer at most 1333; P3 to P7, 6 anchors a cell")
    assert lines[4].startswith("AR100 can reach ")
    assert lines[6].split() == ["what", "limits", "recall", "train", "val"]
    assert "error  train, val: 4 pictures of val that are byte for byte the same as one of train" in lines


def test_a_report_is_one_page_that_is_replaced_by_the_next(scenes: DrawnScenes, tmp_path: Path) -> None:
    first = doctor(scenes.annotations, "--imgsz", "64", "--report", tmp_path / "report")
    page = tmp_path / "report" / "index.html"
    assert first.exit_code == 0
    assert first.stderr == f"the report is {page}\n"
    text = page.read_text()
    assert "<h2>What limits recall</h2>" in text
    assert "data:image/jpeg;base64," in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert doctor(scenes.annotations, "--imgsz", "64", "--report", page.parent).exit_code == 0
    page.write_text("<html>mine</html>")
    refused = doctor(scenes.annotations, "--report", page.parent)
    assert refused.exit_code == 2
    assert "is no report of the doctor" in refused.stderr
    assert page.read_text() == "<html>mine</html>"


def test_a_picture_that_cannot_be_read_is_named_and_the_rest_is_done(
    scenes: DrawnScenes, tmp_path: Path
) -> None:
    shutil.copytree(scenes.images, tmp_path / "scenes")
    shutil.copy(scenes.annotations, tmp_path / "scenes.json")
    (tmp_path / "scenes" / "001.png").write_bytes(b"")
    (tmp_path / "scenes" / "002.png").unlink()
    result = doctor(tmp_path / "scenes.json", "--format", "json", "--report", tmp_path / "report")
    assert result.exit_code == 1
    assert f"error: cannot read {tmp_path / 'scenes' / '001.png'}: the file is empty" in result.stderr
    assert f"error: cannot read {tmp_path / 'scenes' / '002.png'}: No such file" in result.stderr
    findings = {item["kind"]: item for item in json.loads(result.stdout)["findings"]}
    assert (findings["unreadable"]["count"], findings["unreadable"]["severity"]) == (2, "error")
    assert (tmp_path / "report" / "index.html").is_file()


def test_the_recipe_of_a_run_is_taken(scenes: DrawnScenes, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("preset: paper\nimgsz: [96, 128, 160]\naugment: {geometry: square}\n")
    answer = document(scenes.annotations, "--config", recipe)
    assert answer["network"] == "paper"
    assert (answer["resize"]["mode"], answer["resize"]["size"]) == ("longer", 128)


def test_a_trained_model_brings_its_anchors(scenes: DrawnScenes) -> None:
    answer = document(scenes.annotations, "--model", "everyday-light")
    assert answer["anchors"]["sizes"][0] == 24
    assert (
        document(scenes.annotations, "--model", "everyday-light", "--imgsz", "640")["resize"]["size"] == 640
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--preset", "lihgt"], "'lihgt'"),
        (["--set", "model.anchors.size=3"], "did you mean 'sizes'?"),
        (["--set", "model.anchors.sizes=[8,16]"], "5 sizes are expected"),
        (["--imgsz", "small"], "--imgsz small"),
        (["--model", "everyday-light", "--preset", "paper"], "leave --preset"),
        (["--model", "absent.onnx"], "absent.onnx"),
        (["--model", "everyday-light", "--imgsz", "1,2"], "one number of pixels"),
    ],
)
def test_wrong_usage(scenes: DrawnScenes, arguments: list[str], sentence: str) -> None:
    result = doctor(scenes.annotations, *arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_a_model_without_anchors_is_refused(scenes: DrawnScenes, tmp_path: Path) -> None:
    result = doctor(scenes.annotations, "--model", write_tiny_model(tmp_path / "tiny.onnx"))
    assert result.exit_code == 2
    assert "is no RetinaNet" in result.stderr


def test_labels_that_cannot_be_read_end_it(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text("{}")
    result = doctor(tmp_path / "labels.json")
    assert result.exit_code == 1
    assert "labels.json" in result.stderr


def test_blood_cells_have_one_scene_in_both_splits(shared: Path) -> None:
    data = shared / "data" / "bccd"
    answer = document(data / "train.json", "--val", data / "val.json")
    assert [part["objects"] for part in answer["parts"]] == [2804, 1137]
    assert answer["parts"][0]["uncovered"] == 0
    similar = {item["kind"]: item for item in answer["findings"]}["similar-between"]
    assert similar["count"] == 1
    assert [Path(path).name for path in similar["cases"][0]["pictures"]] == [
        "BloodImage_00038.jpg",
        "BloodImage_00037.jpg",
    ]
