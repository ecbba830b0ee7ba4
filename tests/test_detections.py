"""`Detections`: aligned arrays, checked when made, and the forms they go out in."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from densewatch.detections import Detections, UnknownNameError, class_index

NAMES = ("person", "chair", "dining table")


def make(scores: list[float], labels: list[int], /, **changes: Any) -> Detections:
    boxes = [[10 * i, 5, 10 * i + 8, 25] for i in range(len(scores))]
    values: dict[str, Any] = {
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "scores": np.array(scores, np.float32),
        "labels": np.array(labels),
        "names": NAMES,
        "size": (100, 200),
    }
    return Detections(**{**values, **changes})


def test_sorted_by_score_with_everything_aligned() -> None:
    detections = make([0.2, 0.9, 0.5], [0, 1, 2], track_ids=np.array([7, 8, 9]))
    assert detections.scores.tolist() == pytest.approx([0.9, 0.5, 0.2])
    assert detections.labels.tolist() == [1, 2, 0]
    assert detections.boxes[:, 0].tolist() == [10, 20, 0]
    assert detections.track_ids is not None
    assert detections.track_ids.tolist() == [8, 9, 7]


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.integers(0, 2)), max_size=20), st.floats(0, 1))
def test_selection_keeps_alignment(rows: list[tuple[float, int]], threshold: float) -> None:
    detections = make([score for score, _ in rows], [label for _, label in rows])
    above = detections.above(threshold)
    assert len(above) == int((detections.scores >= threshold).sum())
    assert sum(above.counts().values()) == len(above)
    by_class = [above.only(name) for name in NAMES]
    assert sum(len(part) for part in by_class) == len(above)
    assert (np.diff(above.scores) <= 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": np.zeros(2, np.float32)}, "scores has shape"),
        ({"labels": np.zeros((3, 1), np.int64)}, "labels has shape"),
        ({"labels": np.array([0, 1, 3])}, "labels run from 0 to 3, but there are 3 names"),
        ({"labels": np.array([-1, 1, 2])}, "labels run from -1"),
        ({"scores": np.array([0.5, np.nan, 0.5])}, "must be finite"),
        ({"track_ids": np.array([1])}, "track_ids has shape"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make([0.1, 0.2, 0.3], [0, 1, 2], **changes)


def test_counts_most_frequent_first() -> None:
    assert make([0.9, 0.8, 0.7], [1, 0, 1]).counts() == {"chair": 2, "person": 1}
    assert Detections.empty(NAMES, (10, 10)).counts() == {}


def test_only_suggests_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'chair'"):
        make([0.5], [0]).only("chiar")
    with pytest.raises(UnknownNameError, match="known are person, chair, dining table"):
        class_index("zebra", NAMES)


def test_selection_keeps_what_the_picture_says() -> None:
    part = make([0.9, 0.8], [0, 1], saturated=True)[:1]
    assert part.saturated
    assert (part.size, part.names) == ((100, 200), NAMES)


def test_to_dicts() -> None:
    assert make([0.98766], [2]).to_dicts() == [
        {"label": "dining table", "score": 0.9877, "box": [0.0, 5.0, 8.0, 25.0]}
    ]
    assert make([0.5], [0], track_ids=np.array([4])).to_dicts()[0]["track"] == 4


def test_to_coco_has_original_ids_and_xywh() -> None:
    assert make([0.5], [2]).to_coco(42, category_ids=(1, 62, 67)) == [
        {"image_id": 42, "category_id": 67, "bbox": [0.0, 5.0, 8.0, 20.0], "score": 0.5}
    ]


def test_to_supervision() -> None:
    converted = make([0.5, 0.9], [0, 2]).to_supervision()
    assert converted.xyxy.tolist() == [[10, 5, 18, 25], [0, 5, 8, 25]]
    assert converted.class_id is not None
    assert converted.class_id.tolist() == [2, 0]
    assert list(converted.data["class_name"]) == ["dining table", "person"]
    assert len(Detections.empty(NAMES, (10, 10)).to_supervision()) == 0


def test_to_supervision_without_supervision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ModuleNotFoundError, match="pip install supervision"):
        make([0.5], [0]).to_supervision()
