"""`densewatch detect` on drawn pictures, with a tiny model that is known to see coloured squares."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from densewatch.cli.main import app
from densewatch.runtime.openvino_engine import OpenVinoEngine
from tiny_model import draw_squares, tiny_info, write_tiny_model

PERSON_CHAIR_PERSON = [(0, 0, 32, "person"), (64, 64, 32, "chair"), (96, 0, 32, "person")]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny.onnx")


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one crowded, one sparse and one empty picture, which is the working directory."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name, squares in (("a.png", PERSON_CHAIR_PERSON), ("b.png", [(0, 0, 32, "car")]), ("c.png", [])):
        Image.fromarray(draw_squares((128, 160), squares)).save(folder / name)
    monkeypatch.chdir(folder)
    return folder


def detect(model: Path, *arguments: str, standard_input: bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["detect", "--model", str(model), *arguments], input=standard_input)


def test_table_lists_objects_then_counts_then_time(model: Path, pictures: Path) -> None:
    result = detect(model, "a.png")
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[:6] == [
        ["a.png", "160×128", "px"],
        ["#", "object", "score", "left", "top", "width", "height"],
        ["1", "person", "1.00", "0", "0", "32", "32"],
        ["2", "person", "1.00", "96", "0", "32", "32"],
        ["3", "chair", "1.00", "64", "64", "32", "32"],
        ["3", "objects:", "2", "person,", "1", "chair"],
    ]
    assert lines[6][1] == "ms:"
    assert result.stderr == ""


def test_table_of_several_pictures_ends_with_the_sum(model: Path, pictures: Path) -> None:
    result = detect(model, ".")
    assert "no objects" in result.stdout
    assert result.stdout.splitlines()[-1] == "3 pictures, 4 objects: 2 person, 1 chair, 1 car"


def test_a_table_that_is_not_for_a_terminal_is_never_cut(model: Path, pictures: Path) -> None:
    long_name = "x" * 200 + ".png"
    (pictures / "a.png").rename(pictures / long_name)
    output = detect(model, long_name).stdout
    assert f"{long_name}  160×128 px" in output
    assert "\x1b" not in output
    assert "…" not in output


def test_json_is_the_promised_document(model: Path, pictures: Path) -> None:
    document = json.loads(detect(model, "a.png", "c.png", "--format", "json").stdout)
    assert list(document) == ["model", "images", "failed"]
    assert (document["model"], document["failed"]) == ("tiny", [])
    first, second = document["images"]
    timing = first.pop("timing_ms")
    assert first == {
        "source": "a.png",
        "width": 160,
        "height": 128,
        "saturated": False,
        "detections": [
            {"label": "person", "score": 1.0, "box": [0.0, 0.0, 32.0, 32.0]},
            {"label": "person", "score": 1.0, "box": [96.0, 0.0, 128.0, 32.0]},
            {"label": "chair", "score": 1.0, "box": [64.0, 64.0, 96.0, 96.0]},
        ],
        "counts": {"person": 2, "chair": 1},
    }
    assert list(timing) == ["read", "prepare", "network", "boxes", "total"]
    assert timing["read"] > 0
    assert timing["total"] == pytest.approx(sum(timing.values()) - timing["total"], abs=0.01)
    assert (second["detections"], second["counts"]) == ([], {})


def test_json_lines_are_the_images_of_the_document(model: Path, pictures: Path) -> None:
    def without_timing(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{key: value for key, value in record.items() if key != "timing_ms"} for record in records]

    lines = [json.loads(line) for line in detect(model, ".", "--format", "jsonl").stdout.splitlines()]
    document = json.loads(detect(model, ".", "--format", "json").stdout)
    assert without_timing(lines) == without_timing(document["images"])


def test_csv_has_one_row_an_object(model: Path, pictures: Path) -> None:
    (pictures / "b.png").rename(pictures / 'b, "quoted".png')
    rows = list(csv.reader(io.StringIO(detect(model, ".", "--format", "csv").stdout)))
    assert rows == [
        ["source", "label", "score", "x1", "y1", "x2", "y2"],
        ["a.png", "person", "1.0", "0.0", "0.0", "32.0", "32.0"],
        ["a.png", "person", "1.0", "96.0", "0.0", "128.0", "32.0"],
        ["a.png", "chair", "1.0", "64.0", "64.0", "96.0", "96.0"],
        ['b, "quoted".png', "car", "1.0", "0.0", "0.0", "32.0", "32.0"],
    ]


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (["a.png", "b.png"], [1, 1, 1, 2]),
        (["000000397133.png", "7.png"], [397133, 397133, 397133, 7]),
        (["12.png", "b.png"], [1, 1, 1, 2]),
    ],
    ids=["names", "numbers", "numbers and names"],
)
def test_coco_results_use_original_category_ids(
    model: Path, pictures: Path, names: list[str], ids: list[int]
) -> None:
    for old, new in zip(["a.png", "b.png"], names, strict=True):
        (pictures / old).rename(pictures / new)
    results = json.loads(detect(model, *names, "--format", "coco").stdout)
    assert [item["image_id"] for item in results] == ids
    assert [item["category_id"] for item in results] == [1, 1, 62, 3]
    assert results[2]["bbox"] == [64.0, 64.0, 32.0, 32.0]
    assert {item["file_name"] for item in results} == set(names)


def test_coco_results_name_the_file_as_the_other_formats_do(model: Path, pictures: Path) -> None:
    for folder in ("left", "right"):
        (pictures / folder).mkdir()
        Image.fromarray(draw_squares((128, 160), [(0, 0, 32, "car")])).save(pictures / folder / "1.png")
    results = json.loads(detect(model, "left", "./right/1.png", "--format", "coco").stdout)
    assert [item["file_name"] for item in results] == ["left/1.png", "./right/1.png"]


def test_a_failed_picture_keeps_its_place_in_coco_ids(model: Path, pictures: Path) -> None:
    results = json.loads(detect(model, "absent.png", "b.png", "--format", "coco").stdout)
    assert [item["image_id"] for item in results] == [2]


def test_bad_inputs_are_named_and_the_others_done(model: Path, pictures: Path) -> None:
    (pictures / "text.jpg").write_text("this is no picture")
    (pictures / "empty.jpg").write_bytes(b"")
    result = detect(model, "absent.jpg", "text.jpg", "a.png", "empty.jpg", "b.png", "--format", "csv")
    assert result.exit_code == 1
    assert [row.split(",")[0] for row in result.stdout.splitlines()[1:]] == ["a.png"] * 3 + ["b.png"]
    errors = result.stderr.splitlines()
    assert len(errors) == 3
    for line, name in zip(errors, ["absent.jpg", "text.jpg", "empty.jpg"], strict=True):
        assert line.startswith("error: ")
        assert name in line


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--only", "person"], ["person", "person"]),
        (["--only", "person, chair"], ["person", "person", "chair"]),
        (["--only", "chair", "--only", "car"], ["chair"]),
        (["--max-detections", "1"], ["person"]),
        (["--threshold", "1"], ["person", "person", "chair"]),
    ],
)
def test_what_is_reported_can_be_chosen(
    model: Path, pictures: Path, arguments: list[str], found: list[str]
) -> None:
    document = json.loads(detect(model, "a.png", "--format", "json", *arguments).stdout)
    assert [item["label"] for item in document["images"][0]["detections"]] == found


@pytest.mark.parametrize(
    "failure", [RuntimeError("Exception from src/cpu.cpp:1:\nno room for a tensor"), MemoryError()]
)
def test_a_picture_at_which_the_engine_fails_is_named_and_the_others_done(
    model: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    Image.fromarray(draw_squares((64, 64), [])).save(pictures / "b.png")

    class FailingRequest:
        def __init__(self, request: Any) -> None:
            self.request = request

        def infer(self, inputs: dict[str, Any], *, share_inputs: bool) -> Any:
            if inputs["image"].shape[1] == 64:
                raise failure
            return self.request.infer(inputs, share_inputs=share_inputs)

    load = OpenVinoEngine.__init__

    def load_failing(self: Any, *arguments: Any, **settings: Any) -> None:
        load(self, *arguments, **settings)
        idle = self._any_size._idle
        idle.put(FailingRequest(idle.get()))

    monkeypatch.setattr(OpenVinoEngine, "__init__", load_failing)
    result = detect(model, "a.png", "b.png", "c.png", "--format", "jsonl")
    assert result.exit_code == 1
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["source"] for line in lines] == ["a.png", "b.png", "c.png"]
    (error,) = result.stderr.splitlines()
    assert error.startswith("error: b.png: ")
    assert lines[1] == {"source": "b.png", "error": error.removeprefix("error: ")}
    assert "no room for a tensor" in error or "not enough memory" in error


def test_the_limit_of_pixels_can_be_chosen(model: Path, pictures: Path) -> None:
    assert detect(model, "a.png", "--max-pixels", str(128 * 160)).exit_code == 0
    result = detect(model, "a.png", "--max-pixels", str(128 * 160 - 1))
    assert result.exit_code == 1
    assert "--max-pixels 20480" in result.stderr


def test_a_cut_result_warns(model: Path, pictures: Path) -> None:
    result = detect(model, "a.png", "--max-detections", "2", "--format", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["images"][0]["saturated"] is True
    assert result.stderr == (
        "warning: a.png: --max-detections 2 cut objects that passed the threshold; "
        "a larger number shows more\n"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a.png", "--only", "persn"], "did you mean 'person'?"),
        (["a.png", "--only", ","], "--only names no class"),
        (["a.png", "--only", ""], "--only names no class"),
        (["a.png", "--treshold", "0.3"], "--threshold"),
        (["a.png", "--format", "yaml"], "'jsonl'"),
        (["a.png", "--threshold", "1.5"], "less than or equal to 1"),
        (["a.png", "--threads", "0"], "--threads"),
        ([], "SOURCE"),
    ],
)
def test_wrong_usage(model: Path, pictures: Path, arguments: list[str], sentence: str) -> None:
    result = detect(model, *arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("absent.onnx", "there is no model file"), ("a.png", "a.png")],
    ids=["absent", "no model"],
)
def test_a_model_that_cannot_be_loaded_is_wrong_usage(pictures: Path, name: str, sentence: str) -> None:
    result = detect(Path(name), "a.png")
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.output


def test_standard_input_is_a_picture(model: Path, pictures: Path) -> None:
    result = detect(model, "-", "--format", "json", standard_input=(pictures / "a.png").read_bytes())
    assert result.exit_code == 0
    (record,) = json.loads(result.stdout)["images"]
    assert (record["source"], record["counts"]) == ("standard input", {"person": 2, "chair": 1})


def test_a_markup_like_name_is_printed_as_it_is(model: Path, pictures: Path) -> None:
    (pictures / "a.png").rename(pictures / "[red]a[-1] :smile:.png")
    assert "[red]a[-1] :smile:.png  160×128 px" in detect(model, "[red]a[-1] :smile:.png").stdout


def test_save_writes_annotated_pictures(model: Path, pictures: Path, tmp_path: Path) -> None:
    (pictures / "more").mkdir()
    (pictures / "a.png").rename(pictures / "more" / "b.png")
    result = detect(model, ".", "--save", str(tmp_path / "drawn"), "--format", "jsonl")
    assert result.exit_code == 0
    assert f"3 annotated pictures in {tmp_path / 'drawn'}" in result.stderr
    drawn = sorted((tmp_path / "drawn").iterdir())
    assert len(drawn) == 3
    for path in drawn:
        with Image.open(path) as image:
            assert image.size == (160, 128)


@pytest.mark.parametrize(
    "arguments",
    [["d.jpg"], ["d.png"], ["absent.jpg", "./d.jpg"], ["."], ["../link/d.png"]],
    ids=["itself", "a photo of the same name", "dotted", "folder", "link"],
)
def test_save_never_touches_a_folder_of_photos(model: Path, pictures: Path, arguments: list[str]) -> None:
    (pictures.parent / "link").symlink_to(pictures)
    for name in ("d.jpg", "d.png"):
        Image.fromarray(draw_squares((128, 160), PERSON_CHAIR_PERSON)).save(pictures / name)
    before = {path.name: path.read_bytes() for path in pictures.iterdir()}
    result = detect(model, *arguments, "--save", ".", "--format", "jsonl")
    assert {path.name: path.read_bytes() for path in pictures.iterdir()} == before
    assert result.exit_code == 2
    assert "choose another one" in result.stderr
    assert result.stdout == ""


def test_save_never_overwrites_an_input_by_another_name(model: Path, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    os.link("a.png", tmp_path / "out" / "a.jpg")
    before = (pictures / "a.png").read_bytes()
    result = detect(model, "a.png", "--save", str(tmp_path / "out"), "--format", "jsonl")
    assert (pictures / "a.png").read_bytes() == before
    assert result.exit_code == 1
    assert "a.jpg: it is an input" in result.stderr
    assert json.loads(result.stdout)["source"] == "a.png"  # what was found is told all the same


def test_earlier_results_are_replaced(model: Path, pictures: Path, tmp_path: Path) -> None:
    for _ in range(2):
        assert detect(model, ".", "--save", str(tmp_path / "drawn")).exit_code == 0
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["a.jpg", "b.jpg", "c.jpg"]


def test_a_saved_picture_shows_the_box(model: Path, pictures: Path, tmp_path: Path) -> None:
    detect(model, "b.png", "--save", str(tmp_path / "drawn"))
    (path,) = (tmp_path / "drawn").iterdir()
    with Image.open(path) as image, Image.open("b.png") as original:
        assert np.abs(np.asarray(image, np.int16) - np.asarray(original, np.int16)).max() > 50


def test_a_saturated_level_is_reported(pictures: Path, tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "narrow.onnx", tiny_info(topk=2))
    for limit in ([], ["--max-detections", "9"]):
        result = detect(model, "a.png", "--format", "json", *limit)
        assert json.loads(result.stdout)["images"][0]["saturated"] is True
        assert "warning: a.png: the model file passes on the best 2 candidates of each" in result.stderr
        assert "a larger --topk" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "done", "repeats"),
    [
        (["a.png", "b.png"], ["a.png", "b.png"], 0),
        (["b.png", "."], ["b.png", "a.png", "c.png"], 1),
        (["./a.png", "a.png", "a.png"], ["./a.png"], 2),
        (["*.png", "[ab].png"], ["a.png", "b.png", "c.png"], 2),
        (["a.png", "../link/a.png", "../link"], ["a.png", "../link/b.png", "../link/c.png"], 2),
    ],
)
def test_a_file_is_done_once(
    model: Path, pictures: Path, arguments: list[str], done: list[str], repeats: int
) -> None:
    (pictures.parent / "link").symlink_to(pictures)
    result = detect(model, *arguments, "--format", "jsonl")
    assert [json.loads(line)["source"] for line in result.stdout.splitlines()] == done
    told = f"left out {repeats} repeat{'s' * (repeats > 1)}: a file named more than once is done once\n"
    assert result.stderr == (told if repeats else "")


def test_a_circle_of_links_is_one_failed_picture(model: Path, pictures: Path) -> None:
    (pictures / "d.png").symlink_to("d.png")
    result = detect(model, "d.png", "a.png", "--save", "drawn", "--format", "jsonl")
    assert result.exit_code == 1
    assert ["error" in json.loads(line) for line in result.stdout.splitlines()] == [True, False]


def test_results_of_earlier_runs_are_no_inputs(model: Path, pictures: Path) -> None:
    """The folder of results lies among the pictures: every run does the same three."""
    for number in range(3):
        result = detect(model, ".", "**", "--save", "seen", "--format", "jsonl")
        assert result.exit_code == 0
        done = [json.loads(line)["source"] for line in result.stdout.splitlines()]
        assert done == ["a.png", "b.png", "c.png"]
        assert ("left out 3 annotated pictures of earlier runs, as seen/" in result.stderr) is (number > 0)
    assert "left out 3 annotated pictures" in detect(model, ".").stderr


def test_photos_of_the_user_in_the_folder_of_results_are_seen_and_kept(model: Path, pictures: Path) -> None:
    detect(model, "a.png", "--save", "seen")
    Image.fromarray(draw_squares((128, 160), [])).save(pictures / "seen" / "b.jpg")
    before = (pictures / "seen" / "b.jpg").read_bytes()
    result = detect(model, ".", "--save", "seen")
    assert result.exit_code == 2
    assert "--save seen: seen/b.jpg is in this folder" in result.stderr
    assert (pictures / "seen" / "b.jpg").read_bytes() == before


def test_a_result_that_is_named_outright_is_an_input(model: Path, pictures: Path) -> None:
    detect(model, "a.png", "--save", "seen")
    assert detect(model, "seen/a.jpg").exit_code == 0
    refused = detect(model, ".", "seen/a.jpg", "--save", "seen")
    assert refused.exit_code == 2
    assert "seen/a.jpg is in this folder" in refused.stderr
    nothing = detect(model, "seen", "--save", "seen")
    assert nothing.exit_code == 2
    assert "all the pictures found were drawn by earlier runs" in nothing.stderr
