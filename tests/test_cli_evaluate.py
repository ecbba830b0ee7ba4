"""`densewatch evaluate`: with the tiny model, and labels for which every number is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from densewatch.cli.main import app
from densewatch.data.dataset import DataError
from densewatch.evaluation.report.page import MARK
from densewatch.runtime.engine import EngineError
from densewatch.runtime.openvino_engine import OpenVinoEngine
from tiny_model import draw_squares, tiny_info, write_tiny_model

SQUARES = {"a.png": [(0, 0, 32, "person"), (64, 64, 32, "chair")], "b.png": [(32, 0, 32, "person")]}
IDS = {"person": 7, "chair": 3}  # not the model's own, so that matching by name shows
NUMBERS = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny.onnx")


def labels() -> dict[str, Any]:
    """The squares of both pictures, as COCO instances; picture b is marked `source: voc`."""
    content: dict[str, Any] = {"images": [], "annotations": []}
    for image_id, (name, squares) in enumerate(SQUARES.items(), start=10):
        source = "coco" if name == "a.png" else "voc"
        content["images"].append(
            {"id": image_id, "file_name": name, "width": 128, "height": 128, "source": source}
        )
        for x, y, side, label in squares:
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": image_id,
                    "category_id": IDS[label],
                    "bbox": [x, y, side, side],
                    "area": side * side,
                    "iscrowd": 0,
                }
            )
    content["categories"] = [{"id": number, "name": name} for name, number in IDS.items()]
    return content


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name, squares in SQUARES.items():
        Image.fromarray(draw_squares((128, 128), squares)).save(tmp_path / name)
    (tmp_path / "val.json").write_text(json.dumps(labels()))
    return tmp_path / "val.json"


def evaluate(model: Path, data: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["evaluate", "--model", str(model), "--data", str(data), *arguments])


def test_json_has_the_promised_keys_and_a_perfect_model_scores_one(model: Path, data: Path) -> None:
    result = evaluate(model, data, "--images", str(data.parent), "--format", "json", "--threshold", "0.5")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert (document["model"], document["images"]) == ("tiny", 2)
    assert document["data"] == str(data)
    assert (document["threshold"], document["iou"]) == (0.5, 0.5)
    assert document["engine"].startswith("openvino ")
    assert set(NUMBERS) < set(document)
    assert document["AP"] == pytest.approx(1.0)
    assert document["APm"] == pytest.approx(1.0)
    assert document["APl"] is None
    for name, objects in (("person", 2), ("chair", 1)):
        row = document["per_class"][name]
        assert (row["AP"], row["AP50"], row["objects"], row["oLRP"], row["oLRP_threshold"]) == (
            1,
            1,
            objects,
            0,
            1,
        )
        assert row["counting"]["mean_absolute"] == 0
    assert document["operating_threshold"] == 0.5
    assert document["errors"]["objects"] == {"found": 3, "localisation": 0, "class": 0, "missed": 0}
    assert document["errors"]["reported"]["right"] == 3
    assert document["intervals"] == {"level": 0.95, "resamples": 500, "seed": 0, "AP": [1, 1], "AP50": [1, 1]}
    assert document["code"].startswith("densewatch ")


def test_where_no_picture_is_labelled_exhaustively_there_is_no_total_count(model: Path, data: Path) -> None:
    content = labels()
    for image in content["images"]:
        image["not_exhaustive_category_ids"] = [IDS["chair"]]
    data.write_text(json.dumps(content))
    lines = evaluate(model, data, "--threshold", "0.5").stdout.splitlines()
    assert lines[-1].startswith("counts: in no picture are all classes labelled exhaustively")
    rows = {line.split()[0]: line.split()[-1] for line in lines[4:6]}
    assert rows == {"person": "0.00", "chair": "-"}


def test_a_missed_object_costs_what_it_should(model: Path, data: Path) -> None:
    Image.fromarray(draw_squares((128, 128), [])).save(data.parent / "b.png")
    document = json.loads(evaluate(model, data, "--format", "json", "--threshold", "0.5").stdout)
    # Half of the persons are found, and recall 0.5 is passed by 51 of the 101 points on the curve.
    assert document["per_class"]["person"]["AP"] == pytest.approx(51 / 101)
    assert document["per_class"]["chair"]["AP"] == pytest.approx(1.0)
    assert document["AP"] == pytest.approx((51 / 101 + 1) / 2)
    assert document["AR100"] == pytest.approx(0.75)


def test_table_shows_numbers_and_classes(model: Path, data: Path) -> None:
    lines = evaluate(model, data, "--threshold", "0.5").stdout.splitlines()
    assert lines[0].startswith("tiny on ")
    assert lines[1].split() == NUMBERS
    assert lines[2].split()[:6] == ["1.000", "1.000", "1.000", "1.000", "1.000", "-"]
    assert ["chair", "1.000", "1.000", "1", "0.000", "1.00", "0.00"] in [line.split() for line in lines]
    assert lines[-4:] == [
        "95 % intervals: AP 1.000 to 1.000, AP50 1.000 to 1.000",
        "at 0.5: 3 of 3 objects found",
        "at 0.5: 3 of 3 reports right",
        "counts at 0.5 are off by 0.00 objects a picture (0 %), bias +0.00; at 1.00, where they are best, "
        "by 0.00",
    ]


@pytest.mark.parametrize(
    ("arguments", "images"),
    [
        (["--where", "source=coco"], 1),
        (["--where", "source=voc"], 1),
        (["--limit", "1"], 1),
        (["--limit", "9"], 2),
    ],
)
def test_some_of_the_pictures(model: Path, data: Path, arguments: list[str], images: int) -> None:
    document = json.loads(evaluate(model, data, "--format", "json", *arguments).stdout)
    assert document["images"] == images


def test_results_are_kept_with_the_ids_of_the_data(model: Path, data: Path, tmp_path: Path) -> None:
    evaluate(model, data, "--threshold", "0.5", "--save-results", str(tmp_path / "found.json"))
    found = json.loads((tmp_path / "found.json").read_text())
    assert [(item["image_id"], item["category_id"]) for item in found] == [(10, 7), (10, 3), (11, 7)]


@pytest.mark.parametrize("target", ["val.json", "a.png", "tiny.onnx", "link.json"])
def test_results_never_replace_an_input(data: Path, target: str) -> None:
    folder = data.parent
    model = write_tiny_model(folder / "tiny.onnx")
    (folder / "link.json").symlink_to("val.json")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    result = evaluate(model, data, "--save-results", str(folder / target))
    assert result.exit_code == 2
    assert f"{target}: it is " in result.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_results_that_cannot_be_written_do_not_cost_the_numbers(
    model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, *_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    result = evaluate(model, data, "--save-results", str(data.parent / "found.json"), "--format", "json")
    assert result.exit_code == 1
    assert "found.json: No space left on device" in result.stderr
    assert json.loads(result.stdout)["images"] == 2


def test_a_measurement_that_fails_is_a_sentence(
    model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DataError("val.json: annotation 0: there is no category 5")

    monkeypatch.setattr("densewatch.evaluation.comparison.compare", fail)
    result = evaluate(model, data)
    assert result.exit_code == 1
    assert result.stderr == "error: val.json: annotation 0: there is no category 5\n"


def test_an_engine_that_fails_names_the_picture(
    model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, images: object) -> None:
        raise EngineError("OpenVINO failed at a picture of 128x128 px: no room")

    monkeypatch.setattr(OpenVinoEngine, "__call__", fail)
    result = evaluate(model, data)
    assert result.exit_code == 1
    assert (
        result.stderr
        == f"error: {data.parent / 'a.png'}: OpenVINO failed at a picture of 128x128 px: no room\n"
    )


def test_pictures_with_more_than_the_model_could_tell_are_counted(data: Path) -> None:
    narrow = write_tiny_model(data.parent / "narrow.onnx", tiny_info(topk=2))
    result = evaluate(narrow, data, "--format", "json", "--threshold", "0.2")
    assert json.loads(result.stdout)["saturated_images"] == 1
    assert result.stderr == (
        "limits may have cut objects that count: the model file passes on the best 2 candidates of each "
        f"pyramid level, `densewatch export --topk` raises it (1 picture, such as {data.parent / 'a.png'})\n"
    )
    wide = evaluate(write_tiny_model(narrow), data, "--format", "json", "--threshold", "0.2")
    assert (json.loads(wide.stdout)["saturated_images"], wide.stderr) == (0, "")


def test_a_cut_that_cannot_matter_is_not_spoken_of(data: Path) -> None:
    """The tiny model finds black cells as well at threshold 0, and no class of picture b is labelled."""
    content = labels()
    content["annotations"] = [item for item in content["annotations"] if item["image_id"] != 10]
    content["annotations"][0]["image_id"] = 11
    data.write_text(json.dumps(content))
    narrow = write_tiny_model(data.parent / "narrow.onnx", tiny_info(topk=12))
    result = evaluate(narrow, data, "--format", "json", "--threshold", "0", "--max-detections", "11")
    document = json.loads(result.stdout)
    assert document["saturated_images"] == 2
    assert document["cut_detections"] > 0
    assert result.stderr == ""


def test_more_labels_than_detections_count_is_said(model: Path, data: Path) -> None:
    cells = [(x, y, 32, "person") for y in range(0, 128, 32) for x in range(0, 128, 32)]
    Image.fromarray(draw_squares((128, 128), cells)).save(data.parent / "a.png")
    content = labels()
    label = content["annotations"][0]
    content["annotations"] = [
        {**label, "id": number, "bbox": [x, y, 32, 32]} for number, (x, y, *_) in enumerate(cells, start=1)
    ]
    data.write_text(json.dumps(content))
    result = evaluate(model, data, "--threshold", "0.5", "--max-detections", "11")
    assert result.stderr == (
        "limits may have cut objects that count: the best 11 of a class in a picture count, --max-detections "
        f"raises it (1 picture, such as {data.parent / 'a.png'})\n"
    )


def test_what_is_odd_about_the_labels_is_said_once_and_truly(model: Path, data: Path) -> None:
    content = labels()
    flat = {**content["annotations"][0], "id": 99, "bbox": [100, 100, 0, 20], "area": 0}
    content["annotations"].append(flat)
    data.write_text(json.dumps(content))
    result = evaluate(model, data, "--format", "json", "--threshold", "0.5")
    warning, consequence = result.stderr.splitlines()
    assert "width or height is not positive" in warning
    assert warning.endswith("(1 time)")
    assert "one left out counts as missed" in consequence
    # Of three persons, the one without an area cannot be found.
    assert json.loads(result.stdout)["per_class"]["person"]["AP"] == pytest.approx(67 / 101)


def test_classes_of_other_pictures_do_not_matter(model: Path, data: Path) -> None:
    content = labels()
    content["categories"].append({"id": 99, "name": "zebra"})
    content["annotations"][2]["category_id"] = 99
    data.write_text(json.dumps(content))
    assert evaluate(model, data).exit_code == 2
    assert evaluate(model, data, "--where", "source=coco").exit_code == 0


def test_more_detections_can_be_counted(model: Path, data: Path) -> None:
    document = json.loads(evaluate(model, data, "--format", "json", "--max-detections", "500").stdout)
    assert document["AR500"] == pytest.approx(1.0)
    assert not {"AR100", "AP", "AP50"} & set(document)
    assert document["max_detections"] == [1, 10, 500]
    table = evaluate(model, data, "--max-detections", "500").stdout.splitlines()
    assert table[1].split()[:3] == ["AP@500", "AP50@500", "AP75@500"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--where", "sorce=coco"], "did you mean 'source'?"),
        (["--where", "source"], "KEY=VALUE"),
        (["--where", "source=lvis"], "no picture has source=lvis"),
        (["--images", "absent"], "absent"),
        (["--save-results", "absent/found.json"], "there is no folder absent"),
    ],
)
def test_wrong_usage(model: Path, data: Path, arguments: list[str], sentence: str) -> None:
    result = evaluate(model, data, *arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_a_class_that_the_model_lacks_is_an_error_with_the_nearest(model: Path, data: Path) -> None:
    content = labels()
    content["categories"][1]["name"] = "chairs"
    data.write_text(json.dumps(content))
    result = evaluate(model, data)
    assert result.exit_code == 2
    assert "class 'chairs', which the model does not know: did you mean 'chair'?" in result.stderr


def test_a_class_without_objects_may_be_unknown(model: Path, data: Path) -> None:
    content = labels()
    content["categories"].append({"id": 99, "name": "zebra"})
    data.write_text(json.dumps(content))
    document = json.loads(evaluate(model, data, "--format", "json", "--threshold", "0.5").stdout)
    zebra = document["per_class"]["zebra"]
    assert (zebra["AP"], zebra["AP50"], zebra["objects"], zebra["oLRP"]) == (None, None, 0, None)
    assert document["AP"] == pytest.approx(1.0)


def test_broken_data_is_named(model: Path, data: Path) -> None:
    data.write_text("{")
    result = evaluate(model, data)
    assert result.exit_code == 1
    assert "val.json" in result.stderr
    assert "Traceback" not in result.output


def test_a_truncated_picture_ends_the_evaluation(model: Path, data: Path) -> None:
    picture = data.parent / "b.png"
    picture.write_bytes(picture.read_bytes()[:-40])
    result = evaluate(model, data)
    assert result.exit_code == 1
    assert "b.png" in result.stderr
    assert result.stdout == ""


# --- results of any detector


@pytest.fixture
def results(model: Path, data: Path, tmp_path: Path) -> Path:
    path = tmp_path / "found.json"
    assert evaluate(model, data, "--threshold", "0.5", "--save-results", str(path)).exit_code == 0
    return path


def evaluate_results(data: Path, results: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["evaluate", "--data", str(data), "--results", str(results), *arguments])


def test_results_are_measured_without_a_model_and_without_pictures(data: Path, results: Path) -> None:
    for picture in data.parent.glob("*.png"):
        picture.unlink()
    result = evaluate_results(data, results, "--format", "json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert (document["AP"], document["results"], document["images"]) == (1, str(results), 2)
    assert "model" not in document
    assert evaluate_results(data, results).stdout.startswith(f"found.json on {data}, 2 pictures")


def test_results_below_the_threshold_do_not_count(data: Path, results: Path) -> None:
    found = json.loads(results.read_text())
    found[0]["score"] = 0.3
    results.write_text(json.dumps(found))
    document = json.loads(evaluate_results(data, results, "--format", "json", "--threshold", "0.4").stdout)
    assert document["per_class"]["person"]["AP"] == pytest.approx(51 / 101)
    at = json.loads(evaluate_results(data, results, "--format", "json", "--at", "0.2").stdout)
    assert (at["AP"], at["errors"]["objects"]["found"]) == (1, 3)
    usual = json.loads(evaluate_results(data, results, "--format", "json").stdout)
    assert (usual["AP"], usual["errors"]["objects"]["found"]) == (1, 2)


def test_two_result_sets_are_compared_on_the_same_pictures(data: Path, results: Path, tmp_path: Path) -> None:
    worse = tmp_path / "worse.json"
    worse.write_text(json.dumps([item for item in json.loads(results.read_text()) if item["image_id"] != 11]))
    arguments = ("--against", str(worse), "--resamples", "50")
    document = json.loads(evaluate_results(data, results, "--format", "json", *arguments).stdout)
    assert document["against"]["AP"]["difference"] == pytest.approx((1 - 51 / 101) / 2)
    low, high = document["against"]["AP"]["interval"]
    assert low <= document["against"]["AP"]["difference"] <= high
    table = evaluate_results(data, results, *arguments).stdout
    assert "against the other results: AP +0.248 (" in table
    alone = json.loads(evaluate_results(data, results, "--format", "json", "--resamples", "0").stdout)
    assert not {"against", "intervals"} & set(alone)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model", "x.onnx"], "--model is about a model that runs now"),
        (["--iou", "0.4"], "--iou is about a model that runs now"),
        (["--tiles", "2x2"], "--tiles is about"),
        (["--save-results", "out.json"], "--save-results is about"),
        (["--nms-losses"], "--nms-losses is about"),
        (
            ["--threshold", "0.5", "--at", "0.2"],
            "--at 0.2 is below the lowest score that counts, --threshold 0.5",
        ),
    ],
)
def test_what_makes_no_sense_with_results(
    data: Path, results: Path, arguments: list[str], sentence: str
) -> None:
    result = evaluate_results(data, results, *arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "broken.json: Invalid JSON"),
        ('[{"image_id": 10}]', "broken.json: [0].category_id: Field required"),
        (
            '[{"image_id": 99, "category_id": 7, "bbox": [0, 0, 1, 1], "score": 0.5}]',
            "result 0: image_id 99 is not in the annotations",
        ),
    ],
)
def test_broken_results_are_named(data: Path, results: Path, content: str, sentence: str) -> None:
    broken = data.parent / "broken.json"
    broken.write_text(content)
    for arguments in ((data, broken), (data, results, "--against", str(broken))):
        result = evaluate_results(*arguments)
        assert result.exit_code == 1
        assert sentence in result.stderr
        assert result.stdout == ""


# --- what NMS deletes, and the report


def test_objects_that_nms_deletes_are_counted(model: Path, data: Path) -> None:
    """A green square as large as a cell of each level: NMS leaves one box, the labels have both."""
    Image.fromarray(draw_squares((128, 128), [(0, 0, 64, "person")])).save(data.parent / "a.png")
    content = labels()
    person = content["annotations"][0]
    boxes = ([0, 0, 64, 64], [0, 0, 32, 32])
    content["annotations"] = [
        {**person, "id": row, "bbox": box, "area": box[2] * box[3]} for row, box in enumerate(boxes, start=1)
    ]
    data.write_text(json.dumps(content))
    arguments = ("--where", "source=coco", "--format", "json", "--threshold", "0.5", "--iou", "0.2")
    lost = json.loads(evaluate(model, data, "--nms-losses", *arguments).stdout)["errors"]
    assert lost["objects"] == {"found": 1, "lost_to_nms": 1, "localisation": 0, "class": 0, "missed": 0}
    assert lost["AP50_gains"]["lost_to_nms"] > 0
    plain = json.loads(evaluate(model, data, *arguments).stdout)["errors"]
    assert plain["objects"] == {"found": 1, "localisation": 1, "class": 0, "missed": 0}


def test_the_report_is_one_page_that_needs_nothing_else(model: Path, data: Path, tmp_path: Path) -> None:
    Image.fromarray(draw_squares((128, 128), [])).save(data.parent / "b.png")
    folder = tmp_path / "new" / "report"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text(f"<head>{MARK}</head>")  # an older report may be replaced
    result = evaluate(model, data, "--threshold", "0.5", "--report", str(folder), "--resamples", "20")
    assert result.exit_code == 0, result.stderr
    assert f"the report is {folder / 'index.html'}" in result.stderr
    assert [path.name for path in folder.iterdir()] == ["index.html"]
    page = (folder / "index.html").read_text()
    assert "tiny on " in page
    assert "lost to NMS" in page
    assert "1 of 1 objects missed, 0 false" in page


def test_a_page_that_is_no_report_is_not_replaced(model: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>my page</p>")
    result = evaluate(model, data, "--report", str(tmp_path))
    assert result.exit_code == 2
    assert "is there, and is no report; choose another folder" in result.stderr
    assert (tmp_path / "index.html").read_text() == "<p>my page</p>"


def test_without_matplotlib_no_picture_is_touched(
    model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("densewatch.cli.needs.find_spec", lambda name: None if name == "matplotlib" else name)
    result = evaluate(model, data, "--report", str(data.parent / "report"))
    assert result.exit_code == 2
    assert "--report needs matplotlib: install densewatch with its [eval] extra" in result.stderr
    assert not (data.parent / "report").exists()
