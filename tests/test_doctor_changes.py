"""Fitted anchors, and what the doctor computes for each change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from densewatch.cli.train_settings import RawSettings
from densewatch.doctor.anchor_places import Nearest, level_shapes
from densewatch.doctor.ceiling import Limits
from densewatch.doctor.changes import Change, recommend, try_changes
from densewatch.doctor.coverage import cover
from densewatch.doctor.fit import fit_anchors
from densewatch.doctor.objects import Objects, Scaled
from densewatch.doctor.setup import Outcome, Setup, examine
from densewatch.metadata import ResizePolicy
from densewatch.models.config import RetinaNetConfig, preset

KEEP = ResizePolicy(mode="longer", size=256, max_size=None)


def scattered(seed: int, sides: tuple[float, float], ratio: float, count: int = 40) -> Objects:
    """Return objects of about one shape, height over width, all over four pictures."""
    random = np.random.default_rng(seed)
    side = random.uniform(*sides, (count, 1))
    sizes = np.concatenate([side / np.sqrt(ratio), side * np.sqrt(ratio)], axis=1)
    corners = random.uniform(0, 1, (count, 2)) * (256 - sizes)
    return Objects(
        boxes=np.concatenate([corners, corners + sizes], axis=1).astype(np.float32),
        labels=np.zeros(count, np.int64),
        pictures=np.sort(random.integers(0, 4, count)),
        sizes=np.full((4, 2), 256, np.int64),
        num_classes=1,
    )


def tried(objects: Objects, setup: Setup) -> tuple[Outcome, dict[str, Change]]:
    now = examine(objects, setup)
    return now, {change.name: change for change in try_changes(objects, setup, now)}


@settings(max_examples=15)
@given(seed=st.integers(0, 1000), name=st.sampled_from(["light", "paper", "torchvision-v2"]))
def test_the_nearest_anchors_are_the_best(seed: int, name: str) -> None:
    config = preset(name, 1)
    scaled = Scaled.of(scattered(seed, (4, 200), ratio=1 + seed % 4, count=12), KEEP)
    nearest = Nearest(scaled, config)
    best = [
        nearest.best_ious(level, shapes).max(axis=1)
        for level, shapes in enumerate(level_shapes(config.anchors))
    ]
    assert np.max(best, axis=0) == pytest.approx(cover(scaled, config).best_iou, abs=1e-5)


def test_anchors_are_fitted_to_flat_objects() -> None:
    objects = scattered(0, (20, 60), ratio=0.2)
    config = preset("light", 1)
    now = examine(objects, Setup(config, KEEP, Limits()))
    assert now.uncovered > 20
    anchors = fit_anchors(now.scaled, config)
    assert len(anchors.sizes) == 5
    assert len(anchors.scales) == len(config.anchors.scales)
    assert min(anchors.ratios) < 0.35
    fitted = RetinaNetConfig.model_validate({**config.model_dump(), "anchors": anchors.model_dump()})
    assert examine(objects, Setup(fitted, KEEP, Limits())).uncovered < 5
    assert fit_anchors(now.scaled, config) == anchors


def test_anchors_are_fitted_from_sizes_that_break_the_limits_too() -> None:
    """Sizes of half a cell, as for P2 that is not there, are no reason to leave anchors as they are."""
    config = preset("light", 1, anchors={"sizes": (4, 48, 96, 192, 384)})
    scaled = Scaled.of(scattered(0, (20, 60), ratio=0.2), KEEP)
    anchors = fit_anchors(scaled, config)
    assert anchors != config.anchors
    fitted = RetinaNetConfig.model_validate({**config.model_dump(), "anchors": anchors.model_dump()})
    assert cover(scaled, fitted).best_iou.mean() > cover(scaled, config).best_iou.mean() + 0.05
    assert anchors.sizes[0] >= 4  # no further out than it was


def test_objects_that_training_ignores_are_no_reason_to_change_anchors() -> None:
    config = preset("light", 1)
    tiny, others = scattered(1, (1, 2.5), ratio=1.0, count=400), scattered(0, (20, 60), ratio=1.0)
    order = np.argsort(np.concatenate([tiny.pictures, others.pictures]), kind="stable")
    both = Objects(
        boxes=np.concatenate([tiny.boxes, others.boxes])[order],
        labels=np.zeros(440, np.int64),
        pictures=np.concatenate([tiny.pictures, others.pictures])[order],
        sizes=others.sizes,
        num_classes=1,
    )
    fitted = fit_anchors(Scaled.of(others, KEEP), config)
    assert fit_anchors(Scaled.of(both, KEEP), config, min_side_px=3.0) == fitted
    assert fit_anchors(Scaled.of(both, KEEP), config) != fitted


def test_tiles_make_objects_large_enough_to_be_learned() -> None:
    boxes = np.array([[4, 4, 6.5, 30]], np.float32)  # 2.5 px wide, and 5 px in tiles of 2x2
    objects = Objects(boxes, np.zeros(1, np.int64), np.zeros(1, np.int64), np.array([[256, 256]]), 1)
    setup = Setup(preset("light", 1), KEEP, Limits(), min_side_px=3.0)
    now = examine(objects, setup)
    assert now.coverage.ignored.tolist() == [True]
    changes = {change.name: change for change in try_changes(objects, setup, now)}
    assert changes["tiles 2x2"].outcome.coverage.ignored.tolist() == [False]


def test_without_objects_anchors_stay() -> None:
    config = preset("light", 1)
    empty = Scaled.of(scattered(0, (20, 60), 1, count=0), KEEP)
    assert fit_anchors(empty, config) == config.anchors


def test_small_objects_gain_from_p2_larger_pictures_and_tiles() -> None:
    setup = Setup(preset("light", 1), KEEP, Limits())
    now, changes = tried(scattered(1, (9, 13), ratio=1.0, count=60), setup)
    assert list(changes) == [
        "fitted anchors",
        "P2",
        "P2 and fitted anchors",
        "384 px",
        "512 px",
        "tiles 2x2",
    ]
    assert now.uncovered > 40  # 320 px change nothing: objects of 16 px overlap anchors of 24 px by 0.44
    for name in ("P2", "512 px", "tiles 2x2"):
        assert changes[name].outcome.uncovered < now.uncovered / 2, name
    assert changes["512 px"].outcome.anchors == pytest.approx(4 * now.anchors)
    assert changes["tiles 2x2"].use == ("--tiles", "2x2")
    chosen = recommend(setup, now, list(changes.values()))
    assert len(chosen) == 1
    assert chosen[0].train


@pytest.mark.parametrize("name", ["fitted anchors", "P2", "P2 and fitted anchors", "512 px"])
def test_what_is_printed_is_what_train_accepts_and_reaches_what_is_said(name: str) -> None:
    """The arguments of a change go through the settings of train, and give the outcome that was promised."""
    objects = scattered(1, (9, 13), ratio=1.0)
    _, changes = tried(objects, Setup(preset("light", 1), ResizePolicy(size=256), Limits()))
    change = changes[name]
    raw = RawSettings()
    values: dict[str, Any] = {"data": [{"annotations": "train.json"}], "imgsz": ["256"]}
    for key, value in values.items():
        raw.put((key,), value, key)
    for flag, value in zip(change.train[::2], change.train[1::2], strict=True):
        if flag == "--imgsz":
            raw.put(("imgsz",), value.split(","), flag)
        else:
            assert flag == "--set"
            raw.put_assignment(value)
    trained = raw.check()
    then = examine(objects, Setup(trained.network(1), trained.resize_policy, Limits()))
    assert then.uncovered == change.outcome.uncovered
    assert then.by_iou.ar == change.outcome.by_iou.ar


def test_crowds_gain_from_a_higher_iou_and_a_higher_limit() -> None:
    boxes = np.array([[x, 20, x + 40, 60] for x in range(0, 200, 12)], np.float32)  # neighbours: IoU 0.54
    count = len(boxes)
    objects = Objects(boxes, np.zeros(count, np.int64), np.zeros(count, np.int64), np.array([[256, 256]]), 1)
    setup = Setup(preset("light", 1), KEEP, Limits(iou_nms=0.5, max_detections=5))
    now, changes = tried(objects, setup)
    assert now.by_iou.deleted_by_nms == 8  # every other one of 17
    assert now.by_iou.beyond_limit == 4
    assert changes["NMS at IoU 0.6"].outcome.by_iou.deleted_by_nms == 0
    assert changes["NMS at IoU 0.6"].use == ("--iou", "0.6")
    assert changes["100 detections a class"].outcome.by_iou.beyond_limit == 0
    assert changes["100 detections a class"].outcome.by_iou.ar == pytest.approx(9 / 17)


def test_an_object_is_covered_by_tiles_only_where_it_lies_whole() -> None:
    """In tiles of 2x2 a box of 16 px in a corner is seen twice as large; one of 200 px is in no tile."""
    boxes = np.array([[4, 4, 20, 20], [20, 20, 220, 220]], np.float32)
    objects = Objects(boxes, np.zeros(2, np.int64), np.zeros(2, np.int64), np.array([[256, 256]]), 1)
    setup = Setup(preset("paper", 1, anchors={"scales": (1.0,), "ratios": (1.0,)}), KEEP, Limits())
    now, changes = tried(objects, setup)
    assert now.coverage.covered.tolist() == [False, True]
    tiled = changes["tiles 2x2"].outcome
    assert tiled.coverage.covered.tolist() == [True, True]
    assert tiled.coverage.best_iou[1] == now.coverage.best_iou[1]
    assert tiled.anchors == pytest.approx(5 * now.anchors)
