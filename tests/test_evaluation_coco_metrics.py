from __future__ import annotations

import copy
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from densewatch.data.dataset import DataError
from densewatch.detections import Detections
from densewatch.evaluation import evaluate_coco
from evaluation_sets import by_faster_coco_eval, by_pycocotools, coco_numbers, found, random_set, sets, truth

TWELVE = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
BOX, ELSEWHERE = [10.0, 10.0, 50.0, 50.0], [200.0, 200.0, 50.0, 50.0]


# --- values by hand


def test_a_perfect_detector() -> None:
    labels = [(1, 1, BOX), (1, 2, ELSEWHERE), (2, 1, ELSEWHERE)]
    metrics = evaluate_coco(truth(labels), found(*((*label, 0.9) for label in labels)))
    assert {name: metrics[name] for name in TWELVE} == {
        **dict.fromkeys(TWELVE, 1.0),
        **dict.fromkeys(("APs", "APl", "ARs", "ARl"), None),
    }
    assert metrics.per_class == {"person": {"AP": 1.0, "AP50": 1.0}, "chair": {"AP": 1.0, "AP50": 1.0}}


def test_nothing_found_is_zero_and_nothing_to_find_is_none() -> None:
    metrics = evaluate_coco(truth([(1, 1, BOX)]), [])
    assert (metrics["AP"], metrics["AP50"], metrics["AR100"], metrics["APm"]) == (0, 0, 0, 0)
    assert (metrics["APs"], metrics["APl"]) == (None, None)
    assert metrics.per_class["person"] == {"AP": 0, "AP50": 0}
    assert metrics.per_class["chair"] == {"AP": None, "AP50": None}
    nothing = evaluate_coco(truth([]), found((1, 1, BOX, 0.9)))
    assert {nothing[name] for name in TWELVE} == {None}


def test_a_class_without_labels_does_not_lower_the_mean() -> None:
    metrics = evaluate_coco(truth([(1, 1, BOX)]), found((1, 1, BOX, 0.9), (1, 2, BOX, 0.9)))
    assert (metrics["AP"], metrics.per_class["chair"]["AP"]) == (1, None)


@pytest.mark.parametrize(
    ("not_exhaustive", "ap"),
    [
        ({}, 1 / 4),  # true and false positives by score: F(0.9) F(0.8) F(0.7) T(0.6)
        ({1: [2]}, 1 / 4),  # another class
        ({1: [1]}, 1 / 2),  # of picture 1 only the match counts: F(0.8) T(0.6)
        ({2: [1]}, 1 / 3),
        ({1: [1], 2: [1]}, 1.0),
    ],
)
def test_unmatched_detections_of_a_class_that_was_not_labelled_exhaustively_are_no_mistakes(
    not_exhaustive: dict[int, list[int]], ap: float
) -> None:
    annotations = truth([(1, 1, BOX)], not_exhaustive=not_exhaustive)
    results = found(
        (1, 1, ELSEWHERE, 0.9), (2, 1, BOX, 0.8), (1, 1, [100, 10, 50, 50], 0.7), (1, 1, BOX, 0.6)
    )
    metrics = evaluate_coco(annotations, results)
    assert metrics["AP"] == pytest.approx(ap)
    assert metrics["AR100"] == 1


def test_missed_objects_count_even_where_a_class_was_not_labelled_exhaustively() -> None:
    annotations = truth([(1, 1, BOX), (1, 1, ELSEWHERE)], not_exhaustive={1: [1]})
    metrics = evaluate_coco(annotations, found((1, 1, BOX, 0.9)))
    assert metrics["AR100"] == 0.5
    assert metrics["AP"] == pytest.approx(51 / 101), "COCO samples the recalls 0, 0.01, …, 1"


def test_a_label_without_an_area_is_a_missed_object() -> None:
    metrics = evaluate_coco(truth([(1, 1, BOX), (1, 1, [200, 200, 0, 50])]), found((1, 1, BOX, 0.9)))
    assert metrics["AR100"] == 0.5, "as pycocotools has it; `densewatch evaluate` says so"


def test_detections_inside_a_crowd_are_no_mistakes() -> None:
    annotations = truth([(1, 1, BOX), (1, 1, [150, 150, 200, 200])])
    annotations["annotations"][1]["iscrowd"] = 1
    results = found((1, 1, ELSEWHERE, 0.9), (1, 1, BOX, 0.8))
    assert evaluate_coco(annotations, results)["AP"] == 1


def test_a_difficult_object_need_not_be_found() -> None:
    annotations = truth([(1, 1, BOX), (1, 1, ELSEWHERE)], difficult=[1])
    assert evaluate_coco(annotations, found((1, 1, BOX, 0.8)))["AR100"] == 1
    assert evaluate_coco(annotations, found((1, 1, ELSEWHERE, 0.9), (1, 1, BOX, 0.8)))["AP"] == 1


def test_more_detections_than_count() -> None:
    labels = [(1, 1, [20.0 * i, 0.0, 10.0, 10.0]) for i in range(4)]
    results = found(*((*label, 0.9) for label in labels))
    metrics = evaluate_coco(truth(labels), results, max_detections=(1, 3))
    assert (metrics["AR1"], metrics["AR3"], metrics.cut_detections) == (0.25, 0.75, 1)
    assert metrics["AP@3"] == pytest.approx(76 / 101)
    enough = evaluate_coco(truth(labels), results, max_detections=[500])
    assert (enough["AP@500"], enough["AR500"], enough.cut_detections) == (1, 1, 0)


# --- which pictures


def test_a_subset_of_the_pictures() -> None:
    annotations = truth([(1, 1, BOX), (2, 1, BOX), (3, 1, BOX)], pictures=3)
    results = found((1, 1, BOX, 0.9), (2, 1, ELSEWHERE, 0.9), (3, 1, BOX, 0.9))
    assert evaluate_coco(annotations, results, image_ids=[1, 3])["AP"] == 1
    assert evaluate_coco(annotations, results, image_ids=[2])["AP"] == 0


def test_ids_may_be_text_or_zero() -> None:
    annotations = truth([(1, 1, BOX), (2, 1, BOX)])
    for record, image_id in zip(annotations["images"], ("left", 0), strict=True):
        record["id"] = image_id
    for number, (record, image_id) in enumerate(zip(annotations["annotations"], ("left", 0), strict=True)):
        record.update(id=number, image_id=image_id)
    results = [{"image_id": i, "category_id": 1, "bbox": BOX, "score": 0.9} for i in ("left", 0)]
    assert evaluate_coco(annotations, results)["AP"] == 1


# --- what cannot be used


@pytest.mark.parametrize(
    ("result", "sentence"),
    [
        ({"image_id": 1, "category_id": 1, "bbox": BOX}, "result 1 has no 'score'"),
        (found((9, 1, BOX, 0.9))[0], "result 1: image_id 9 is not in the annotations"),
        (found((1, 9, BOX, 0.9))[0], "result 1: category_id 9 is not in the annotations"),
        (found((1, 1, BOX[:3], 0.9))[0], r"result 1: bbox .* must be five finite numbers"),
        (found((1, 1, BOX, float("nan")))[0], "result 1: .* score nan must be five finite numbers"),
        (found((1, 1, ["a", 0, 1, 1], 0.9))[0], "result 1: .* must be five finite numbers"),  # type: ignore[list-item]
    ],
)
def test_unusable_results(result: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        evaluate_coco(truth([(1, 1, BOX)]), [*found((1, 1, BOX, 0.9)), result])


def test_unusable_annotations_and_settings(tmp_path: Path) -> None:
    annotations = truth([(1, 1, BOX)])
    with pytest.raises(DataError, match=r"1 of image_ids are not in the annotations, such as 7"):
        evaluate_coco(annotations, [], image_ids=[1, 7])
    with pytest.raises(DataError, match="there is no picture to evaluate"):
        evaluate_coco(annotations, [], image_ids=[])
    with pytest.raises(DataError, match="annotation 0: there is no category 5"):
        evaluate_coco(truth([(1, 5, BOX)]), [])
    with pytest.raises(DataError, match="annotations in memory: images: Field required"):
        evaluate_coco({"annotations": [], "categories": []}, [])
    with pytest.raises(DataError, match=r"absent\.json: cannot be read"):
        evaluate_coco(tmp_path / "absent.json", [])
    for limits in ((), (0, 1), (10, 1), (5, 5)):
        with pytest.raises(ValueError, match="must rise"):
            evaluate_coco(annotations, [], max_detections=limits)


# --- equality with pycocotools and faster-coco-eval


@settings(max_examples=40)
@given(sets())
def test_all_numbers_are_those_of_both_libraries(drawn: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    annotations, results = drawn
    for limits in ([1, 10, 100], [1, 2, 3]):
        ours = list(evaluate_coco(annotations, results, max_detections=limits).numbers.values())
        assert ours == pytest.approx(coco_numbers(by_pycocotools(annotations, results, limits)), abs=1e-9)
        theirs = by_faster_coco_eval(annotations, results, limits)
        assert ours == pytest.approx(coco_numbers(theirs), abs=1e-9)


@settings(max_examples=40)
@given(sets(exhaustive=False))
def test_the_rule_of_lvis_is_that_of_faster_coco_eval(
    drawn: tuple[dict[str, Any], list[dict[str, Any]]],
) -> None:
    annotations, results = drawn
    theirs = by_faster_coco_eval(annotations, results, [1, 10, 100], lvis=True)
    ours = list(evaluate_coco(annotations, results).numbers.values())
    assert ours == pytest.approx(coco_numbers(theirs), abs=1e-9)


def test_hundreds_of_detections_of_a_class_in_a_picture() -> None:
    annotations, results = random_set(3, reports_per_object=90)
    for limits in ([1, 10, 100], [1, 10, 500]):
        metrics = evaluate_coco(annotations, results, max_detections=limits)
        ours = list(metrics.numbers.values())
        assert ours == pytest.approx(coco_numbers(by_pycocotools(annotations, results, limits)), abs=1e-9)
    assert max(Counter((r["image_id"], r["category_id"]) for r in results).values()) > 300
    assert list(metrics.numbers)[:3] == ["AP@500", "AP50@500", "AP75@500"]
    assert {"AR500", "ARs@500"} < set(metrics.numbers)
    assert metrics.per_class["class 1"].keys() == {"AP@500", "AP50@500"}


def test_everyday_val_is_measured_alike(shared: Path) -> None:
    """Shifted and doubled labels under a part of COCO's rules that both libraries have: all exhaustive."""
    annotations = json.loads((shared / "data" / "everyday" / "val.json").read_text())
    rng = np.random.default_rng(0)
    results = []
    for label in annotations["annotations"]:
        for _ in range(rng.integers(0, 4)):
            box = np.array(label["bbox"]) * (1 + rng.normal(0, 0.1, 4))
            results += found((label["image_id"], label["category_id"], box.tolist(), round(rng.random(), 2)))
    for image in annotations["images"]:
        image["not_exhaustive_category_ids"] = []
    ours = list(evaluate_coco(annotations, results).numbers.values())
    limits = [1, 10, 100]
    assert ours == pytest.approx(coco_numbers(by_pycocotools(annotations, results, limits)), abs=1e-9)
    assert ours == pytest.approx(coco_numbers(by_faster_coco_eval(annotations, results, limits)), abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_the_twelve_numbers_are_those_of_pycocotools(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    annotations, results = random_set(seed)
    before = copy.deepcopy((annotations, results))
    metrics = evaluate_coco(annotations, results)
    assert capsys.readouterr() == ("", "")
    assert (annotations, results) == before, "the caller's data were changed"
    expected = by_pycocotools(annotations, results, [1, 10, 100])
    expected.summarize()
    capsys.readouterr()
    assert [metrics[name] for name in TWELVE] == pytest.approx(expected.stats.tolist(), abs=1e-12)
    precision = expected.eval["precision"]
    for position, name in enumerate(("class 1", "class 5", "class 7")):
        values = precision[:, :, position, 0, 2]
        assert metrics.per_class[name] == pytest.approx({"AP": values.mean(), "AP50": values[0].mean()})
    assert metrics.per_class["class 90"] == {"AP": None, "AP50": None}


def test_other_limits_are_those_of_pycocotools() -> None:
    annotations, results = random_set(7)
    metrics = evaluate_coco(annotations, results, max_detections=(1, 2, 3))
    expected = by_pycocotools(annotations, results, [1, 2, 3])
    recall = expected.eval["recall"][:, :3, 0]
    assert [metrics[f"AR{limit}"] for limit in (1, 2, 3)] == pytest.approx(recall.mean(axis=(0, 1)).tolist())
    assert metrics["AP@3"] == pytest.approx(expected.eval["precision"][:, :, :3, 0, 2].mean())
    assert metrics.cut_detections > 0


# --- round trips and real data


def test_json_has_cocos_names_and_null_for_none() -> None:
    document = json.loads(json.dumps(evaluate_coco(truth([(1, 1, BOX)]), []).to_dict()))
    assert [key for key in document if key.startswith("A")] == list(TWELVE)
    assert document["APs"] is None
    assert document["per_class"] == {"person": {"AP": 0, "AP50": 0}, "chair": {"AP": None, "AP50": None}}
    assert (document["max_detections"], document["cut_detections"]) == ([1, 10, 100], 0)


def test_detections_pass_through_coco_results() -> None:
    boxes = np.array([[10, 10, 60, 60]], np.float32)
    detections = Detections(boxes, np.array([0.9]), np.array([1]), ("chair", "person"), (400, 400))
    assert evaluate_coco(truth([(1, 1, BOX)]), detections.to_coco(1, [2, 1]))["AP"] == 1


def test_everyday_val_with_perfect_and_with_random_detections(shared: Path) -> None:
    file = shared / "data" / "everyday" / "val.json"
    content = json.loads(file.read_text())
    labels = [a for a in content["annotations"] if not a["iscrowd"]]
    perfect = found(*((a["image_id"], a["category_id"], a["bbox"], 0.9) for a in labels))
    metrics = evaluate_coco(file, perfect)
    assert [metrics[name] for name in ("AP", "AP50", "APs", "APm", "APl", "AR100")] == [1.0] * 6

    boxes = np.random.default_rng(0).permutation([a["bbox"] for a in labels]).tolist()
    misplaced = [{**result, "bbox": box} for result, box in zip(perfect, boxes, strict=True)]
    assert (evaluate_coco(file, misplaced)["AP"] or 0) < 0.05

    # Every photo of VOC has 60 unlabelled classes: to see one of them there is no mistake, in COCO's it is.
    toaster = next(c["id"] for c in content["categories"] if c["name"] == "toaster")
    for source, count in (("coco", 100), ("voc", 150)):
        image_ids = [image["id"] for image in content["images"] if image["source"] == source]
        assert len(image_ids) == count
        phantoms = [
            {"image_id": i, "category_id": toaster, "bbox": [0, 0, 9, 9], "score": 1} for i in image_ids
        ]
        ap = evaluate_coco(file, perfect + phantoms).per_class["toaster"]["AP"]
        assert ap == pytest.approx(1.0) if source == "voc" else (ap is not None and ap < 0.1)
