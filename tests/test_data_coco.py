from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from densewatch.data.checks import Findings, clip_boxes
from densewatch.data.dataset import DataError, Dataset, Sample, merge
from densewatch.data.read import read_dataset
from densewatch.data.teacher import add_teacher
from densewatch.metadata import ClassInfo

CATEGORIES = [{"id": 62, "name": "chair"}, {"id": 1, "name": "person"}, {"id": 3, "name": "car"}]
CLASSES = (ClassInfo(name="person", id=1), ClassInfo(name="car", id=3), ClassInfo(name="chair", id=62))
PERSON, CAR, CHAIR = 0, 1, 2


def image(id_: int | str = 1, **more: Any) -> dict[str, Any]:
    return {"id": id_, "file_name": f"{id_}.png", "width": 40, "height": 30, **more}


def annotation(
    bbox: list[float], *, category_id: int = 1, image_id: int | str = 1, **more: Any
) -> dict[str, Any]:
    return {"image_id": image_id, "category_id": category_id, "bbox": bbox, "iscrowd": 0, **more}


def write(
    folder: Path,
    annotations: list[dict[str, Any]] | None = None,
    images: list[dict[str, Any]] | None = None,
    categories: list[dict[str, Any]] | None = None,
) -> Path:
    """Write `labels.json`, and in `labels/` a picture for every record, as large as it says."""
    images = [image()] if images is None else images
    (folder / "labels").mkdir()
    for record in images:
        Image.new("RGB", (record["width"], record["height"])).save(folder / "labels" / record["file_name"])
    file = folder / "labels.json"
    content = {"images": images, "annotations": annotations or [], "categories": categories or CATEGORIES}
    file.write_text(json.dumps(content))
    return file


def write_results(folder: Path, rows: list[tuple[int, int, list[float], float]]) -> Path:
    keys = ("image_id", "category_id", "bbox", "score")
    file = folder / "results.json"
    file.write_text(json.dumps([dict(zip(keys, row, strict=True)) for row in rows]))
    return file


# --- what a file becomes


def test_boxes_are_xyxy_labels_contiguous_and_ids_kept(tmp_path: Path) -> None:
    file = write(
        tmp_path, [annotation([1, 2, 10, 20], category_id=62), annotation([0, 0, 40, 30], category_id=3)]
    )
    dataset = read_dataset(file)
    sample = dataset[0]
    assert dataset.classes == CLASSES
    assert dataset.names == ("person", "car", "chair")
    assert dataset.category_ids == (1, 3, 62)
    assert sample.boxes.tolist() == [[1, 2, 11, 22], [0, 0, 40, 30]]
    assert sample.boxes.dtype == np.float32
    assert sample.labels.tolist() == [CHAIR, CAR]
    assert sample.labels.dtype == np.int64
    assert (sample.image_id, sample.size, sample.path) == (1, (30, 40), tmp_path / "labels" / "1.png")
    assert dict(dataset.warnings) == {}


def test_crowds_become_ignored_regions(tmp_path: Path) -> None:
    file = write(tmp_path, [annotation([0, 0, 9, 9]), annotation([5, 5, 20, 10], category_id=3, iscrowd=1)])
    sample = read_dataset(file)[0]
    assert (sample.boxes.tolist(), sample.labels.tolist()) == ([[0, 0, 9, 9]], [PERSON])
    assert (sample.ignore_boxes.tolist(), sample.ignore_labels.tolist()) == ([[5, 5, 25, 15]], [CAR])


def test_pictures_without_objects_are_kept_in_order(tmp_path: Path) -> None:
    images = [image(7), image("b"), image(3)]
    dataset = read_dataset(write(tmp_path, [annotation([0, 0, 5, 5], image_id=3)], images))
    assert [sample.image_id for sample in dataset] == [7, "b", 3]
    assert [len(sample.boxes) for sample in dataset] == [0, 0, 1]
    assert dataset[0].boxes.shape == (0, 4)
    assert dataset[0].ignore_boxes.shape == (0, 4)


def test_interleaved_annotations_reach_their_pictures_in_file_order(tmp_path: Path) -> None:
    rows = [(2, 1), (1, 2), (2, 3), (1, 4)]
    file = write(tmp_path, [annotation([x, 0, 1, 1], image_id=i) for i, x in rows], [image(1), image(2)])
    first, second = read_dataset(file)
    assert first.boxes[:, 0].tolist() == [2, 4]
    assert second.boxes[:, 0].tolist() == [1, 3]


def test_classes_that_were_not_labelled_exhaustively(tmp_path: Path) -> None:
    images = [
        image(1, not_exhaustive_category_ids=[62, 3]),
        image(2, not_exhaustive_category_ids=[]),
        image(3),
    ]
    dataset = read_dataset(write(tmp_path, [annotation([0, 0, 5, 5], category_id=3)], images))
    assert [sample.unlabelled_classes.tolist() for sample in dataset] == [[CAR, CHAIR], [], []]
    assert dataset[0].labels.tolist() == [CAR]


def test_unlabelled_pictures(tmp_path: Path) -> None:
    dataset = read_dataset(write(tmp_path), unlabelled=True)
    assert dataset[0].unlabelled_classes.tolist() == [PERSON, CAR, CHAIR]


def test_further_keys_of_a_picture_are_its_attributes(tmp_path: Path) -> None:
    dataset = read_dataset(write(tmp_path, images=[image(source="voc", license=None)]))
    assert dataset[0].attributes == {"source": "voc", "license": None}


def test_pictures_beside_the_file_and_in_a_named_folder(tmp_path: Path) -> None:
    file = write(tmp_path)
    beside = file.rename(tmp_path / "labels" / "_annotations.coco.json")
    assert read_dataset(beside)[0].path == tmp_path / "labels" / "1.png"
    assert read_dataset(beside, tmp_path / "labels")[0].path == tmp_path / "labels" / "1.png"
    with pytest.raises(DataError, match="elsewhere: is not a folder"):
        read_dataset(beside, tmp_path / "elsewhere")


# --- a model's classes


def test_labels_follow_the_classes_of_a_model(tmp_path: Path) -> None:
    classes = (ClassInfo(name="dog", id=18), *reversed(CLASSES))
    dataset = read_dataset(write(tmp_path, [annotation([0, 0, 5, 5], category_id=1)]), classes=classes)
    assert dataset.classes == classes
    assert dataset[0].labels.tolist() == [3]
    assert dataset[0].unlabelled_classes.tolist() == [0], "nobody looked for dogs in this file"


@pytest.mark.parametrize(
    ("category", "sentence"),
    [
        ({"id": 3, "name": "cart"}, "category 3 is 'cart', .* did you mean 'car'?"),
        ({"id": 4, "name": "persons"}, "category 4 is 'persons', .* did you mean 'person'?"),
        (
            {"id": 4, "name": "zzz"},
            "category 4 is 'zzz', which is none of the wanted classes: known are person, car, chair$",
        ),
    ],
)
def test_classes_that_disagree(tmp_path: Path, category: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=f"labels.json: {sentence}"):
        read_dataset(write(tmp_path, categories=[category]), classes=CLASSES)


# --- boxes that cannot be right

LEFT_OUT = "box left out, because "
NO_AREA, OUTSIDE, NOT_FINITE = (
    LEFT_OUT + reason
    for reason in (
        "its width or height is not positive",
        "no part of it is inside the picture",
        "it is not finite",
    )
)
CLIPPED, ROUNDED = "box clipped to the picture", "box clipped by at most 1 px"


@pytest.mark.parametrize(
    ("bbox", "kind", "kept"),
    [
        ([1, 1, 0, 5], NO_AREA, None),
        ([1, 1, 5, -2], NO_AREA, None),
        ([39, 1, 1e-9, 5], OUTSIDE, None),  # thinner than float32 can tell
        ([40, 0, 5, 5], OUTSIDE, None),
        ([-9, -9, 5, 5], OUTSIDE, None),
        ([float("nan"), 0, 5, 5], NOT_FINITE, None),
        ([0, 0, float("inf"), 5], NOT_FINITE, None),
        ([-3, 4, 10, 10], CLIPPED, [0, 4, 7, 14]),
        ([30, 20, 100, 100], CLIPPED, [30, 20, 40, 30]),
        ([30, 20, 10.5, 11], ROUNDED, [30, 20, 40, 30]),
        ([-0.25, 0, 5, 5], ROUNDED, [0, 0, 4.75, 5]),
    ],
)
def test_bad_boxes_are_mended_or_left_out_and_counted(
    tmp_path: Path, bbox: list[float], kind: str, kept: list[float] | None, caplog: pytest.LogCaptureFixture
) -> None:
    """The library does not log: who reads the data tells people, once."""
    file = write(tmp_path, [annotation([1, 1, 5, 5]), annotation(bbox, id=17)])
    dataset = read_dataset(file)
    warnings = {f"{file}: {kind}, such as annotation 17 of image 1, bbox {[float(v) for v in bbox]}": 1}
    assert dict(dataset.warnings) == warnings
    assert dataset[0].boxes.tolist() == [[1, 1, 6, 6], *([kept] if kept else [])]
    assert caplog.text == ""
    if kind == ROUNDED:
        assert dict(read_dataset(file, strict=True).warnings) == warnings
    else:
        with pytest.raises(DataError, match=f"labels.json: annotation 17 of image 1, bbox .*: {kind}"):
            read_dataset(file, strict=True)


xywh = st.tuples(*[st.floats(-200, 200, width=32) for _ in range(4)])


@given(st.lists(xywh, max_size=8))
def test_clipped_boxes_lie_inside_and_keep_what_was_inside(rows: list[tuple[float, ...]]) -> None:
    findings = Findings(Path("x.json"))
    table = np.array(rows, np.float64).reshape(-1, 4)
    boxes, kept = clip_boxes(table, np.full((len(table), 2), (30.0, 40.0)), findings, str)
    left_out = sum(count for kind, count in findings.counts.items() if kind.startswith(LEFT_OUT))
    assert left_out == (~kept).sum()
    for (x, y, w, h), box, is_kept in zip(rows, boxes, kept, strict=True):
        if is_kept:
            assert 0 <= box[0] < box[2] <= 40
            assert 0 <= box[1] < box[3] <= 30
            assert box == pytest.approx([max(x, 0), max(y, 0), min(x + w, 40), min(y + h, 30)], abs=1e-4)


# --- files that cannot be used


def broken(**changes: Any) -> dict[str, Any]:
    content = {"images": [image()], "annotations": [annotation([0, 0, 5, 5], id=9)], "categories": CATEGORIES}
    return {**content, **changes}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "Invalid JSON: EOF while parsing"),
        ("[]", "should be an object"),
        ({"images": [], "annotations": []}, "categories: Field required"),
        (broken(categories=[]), "`categories` is empty"),
        (broken(categories=[*CATEGORIES, {"id": 3, "name": "van"}]), "2 categories have the id 3"),
        (broken(categories=[*CATEGORIES, {"id": 4, "name": "car"}]), "2 categories have the name 'car'"),
        (broken(images=[image(), image()]), "image id 1 occurs twice"),
        (broken(images=[image(width=0)]), r"image 1 \(1.png\): its size 0x30 is not positive"),
        (broken(images=[image(width="40")]), r"images\[0\].width: .* valid integer, but it is '40'"),
        (broken(images=[{"id": 1, "width": 4, "height": 4}]), r"images\[0\].file_name: Field required"),
        (broken(images=[image(not_exhaustive_category_ids=[5])]), "image 1 .* unknown category 5"),
        (
            broken(annotations=[annotation([0, 0, 1, 1], image_id=2, id=9)]),
            "annotation 9 of image 2.*no such image",
        ),
        (
            broken(annotations=[annotation([0, 0, 1, 1], image_id="1")]),
            "annotation 0 of image '1'.*no such image",
        ),
        (broken(annotations=[annotation([0, 0, 1, 1], category_id=7)]), "annotation 0 of .* no category 7"),
        (broken(annotations=[{"image_id": 1, "category_id": 1}]), r"annotations\[0\].bbox: Field required"),
        (broken(annotations=[annotation([0, 0, 1])]), r"annotations\[0\].bbox\[3\]: Field required"),
        (
            broken(annotations=[{**annotation([]), "bbox": [0, "a", 1, 1]}] * 2),
            r"bbox\[1\]: .* 'a' \(1 more such complaints\)",
        ),
    ],
)
def test_unusable_files_are_named_with_record_and_value(tmp_path: Path, content: Any, sentence: str) -> None:
    file = tmp_path / "labels.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(DataError, match=f"labels.json: .*{sentence}"):
        read_dataset(file, check_images=False)


def test_absent_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent.json: cannot be read: No such file"):
        read_dataset(tmp_path / "absent.json")


# --- pictures


def test_missing_pictures_are_counted_and_the_first_three_named(tmp_path: Path) -> None:
    file = write(tmp_path, images=[image(i) for i in range(6)])
    for i in range(1, 6):
        (tmp_path / "labels" / f"{i}.png").unlink()
    with pytest.raises(DataError, match=r"5 missing .*1\.png; .*2\.png; .*3\.png; …$"):
        read_dataset(file)
    assert len(read_dataset(file, check_images=False)) == 6


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n\x00\x00"])
def test_broken_pictures_are_named(tmp_path: Path, content: bytes) -> None:
    file = write(tmp_path)
    (tmp_path / "labels" / "1.png").write_bytes(content)
    with pytest.raises(DataError, match=r"1 broken picture.*1\.png"):
        read_dataset(file)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_pictures_that_are_cut_short_are_named(tmp_path: Path, suffix: str) -> None:
    file = write(tmp_path, images=[image(file_name=f"1.{suffix}", width=400, height=300)])
    picture = tmp_path / "labels" / f"1.{suffix}"
    picture.write_bytes(picture.read_bytes()[:-20])
    with pytest.raises(DataError, match=rf"1 broken picture\(s\): .*1\.{suffix} \(the .* is truncated or"):
        read_dataset(file)


def test_a_picture_of_another_size_than_recorded(tmp_path: Path) -> None:
    file = write(tmp_path)
    Image.new("RGB", (41, 30)).save(tmp_path / "labels" / "1.png")
    with pytest.raises(DataError, match=r"image 1 is recorded as 40x30, but .*1\.png is 41x30 when upright$"):
        read_dataset(file)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_recorded_size_is_that_of_the_upright_picture(
    tmp_path: Path, suffix: str, orientation: int
) -> None:
    file = write(tmp_path, images=[image(file_name=f"1.{suffix}")])
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = (30, 40) if orientation in (6, 8) else (40, 30)
    path = tmp_path / "labels" / f"1.{suffix}"
    Image.new("RGB", stored).save(path, exif=exif)
    assert read_dataset(file)[0].size == (30, 40)
    Image.new("RGB", stored[::-1]).save(path, exif=exif)
    with pytest.raises(DataError, match="is 30x40 when upright"):
        read_dataset(file)


# --- teacher


def taught(tmp_path: Path, rows: list[tuple[int, int, list[float], float]], **options: Any) -> Sample:
    images = [image(1, not_exhaustive_category_ids=[1, 62]), image(2)]
    dataset = read_dataset(write(tmp_path, [annotation([0, 0, 10, 10])], images))
    return add_teacher(dataset, write_results(tmp_path, rows), **options)[0]


@pytest.mark.parametrize(
    ("category_id", "bbox", "score", "becomes"),
    [
        (62, [20, 10, 10, 10], 0.5, "box"),
        (62, [20, 10, 10, 10], 0.49, "ignored"),
        (62, [20, 10, 10, 10], 0.25, "ignored"),
        (62, [20, 10, 10, 10], 0.24, "nothing"),
        (3, [20, 10, 10, 10], 0.9, "nothing"),  # cars were labelled by people
        (1, [0, 0, 10, 10], 0.9, "nothing"),  # the person that people found
        (1, [0, 0, 10, 10], 0.3, "nothing"),
        (1, [0, 0, 10, 20], 0.9, "box"),  # IoU of exactly 0.5 is another person
        (62, [0, 0, 10, 10], 0.9, "box"),  # a chair under the person
    ],
)
def test_what_a_teachers_box_becomes(
    tmp_path: Path, category_id: int, bbox: list[float], score: float, becomes: str
) -> None:
    sample = taught(tmp_path, [(1, category_id, bbox, score)])
    x, y, w, h = bbox
    label = {1: PERSON, 3: CAR, 62: CHAIR}[category_id]
    expected = [([x, y, x + w, y + h], label)]
    human = [([0, 0, 10, 10], PERSON)]
    boxes = list(zip(sample.boxes.tolist(), sample.labels.tolist(), strict=True))
    ignored = list(zip(sample.ignore_boxes.tolist(), sample.ignore_labels.tolist(), strict=True))
    assert boxes == human + (expected if becomes == "box" else [])
    assert ignored == (expected if becomes == "ignored" else [])
    assert sample.unlabelled_classes.tolist() == []


@pytest.mark.parametrize(("weighted", "weights"), [(False, [1, 1]), (True, [1, 0.75])])
def test_a_teachers_box_counts_as_its_score_where_asked(
    tmp_path: Path, weighted: bool, weights: list[float]
) -> None:
    sample = taught(tmp_path, [(1, 62, [20, 10, 10, 10], 0.75)], weighted=weighted)
    assert sample.labels.tolist() == [PERSON, CHAIR]
    assert sample.weights.tolist() == weights


def test_a_teachers_box_is_clipped_and_counted(tmp_path: Path) -> None:
    dataset = read_dataset(write(tmp_path), unlabelled=True)
    results = write_results(tmp_path, [(1, 1, [-5, -5, 20, 20], 0.9)])
    dataset = add_teacher(dataset, results)
    assert dataset[0].boxes.tolist() == [[0, 0, 15, 15]]
    text = f"{results}: {CLIPPED}, such as result 0 of image 1, bbox [-5.0, -5.0, 20.0, 20.0]"
    assert dict(dataset.warnings) == {text: 1}


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ((9, 1, [0, 0, 5, 5], 0.9), "result 0 of image 9, .* there is no such image"),
        ((1, 9, [0, 0, 5, 5], 0.9), "result 0 of image 1, .* there is no category 9"),
        ((1, 1, [0, 0, 5, 5], 1.5), "result 0 of image 1, .* score 1.5 is not between 0 and 1"),
        ((1, 1, [0, 0, 5, 5], float("nan")), "score nan is not between"),
    ],
)
def test_unusable_results(tmp_path: Path, row: tuple[int, int, list[float], float], sentence: str) -> None:
    with pytest.raises(DataError, match=f"results.json: .*{sentence}"):
        taught(tmp_path, [row])


def test_scores_of_the_teacher_in_the_wrong_order(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ignore_score 0\.6 must be between 0 and min_score 0\.5"):
        taught(tmp_path, [], min_score=0.5, ignore_score=0.6)


# --- Dataset


def test_merge_keeps_samples_and_warnings(tmp_path: Path) -> None:
    """A data set that is seen twice does not have twice as many mistakes."""
    dataset = read_dataset(write(tmp_path, [annotation([0, 0, 0, 0])]))
    both = merge([dataset, dataset])
    assert [sample.image_id for sample in both] == [1, 1]
    assert (both.classes, dict(both.warnings)) == (CLASSES, dict(dataset.warnings))
    other = Dataset((), CLASSES, {"other.json: box left out": 3})
    assert dict(merge([dataset, other]).warnings) == {**dataset.warnings, **other.warnings}
    with pytest.raises(DataError, match="image id 1 occurs twice"):
        add_teacher(both, write_results(tmp_path, []))


def test_counts_by_class(tmp_path: Path) -> None:
    rows = [annotation([0, 0, 5, 5]), annotation([0, 0, 5, 5], category_id=62, iscrowd=1)]
    dataset = read_dataset(write(tmp_path, rows))
    assert dataset.class_counts() == {"person": 1, "car": 0, "chair": 0}


# --- real data


def test_everyday_train_with_its_teacher(shared: Path) -> None:
    folder = shared / "data" / "everyday"
    dataset = read_dataset(folder / "train.json", strict=True, check_images=False)
    assert (len(dataset), sum(dataset.class_counts().values())) == (3831, 11062)
    assert sum(len(sample.ignore_boxes) for sample in dataset) == 43
    assert sum(len(sample.unlabelled_classes) == 60 for sample in dataset) == 3258
    filled = add_teacher(dataset, folder / "train.teacher.json")
    for before, after in zip(dataset, filled, strict=True):
        added = after.labels[len(before.labels) :]
        assert np.isin(added, before.unlabelled_classes).all()
        if before.attributes["source"] == "coco":
            assert len(added) == 0


def test_everyday_val_pictures_agree_with_their_records(shared: Path) -> None:
    dataset = read_dataset(shared / "data" / "everyday" / "val.json", strict=True)
    assert (len(dataset), dict(dataset.warnings)) == (250, {})
