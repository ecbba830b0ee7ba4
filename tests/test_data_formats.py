"""Reading label formats: exact values, splits, classes, and what a path is recognised as."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from densewatch.data.dataset import DataError
from densewatch.data.formats import choose_split, read_labels, splits_of, write_labels
from densewatch.data.formats.sidecar import SIDECAR_FILE
from densewatch.data.labels import Labels
from densewatch.data.read import make_dataset, read_dataset
from label_sets import png, summary, write_set

WIDTH, HEIGHT = 40, 20


def put(root: Path, *files: str) -> Path:
    """Write pictures of 40x20 px, by their paths."""
    for file in files:
        place = root / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(png(WIDTH, HEIGHT))
    return root


def write(place: Path, content: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(content)


def objects(labels: Labels) -> dict[str, list[Any]]:
    """Return the objects of each picture, as class name and bbox."""
    name_of = {item.id: item.name for item in labels.content.categories}
    file_of = {record.id: record.file_name for record in labels.content.images}
    found: dict[str, list[Any]] = {name: [] for name in file_of.values()}
    for item in labels.content.annotations:
        bbox = [round(value, 6) for value in item.bbox]
        found[file_of[item.image_id]].append((name_of[item.category_id], bbox))
    return found


def classes(labels: Labels) -> list[tuple[int, str]]:
    return [(item.id, item.name) for item in labels.content.categories]


# --- YOLO


def yolo(root: Path, config: dict[str, Any] | None = None) -> Path:
    """Two splits in folders: a picture with two objects, one with an empty file, one without a file."""
    put(root, "images/train/a.png", "images/train/deep/b.png", "images/val/c.png")
    write(root / "labels/train/a.txt", "1 0.5 0.5 0.25 0.5\n0 0.05 0.1 0.1 0.2\n")
    write(root / "labels/val/c.txt", "")
    content = {"train": "images/train", "val": "images/val", "names": ["cat", "dog"]}
    write(root / "data.yaml", yaml.safe_dump({**content, **(config or {})}))
    return root


def test_yolo_in_pixels(tmp_path: Path) -> None:
    labels = read_labels(yolo(tmp_path), split="train")
    assert (labels.format, labels.split, labels.source) == ("yolo", "train", tmp_path / "data.yaml")
    assert labels.folder == tmp_path / "images" / "train"
    assert objects(labels) == {"a.png": [("dog", [15, 5, 10, 10]), ("cat", [0, 0, 4, 4])], "deep/b.png": []}
    assert classes(labels) == [(0, "cat"), (1, "dog")]
    assert [record.id for record in labels.content.images] == [1, 2]
    assert [item.id for item in labels.content.annotations] == [1, 2]
    assert (labels.content.images[0].width, labels.content.images[0].height) == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    "config",
    [
        {"names": {0: "cat", 1: "dog"}},
        {"nc": 2, "download": "https://example.org/set.zip"},
        {"path": "."},
        {"path": "", "test": None},
        {"train": ["images/train"]},
        {"train": "./images/train"},
        {"train": "train.txt"},
        {"train": "images/lists/train.txt"},
        {"path": "images", "train": "train", "val": "val"},
    ],
)
def test_spellings_of_data_yaml(tmp_path: Path, config: dict[str, Any]) -> None:
    yolo(tmp_path, config)
    write(tmp_path / "train.txt", "images/train/a.png\n./images/train/deep/b.png\n")
    write(tmp_path / "images/lists/train.txt", "../train/a.png\r\n../train/deep/b.png\r\n")
    if config.get("path") == "images":  # `images` itself is then above the root
        shutil.copytree(tmp_path / "labels" / "train", tmp_path / "images" / "train", dirs_exist_ok=True)
    labels = read_labels(tmp_path / "data.yaml", split="train")
    found = {Path(name).name: items for name, items in objects(labels).items()}
    assert found == {"a.png": [("dog", [15, 5, 10, 10]), ("cat", [0, 0, 4, 4])], "b.png": []}
    assert dict(labels.warnings) == {}


def test_several_folders_make_one_split(tmp_path: Path) -> None:
    labels = read_labels(yolo(tmp_path, {"train": ["images/train", "images/val"], "val": None}))
    assert labels.split == "train"
    assert list(objects(labels)) == ["images/train/a.png", "images/train/deep/b.png", "images/val/c.png"]
    assert labels.folder == tmp_path


def test_class_numbers_with_gaps_are_kept(tmp_path: Path) -> None:
    labels = read_labels(yolo(tmp_path, {"names": {7: "seven", 1: "dog", 0: "cat"}}), split="train")
    assert classes(labels) == [(0, "cat"), (1, "dog"), (7, "seven")]


def test_a_polygon_becomes_its_bounding_box(tmp_path: Path) -> None:
    yolo(tmp_path)
    write(tmp_path / "labels/train/a.txt", "0 0.1 0.5 0.3 0.1 0.5 0.9\n")
    labels = read_labels(tmp_path, split="train")
    assert objects(labels)["a.png"] == [("cat", [4, 2, 16, 16])]


def test_pictures_named_by_the_user_replace_the_path(tmp_path: Path) -> None:
    yolo(tmp_path / "set")
    config = {"path": "/content/set", "train": "images/train", "names": ["cat", "dog"]}
    write(tmp_path / "elsewhere" / "data.yaml", yaml.safe_dump(config))
    with pytest.raises(DataError, match=r"path: /content/set lies outside of .*--images /content/set$"):
        read_labels(tmp_path / "elsewhere")
    labels = read_labels(tmp_path / "elsewhere", tmp_path / "set")
    assert objects(labels)["a.png"][0] == ("dog", [15, 5, 10, 10])


# --- Pascal VOC


def voc_xml(name: str, *rows: str) -> str:
    """An annotation of a 40x20 px picture; a row is `class xmin ymin xmax ymax`, then tags as XML."""
    items = []
    for row in rows:
        label, left, top, right, bottom, *tags = row.split(" ", 5)
        box = f"<xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
        items.append(f"<object><name>{label}</name>{''.join(tags)}<bndbox>{box}</bndbox></object>")
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
    return f"<annotation><folder>X</folder><filename>{name}</filename>{size}{''.join(items)}</annotation>"


PART = (
    "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
)


def voc(root: Path) -> Path:
    put(root, "JPEGImages/a.png", "JPEGImages/b.png", "JPEGImages/c.png")
    person = f"person 1 1 40 20 <pose>Left</pose><truncated>1</truncated>{PART}"
    write(root / "Annotations/a.xml", voc_xml("a.png", person, "dog 11 6 20.5 15"))
    write(root / "Annotations/b.xml", voc_xml("b.png", "cat 2 2 3 3 <difficult>1</difficult>"))
    write(root / "Annotations/c.xml", voc_xml("c.png"))
    write(root / "ImageSets/Main/train.txt", "c\na\n")
    write(root / "ImageSets/Main/val.txt", "b\n")
    write(root / "ImageSets/Main/trainval.txt", "a\nb\nc\n")
    write(root / "ImageSets/Main/cat_train.txt", "a -1\nc -1\n")
    return root


def test_voc_corners_count_from_one_and_belong_to_the_box(tmp_path: Path) -> None:
    labels = read_labels(voc(tmp_path), split="train")
    assert objects(labels) == {
        "c.png": [],
        "a.png": [("person", [0, 0, 40, 20]), ("dog", [10, 5, 10.5, 10])],
    }
    assert labels.content.annotations[0].attributes == {"pose": "Left", "truncated": 1}
    assert labels.folder == tmp_path / "JPEGImages"


def test_voc_classes_are_those_of_all_splits(tmp_path: Path) -> None:
    for split in ("train", "val"):
        assert classes(read_labels(voc(tmp_path / split), split=split)) == [
            (1, "cat"),
            (2, "dog"),
            (3, "person"),
        ]


def test_voc_classes_from_a_file(tmp_path: Path) -> None:
    write(voc(tmp_path) / "labels.txt", "person\ncat\n\ndog\nbird\n")
    labels = read_labels(tmp_path, split="val")
    assert classes(labels) == [(1, "person"), (2, "cat"), (3, "dog"), (4, "bird")]


def test_difficult_objects_are_neither_learned_nor_background(tmp_path: Path) -> None:
    labels = read_labels(voc(tmp_path), split="val")
    assert [item.difficult for item in labels.content.annotations] == [True]
    (sample,) = make_dataset(labels)
    assert (len(sample.boxes), sample.ignore_boxes.tolist()) == (0, [[1, 1, 3, 3]])
    assert sample.ignore_labels.tolist() == [0]


def test_voc_beside_pictures_and_in_folders_of_splits(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        put(tmp_path, f"{split}/x.png")
        write(tmp_path / split / "x.xml", voc_xml("x.png", "cat 1 1 4 4"))
    assert splits_of(tmp_path) == ("train", "val")
    assert objects(read_labels(tmp_path, split="valid")) == {"x.png": [("cat", [0, 0, 4, 4])]}
    assert splits_of(tmp_path / "train") == ()
    assert objects(read_labels(tmp_path / "train")) == {"x.png": [("cat", [0, 0, 4, 4])]}


# --- CSV


def test_csv(tmp_path: Path) -> None:
    put(tmp_path, "p/a.png", "p/b, c.png")
    rows = 'p/a.png,0,0,10,10,dog\n"p/b, c.png",,,,,\np/a.png,1.5,2,4,6,cat\n'
    write(tmp_path / "train.csv", rows)
    write(tmp_path / "classes.csv", "dog,4\ncat,2\n")
    labels = read_labels(tmp_path / "train.csv")
    assert objects(labels) == {
        "p/a.png": [("dog", [0, 0, 10, 10]), ("cat", [1.5, 2, 2.5, 4])],
        "p/b, c.png": [],
    }
    assert classes(labels) == [(4, "dog"), (2, "cat")]


def test_csv_classes_without_a_file_are_those_of_all_splits(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    write(tmp_path / "train.csv", "a.png,0,0,10,10,dog\n")
    write(tmp_path / "val.csv", "a.png,0,0,10,10,ant\n")
    assert classes(read_labels(tmp_path, split="train")) == [(0, "ant"), (1, "dog")]
    assert classes(read_labels(tmp_path / "train.csv")) == [(0, "dog")]


# --- COCO and Roboflow


def coco(names: dict[int, str], group: str | None = None) -> dict[str, Any]:
    more = {} if group is None else {"supercategory": group}
    return {
        "images": [{"id": 0, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}],
        "annotations": [{"id": 1, "image_id": 0, "category_id": max(names), "bbox": [1, 2, 3, 4]}],
        "categories": [{"id": id_, "name": name, **more} for id_, name in names.items()],
    }


def test_coco_folders(tmp_path: Path) -> None:
    write_set(tmp_path / "plain", coco({3: "cat"}), "train")
    write_set(tmp_path / "plain", coco({3: "cat"}), "val")
    write(tmp_path / "plain" / "results.json", "[]")
    assert splits_of(tmp_path / "plain") == ("train", "val")
    assert read_dataset(tmp_path / "plain", split="val").names == ("cat",)
    official = tmp_path / "official"
    put(official, "val2017/a.png")
    write(official / "annotations/instances_val2017.json", json.dumps(coco({3: "cat"})))
    assert read_dataset(official)[0].path == official / "val2017" / "a.png"
    write_set(tmp_path / "one", coco({3: "cat"}), "shelves")
    assert splits_of(tmp_path / "one") == ()
    assert read_labels(tmp_path / "one").source == tmp_path / "one" / "shelves.json"


def test_roboflow_and_the_class_that_names_its_group(tmp_path: Path) -> None:
    content = coco({0: "cells", 1: "rbc", 2: "wbc"}, group="cells")
    content["categories"][0]["supercategory"] = "none"
    for split in ("train", "valid"):
        put(tmp_path, f"{split}/a.png")
        write(tmp_path / split / "_annotations.coco.json", json.dumps(content))
    labels = read_labels(tmp_path, split="valid")
    assert (labels.format, labels.split, labels.folder) == ("roboflow", "val", tmp_path / "valid")
    assert classes(labels) == [(1, "rbc"), (2, "wbc")]
    assert list(labels.warnings.values()) == [1]
    assert "class 0 left out, as it is Roboflow's name for all classes, such as cells" in next(
        iter(labels.warnings)
    )
    assert read_labels(tmp_path / "train" / "_annotations.coco.json").format == "roboflow"


def test_roboflow_keeps_a_class_0_that_is_used(tmp_path: Path) -> None:
    content = coco({0: "cells", 1: "rbc"}, group="cells")
    content["annotations"][0]["category_id"] = 0
    put(tmp_path, "train/a.png")
    write(tmp_path / "train" / "_annotations.coco.json", json.dumps(content))
    assert classes(read_labels(tmp_path)) == [(0, "cells"), (1, "rbc")]


def test_roboflow_yolo(tmp_path: Path) -> None:
    """Its data.yaml says ../train/images, and means the folder beside it."""
    put(tmp_path, "train/images/a.png", "valid/images/b.png")
    write(tmp_path / "train/labels/a.txt", "0 .5 .5 .5 .5")
    write(tmp_path / "valid/labels/b.txt", "0 .5 .5 .5 .5")
    config = {"train": "../train/images", "val": "../valid/images", "test": "../test/images", "names": ["x"]}
    write(tmp_path / "data.yaml", yaml.safe_dump(config))
    assert objects(read_labels(tmp_path, split="val")) == {"b.png": [("x", [10, 5, 20, 10])]}
    with pytest.raises(DataError, match=r"data\.yaml: test: \.\./test/images lies outside of "):
        read_labels(tmp_path, split="test")


# --- splits


def test_splits_are_chosen_and_refused(tmp_path: Path) -> None:
    yolo(tmp_path / "yolo")
    file = write_set(tmp_path / "coco", coco({3: "cat"}), "shelves")
    with pytest.raises(DataError, match="yolo: has the splits train, val: choose one of them"):
        read_labels(tmp_path / "yolo")
    with pytest.raises(DataError, match=r"yolo: has no split 'trian': did you mean 'train'\?"):
        read_labels(tmp_path / "yolo", split="trian")
    with pytest.raises(DataError, match=r"shelves\.json: has no splits, so there is no 'val' to choose"):
        read_labels(file, split="val")
    assert choose_split(tmp_path / "yolo", None, "val") == "val"
    assert choose_split(tmp_path / "yolo", "train", "val") == "train"
    assert choose_split(file, None, "val") is None
    with pytest.raises(DataError, match="yolo: has no test split; it has train and val: choose one of them"):
        choose_split(tmp_path / "yolo", None, "test")


# --- the sidecar


def converted(tmp_path: Path) -> tuple[Labels, Path]:
    """A set with sparse ids, a crowd and an incompletely labelled class, as YOLO."""
    content = coco({3: "cat", 9: "dog"})
    content["images"][0]["not_exhaustive_category_ids"] = [3]
    content["annotations"][0]["area"] = 5
    content["annotations"] += [
        {"id": 50, "image_id": 0, "category_id": 3, "bbox": [1, 1, 9, 9], "iscrowd": 1},
        {"id": 60, "image_id": 0, "category_id": 3, "bbox": [5, 5, 9, 9]},
    ]
    original = read_labels(write_set(tmp_path / "source", content))
    lost = write_labels(original, tmp_path / "yolo", "yolo")
    assert {text.split(": ", 1)[1]: count for text, count in lost.items()} == {
        "crowd region kept in densewatch.json only, which other tools do not read, such as annotation 50 of "
        "a.png": 1,
        "picture with incompletely labelled classes, kept in densewatch.json only, which other tools do not "
        "read, such as a.png": 1,
    }
    return original, tmp_path / "yolo"


def test_other_tools_see_plain_yolo(tmp_path: Path) -> None:
    _, folder = converted(tmp_path)
    (folder / SIDECAR_FILE).unlink()
    labels = read_labels(folder)
    assert objects(labels) == {"a.png": [("dog", [1, 2, 3, 4]), ("cat", [5, 5, 9, 9])]}
    assert classes(labels) == [(0, "cat"), (1, "dog")]


def test_edited_labels_count_and_what_does_not_hang_on_them_is_kept(tmp_path: Path) -> None:
    original, folder = converted(tmp_path)
    assert summary(read_labels(folder)) == summary(original)
    with (folder / "labels" / "train" / "a.txt").open("a") as stream:
        stream.write("1 .5 .5 .1 .1\n")
    labels = read_labels(folder)
    assert [item.id for item in labels.content.annotations] == [61, 62, 63, 50]
    assert [item.area for item in labels.content.annotations] == [None, None, None, None]
    assert labels.content.images[0].not_exhaustive_category_ids == (3,)
    (warning,) = labels.warnings
    assert "labels changed since the conversion, so ids and flags in densewatch.json are not taken" in warning


def test_other_classes_than_when_it_was_converted(tmp_path: Path) -> None:
    _, folder = converted(tmp_path)
    config = (folder / "data.yaml").read_text().replace("cat", "lynx")
    (folder / "data.yaml").write_text(config)
    labels = read_labels(folder)
    assert classes(labels) == [(0, "lynx"), (1, "dog")]
    assert [item.id for item in labels.content.annotations] == [1, 60], (
        "the crowd of cats has no class any more"
    )
    assert labels.content.images[0].not_exhaustive_category_ids == ()
    assert len(labels.warnings) == 2


def test_a_new_picture_gets_a_free_id(tmp_path: Path) -> None:
    _, folder = converted(tmp_path)
    put(folder, "images/train/new.png")
    assert [record.id for record in read_labels(folder).content.images] == [0, 1]


def test_a_broken_sidecar_is_named(tmp_path: Path) -> None:
    _, folder = converted(tmp_path)
    (folder / SIDECAR_FILE).write_text('{"version": 2}')
    with pytest.raises(DataError, match=r"densewatch\.json: version: Input should be 1"):
        read_labels(folder)
