"""Converting labels: nothing is lost on the way through any two formats."""

from __future__ import annotations

import json
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from typer.testing import CliRunner, Result

from densewatch.cli.main import app
from densewatch.data.dataset import DataError
from densewatch.data.formats import TARGETS, Pictures, Target, read_labels, splits_of, write_labels
from densewatch.data.formats.sidecar import SIDECAR_FILE
from label_sets import instances, summary, write_set


@pytest.mark.parametrize(("first", "second"), list(product(TARGETS, TARGETS)))
@settings(max_examples=12)
@given(content=instances())
def test_a_round_trip_loses_nothing(first: Target, second: Target, content: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        original = read_labels(write_set(folder / "source", content))
        write_labels(original, folder / "one", first)
        between = read_labels(folder / "one")
        assert between.format == first
        write_labels(between, folder / "two", second, pictures="link")
        assert summary(read_labels(folder / "two")) == summary(original)


@pytest.mark.parametrize("target", TARGETS)
def test_splits_survive_even_with_pictures_of_the_same_name(tmp_path: Path, target: Target) -> None:
    for split, box in (("train", [1, 2, 3, 4]), ("val", [5, 6, 7, 8]), ("test", [0, 0, 1, 1])):
        write_set(tmp_path / "source", content(bbox=box, iscrowd=int(split == "val")), split)
    splits = ("train", "val", "test")
    original = {split: read_labels(tmp_path / "source", split=split) for split in splits}
    write_labels(original, tmp_path / "to", target)
    assert splits_of(tmp_path / "to") == splits
    for split in splits:
        found, expected = summary(read_labels(tmp_path / "to", split=split)), summary(original[split])
        name = found["pictures"][3].pop("file_name")
        assert name == (f"{split}/a.png" if target == "voc" else expected["pictures"][3]["file_name"])
        del expected["pictures"][3]["file_name"]
        assert found == expected


def content(name: str = "a.png", **annotation: Any) -> dict[str, Any]:
    return {
        "images": [{"id": 3, "file_name": name, "width": 40, "height": 30}],
        "annotations": [{"id": 1, "image_id": 3, "category_id": 7, "bbox": [2, 3, 10.5, 10], **annotation}],
        "categories": [{"id": 7, "name": "cat"}],
    }


def written(folder: Path) -> dict[str, str]:
    """Return every text file in a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".png")
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in files if path.name != SIDECAR_FILE
    }


def test_what_is_written_is_what_other_tools_read(tmp_path: Path) -> None:
    labels = read_labels(
        write_set(tmp_path / "source", content(difficult=True, attributes={"truncated": True}))
    )
    for target in TARGETS:
        write_labels({"train": labels, "val": labels}, tmp_path / target, target)
    yolo, voc, csv = (written(tmp_path / target) for target in ("yolo", "voc", "csv"))
    assert yolo == {
        "data.yaml": 'train: images/train\nval: images/val\nnames:\n  0: "cat"\n',
        "labels/train/a.txt": "",
        "labels/val/a.txt": "",
    }
    assert voc["Annotations/train/a.xml"] == (
        "<annotation>\n  <filename>a.png</filename>\n"
        "  <size><width>40</width><height>30</height><depth>3</depth></size>\n"
        "  <object>\n    <name>cat</name><truncated>1</truncated><difficult>1</difficult>\n"
        "    <bndbox><xmin>3</xmin><ymin>4</ymin><xmax>12.5</xmax><ymax>13</ymax></bndbox>\n  </object>\n"
        "</annotation>\n"
    )
    assert (voc["ImageSets/Main/val.txt"], voc["labels.txt"]) == ("val/a\n", "cat\n")
    assert csv == {"classes.csv": "cat,7\n", "train.csv": "train/a.png,,,,,\n", "val.csv": "val/a.png,,,,,\n"}
    document = json.loads((tmp_path / "coco" / "train.json").read_text())
    assert document["annotations"] == [
        {
            "id": 1,
            "image_id": 3,
            "category_id": 7,
            "bbox": [2, 3, 10.5, 10],
            "area": 105,
            "iscrowd": 0,
            "difficult": True,
            "attributes": {"truncated": True},
        }
    ]
    assert document["categories"] == [{"id": 7, "name": "cat"}]


def test_pycocotools_reads_what_is_written(tmp_path: Path) -> None:
    source = content()
    del source["annotations"][0]["id"]
    write_labels(read_labels(write_set(tmp_path / "source", source)), tmp_path / "coco", "coco")
    truth = pytest.importorskip("pycocotools.coco").COCO(str(tmp_path / "coco" / "train.json"))
    assert truth.loadAnns(truth.getAnnIds(imgIds=[3]))[0]["area"] == 105


@pytest.mark.parametrize("pictures", ["copy", "link", "none"])
def test_pictures(tmp_path: Path, pictures: Pictures) -> None:
    source = write_set(tmp_path / "source", content("deep/a.png"))
    count = []
    write_labels(
        read_labels(source), tmp_path / "yolo", "yolo", pictures=pictures, on_picture=lambda: count.append(1)
    )
    place = tmp_path / "yolo" / "images" / "train" / "deep" / "a.png"
    assert (place.exists(), place.is_symlink()) == (pictures != "none", pictures == "link")
    assert len(count) == (pictures != "none")
    assert (tmp_path / "yolo" / "labels" / "train" / "deep" / "a.txt").is_file()


@pytest.mark.parametrize(
    ("names", "target", "sentence"),
    [
        (("a.png", "a.jpg"), "yolo", r"'a.jpg' and another picture of the same name .* a\.txt: rename one"),
        (("a.png", "a.jpg"), "voc", r"'a.jpg' and another picture of the same name .* a\.xml: rename one"),
        (("a.data",), "yolo", "'a.data' does not end like a picture"),
        (("a\nb.png",), "voc", r"the picture 'a\\nb.png' has a character that this format cannot hold"),
        (("a.png ",), "csv", "the picture 'a.png ' begins or ends with a blank"),
    ],
)
def test_pictures_that_a_format_cannot_hold(
    tmp_path: Path, names: tuple[str, ...], target: Target, sentence: str
) -> None:
    source = content()
    source["images"] = [
        {**source["images"][0], "id": id_, "file_name": name} for id_, name in enumerate(names)
    ]
    source["annotations"] = []
    with pytest.raises(DataError, match=sentence):
        write_labels(read_labels(write_set(tmp_path / "source", source)), tmp_path / "to", target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"], "nothing is left behind"


@pytest.mark.parametrize(
    ("name", "target", "sentence"),
    [
        ("", "yolo", "a class has an empty name"),
        (" cat", "csv", "the class ' cat' begins or ends with a blank"),
        ("c\x01t", "voc", "the class .* has a character that this format cannot hold"),
    ],
)
def test_classes_that_a_format_cannot_hold(tmp_path: Path, name: str, target: Target, sentence: str) -> None:
    source = {**content(), "categories": [{"id": 7, "name": name}]}
    with pytest.raises(DataError, match=sentence):
        write_labels(read_labels(write_set(tmp_path / "source", source)), tmp_path / "to", target)


def test_nothing_is_written_over(tmp_path: Path) -> None:
    labels = read_labels(write_set(tmp_path / "source", content()))
    (tmp_path / "empty").mkdir()
    write_labels(labels, tmp_path / "empty", "csv")
    with pytest.raises(DataError, match="empty: exists already"):
        write_labels(labels, tmp_path / "empty", "csv")


def test_boxes_that_are_none_are_left_out_and_told(tmp_path: Path) -> None:
    labels = read_labels(write_set(tmp_path / "source", content(bbox=[1, 2, float("nan"), 4])))
    lost = write_labels(labels, tmp_path / "csv", "csv")
    assert lost == {f"{tmp_path / 'csv'}: box left out, because it is not finite, such as annotation 1": 1}


def convert(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["convert", *(str(argument) for argument in arguments)])


def test_the_command_converts_all_splits(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_set(tmp_path / "source", content(iscrowd=1), split)
    result = convert(tmp_path / "source", tmp_path / "to", "--to", "yolo", "--pictures", "link")
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'to'}\n")
    assert result.stderr.splitlines() == [
        f"warning: {tmp_path / 'to'}: crowd region kept in densewatch.json only, which other tools do not "
        "read, such as annotation 1 of a.png (2 times)",
        "train: 1 picture, 1 object, 1 class (coco)",
        "val: 1 picture, 1 object, 1 class (coco)",
    ]
    assert splits_of(tmp_path / "to") == ("train", "val")


def test_the_command_converts_one_split_or_a_file(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_set(tmp_path / "source", content(), split)
    assert convert(tmp_path / "source", tmp_path / "one", "--to", "voc", "--split", "valid").exit_code == 0
    assert splits_of(tmp_path / "one") == ("val",)
    assert convert(tmp_path / "source" / "val.json", tmp_path / "two", "--to", "csv").exit_code == 0
    assert splits_of(tmp_path / "two") == ("val",)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (
            ["source", "to", "--to", "yolo", "--split", "test"],
            1,
            "source: has no split 'test': known are train",
        ),
        (["source", "source", "--to", "yolo"], 1, "source: exists already: choose a folder"),
        (["source", "to", "--to", "yoloo"], 2, "'yoloo' is not one of"),
        (["source", "to"], 2, "Missing option '--to'"),
        (["nothing", "to", "--to", "coco"], 2, "does not exist"),
    ],
)
def test_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_set(tmp_path / "source", content())
    result = convert(*arguments)
    assert result.exit_code == code
    assert sentence in " ".join(result.stderr.split())
    assert result.stdout == ""
