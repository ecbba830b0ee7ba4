"""Which objects count: by class, score and size, of the camera, its zones and its lines."""

from __future__ import annotations

import numpy as np
import pytest

from densewatch.detections import UnknownNameError
from densewatch.live.filters import camera_filter, part_filter, relative_areas, relative_boxes, union
from densewatch.live.settings import CameraSettings, LineSettings, ZoneSettings
from live_scenes import NAMES, around, detections

SQUARE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
INF = float("inf")


def test_a_camera_without_settings_takes_all_from_a_half() -> None:
    rule = camera_filter(CameraSettings(source="x"), NAMES)
    assert rule.thresholds.tolist() == [0.5] * 4
    assert (rule.min_area, rule.max_area) == (0, 1)


def test_a_camera_has_thresholds_by_class_and_classes_that_count() -> None:
    settings = CameraSettings(source="x", threshold=0.4, thresholds={"car": 0.7}, only=("car", "person"))
    assert camera_filter(settings, NAMES).thresholds.tolist() == [0.4, INF, 0.7, INF]


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({}, [0.4, INF, 0.7, INF]),
        ({"threshold": 0.2}, [0.2, INF, 0.2, INF]),
        ({"threshold": 0.9, "thresholds": {"person": 0.1}}, [0.1, INF, 0.9, INF]),
        ({"only": ("truck", "car")}, [INF, INF, 0.7, 0.4]),
    ],
)
def test_a_part_has_its_own_settings_and_else_the_cameras(
    part: dict[str, object], expected: list[float]
) -> None:
    camera = CameraSettings(source="x", threshold=0.4, thresholds={"car": 0.7}, only=("car", "person"))
    zone = ZoneSettings.model_validate({"points": SQUARE, **part})
    line = LineSettings.model_validate({"start": (0, 0), "end": (1, 1), **part})
    assert part_filter(zone, camera, NAMES).thresholds.tolist() == expected
    assert part_filter(line, camera, NAMES).thresholds.tolist() == expected


def test_a_part_has_its_own_sizes_and_else_the_cameras() -> None:
    camera = CameraSettings(source="x", min_area=0.01, max_area=0.5)
    plain = part_filter(ZoneSettings(points=SQUARE), camera, NAMES)
    looser = part_filter(ZoneSettings(points=SQUARE, min_area=0.001, max_area=0.9), camera, NAMES)
    assert (plain.min_area, plain.max_area) == (0.01, 0.5)
    assert (looser.min_area, looser.max_area) == (0.001, 0.9)


@pytest.mark.parametrize("wrong", [{"only": ("persn",)}, {"thresholds": {"persn": 0.3}}])
def test_an_unknown_class_suggests_the_nearest(wrong: dict[str, object]) -> None:
    plain = CameraSettings(source="x")
    zone = ZoneSettings.model_validate({"points": SQUARE, **wrong})
    line = LineSettings.model_validate({"start": (0, 0), "end": (1, 1), **wrong})
    with pytest.raises(UnknownNameError, match="did you mean 'person'"):
        camera_filter(CameraSettings.model_validate({"source": "x", **wrong}), NAMES)
    with pytest.raises(UnknownNameError, match="did you mean 'person'"):
        part_filter(zone, plain, NAMES)
    with pytest.raises(UnknownNameError, match="did you mean 'person'"):
        part_filter(line, plain, NAMES)


def test_the_mask_takes_class_score_and_area() -> None:
    settings = CameraSettings(source="x", thresholds={"car": 0.7}, min_area=0.01, max_area=0.25)
    found = detections(
        ("car", 0.9, around(0.5, 0.5, 0.9, 0.9)),
        ("car", 0.7, around(0.5, 0.5, 0.3, 0.3)),
        ("car", 0.69, around(0.5, 0.5, 0.3, 0.3)),
        ("person", 0.6, around(0.5, 0.5, 0.2, 0.2)),
        ("person", 0.55, around(0.5, 0.5, 0.05, 0.05)),
        ("person", 0.49, around(0.5, 0.5, 0.2, 0.2)),
    )
    rule = camera_filter(settings, NAMES)
    assert rule.mask(found).tolist() == [False, True, False, True, False, False]
    areas = relative_areas(relative_boxes(found))
    one_by_one = [
        rule.accepts(label, score, area)
        for label, score, area in zip(found.labels, found.scores, areas, strict=True)
    ]
    assert one_by_one == rule.mask(found).tolist()


def test_a_union_takes_what_one_of_them_takes() -> None:
    rules = [
        camera_filter(CameraSettings(source="x", threshold=0.6, only=("car",), min_area=0.1), NAMES),
        camera_filter(CameraSettings(source="x", threshold=0.3, only=("car", "person"), max_area=0.5), NAMES),
    ]
    both = union(rules)
    assert both.thresholds.tolist() == [0.3, INF, 0.3, INF]
    assert (both.min_area, both.max_area) == (0, 1)


def test_relative_boxes_know_width_from_height() -> None:
    found = detections(("person", 0.9, (0.25, 0.5, 0.5, 1.0)), size=(100, 400))
    np.testing.assert_allclose(found.boxes, [[100, 50, 200, 100]])
    np.testing.assert_allclose(relative_boxes(found), [[0.25, 0.5, 0.5, 1.0]])
    np.testing.assert_allclose(relative_areas(relative_boxes(found)), [0.125])
