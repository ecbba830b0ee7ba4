"""Labels as people and tools get them wrong: each is an error that says where, or a counted warning."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from densewatch.data.dataset import DataError, Dataset
from densewatch.data.formats import read_labels
from densewatch.data.read import read_dataset
from label_sets import png

Broken = Callable[[Path], Path]


def picture(folder: Path, name: str = "a.png", size: tuple[int, int] = (40, 30)) -> None:
    place = folder / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(png(*size))


# --- whole files


def text_file(name: str, content: str | bytes) -> Broken:
    """A file of labels beside the picture a.png."""

    def write(folder: Path) -> Path:
        picture(folder)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder / name

    return write


def empty_folder(folder: Path) -> Path:
    (folder / "notes.md").write_text("nothing")
    return folder


def two_formats(folder: Path) -> Path:
    coco()(folder)
    csv("a.png,1,1,9,9,cat\n")(folder)
    return folder


def two_json_files(folder: Path) -> Path:
    for name in ("first.json", "second.json"):
        coco()(folder).rename(folder / name)
    return folder


def yolo_without_yaml(folder: Path) -> Path:
    yolo("0 .5 .5 .2 .2")(folder).unlink()
    return folder


# --- COCO


def coco(bbox: Any = (2, 3, 10, 10), **changes: Any) -> Broken:
    """One picture, one object of class 7; `changes` are keys of the annotation, or `image` and `content`."""

    def write(folder: Path) -> Path:
        picture(folder)
        image = {"id": 1, "file_name": "a.png", "width": 40, "height": 30, **changes.get("image", {})}
        keys = {key: value for key, value in changes.items() if key not in ("image", "content")}
        annotation = {"id": 5, "image_id": 1, "category_id": 7, "bbox": bbox, **keys}
        content = {
            "images": [image],
            "annotations": [annotation],
            "categories": [{"id": 7, "name": "cat"}],
            **changes.get("content", {}),
        }
        (folder / "labels.json").write_text(json.dumps(content))
        return folder / "labels.json"

    return write


def coco_link_to_nowhere(folder: Path) -> Path:
    file = coco()(folder)
    (folder / "a.png").unlink()
    (folder / "a.png").symlink_to(folder / "gone.png")
    return file


def coco_same_annotation_id_twice(folder: Path) -> Path:
    file = coco()(folder)
    content = json.loads(file.read_text())
    content["annotations"] *= 2
    file.write_text(json.dumps(content))
    return file


def coco_picture_twice(folder: Path) -> Path:
    file = coco()(folder)
    content = json.loads(file.read_text())
    content["images"].append({**content["images"][0], "id": 2})
    file.write_text(json.dumps(content))
    return file


# --- YOLO


def yolo(labels: str | bytes, names: Any = ("cat", "dog"), **keys: Any) -> Broken:
    """One picture in images/, its labels in labels/."""

    def write(folder: Path) -> Path:
        picture(folder, "images/a.png")
        (folder / "labels").mkdir()
        (folder / "labels" / "a.txt").write_bytes(labels if isinstance(labels, bytes) else labels.encode())
        names_ = list(names) if isinstance(names, tuple) else names
        config = {"train": "images", "names": names_, **keys}
        (folder / "data.yaml").write_text(yaml.safe_dump(config))
        return folder / "data.yaml"

    return write


def yolo_outside(**keys: str) -> Broken:
    """The pictures lie beside the folder of data.yaml."""

    def write(folder: Path) -> Path:
        yolo("0 .5 .5 .2 .2")(folder)
        (folder / "inner").mkdir()
        config = {"names": ["cat"], **keys}
        (folder / "inner" / "data.yaml").write_text(yaml.safe_dump(config))
        return folder / "inner" / "data.yaml"

    return write


def yolo_list(line: str) -> Broken:
    """`train` is a list of pictures."""

    def write(folder: Path) -> Path:
        file = yolo("0 .5 .5 .2 .2", train="train.txt")(folder)
        (folder / "train.txt").write_text(f"images/a.png\n{line}\n")
        return file

    return write


def yolo_no_label_file(folder: Path) -> Path:
    file = yolo("0 .5 .5 .2 .2")(folder)
    (folder / "labels").rename(folder / "lables")
    return file


def yolo_orphan(folder: Path) -> Path:
    file = yolo("0 .5 .5 .2 .2")(folder)
    (folder / "labels" / "b.txt").write_text("0 .5 .5 .2 .2")
    return file


def yolo_shared_label_file(folder: Path) -> Path:
    file = yolo("0 .5 .5 .2 .2")(folder)
    picture(folder, "images/a.bmp.png")
    (folder / "images" / "a.bmp.png").rename(folder / "images" / "a.jpg")
    return file


def yolo_picture_of_no_picture(folder: Path) -> Path:
    file = yolo("0 .5 .5 .2 .2")(folder)
    (folder / "images" / "a.png").write_bytes(b"")
    return file


# --- Pascal VOC

BOX = "<bndbox><xmin>3</xmin><ymin>4</ymin><xmax>12</xmax><ymax>13</ymax></bndbox>"


def voc(
    objects: str = f"<object><name>cat</name>{BOX}</object>",
    head: str = "<filename>a.png</filename><size><width>40</width><height>30</height></size>",
    prologue: str = "",
    **files: str,
) -> Broken:
    """A picture and its XML file; `files` are more files, by their name without `.txt`."""

    def write(folder: Path) -> Path:
        picture(folder)
        (folder / "a.xml").write_text(f"{prologue}<annotation>\n{head}\n{objects}\n</annotation>\n")
        for name, content in files.items():
            (folder / f"{name}.txt").write_text(content)
        return folder

    return write


def voc_box(box: str) -> Broken:
    return voc(f"<object><name>cat</name>{box}</object>")


def voc_raw(content: bytes) -> Broken:
    def write(folder: Path) -> Path:
        voc()(folder)
        (folder / "a.xml").write_bytes(content)
        return folder

    return write


def voc_list(line: str) -> Broken:
    """ImageSets/Main/train.txt names a.xml and something else."""

    def write(folder: Path) -> Path:
        voc()(folder)
        (folder / "Annotations").mkdir()
        (folder / "a.xml").rename(folder / "Annotations" / "a.xml")
        (folder / "ImageSets" / "Main").mkdir(parents=True)
        (folder / "ImageSets" / "Main" / "train.txt").write_text(f"a\n{line}\n")
        return folder

    return write


def voc_picture_without_xml(folder: Path) -> Path:
    voc()(folder)
    picture(folder, "b.png")
    return folder


LAUGHS = (
    '<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'
)
YAML_LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{inner}'] * 9)}]\n" for inner, name in itertools.pairwise("abcdefghi")
)
READS_A_FILE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>'


# --- CSV


def csv(rows: str | bytes, classes: str | None = None) -> Broken:
    def write(folder: Path) -> Path:
        picture(folder)
        (folder / "rows.csv").write_bytes(rows if isinstance(rows, bytes) else rows.encode())
        if classes is not None:
            (folder / "classes.csv").write_text(classes)
        return folder / "rows.csv"

    return write


ERRORS: dict[str, tuple[Broken, str]] = {
    # recognising
    "a folder without labels": (
        empty_folder,
        "no labels are recognised: looked for COCO .*; found notes.md$",
    ),
    "a folder with two formats": (
        two_formats,
        r"several formats, coco \(labels.json\), csv \(rows.csv\): give",
    ),
    "two JSON files": (two_json_files, "found .*first.json, second.json: if one of these .* give that file"),
    "YOLO without data.yaml": (
        yolo_without_yaml,
        "has images/ and labels/, as YOLO's, but no data.yaml: write",
    ),
    "a file of unknown kind": (
        text_file("a.parquet", "PAR1"),
        "a.parquet: is no file of labels: known are COCO",
    ),
    "one XML file": (text_file("a.xml", "<annotation/>"), "it is one picture of Pascal VOC: give the folder"),
    "a class file as labels": (
        text_file("classes.csv", "cat,0"),
        "it lists classes: give the file of the rows",
    ),
    # COCO
    "JSON cut short": (text_file("x.json", '{"images": ['), "x.json: Invalid JSON: EOF while parsing"),
    "empty JSON": (
        text_file("x.json", ""),
        "x.json: Invalid JSON: EOF while parsing a value at line 1 column 0",
    ),
    "JSON that is not UTF-8": (text_file("x.json", b'{"images": "\xff"}'), "x.json: Invalid JSON: .*line 1"),
    "JSON in UTF-16": (text_file("x.json", "{}".encode("utf-16")), "x.json: Invalid JSON"),
    "JSON nested too deeply": (text_file("x.json", "[" * 100_000), "x.json: Invalid JSON: recursion limit"),
    "results instead of instances": (text_file("x.json", "[]"), "x.json: .*should be an object"),
    "no categories": (coco(content={"categories": []}), "`categories` is empty"),
    "three numbers for a box": (coco((1, 2, 3)), r"annotations\[0\].bbox\[3\]: Field required"),
    "a box as text": (coco(("1", 2, 3, 4)), r"annotations\[0\].bbox\[0\]: .*valid number, but it is '1'"),
    "a category that is not there": (
        coco(category_id=8),
        "annotation 5 of image 1, .* there is no category 8",
    ),
    "category 0 by mistake": (coco(category_id=0), "annotation 5 of image 1, .* there is no category 0"),
    "a category as text": (coco(category_id="7"), r"category_id: .*valid integer, but it is '7'"),
    "a huge id": (coco(category_id=10**30), r"annotations\[0\].category_id: .*less than 9223372036854775808"),
    "an image that is not there": (coco(image_id=2), "annotation 5 of image 2, .* there is no such image"),
    "an image id twice": (
        coco(content={"images": [{"id": 1, "file_name": "a.png", "width": 9, "height": 9}] * 2}),
        "twice",
    ),
    "a category id twice": (
        coco(content={"categories": [{"id": 7, "name": "cat"}, {"id": 7, "name": "dog"}]}),
        "2 categories have the id 7",
    ),
    "no size": (coco(image={"width": 0}), r"image 1 \(a.png\): its size 0x30 is not positive"),
    "another size than the picture": (coco(image={"width": 41}), "recorded as 41x30, but .*a.png is 40x30"),
    "a missing picture": (coco(image={"file_name": "b.png"}), r"1 missing picture\(s\) .*b.png"),
    "a link to nowhere": (coco_link_to_nowhere, r"1 missing picture\(s\) .*a.png"),
    "an absolute path": (
        coco(image={"file_name": "/etc/hosts"}),
        "image 1: .*'/etc/hosts' lies outside of .*--images",
    ),
    "a path with ..": (
        coco(image={"file_name": "../a.png"}),
        r"image 1: the picture '../a.png' lies outside of",
    ),
    ".. in the middle": (coco(image={"file_name": "x/../../a.png"}), "'x/../../a.png' lies outside of"),
    "a path of Windows": (coco(image={"file_name": "C:\\data\\a.png"}), "lies outside of .*--images C:/data"),
    "no file name": (coco(image={"file_name": " "}), "image 1: ' ' is no name of a picture"),
    "a NUL in a path": (coco(image={"file_name": "a\0.png"}), "image 1: .* is no name of a picture"),
    # YOLO
    "YAML that is none": (text_file("data.yaml", "train: [images\nnames: x"), r"data.yaml:2: is not YAML: "),
    "YAML with a tab": (text_file("data.yaml", "train: images\n\tnames: [x]"), r"data.yaml:2: is not YAML: "),
    "empty YAML": (text_file("data.yaml", ""), "data.yaml: must be a mapping with"),
    "YAML that runs code": (
        text_file("data.yaml", "!!python/object/apply:os.getcwd []"),
        "data.yaml:1: is not YAML",
    ),
    "YAML nested too deeply": (
        text_file("data.yaml", "[" * 600),
        "data.yaml.*: is not YAML that can be read",
    ),
    "a YAML bomb for names": (
        text_file("data.yaml", f"{YAML_LAUGHS}train: images\nnames: [*i]"),
        "data.yaml: names: class 0 is list, not text",
    ),
    "a YAML bomb for nc": (
        text_file("data.yaml", f"{YAML_LAUGHS}train: images\nnames: [x]\nnc: *i"),
        "data.yaml: nc is list, but",
    ),
    "no split": (
        text_file("data.yaml", "names: [x]"),
        "data.yaml: names no pictures: train, val and test are missing",
    ),
    "no names": (yolo("", names=None), "data.yaml: `names` is missing"),
    "a name that YAML reads as false": (
        yolo("", names=[False]),
        "names: class 0 is False, not text: YAML reads it as something else; put it in quotes",
    ),
    "nc that disagrees": (yolo("", nc=3), "data.yaml: nc is 3, but `names` has 2 classes"),
    "a class twice": (yolo("0 .5 .5 .2 .2", names=("cat", "cat")), "2 categories have the name 'cat'"),
    "poses": (yolo("", kpt_shape=[17, 3]), "kpt_shape: these are labels of poses"),
    "a folder that is not there": (yolo("", train="imgs"), "data.yaml: train: there is no .*imgs"),
    "a folder outside": (
        yolo_outside(train="../images"),
        "train: ../images lies outside of .*inner, .*--images",
    ),
    "an absolute folder": (yolo_outside(train="/usr/share"), "train: /usr/share lies outside of .*inner"),
    "path that leads out": (
        yolo_outside(path="..", train="images"),
        r"path: \.\. lies outside of .*--images",
    ),
    "a list that leads out": (yolo_list("../b.png"), r"train.txt:2: the picture '../b.png' lies outside of"),
    "a list with a missing picture": (yolo_list("images/b.png"), r"1 missing picture\(s\) .*images/b.png"),
    "no label file at all": (
        yolo_no_label_file,
        r"none of its 1 pictures has a label file: looked for .*labels/a.txt",
    ),
    "four values": (yolo("0 .5 .5 .2\n"), r"a.txt:1: has 4 values; a box has 5"),
    "a score among the values": (
        yolo("\n0 .5 .5 .2 .2 .9"),
        "a.txt:2: has 6 values, as if a score were among them",
    ),
    "a class out of range": (
        yolo("2 .5 .5 .2 .2"),
        "a.txt:1: there is no class 2: `names` has 2 classes, 0 to 1",
    ),
    "a class below zero": (yolo("-1 .5 .5 .2 .2"), "a.txt:1: there is no class -1"),
    "a class as a fraction": (
        yolo("0.0 .5 .5 .2 .2"),
        r"a.txt:1: the class is '0.0', which is no whole number",
    ),
    "a class by name": (yolo("cat .5 .5 .2 .2"), "a.txt:1: the class is 'cat', which is no whole number"),
    "a huge class": (yolo("9" * 30 + " .5 .5 .2 .2"), "a.txt:1: the class is '999.*which is no whole number"),
    "decimal commas": (
        yolo("0 0,5 .5 .2 .2"),
        "a.txt:1: value 2 is '0,5', .*: write the decimals with a point",
    ),
    "commas between values": (
        yolo("0,.5,.5,.2,.2"),
        "a.txt:1: the class is '0,.5,.5,.2,.2', which is no whole",
    ),
    "underscores in numbers": (yolo("0 .5 .5 0_1 .2"), "a.txt:1: value 4 is '0_1', which is no number"),
    "pixels instead of shares": (yolo("0 20 15 8 6"), "a.txt:1: 20 is no share of the picture"),
    "infinity": (yolo("0 .5 .5 inf .2"), "a.txt:1: inf is no share of the picture"),
    "labels that are not UTF-8": (
        yolo(b"0 .5 .5 .2 .2\n# \xe9t\xe9"),
        "a.txt:2: is not text in UTF-8 .byte 0xe9",
    ),
    "labels in UTF-16": (yolo("0 .5 .5 .2 .2".encode("utf-16")), "a.txt:1: is not text in UTF-8"),
    "an empty picture file": (yolo_picture_of_no_picture, r"1 broken picture\(s\).*images/a.png"),
    # VOC
    "XML cut short": (voc_raw(b"<annotation>\n<object>"), "a.xml:2: is not XML: no element found"),
    "empty XML": (voc_raw(b""), "a.xml: is empty"),
    "XML that is not UTF-8": (
        voc_raw(b"<annotation>\n\xe9</annotation>"),
        "a.xml:2: is not XML: not well-formed",
    ),
    "XML nested too deeply": (voc_raw(b"<a>" * 100), "a.xml:1: has more than 50 elements inside each other"),
    "other XML": (voc_raw(b"<html/>"), "a.xml:1: begins with <html>, not with <annotation>"),
    "an XML bomb": (voc(prologue=LAUGHS, head="&c;"), "a.xml:1: has a document type .*delete it"),
    "XML that reads a file": (voc(prologue=READS_A_FILE, head="&a;"), "a.xml:1: has a document type"),
    "an object without a name": (voc(f"<object>{BOX}</object>"), "a.xml:3: the object has no <name>"),
    "an object without a box": (voc_box(""), "a.xml:3: the object has no <bndbox>"),
    "a box without a corner": (voc_box("<bndbox><xmin>3</xmin></bndbox>"), "a.xml:3: the box has no <ymin>"),
    "decimal commas in XML": (
        voc_box(BOX.replace("3<", "3,5<", 1)),
        "a.xml:3: xmin is '3,5', .*with a point",
    ),
    "difficult that is odd": (
        voc_box(f"{BOX}<difficult>maybe</difficult>"),
        "a.xml:3: difficult is 'maybe', neither 0 nor 1",
    ),
    "a class that is not listed": (
        voc(classes="dog\ncats"),
        "a.xml:3: there is no class 'cat': did you mean 'cats'",
    ),
    "no class at all": (voc(""), "there is no object in any XML file, and no labels.txt or classes.txt"),
    "a size that is no number": (
        voc(head="<size><width>wide</width><height>30</height></size>"),
        "a.xml:2: the width is 'wide', which is no whole number",
    ),
    "XML with a path that leads out": (
        voc(head="<filename>../../a.png</filename>"),
        "a.xml: .*lies outside of",
    ),
    "a list with a missing XML file": (voc_list("b"), "train.txt:2: there is no .*Annotations/b.xml"),
    "a list of XML files that leads out": (voc_list("../../b"), "line 2: .*'../../b' lies outside of"),
    "a list with a name twice": (voc_list("a"), "train.txt:2: a is listed twice"),
    # CSV
    "an empty CSV file": (csv(""), "rows.csv: is empty"),
    "five fields": (csv("a.png,1,1,9,9,cat\na.png,1,1,9,9\n"), "rows.csv:2: has 5 fields, not 6"),
    "semicolons": (
        csv("a.png;1;1;9;9;cat\n"),
        "rows.csv:1: has 1 fields, not 6, .*: fields are separated by commas",
    ),
    "decimal commas in CSV": (csv('a.png,"1,5",1,9,9,cat\n'), "rows.csv:1: x1 is '1,5', .*with a point"),
    "a corner that is missing": (
        csv("a.png,1,,9,9,cat\n"),
        "rows.csv:1: y1 is empty; only a picture without",
    ),
    "a class that is empty": (csv("a.png,1,1,9,9,\n", "cat,0"), "rows.csv:1: class is empty"),
    "a class that no file lists": (
        csv("a.png,1,1,9,9,cats\n", "cat,0"),
        "rows.csv:1: .* 'cats': did you mean 'cat'",
    ),
    "other columns": (
        csv("filename,width,height,class,xmin,ymin,xmax,ymax\n"),
        "rows.csv:1: the columns are filename",
    ),
    "a quote that does not end": (
        csv('a.png,1,1,9,9,"cat\n'),
        "rows.csv:1: is not CSV: unexpected end of data",
    ),
    "CSV that is not UTF-8": (csv(b"a.png,1,1,9,9,caf\xe9\n"), "rows.csv:1: is not text in UTF-8 .byte 0xe9"),
    "CSV with a path that leads out": (
        csv("../a.png,1,1,9,9,cat\n"),
        "line 1: the picture '../a.png' lies outside",
    ),
    "CSV with a missing picture": (csv("b.png,1,1,9,9,cat\n"), r"1 missing picture\(s\) .*b.png"),
    "a class file with an id twice": (
        csv("a.png,,,,,\n", "cat,0\ndog,0\n"),
        "classes.csv:2: .*'dog' or its id 0 occurs",
    ),
    "a class file with words": (
        csv("a.png,,,,,\n", "cat,zero\n"),
        "classes.csv:1: the id is 'zero', which is no whole",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_what_cannot_be_mended_is_an_error_that_says_where(name: str, tmp_path: Path) -> None:
    write, sentence = ERRORS[name]
    path = write(tmp_path)
    with pytest.raises(DataError, match=sentence) as caught:
        read_dataset(path)
    message = str(caught.value)
    assert str(tmp_path) in message, "the file is named"
    assert len(message) < 700
    assert "ha" * 9 not in message


NO_AREA = "box left out, because its width or height is not positive"
OUTSIDE = "box left out, because no part of it is inside the picture"
NOT_FINITE = "box left out, because it is not finite"

WARNINGS: dict[str, tuple[Broken, str, int]] = {
    "NaN": (coco((float("nan"), 1, 5, 5)), NOT_FINITE, 0),
    "a negative size": (coco((5, 5, -3, 4)), NO_AREA, 0),
    "a size of nothing": (coco((5, 5, 0, 4)), NO_AREA, 0),
    "a box outside": (coco((50, 5, 3, 4)), OUTSIDE, 0),
    "a box that reaches out": (coco((35, 5, 30, 4)), "box clipped to the picture", 1),
    "an annotation id twice": (
        coco_same_annotation_id_twice,
        "annotation id used more than once, .*5 .2 times.",
        2,
    ),
    "a picture twice": (
        coco_picture_twice,
        "picture listed more than once, under several image ids, .*a.png",
        1,
    ),
    "backslashes": (
        coco(image={"file_name": ".\\a.png"}),
        r"path with backslashes, read as slashes, such as image 1: .\\a.png",
        1,
    ),
    "NaN in YOLO": (yolo("0 nan .5 .2 .2\n1 .5 .5 .2 .2"), NOT_FINITE, 1),
    "a negative size in YOLO": (yolo("0 .5 .5 -.2 .2"), NO_AREA, 0),
    "a box outside in YOLO": (yolo("0 1.5 .5 .2 .2"), OUTSIDE, 0),
    "a polygon": (
        yolo("0 .2 .2 .4 .2 .4 .6 .2 .6"),
        "polygon taken as its bounding box, such as .*a.txt:1",
        1,
    ),
    "a comment": (yolo("# by hand\n0 .5 .5 .2 .2"), "comment line left out, such as .*a.txt:1", 1),
    "labels without a picture": (yolo_orphan, "label file without a picture, such as .*b.txt", 1),
    "a label file for two pictures": (
        yolo_shared_label_file,
        "label file that two pictures .* share, .*a.txt",
        2,
    ),
    "a picture listed twice": (yolo_list("./images/a.png"), "picture listed twice, read once", 1),
    "a path of another machine": (
        yolo("0 .5 .5 .2 .2", path="/content/datasets/x"),
        "`path` passed over, as the pictures lie beside the file, such as path: /content/datasets/x",
        1,
    ),
    "Roboflow's ..": (
        yolo("0 .5 .5 .2 .2", train="../images"),
        "`..` left out of a path, .*train: ../images",
        1,
    ),
    "swapped corners": (csv("a.png,9,1,2,9,cat\n"), NO_AREA, 0),
    "swapped corners in XML": (voc_box(BOX.replace("12", "1")), NO_AREA, 0),
    "NaN in XML": (voc_box(BOX.replace("12", "nan")), NOT_FINITE, 0),
    "corners that count from 0": (voc_box(BOX.replace("3<", "0<", 1)), "box clipped by at most 1 px", 1),
    "another name inside the XML file": (
        voc(head="<filename>IMG 1.jpg</filename>"),
        "picture found by the name of the XML file, .*: IMG 1.jpg",
        1,
    ),
    "no size in the XML file": (voc(head=""), "size taken from the picture, as the XML file records none", 1),
    "a picture without an XML file": (
        voc_picture_without_xml,
        "picture without an XML file left out, .*b.png",
        1,
    ),
    "a header": (
        csv("path,x1,y1,x2,y2,class\na.png,1,1,9,9,cat\n"),
        "header line left out, such as line 1",
        1,
    ),
    "a comment in CSV": (csv("# mine\na.png,1,1,9,9,cat\n"), "comment line left out, such as line 1", 1),
    "an empty row too many": (
        csv("a.png,1,1,9,9,cat\na.png,,,,,\n"),
        "empty row of a picture that has objects",
        1,
    ),
    "NaN in CSV": (csv("a.png,nan,1,9,9,cat\n"), NOT_FINITE, 0),
}


@pytest.mark.parametrize("name", WARNINGS)
def test_what_can_be_mended_is_counted(name: str, tmp_path: Path) -> None:
    write, sentence, boxes = WARNINGS[name]
    path = write(tmp_path)
    dataset = read_dataset(path)
    assert sum(len(sample.boxes) for sample in dataset) == boxes
    matching = {text: count for text, count in dataset.warnings.items() if re.search(sentence, text)}
    assert list(matching.values()) == [1], dict(dataset.warnings)
    assert str(tmp_path) in next(iter(matching))
    if "at most 1 px" not in sentence:
        with pytest.raises(DataError, match=sentence):
            read_dataset(path, strict=True)


def boxes_of(dataset: Dataset) -> list[list[float]]:
    return [[round(float(value), 3) for value in box] for sample in dataset for box in sample.boxes]


FINE: dict[str, Broken] = {
    "Windows line ends": yolo(b"0 .5 .5 .5 .5\r\n\r\n"),
    "line ends of old Macs": yolo(b"0 .5 .5 .5 .5\r"),
    "a byte order mark": yolo(b"\xef\xbb\xbf0 .5 .5 .5 .5"),
    "tabs and blanks": yolo("\t0\t.5  .5\t.5 .5 \n \n"),
    "exponents": yolo("0 5e-1 .5 5.E-1 +.5"),
    "CSV with Windows line ends and a byte order mark": csv(b"\xef\xbb\xbfa.png,10,7.5,30,22.5,cat\r\n"),
    "CSV in quotes, with blanks": csv('"a.png", 10, 7.5, 30, 22.5, "cat"\n'),
    "XML with Windows line ends and a byte order mark": voc_raw(
        b"\xef\xbb\xbf<annotation>\r\n<object><name> cat\r\n</name><bndbox><xmin>11</xmin><ymin>8.5</ymin>"
        b"<xmax>30</xmax><ymax>22.5</ymax></bndbox></object><size><width>40</width><height>30</height></size>"
        b"<filename>a.png</filename></annotation>"
    ),
    "JSON with an absolute path that stays inside": lambda folder: coco(
        (10, 7.5, 20, 15), image={"file_name": str(folder / "a.png")}
    )(folder),
    "JSON with .. that stays inside": coco((10, 7.5, 20, 15), image={"file_name": "x/../a.png"}),
}


@pytest.mark.parametrize("name", FINE)
def test_what_only_looks_odd_is_read_as_it_is_meant(name: str, tmp_path: Path) -> None:
    dataset = read_dataset(FINE[name](tmp_path))
    assert boxes_of(dataset) == [[10, 7.5, 30, 22.5]]
    assert dict(dataset.warnings) == {}
    assert dataset[0].path.resolve() == next(tmp_path.rglob("a.png")).resolve()


def test_a_byte_order_mark_before_json(tmp_path: Path) -> None:
    file = coco()(tmp_path)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b",", b",\r\n"))
    assert boxes_of(read_dataset(file)) == [[2, 3, 12, 13]]


def test_pictures_outside_are_read_where_the_user_names_their_folder(tmp_path: Path) -> None:
    (tmp_path / "labels").mkdir()
    picture(tmp_path, "photos/day 1/a.png")
    file = coco(image={"file_name": "../photos/day 1/a.png"})(tmp_path / "labels")
    with pytest.raises(DataError, match="--images "):
        read_labels(file)
    for folder in (tmp_path / "photos" / "day 1", tmp_path / "photos", tmp_path):
        assert read_dataset(file, folder)[0].path.samefile(tmp_path / "photos" / "day 1" / "a.png")


def test_links_are_followed_but_no_folder_twice(tmp_path: Path) -> None:
    file = yolo("0 .5 .5 .5 .5")(tmp_path)
    (tmp_path / "images" / "round").symlink_to(tmp_path / "images")
    picture(tmp_path, "elsewhere/b.png")
    (tmp_path / "images" / "far").symlink_to(tmp_path / "elsewhere")
    assert [sample.path.name for sample in read_dataset(file)] == ["a.png", "b.png"]


SOUND: dict[str, tuple[Broken, str]] = {
    "COCO": (coco(), "labels.json"),
    "data.yaml": (yolo("0 .5 .5 .2 .2\n1 .5 .5 .2 .2 .3 .4\n"), "data.yaml"),
    "YOLO's rows": (yolo("0 .5 .5 .2 .2\n1 .5 .5 .2 .2 .3 .4\n"), "labels/a.txt"),
    "VOC": (voc(), "a.xml"),
    "CSV": (csv("a.png,1,1,9,9,cat\n", "cat,0\n"), "rows.csv"),
    "CSV classes": (csv("a.png,1,1,9,9,cat\n", "cat,0\n"), "classes.csv"),
}


@pytest.mark.parametrize("name", SOUND)
@settings(max_examples=40)
@given(data=st.data())
def test_whatever_is_in_a_file_only_our_error_comes_out(name: str, data: st.DataObject) -> None:
    """A piece of a sound file is replaced by anything."""
    write, part = SOUND[name]
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder))
        file = Path(folder, part)
        content = file.read_bytes()
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(start, min(len(content), start + 12)))
        odd = st.sampled_from(
            [b"\0", b"nan", b"-1", b"1e999", b"../", b"9" * 40, b"\xff", b"[", b"'", b'"', b"\n", b"\t"]
        )
        piece = data.draw(st.one_of(odd, st.binary(max_size=6)))
        file.write_bytes(content[:start] + piece + content[end:])
        with contextlib.suppress(DataError):
            for sample in read_dataset(path):
                assert np.isfinite(sample.boxes).all()
                assert (sample.boxes[:, :2] < sample.boxes[:, 2:]).all()


def test_the_collection_is_large() -> None:
    assert len(ERRORS) + len(WARNINGS) >= 40
