"""Groups, confusion, intervals and differences; and the document that has all of them."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from densewatch.data.coco_schema import load_instances
from densewatch.evaluation import evaluate_coco
from densewatch.evaluation.bootstrap import Difference, resample
from densewatch.evaluation.comparison import compare
from densewatch.evaluation.groups import by_density
from densewatch.evaluation.matching import match
from densewatch.evaluation.precision import average_precisions, mean_known, precision_curve, rankings
from densewatch.evaluation.study import Study, StudySettings, picture_errors
from evaluation_sets import by_pycocotools, comparison, random_set, sets, truth

BOX, AWAY, FAR = (0, 0, 100, 100), (200, 0, 100, 100), (0, 250, 20, 20)
GRID = [(x, y, 20, 20) for x in range(0, 240, 30) for y in range(0, 240, 30)]


def study(case: Any, **wanted: Any) -> Study:
    return Study(case, StudySettings(**{"resamples": 0, **wanted}))


# --- precision with weights


def repeated(
    content: dict[str, Any], results: list[dict[str, Any]], counts: list[int]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a data set in which each picture really stands as often as `counts` says."""
    annotations = {**content, "images": [], "annotations": []}
    again = []
    for picture, count in zip(content["images"], counts, strict=True):
        for _ in range(count):
            number = len(annotations["images"]) + 1
            annotations["images"].append({**picture, "id": number})
            own = [item for item in content["annotations"] if item["image_id"] == picture["id"]]
            annotations["annotations"] += [{**item, "image_id": number} for item in own]
            again += [{**item, "image_id": number} for item in results if item["image_id"] == picture["id"]]
    for row, item in enumerate(annotations["annotations"], start=1):
        item["id"] = row
    return annotations, again


def test_a_resampling_is_what_the_repeated_pictures_would_give() -> None:
    content, results = random_set(1)
    for row, result in enumerate(results):
        result["score"] += row * 1e-9  # else the order of equal scores would depend on that of the pictures
    case = compare(load_instances(content), results)
    weights = resample(len(content["images"]), 4, seed=3)
    assert weights.sum(axis=1).tolist() == [12] * 4
    values = average_precisions(case, match(case), weights)
    for row, counts in enumerate(weights.astype(int).tolist()):
        metrics = evaluate_coco(*repeated(content, results, counts))
        assert metrics["AP"] == pytest.approx(mean_known(values[row]), abs=2e-3)
        assert metrics["AP50"] == pytest.approx(mean_known(values[row, 0]), abs=2e-3)


def test_weights_of_one_change_nothing_and_weights_of_zero_leave_a_picture_out() -> None:
    content, results = random_set(2)
    case = compare(load_instances(content), results)
    matches = match(case)
    plain = average_precisions(case, matches)
    assert average_precisions(case, matches, np.ones((1, 12))) == pytest.approx(plain, nan_ok=True)
    some = [1, 2, 5, 9]
    weights = np.isin(np.arange(1, 13), some).astype(float)[None]
    left = average_precisions(case, matches, weights)[0]
    assert mean_known(left) == pytest.approx(evaluate_coco(content, results, image_ids=some)["AP"])


def test_curves_are_those_of_pycocotools() -> None:
    content, results = random_set(4)
    case = compare(load_instances(content), results).limited(100)
    expected = by_pycocotools(content, results, [1, 10, 100]).eval["precision"]
    for label, ranking in enumerate(rankings(case, match(case), 3)):
        if ranking.objects.any():
            assert precision_curve(ranking) == pytest.approx(expected[3, :, label, 0, 2])


# --- groups


def test_pictures_are_grouped_by_their_number_of_objects() -> None:
    labels = (
        [(1, 1, box) for box in GRID[:5]]
        + [(2, 1, box) for box in GRID[:6]]
        + [(3, 2, box) for box in GRID[:51]]
    )
    reports = [(2, 1, box, 0.9) for box in GRID[:3]] + [(3, 2, box, 0.4) for box in GRID[:51]]
    case = comparison(truth(labels, pictures=4), *reports, (4, 1, BOX, 0.99))
    groups = by_density(case, match(case), 0.5)
    rows = [(group.name, group.pictures, group.objects, group.found) for group in groups]
    assert rows == [("1-5", 1, 5, 0), ("6-20", 1, 6, 0.5), ("21-50", 0, 0, None), ("over 50", 1, 51, 0)]
    assert [group.ap for group in groups] == [0, pytest.approx(51 / 101), None, 1]


def test_objects_are_grouped_by_size_as_coco_has_them() -> None:
    content, results = random_set(5)
    measured = study(compare(load_instances(content), results))
    groups = {group.name: group.ap for group in measured.sizes}
    coco = {"small": "APs", "medium": "APm", "large": "APl"}
    assert groups == {name: pytest.approx(measured.coco[number]) for name, number in coco.items()}
    assert sum(group.objects for group in measured.sizes) == int(measured.matches.positives.sum())


# --- confusion and pictures


def test_each_object_is_in_one_cell() -> None:
    content = truth([(1, 1, BOX), (1, 1, AWAY), (1, 2, FAR), (2, 1, BOX)], crowds=[3])
    case = comparison(
        content,
        (1, 1, BOX, 0.9),
        (1, 2, BOX, 0.8),  # on an object that is found: it stands for nothing
        (1, 2, AWAY, 0.8),
        (1, 2, AWAY, 0.7),
        (2, 2, AWAY, 0.6),
        (1, 2, FAR, 0.3),  # below the threshold
    )
    confusion = study(case).confusion
    assert confusion.counts.tolist() == [[1, 1, 0], [0, 0, 1], [0, 3, 0]]
    assert confusion.mistakes() == [{"labelled": "person", "reported": "chair", "count": 1}]


def test_mistakes_by_picture() -> None:
    case = comparison(
        truth([(1, 1, BOX), (1, 1, AWAY)]), (1, 1, BOX, 0.9), (2, 1, BOX, 0.8), (2, 1, AWAY, 0.1)
    )
    assert picture_errors(study(case)) == {"objects": [2, 0], "missed": [1, 0], "false": [0, 1]}


@settings(max_examples=30)
@given(sets(exhaustive=False))
def test_confusion_counts_every_object_and_every_report(
    drawn: tuple[dict[str, Any], list[dict[str, Any]]],
) -> None:
    measured = study(compare(load_instances(drawn[0]), drawn[1]), operating_threshold=0.3)
    counts, matches = measured.confusion.counts, measured.matches
    objects = measured.comparison.objects().sum(axis=0)
    assert counts[:-1].sum(axis=1).tolist() == objects.tolist()
    certain = measured.comparison.found.scores >= 0.3
    assert counts[:, :-1].sum() == int((certain & ~matches.ignored[0]).sum())
    assert np.trace(counts) == int((certain & matches.correct[0]).sum())


# --- intervals


def test_a_perfect_detector_is_perfect_in_every_resampling() -> None:
    labels = [(picture, 1, BOX) for picture in range(1, 9)]
    case = comparison(truth(labels, pictures=8), *((*label, 0.9) for label in labels))
    intervals = Study(case, StudySettings(resamples=50)).intervals
    assert intervals is not None
    assert intervals.ap is not None
    assert intervals.ap.to_list() == [1, 1]
    assert intervals.class_ap[1] is None, "there is no chair"


def test_the_interval_of_a_mean_is_as_wide_as_statistics_says() -> None:
    """One object a picture, 400 pictures, 60 % found, nothing wrong: AP is nearly the part that is found."""
    labels = [(picture, 1, BOX) for picture in range(1, 401)]
    case = comparison(truth(labels, pictures=400), *((*label, 0.9) for label in labels[:240]))
    interval = Study(case, StudySettings(resamples=600)).intervals
    assert interval is not None
    assert interval.ap50 is not None
    half = 1.96 * np.sqrt(0.6 * 0.4 / 400)
    assert interval.ap50.low == pytest.approx(0.6 - half, abs=0.015)
    assert interval.ap50.high == pytest.approx(0.6 + half, abs=0.015)


def test_intervals_depend_on_the_seed_alone() -> None:
    content, results = random_set(6)
    case = compare(load_instances(content), results)
    first, again, other = (
        Study(case, StudySettings(resamples=40, seed=seed)).to_dict()["intervals"]["AP"] for seed in (1, 1, 2)
    )
    assert first == again != other


def test_the_difference_of_paired_results_is_narrower_than_either_interval() -> None:
    content, results = random_set(7)
    worse = [{**item, "bbox": [item["bbox"][0] + 2, *item["bbox"][1:]]} for item in results]
    case, other = (compare(load_instances(content), rows) for rows in (results, worse))
    measured = Study(case, StudySettings(resamples=200), against=other)
    assert measured.against is not None
    difference, intervals = measured.against["AP"], measured.intervals
    expected = (evaluate_coco(content, results)["AP"] or 0) - (evaluate_coco(content, worse)["AP"] or 0)
    assert difference.value == pytest.approx(expected)
    assert difference.interval is not None
    assert intervals is not None
    assert intervals.ap is not None
    assert difference.interval.high - difference.interval.low < intervals.ap.high - intervals.ap.low
    same = Study(case, StudySettings(resamples=0), against=case).against
    assert same == dict.fromkeys(("AP", "AP50"), Difference(0.0, None))


@pytest.mark.slow
def test_three_hundred_resamplings_of_250_pictures_take_seconds() -> None:
    rng = np.random.default_rng(0)
    labels, reports = [], []
    for picture in range(1, 251):
        for _ in range(8):
            box = [*rng.uniform(0, 300, 2), *rng.uniform(10, 100, 2)]
            labels.append((picture, int(rng.integers(1, 21)), box))
        for _ in range(400):
            box = [*rng.uniform(0, 300, 2), *rng.uniform(10, 100, 2)]
            reports.append((picture, int(rng.integers(1, 21)), box, float(rng.random())))
        reports += [(*label, float(rng.random())) for label in labels[-8:]]
    names = [f"class {number}" for number in range(20)]
    case = comparison(truth(labels, pictures=250, names=names), *reports)
    measured = Study(case, StudySettings(resamples=300))
    assert measured.coco["AP"] is not None
    begun = time.process_time()
    assert measured.intervals is not None
    assert time.process_time() - begun < 10


# --- the whole document


def test_the_document_is_json_and_agrees_with_coco() -> None:
    content, results = random_set(8)
    case = compare(load_instances(content), results)
    document = json.loads(json.dumps(Study(case, StudySettings(resamples=20)).to_dict(), allow_nan=False))
    assert document["AP"] == evaluate_coco(content, results)["AP"]
    assert {"oLRP", "counting", "density", "sizes", "errors", "confusions", "intervals"} < set(document)
    row = document["per_class"]["class 1"]
    assert {"AP", "AP50", "objects", "oLRP", "oLRP_threshold", "counting", "intervals"} <= set(row)


def test_names_say_how_many_detections_count() -> None:
    content, results = random_set(8)
    wanted = StudySettings(max_detections=(1, 10, 500), resamples=10)
    document = Study(compare(load_instances(content), results), wanted).to_dict()
    assert {"AP@500", "AP50@500", "AR500"} < set(document)
    assert "AP" not in document
    assert "AP@500" in document["intervals"]
    assert "AP@500" in document["density"][0]
    assert document["max_detections"] == [1, 10, 500]


def test_nothing_labelled_and_nothing_found_is_no_error() -> None:
    measured = Study(comparison(truth([])), StudySettings(resamples=5))
    document = json.loads(json.dumps(measured.to_dict(), allow_nan=False))
    assert (document["AP"], document["oLRP"], document["best_common_threshold"]) == (None, None, None)
    assert document["intervals"]["AP"] is None
    assert document["counting"]["mean_absolute"] == 0


def test_settings_out_of_range() -> None:
    with pytest.raises(ValueError, match="resamples must be at least 0, not -1"):
        StudySettings(resamples=-1)
    with pytest.raises(ValueError, match="must rise"):
        StudySettings(max_detections=(10, 1))
