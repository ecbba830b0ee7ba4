"""Mosaics: labels follow their pixels, and what is unknown in one quarter is unknown only there."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from densewatch.data.augment import Augment, TrainingSample
from densewatch.data.augment_settings import AugmentSettings
from densewatch.data.dataset import Sample
from densewatch.data.mosaic import draw_quarters, join
from densewatch.models.config import LossConfig
from densewatch.models.criterion import Criterion, Target
from drawn_samples import Rectangle, draw, drawn_sample, drawn_scene, seen_box

MOSAIC = AugmentSettings(geometry="square", mosaic=1, mosaic_zoom=(0.4, 1.5))


def test_quarters_fill_the_square_around_a_centre_in_its_middle() -> None:
    random = np.random.default_rng(0)
    centres = set()
    for _ in range(300):
        (y, x), right, low, last = draw_quarters(64, random)
        assert (right, low, last) == ((y, 64 - x), (64 - y, x), (64 - y, 64 - x))
        centres |= {y, x}
    assert centres == set(range(16, 49))


def test_quarters_are_joined_row_by_row() -> None:
    """Each has its own object and its own ignored region of label 6."""
    sizes = [(30, 20), (30, 44), (34, 20), (34, 44)]
    corners = [(0, 0), (20, 0), (0, 30), (20, 30)]
    box: Rectangle = (2, 3, 12, 23)
    region: Rectangle = (5, 5, 15, 15)
    scenes = [
        drawn_scene(size, [(box, label)], [(region, 6)], unlabelled=[5]) for label, size in enumerate(sizes)
    ]
    weights = [0.25, 0.5, 0.75, 1.0]
    joined = join(
        [
            replace(scene, weights=np.array([weight], np.float32))
            for scene, weight in zip(scenes, weights, strict=True)
        ]
    )
    assert joined.pixels.shape == (64, 64, 3)
    assert joined.weights.tolist() == weights
    assert joined.labels.tolist() == [0, 1, 2, 3]
    assert joined.boxes.tolist() == [[2 + x, 3 + y, 12 + x, 23 + y] for x, y in corners]
    assert joined.ignore_boxes.tolist() == [[5 + x, 5 + y, 15 + x, 15 + y] for x, y in corners]
    assert joined.ignore_labels.tolist() == [6] * 4
    assert joined.unlabelled.tolist() == [5]
    for label, found in zip(joined.labels.tolist(), joined.boxes.tolist(), strict=True):
        assert seen_box(joined.pixels, label) == found


LEFT, TOP, ALL = 20, 30, 64
WHERE = {
    "upper left": [0, 0, LEFT, TOP],
    "upper right": [LEFT, 0, ALL, TOP],
    "lower left": [0, TOP, LEFT, ALL],
    "lower right": [LEFT, TOP, ALL, ALL],
    "upper": [0, 0, ALL, TOP],
    "lower": [0, TOP, ALL, ALL],
    "left": [0, 0, LEFT, ALL],
    "right": [LEFT, 0, ALL, ALL],
}


@pytest.mark.parametrize(
    ("quarters", "regions"),
    [
        ([0], ["upper left"]),
        ([3], ["lower right"]),
        ([0, 1], ["upper"]),
        ([1, 3], ["right"]),
        ([1, 2], ["upper right", "lower left"]),
        ([0, 1, 2], ["upper", "left"]),
        ([1, 2, 3], ["lower", "right"]),
    ],
)
def test_what_is_unlabelled_in_some_quarters_is_ignored_there(
    quarters: list[int], regions: list[str]
) -> None:
    sizes = [(30, 20), (30, 44), (34, 20), (34, 44)]
    scenes = [
        drawn_scene(size, unlabelled=[2] if number in quarters else []) for number, size in enumerate(sizes)
    ]
    joined = join(scenes)
    assert joined.ignore_boxes.tolist() == [WHERE[name] for name in regions]
    assert joined.ignore_labels.tolist() == [2] * len(regions)
    assert joined.unlabelled.tolist() == []


@pytest.mark.parametrize(
    "quarters", [group for count in range(5) for group in combinations(range(4), count)], ids=str
)
def test_no_background_is_learned_where_nothing_is_known(quarters: tuple[int, ...]) -> None:
    """An anchor that an object of an unknown quarter could match gives no loss; one that none could, does."""
    sizes = [(30, 20), (30, 44), (34, 20), (34, 44)]
    scenes = [
        drawn_scene(size, unlabelled=[1] if number in quarters else []) for number, size in enumerate(sizes)
    ]
    joined = join(scenes)
    corners = torch.cartesian_prod(torch.arange(0.0, 64, 5), torch.arange(0.0, 64, 5))
    anchors = torch.cat([torch.cat([corners, corners + side], dim=1) for side in (6.0, 17.0, 40.0)])
    logits = torch.zeros(1, len(anchors), 3, requires_grad=True)
    known = (joined.boxes, joined.labels, joined.ignore_boxes, joined.ignore_labels, joined.unlabelled)
    target = Target(*(torch.from_numpy(array) for array in (*known, joined.weights)))
    Criterion(LossConfig())(logits, torch.zeros(1, len(anchors), 4), anchors, [target]).total.backward()
    assert logits.grad is not None
    learned = logits.grad[0] != 0
    extents = torch.tensor(
        [WHERE[name] for name in ("upper left", "upper right", "lower left", "lower right")]
    )
    sides = torch.minimum(anchors[:, None, 2:], extents[:, 2:]) - torch.maximum(
        anchors[:, None, :2], extents[:, :2]
    )
    shares = sides.clamp(min=0).prod(dim=2) / (anchors[:, 2:] - anchors[:, :2]).prod(dim=1)[:, None]
    unknown = shares[:, list(quarters)]
    could_match = (unknown >= 0.5).any(dim=1)  # the best box in a quarter is what it shares with the anchor
    untouched = (unknown == 0).all(dim=1)
    assert not bool(learned[could_match, 1].any())
    if len(quarters) < 4:
        assert bool(learned[untouched, 1].all())
    assert bool(learned[:, [0, 2]].all())


rectangles = st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(12, 60), st.integers(12, 60)).map(
    lambda place: (place[0], place[1], place[0] + place[2], place[1] + place[3])
)


def mosaic_of(boxes: list[Rectangle], seed: int, imgsz: int, ignored: int) -> TrainingSample:
    """Make a mosaic of four pictures, 120 px high and 140 wide, each with one rectangle of its own label."""
    pictures = [draw((120, 140), [(box, label)]) for label, box in enumerate(boxes)]
    samples = [
        drawn_sample(number, (120, 140), ignored=[(box, number)])
        if number == ignored
        else drawn_sample(number, (120, 140), [(box, number)])
        for number, box in enumerate(boxes)
    ]

    def read(sample: Sample, _: tuple[int, int]) -> npt.NDArray[np.uint8]:
        return pictures[int(sample.image_id)]

    return Augment(MOSAIC, read)(samples, imgsz, seed)


@settings(max_examples=60)
@given(
    boxes=st.lists(rectangles, min_size=4, max_size=4),
    seed=st.integers(0, 2**32),
    imgsz=st.sampled_from([96, 160]),
    ignored=st.integers(0, 4),
)
def test_boxes_enclose_their_colour(boxes: list[Rectangle], seed: int, imgsz: int, ignored: int) -> None:
    result = mosaic_of(boxes, seed, imgsz, ignored)
    pixels = result.image.numpy().transpose(1, 2, 0)
    assert pixels.shape == (imgsz, imgsz, 3)
    found = torch.cat([result.boxes, result.ignore_boxes]).tolist()
    labels = torch.cat([result.labels, result.ignore_labels]).tolist()
    by_label = dict(zip(labels, found, strict=True))
    assert ignored not in result.labels
    for label in range(4):
        seen = seen_box(pixels, label)
        if seen is not None and min(seen[2] - seen[0], seen[3] - seen[1]) >= 3:
            assert by_label[label] == pytest.approx(seen, abs=2)
    assert all(0 <= x1 < x2 <= imgsz and 0 <= y1 < y2 <= imgsz for x1, y1, x2, y2 in found)


def test_three_pictures_are_no_mosaic() -> None:
    augment = Augment(MOSAIC, lambda sample, _: draw(sample.size, []))
    with pytest.raises(ValueError, match="a mosaic has 4 pictures, not 3"):
        augment([drawn_sample(number, (20, 20)) for number in range(3)], 64, 0)
