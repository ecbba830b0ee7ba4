"""What the doctor says of labels, classes and picture files, on drawn ones."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from densewatch.data.dataset import Dataset, Sample
from densewatch.doctor import pictures
from densewatch.doctor.ceiling import Limits
from densewatch.doctor.class_checks import check_classes, count_classes
from densewatch.doctor.diagnosis import Diagnosis, Part, diagnose
from densewatch.doctor.findings import Finding, worst_first
from densewatch.doctor.label_checks import check_labels
from densewatch.doctor.objects import Objects, Scaled
from densewatch.doctor.picture_checks import LookedAt, check_doubles, check_pictures
from densewatch.doctor.pictures import PictureFacts, find_doubles, look_at, look_at_pictures
from densewatch.doctor.setup import Setup
from densewatch.doctor.words import changes_sheet, kind_sheets, limits_sheet
from densewatch.metadata import ClassInfo, ResizePolicy
from densewatch.models.config import preset

Boxes = Sequence[Sequence[float]]


def dataset(
    pictures: Sequence[tuple[Boxes, Sequence[int]]], names: Sequence[str] = ("cat", "dog"), size: int = 100
) -> Dataset:
    samples = tuple(
        Sample(number, Path(f"{number}.png"), (size, size), np.array(boxes, np.float32), np.array(labels))
        for number, (boxes, labels) in enumerate(pictures)
    )
    return Dataset(samples, tuple(ClassInfo(name=name, id=i) for i, name in enumerate(names)))


def label_findings(data: Dataset, size: int = 200) -> dict[str, Finding]:
    scaled = Scaled.of(Objects.of(data), ResizePolicy(mode="longer", size=size, max_size=None))
    return {finding.kind: finding for finding in check_labels(data, scaled, "train", 3.0)}


def test_boxes_are_counted_by_what_is_odd_about_them() -> None:
    data = dataset(
        [
            ([[10, 10, 11.4, 30], [20, 20, 60, 60], [1, 1, 99, 98]], [0, 0, 1]),
            ([[50, 10, 55, 70], [20.4, 20, 60, 60], [20, 20, 60, 60], [20, 20, 60, 60.5]], [0, 0, 0, 1]),
            ([], []),
        ]
    )
    findings = label_findings(data)
    assert {kind: finding.count for kind, finding in findings.items()} == {
        "tiny-boxes": 1,  # 2.8 px wide at twice the size
        "extreme-shapes": 2,
        "full-boxes": 1,
        "border-boxes": 1,
        "twice-labelled": 1,
        "two-classes": 2,
        "no-objects": 1,
    }
    assert findings["tiny-boxes"].cases[0].caption == "cat, 2.8×40.0 px at this size"
    assert findings["extreme-shapes"].cases[0].caption == "cat, 14 times as long as wide"
    assert list(findings["full-boxes"].cases[0].boxes) == [(1, 1, 99, 98)]
    assert findings["twice-labelled"].cases[0].caption == "cat and cat, IoU 0.99"
    assert findings["no-objects"].cases[0].pictures == (Path("2.png"),)


def test_the_best_pair_of_a_box_is_told() -> None:
    boxes: Boxes = [[20, 20, 60, 60], [20, 20, 60, 60.4], [20, 20, 60, 62]]  # of the first: IoU 0.99 and 0.95
    findings = label_findings(dataset([(boxes, [0, 0, 0])]))
    case = findings["twice-labelled"].cases[0]
    assert case.caption == "cat and cat, IoU 0.99"
    assert case.boxes[1] == pytest.approx((20, 20, 60, 60.4))


def diagnosed(data: Dataset, setup: Setup) -> Diagnosis:
    return diagnose([Part("train", "train.json", data)], setup)


KEEP = ResizePolicy(mode="none")


def test_objects_that_training_ignores_are_counted_apart() -> None:
    """2 px wide: an ignored region, with no anchor, and no rival of the object around it."""
    data = dataset([([[40, 40, 42, 80], [20, 20, 60, 60]], [0, 0])])
    setup = Setup(preset("light", 2), KEEP, Limits(), min_side_px=3.0)
    diagnosis = diagnosed(data, setup)
    assert diagnosis.learned.outcome.coverage.ignored.tolist() == [True, False]
    assert diagnosis.learned.outcome.uncovered == 0
    assert diagnosis.learned.outcome.by_iou.ar == 0.5
    assert diagnosis.verdict().startswith(
        "AR100 can reach 0.500 with boxes exactly as labelled: "
        "1 of 2 objects are under 3 px, which training ignores."
    )
    rows = {row[0]: row[1] for row in limits_sheet(diagnosis).rows}
    assert rows["under 3 px, ignored in training"] == "1 (50.0 %)"
    assert rows["no anchor at IoU 0.5"] == "0"
    kinds = kind_sheets(diagnosis.learned)[0]
    assert kinds.rows[0][:4] == ("small, under 32² px", "1", "1", "0")
    assert not any(finding.kind == "no-anchor" for finding in diagnosis.losses)


def test_what_nms_deletes_is_one_number_everywhere() -> None:
    """Three of one place, of which anchors learn one: NMS has nothing to delete."""
    data = dataset([([[20, 20, 60, 60]] * 3, [0, 0, 1])])
    setup = Setup(preset("light", 2), KEEP, Limits(iou_nms=0.5))
    diagnosis = diagnosed(data, setup)
    assert diagnosis.learned.outcome.coverage.learned.sum() == 1
    rows = {row[0]: row[1] for row in limits_sheet(diagnosis).rows}
    assert rows["deleted by NMS at IoU 0.5"] == rows["deleted by NMS if all classes competed"] == "0"
    assert changes_sheet(diagnosis).rows[0][2] == "0"


def test_candidates_of_a_level_are_those_of_the_model() -> None:
    boxes = [[x, 10, x + 30, 40] for x in (5, 36, 67)]
    data = dataset([(boxes, [0, 0, 0]), (boxes, [0, 0, 0]), (boxes[:1], [0])])
    setup = Setup(preset("light", 2), KEEP, Limits())
    assert not any(finding.kind == "crowded-level" for finding in diagnosed(data, setup).losses)
    few = Setup(preset("light", 2), KEEP, Limits(), topk=(2, 2, 2, 2, 2))
    found = {finding.kind: finding for finding in diagnosed(data, few).losses}["crowded-level"]
    assert found.count == 2
    assert found.text.startswith("pictures with more than 2 objects on one pyramid level")
    assert found.advice == "export with --topk 6"


def test_a_good_data_set_has_no_findings_about_labels() -> None:
    findings = label_findings(dataset([([[20, 20, 60, 60]], [0]), ([[30, 30, 70, 80]], [1])]))
    assert worst_first(findings.values()) == []


def test_a_data_set_without_boxes_is_no_trouble() -> None:
    findings = label_findings(dataset([([], [])]))
    assert [finding.kind for finding in worst_first(findings.values())] == ["no-objects"]


def test_classes_with_few_examples_and_absent_ones() -> None:
    one, many = [[10, 10, 30, 30]], [[10 + i, 10, 30 + i, 30] for i in range(60)]
    train = dataset([(many, [0] * 60), (one, [1])], names=("cat", "dog", "emu"))
    val = dataset([(one, [0])], names=("cat", "dog", "emu"))
    classes = count_classes([train, val])
    assert [(item.name, item.objects, item.pictures) for item in classes] == [
        ("cat", (60, 1), (1, 1)),
        ("dog", (1, 0), (1, 0)),
        ("emu", (0, 0), (0, 0)),
    ]
    found = {item.kind: item for item in check_classes(classes, ["train", "val"])}
    assert {kind: item.count for kind, item in found.items()} == {
        "class-not-learned": 1,
        "class-rare": 1,
        "imbalance": 0,
        "class-not-measured": 1,
        "class-hardly-measured": 1,
    }
    assert found["class-rare"].text.endswith(": dog")
    assert found["class-not-measured"].text == "classes without an object in val: dog"


def test_a_class_that_only_val_has_is_an_error() -> None:
    classes = count_classes([dataset([([], [])], ("cat",)), dataset([([[1, 1, 9, 9]], [0])], ("owl",))])
    found = {item.kind: item for item in check_classes(classes, ["train", "val"])}
    assert found["class-not-learned"].text.endswith(": cat, owl")
    assert [item.objects for item in classes] == [(0, None), (None, 1)]


def scene(seed: int, side: int = 160) -> npt.NDArray[np.uint8]:
    """Return a picture of soft blobs."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 255, (7, 7, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in range(6):
        Image.fromarray(scene(seed)).save(tmp_path / f"{seed}.png")
    return tmp_path


def test_doubles_are_found_whatever_was_done_to_them(folder: Path) -> None:
    shutil.copy(folder / "0.png", folder / "same.png")
    Image.fromarray(scene(1)).save(folder / "worse.jpg", quality=40)
    Image.fromarray(scene(2)).resize((90, 90)).save(folder / "smaller.jpg")
    Image.fromarray((scene(3) * 0.8 + 20).astype(np.uint8)).save(folder / "paler.png")
    names = [f"{seed}.png" for seed in range(6)] + ["same.png", "worse.jpg", "smaller.jpg", "paler.png"]
    doubles = find_doubles(look_at_pictures([folder / name for name in names], threads=2))
    pairs = {
        (names[first], names[second]): bool(identical)
        for first, second, identical in zip(doubles.first, doubles.second, doubles.identical, strict=True)
    }
    assert pairs == {
        ("0.png", "same.png"): True,
        ("1.png", "worse.jpg"): False,
        ("2.png", "smaller.jpg"): False,
        ("3.png", "paler.png"): False,
    }


def test_flat_pictures_are_doubles_only_byte_for_byte(tmp_path: Path) -> None:
    for name, value in (("a.png", 10), ("b.png", 200), ("c.png", 200)):
        Image.fromarray(np.full((50, 50, 3), value, np.uint8)).save(tmp_path / name)
    doubles = find_doubles([look_at(tmp_path / name) for name in ("a.png", "b.png", "c.png")])
    assert list(zip(doubles.first, doubles.second, doubles.identical, strict=True)) == [(1, 2, True)]


@pytest.mark.parametrize("pairs_at_once", [1, 300, 10**9])
def test_many_frames_of_one_scene_are_told_once_each(
    folder: Path, monkeypatch: pytest.MonkeyPatch, pairs_at_once: int
) -> None:
    """60 frames that all look alike are 1770 pairs, of which each frame's best one is kept."""
    monkeypatch.setattr(pictures, "_PAIRS_AT_ONCE", pairs_at_once)
    one = look_at(folder / "0.png")
    random = np.random.default_rng(0)

    def frame(number: int) -> PictureFacts:
        thumb = one.thumb + random.normal(0, 0.002, one.thumb.shape).astype(np.float32)
        thumb /= np.linalg.norm(thumb)
        return PictureFacts(Path(f"{number}.png"), one.size, None, bytes([number]), thumb, one.bits)

    facts = [frame(number) for number in range(60)]
    facts.append(PictureFacts(Path("again.png"), one.size, None, facts[7].digest, facts[7].thumb, one.bits))
    owners = np.repeat([0, 1], [40, 21])
    found = find_doubles(facts, owners)
    thumbs = np.array([item.thumb for item in facts])
    correlation = thumbs @ thumbs.T
    for second in range(1, 61):
        for part, columns in ((0, range(min(second, 40))), (1, range(40, second))):
            best = max(
                (column for column in columns if (column, second) != (7, 60)),
                default=None,
                key=lambda column: correlation[column, second],
            )
            own = (found.second == second) & (owners[found.first] == part) & ~found.identical
            assert found.first[own].tolist() == ([] if best is None else [best])
    assert list(zip(found.first[found.identical], found.second[found.identical], strict=True)) == [(7, 60)]


def test_doubles_are_told_within_and_between_parts(folder: Path) -> None:
    shutil.copy(folder / "0.png", folder / "0-again.png")
    shutil.copy(folder / "0.png", folder / "0-val.png")
    Image.fromarray(scene(1)).save(folder / "1-val.jpg", quality=60)
    parts = [
        looked_at("train", folder, ["0.png", "0-again.png", "1.png", "2.png"]),
        looked_at("val", folder, ["0-val.png", "1-val.jpg", "3.png"]),
    ]
    found = [finding for finding in check_doubles(parts) if finding.count]
    assert [(item.kind, item.severity, item.split, item.count) for item in found] == [
        ("identical-within", "warning", "train", 1),
        ("identical-between", "error", "train, val", 1),
        ("similar-between", "warning", "train, val", 1),
    ]
    assert found[2].cases[0].pictures == (folder / "1.png", folder / "1-val.jpg")


def looked_at(split: str, folder: Path, names: Sequence[str], size: tuple[int, int] = (160, 160)) -> LookedAt:
    samples = tuple(Sample(name, folder / name, size) for name in names)
    data = Dataset(samples, (ClassInfo(name="cat", id=1),))
    return LookedAt(split, data, look_at_pictures([folder / name for name in names], threads=1))


def test_files_that_are_not_as_recorded(folder: Path) -> None:
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "cut.png").write_bytes((folder / "0.png").read_bytes()[:900])
    turned = Image.fromarray(scene(4)[:80])
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(folder / "turned.jpg", exif=exif)
    names = ["broken.jpg", "cut.png", "turned.jpg", "1.png", "absent.png"]
    found = {item.kind: item for item in check_pictures(looked_at("train", folder, names, size=(80, 160)))}
    assert {kind: item.count for kind, item in found.items()} == {
        "unreadable": 3,
        "turned": 1,
        "other-size": 1,
    }
    assert [case.pictures[0].name for case in found["unreadable"].cases] == [
        "broken.jpg",
        "cut.png",
        "absent.png",
    ]
    assert found["turned"].cases[0].caption == "recorded as 160×80, but upright it is 80×160"
    assert found["other-size"].cases[0].caption == "recorded as 160×80, but upright it is 160×160"


def test_no_pictures_have_no_doubles() -> None:
    assert len(find_doubles([])) == 0
