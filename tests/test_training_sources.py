"""The data of a run: read, chosen from, repeated and joined."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from densewatch.data.dataset import DataError
from densewatch.data.formats import read_labels, write_labels
from densewatch.training.settings import DataSource
from densewatch.training.sources import read_source, read_sources, read_validation
from drawn_scenes import DrawnScenes, draw_scenes


@pytest.fixture
def scenes(tmp_path: Path) -> DrawnScenes:
    return draw_scenes(tmp_path, count=5, size=64, shapes=(2, 4))


def mark(scenes: DrawnScenes) -> None:
    """Give every other picture the attribute `camera: door`."""
    content = json.loads(scenes.annotations.read_text())
    for record in content["images"][::2]:
        record["camera"] = "door"
    scenes.annotations.write_text(json.dumps(content))


def test_where_and_repeat(scenes: DrawnScenes) -> None:
    mark(scenes)
    everything = DataSource(annotations=scenes.annotations)
    door = DataSource(annotations=scenes.annotations, where={"camera": "door"}, repeat=2)
    data = read_sources([everything, door])
    assert [sample.image_id for sample in data] == [100, 101, 102, 103, 104] + [100, 102, 104] * 2


def test_where_that_leaves_nothing_is_an_error(scenes: DrawnScenes) -> None:
    mark(scenes)
    with pytest.raises(DataError, match=r"scenes\.json: no picture has camera=gate: "):
        read_source(DataSource(annotations=scenes.annotations, where={"camera": "gate"}))


def test_several_conditions_must_all_hold(scenes: DrawnScenes) -> None:
    content = json.loads(scenes.annotations.read_text())
    for number, record in enumerate(content["images"]):
        record.update(camera="door" if number % 2 else "gate", hour=number // 2)
    scenes.annotations.write_text(json.dumps(content))
    data = read_source(DataSource(annotations=scenes.annotations, where={"camera": "door", "hour": "1"}))
    assert [sample.image_id for sample in data] == [103]


def test_an_empty_data_set_is_an_error(scenes: DrawnScenes) -> None:
    content = json.loads(scenes.annotations.read_text())
    scenes.annotations.write_text(json.dumps({**content, "images": [], "annotations": []}))
    with pytest.raises(DataError, match=r"scenes\.json: there is no picture$"):
        read_source(DataSource(annotations=scenes.annotations))


def test_a_teacher_fills_in_what_nobody_labelled(scenes: DrawnScenes, tmp_path: Path) -> None:
    results = [
        {"image_id": 100, "category_id": 11, "bbox": [1, 2, 10, 20], "score": 0.9},
        {"image_id": 100, "category_id": 5, "bbox": [30, 30, 9, 9], "score": 0.3},
        {"image_id": 101, "category_id": 5, "bbox": [30, 30, 9, 9], "score": 0.1},
    ]
    teacher = tmp_path / "teacher.json"
    teacher.write_text(json.dumps(results))
    content = json.loads(scenes.annotations.read_text())
    scenes.annotations.write_text(json.dumps({**content, "annotations": []}))
    source = DataSource(
        annotations=scenes.annotations, labelled=False, teacher=teacher, teacher_score=0.5, ignore_score=0.2
    )
    weighted = read_source(source.model_copy(update={"teacher_weighted": True}))
    assert weighted[0].weights.tolist() == pytest.approx([0.9])
    first, second, *_ = read_source(source)
    assert (first.boxes.tolist(), first.labels.tolist()) == ([[1, 2, 11, 22]], [1])
    assert (first.ignore_boxes.tolist(), first.ignore_labels.tolist()) == ([[30, 30, 39, 39]], [0])
    assert len(second.boxes) == len(second.ignore_boxes) == 0


def as_yolo(scenes: DrawnScenes, folder: Path) -> Path:
    """The scenes as YOLO, with only the classes 0 disc and 1 square; train and val are the same pictures."""
    content = json.loads(scenes.annotations.read_text())
    kept = [item for item in content["categories"] if item["name"] != "triangle"]
    ids = {item["id"] for item in kept}
    content["annotations"] = [item for item in content["annotations"] if item["category_id"] in ids]
    scenes.annotations.with_name("two.json").write_text(json.dumps({**content, "categories": kept}))
    labels = read_labels(scenes.annotations.with_name("two.json"), scenes.images)
    write_labels({"train": labels, "val": labels}, folder, "yolo")
    (folder / "densewatch.json").unlink()
    return folder


def test_data_sets_of_other_formats_and_classes_are_learned_together(
    scenes: DrawnScenes, tmp_path: Path
) -> None:
    yolo = as_yolo(scenes, tmp_path / "yolo")
    data = read_sources([DataSource(annotations=scenes.annotations), DataSource(annotations=yolo, repeat=2)])
    assert [(item.name, item.id) for item in data.classes] == [("disc", 5), ("square", 11), ("triangle", 23)]
    assert [sample.unlabelled_classes.tolist() for sample in data] == [[]] * 5 + [[2]] * 10
    for whole, part in zip(data.samples[:5], data.samples[5:10], strict=True):
        found = whole.labels != 2
        assert part.labels.tolist() == whole.labels[found].tolist()
        np.testing.assert_allclose(part.boxes, whole.boxes[found], atol=1e-4)
    assert list(data.warnings.values()) == [2], "the ids of two classes changed, and it is told once"


def test_the_default_splits(scenes: DrawnScenes, tmp_path: Path) -> None:
    yolo = as_yolo(scenes, tmp_path / "yolo")
    (yolo / "images" / "val" / "000.png").unlink()
    assert len(read_source(DataSource(annotations=yolo))) == 5
    assert len(read_source(DataSource(annotations=yolo, split="val"))) == 4
    validation = read_validation(DataSource(annotations=yolo), ["disc", "square", "triangle"])
    assert (len(validation.data), validation.data.category_ids) == (4, (0, 1))
    assert len(validation.content.images) == 4


def test_what_is_not_learned_cannot_be_measured(scenes: DrawnScenes) -> None:
    with pytest.raises(
        DataError, match=r"scenes\.json: \d+ objects of class 'disc', which is not learned, .*'disk'"
    ):
        read_validation(DataSource(annotations=scenes.annotations), ["disk", "square", "triangle"])
    content = json.loads(scenes.annotations.read_text())
    scenes.annotations.write_text(json.dumps({**content, "annotations": []}))
    with pytest.raises(DataError, match=r"scenes\.json: none of its classes is learned: it has disc, square"):
        read_validation(DataSource(annotations=scenes.annotations), ["cat"])
