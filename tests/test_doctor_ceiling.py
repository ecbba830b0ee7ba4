"""The recall ceiling: the AR of an oracle detector, predicted without running one."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_iou

from densewatch.doctor.ceiling import Ceiling, Limits, ceiling
from densewatch.doctor.coverage import NOWHERE, cover
from densewatch.doctor.crowding import best_survivors, largest_independent_set, overlapping_pairs
from densewatch.doctor.objects import Objects, Scaled
from densewatch.metadata import ResizePolicy
from densewatch.models.anchors import Anchors
from densewatch.models.config import RetinaNetConfig, preset
from densewatch.models.matching import match_anchors
from doctor_oracle import Oracle, oracle_ar

SIZES = [(240, 320), (333, 250), (200, 200)]
CLASSES = 3
SMALL = ResizePolicy(mode="shorter", size=256, max_size=400)


def draw_crowds(density: float, seed: int, pictures: int = 4) -> dict[str, Any]:
    """Return COCO instances whose objects' areas sum up to `density` times the pictures'.

    Half of the objects stand in heaps, so that they lie on each other as in a crowd.
    """
    random = np.random.default_rng(seed)
    content: dict[str, Any] = {"images": [], "annotations": []}
    for image_id in range(1, pictures + 1):
        height, width = SIZES[image_id % len(SIZES)]
        content["images"].append({"id": image_id, "file_name": "x", "width": width, "height": height})
        area = 0.0
        while area < density * height * width:
            side, ratio = np.exp(random.uniform(np.log(6), np.log(90))), np.exp(random.normal(0, 0.4))
            middle = random.uniform(0.1, 0.9, 2) * (width, height)
            heap = 1 if random.random() < 0.5 else int(random.integers(2, 7))
            for _ in range(heap):
                w, h = side / ratio, side * ratio
                x, y = middle + random.normal(0, 0.2, 2) * (w, h) - (w / 2, h / 2)
                x, y = max(x, 0.0), max(y, 0.0)
                w, h = min(w, width - x), min(h, height - y)
                if w < 2 or h < 2:
                    continue
                area += w * h
                content["annotations"].append(_annotation(content, image_id, [x, y, w, h], random))
    content["categories"] = [{"id": i + 1, "name": f"c{i}"} for i in range(CLASSES)]
    return content


def _annotation(
    content: dict[str, Any], image_id: int, bbox: list[float], random: np.random.Generator
) -> dict[str, Any]:
    number = len(content["annotations"]) + 1
    label = int(random.choice(CLASSES, p=[0.7, 0.2, 0.1])) + 1
    box = [float(np.float32(value)) for value in bbox]
    return {"id": number, "image_id": image_id, "category_id": label, "bbox": box, "area": box[2] * box[3]}


def objects_of(content: dict[str, Any]) -> Objects:
    items = sorted(content["annotations"], key=lambda item: item["image_id"])
    xywh = np.array([item["bbox"] for item in items], np.float32).reshape(-1, 4)
    return Objects(
        boxes=np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1),
        labels=np.array([item["category_id"] - 1 for item in items], np.int64),
        pictures=np.array([item["image_id"] - 1 for item in items], np.int64),
        sizes=np.array([(image["height"], image["width"]) for image in content["images"]], np.int64),
        num_classes=CLASSES,
    )


def predict(
    content: dict[str, Any], config: RetinaNetConfig, policy: ResizePolicy, limits: Limits, low_quality: bool
) -> Ceiling:
    scaled = Scaled.of(objects_of(content), policy)
    coverage = cover(scaled, config)
    return ceiling(scaled, coverage.low_quality_place if low_quality else coverage.place, limits)


@pytest.mark.parametrize("low_quality", [False, True])
@pytest.mark.parametrize(
    ("density", "name", "sections", "limits"),
    [
        (0.2, "light", {}, Limits()),
        (1.0, "light", {"pyramid": {"p2": True}}, Limits(iou_nms=0.6)),
        (1.0, "torchvision-v1", {}, Limits(iou_nms=0.5)),
        (3.0, "paper", {}, Limits(iou_nms=0.4, max_detections=15)),
        (3.0, "light", {"anchors": {"center": "half"}}, Limits(iou_nms=0.7)),
    ],
)
def test_the_ceiling_is_the_ar_of_an_oracle(
    density: float, name: str, sections: dict[str, Any], limits: Limits, low_quality: bool
) -> None:
    config = preset(name, CLASSES, **sections)
    content = draw_crowds(density, seed=round(10 * density))
    oracle = Oracle(config, SMALL, low_quality=low_quality, iou=limits.iou_nms)
    predicted = predict(content, config, SMALL, limits, low_quality)
    assert predicted.ar == pytest.approx(oracle_ar(oracle, content, limits.max_detections), abs=1e-6)
    assert predicted.recall is not None
    assert 0.05 < predicted.recall < 0.999  # else there was nothing to predict


def test_an_oracle_with_worse_scores_stays_below_the_ceiling() -> None:
    config = preset("light", CLASSES)
    content = draw_crowds(3.0, seed=5)
    limits = Limits(iou_nms=0.5)
    oracle = Oracle(config, SMALL, low_quality=False, iou=limits.iou_nms, knows_best=False)
    best = predict(content, config, SMALL, limits, low_quality=False).ar
    assert best is not None
    assert oracle_ar(oracle, content, 100) < best


def brute_force(boxes: npt.NDArray[np.float32], scaled: Scaled, config: RetinaNetConfig) -> torch.Tensor:
    """Return the IoU of one picture's objects with all of its anchors, [G, A]."""
    height, width = scaled.inputs[0].tolist()
    grids = [(-(-height // stride), -(-width // stride)) for stride in config.pyramid.strides]
    anchors = Anchors(config.anchors, config.pyramid.strides)((height, width), grids)
    ious: torch.Tensor = box_iou(torch.from_numpy(boxes), torch.cat(anchors))
    return ious


@pytest.mark.parametrize("name", ["light", "paper", "torchvision-v1"])
@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), longest=st.sampled_from([12, 60, 200]))
def test_coverage_is_that_of_all_anchors(name: str, seed: int, longest: int) -> None:
    random = np.random.default_rng(seed)
    height, width = 150, 200
    corners = random.uniform(-5, 1, (6, 2)).astype(np.float32) + random.uniform(0, 140, (6, 2)).astype(
        np.float32
    )
    corners = corners.clip(0)
    sides = random.uniform(1, longest, (6, 2)).astype(np.float32)
    boxes = np.concatenate([corners, np.minimum(corners + sides, [width, height])], axis=1).astype(np.float32)
    objects = Objects(
        boxes, np.zeros(6, np.int64), np.zeros(6, np.int64), np.array([[height, width]], np.int64), 1
    )
    scaled = Scaled.of(objects, ResizePolicy(mode="none"))
    config = preset(name, 1, anchors={"center": "half"} if seed % 2 else {})
    coverage = cover(scaled, config)
    iou = brute_force(boxes, scaled, config)
    assert coverage.best_iou == pytest.approx(iou.max(dim=1).values.numpy())
    for low_quality, place in ((False, coverage.place), (True, coverage.low_quality_place)):
        matched = match_anchors(iou, 0.5, 0.4, low_quality)
        assert set(np.flatnonzero(place != NOWHERE).tolist()) == {int(i) for i in matched if i >= 0}
    best = iou.argmax(dim=1).numpy()
    expected = [
        bool(coverage.covered[i] and ((best == best[i]) & coverage.covered).sum() > 1) for i in range(6)
    ]
    assert coverage.shares_best.tolist() == expected


def test_two_objects_that_share_all_their_anchors_collide() -> None:
    """Of two equal boxes, every anchor learns the first; a box of 4 px has no anchor."""
    boxes = np.array([[104, 104, 136, 136], [104, 104, 136, 136], [10, 10, 14, 14]], np.float32)
    objects = Objects(boxes, np.zeros(3, np.int64), np.zeros(3, np.int64), np.array([[256, 256]]), 1)
    scaled = Scaled.of(objects, ResizePolicy(mode="none"))
    config = preset("paper", 1, anchors={"scales": (1.0,), "ratios": (1.0,)})
    coverage = cover(scaled, config)
    assert coverage.covered.tolist() == [True, True, False]
    assert coverage.shares_best.tolist() == [True, True, False]
    assert coverage.collided.tolist() == [False, True, False]
    assert coverage.learned.tolist() == [True, False, False]
    # The small box lies in one anchor of 32 px at least: 16 of its 1024 px.
    assert coverage.best_iou[2] == pytest.approx(16 / 1024)
    assert coverage.low_quality_place[2] != NOWHERE


def test_objects_that_training_ignores_leave_their_anchors_to_others() -> None:
    """What is left of the objects is covered as if there had been no others."""
    objects = objects_of(draw_crowds(3.0, seed=2))
    config = preset("light", CLASSES, anchors={"sizes": (12, 24, 48, 96, 192)})
    scaled = Scaled.of(objects, SMALL)
    ignored = scaled.under(14.0)
    assert 10 < ignored.sum() < len(objects) - 10
    whole, coverage = cover(scaled, config), cover(scaled, config, min_side_px=14.0)
    kept = Objects(
        objects.boxes[~ignored],
        objects.labels[~ignored],
        objects.pictures[~ignored],
        objects.sizes,
        CLASSES,
    )
    alone = cover(Scaled.of(kept, SMALL), config)
    for name in ("covered", "shares_best", "place", "low_quality_place", "best_iou"):
        assert getattr(coverage, name)[~ignored].tolist() == getattr(alone, name).tolist(), name
    assert whole.covered[ignored].any()
    assert not coverage.covered[ignored].any()
    assert set(coverage.low_quality_place[ignored]) == {NOWHERE}
    assert coverage.best_iou.tolist() == whole.best_iou.tolist()


def test_what_nms_and_limits_leave_of_a_known_picture() -> None:
    """Three in a row, the middle one overlapping both others, one far off, and one of another class."""
    boxes = np.array(
        [[0, 0, 30, 30], [8, 0, 38, 30], [16, 0, 46, 30], [90, 90, 120, 120], [8, 0, 38, 30]], np.float32
    )
    labels = np.array([0, 0, 0, 0, 1])
    objects = Objects(boxes, labels, np.zeros(5, np.int64), np.array([[128, 128]]), 3)
    scaled = Scaled.of(objects, ResizePolicy(mode="none"))
    everywhere = np.zeros(5, np.int64)
    whole = ceiling(scaled, everywhere, Limits(iou_nms=0.5))
    assert whole.found.tolist() == [True, False, True, True, True]
    assert (whole.deleted_by_nms, whole.beyond_limit, whole.recall) == (1, 0, 0.8)
    assert whole.ar == pytest.approx((3 / 4 + 1) / 2)  # the third class has no objects
    limited = ceiling(scaled, everywhere, Limits(iou_nms=0.5, max_detections=2))
    assert (limited.deleted_by_nms, limited.beyond_limit) == (1, 1)
    assert limited.ar == pytest.approx((2 / 4 + 1) / 2)
    without = ceiling(scaled, np.array([NOWHERE, 0, 0, 0, 0]), Limits(iou_nms=0.5))
    assert (without.without_anchor, without.deleted_by_nms) == (1, 1)
    assert ceiling(scaled, everywhere, Limits(iou_nms=0.6)).deleted_by_nms == 0


def test_no_objects_have_no_ceiling() -> None:
    objects = Objects(
        np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64), np.array([[64, 64]]), 2
    )
    scaled = Scaled.of(objects, ResizePolicy())
    coverage = cover(scaled, preset("light", 2))
    empty = ceiling(scaled, coverage.place, Limits())
    assert (empty.ar, empty.recall, empty.objects) == (None, None, 0)


@settings(max_examples=40)
@given(count=st.integers(1, 9), seed=st.integers(0, 10_000), share=st.floats(0, 1))
def test_the_largest_independent_set_is_found(count: int, seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    edges = [pair for pair in combinations(range(count), 2) if random.random() < share]
    first, second = (np.array([pair[side] for pair in edges], np.int64) for side in (0, 1))
    chosen = set(np.flatnonzero(largest_independent_set(count, first, second)).tolist())
    assert not any(one in chosen and other in chosen for one, other in edges)
    largest = max(
        size
        for size in range(count + 1)
        for some in combinations(range(count), size)
        if not any(one in some and other in some for one, other in edges)
    )
    assert len(chosen) == largest


def test_a_large_tangle_is_settled_soon() -> None:
    random = np.random.default_rng(0)
    edges = np.array([pair for pair in combinations(range(150), 2) if random.random() < 0.1], np.int64)
    chosen = largest_independent_set(150, edges[:, 0], edges[:, 1])
    assert not (chosen[edges[:, 0]] & chosen[edges[:, 1]]).any()
    assert chosen.sum() >= 30


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), iou=st.sampled_from([0.3, 0.5, 0.9]))
def test_pairs_that_overlap_are_all_found(seed: int, iou: float) -> None:
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 40, (30, 2)).astype(np.float32)
    boxes = np.concatenate([corners, corners + random.uniform(5, 30, (30, 2)).astype(np.float32)], axis=1)
    groups = random.integers(0, 3, 30)
    ious = box_iou(torch.from_numpy(boxes), torch.from_numpy(boxes)).numpy()
    expected = {
        (one, other)
        for one, other in combinations(range(30), 2)
        if groups[one] == groups[other] and ious[one, other] > iou
    }
    first, second, values = overlapping_pairs(boxes, groups, iou)
    assert set(zip(first.tolist(), second.tolist(), strict=True)) == expected
    assert values == pytest.approx(ious[first, second])
    stays = best_survivors(boxes, groups, iou)
    assert not any(stays[one] and stays[other] for one, other in expected)
