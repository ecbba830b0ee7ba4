"""Copy-paste: what is pasted brings its labels along, and what it hides is hidden in the labels too."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from densewatch.data import copy_paste
from densewatch.data.augment_settings import AugmentSettings
from densewatch.data.copy_paste import BORDER_PX, paste
from densewatch.data.scene import Scene
from drawn_samples import GREY, Rectangle, drawn_scene, seen_box


def pasted(scene: Scene, donor: Scene, seed: int = 0, **changes: Any) -> Scene:
    settings = AugmentSettings.model_validate({"copy_paste": 1, "paste_objects": 1, **changes})
    return paste(scene, donor, settings, np.random.default_rng(seed))


DONOR = drawn_scene((60, 80), [((30, 20, 50, 34), 1)])


def test_an_object_is_pasted_whole_with_its_box_and_fades_around_it() -> None:
    scene = drawn_scene((70, 90), [((0, 0, 10, 10), 0)])
    black = replace(scene, pixels=np.zeros_like(scene.pixels))
    donor = replace(DONOR, weights=np.array([0.5], np.float32))
    result = pasted(black, donor, seed=3)
    assert (result.labels.tolist(), result.weights.tolist()) == ([0, 1], [1, 0.5])
    x1, y1, x2, y2 = (int(value) for value in result.boxes[1])
    assert (x2 - x1, y2 - y1) == (20, 14)
    assert (result.pixels[y1:y2, x1:x2] == (0, 255, 0)).all()
    right = result.pixels[y1 + 5, x2 : x2 + BORDER_PX + 3].astype(float) / GREY
    expected = [1 - (step + 1) / (BORDER_PX + 1) for step in range(BORDER_PX)] + [0, 0, 0]
    assert right == pytest.approx(np.repeat(expected, 3).reshape(-1, 3), abs=0.01)
    assert (black.pixels == 0).all()  # it is not changed in place


def test_places_differ_and_the_seed_decides() -> None:
    places = {tuple(pasted(drawn_scene((70, 90)), DONOR, seed).boxes[0]) for seed in range(50)}
    again = {tuple(pasted(drawn_scene((70, 90)), DONOR, seed).boxes[0]) for seed in range(50)}
    assert places == again
    assert len(places) > 40


@pytest.mark.parametrize(
    ("scene", "donor"),
    [
        (drawn_scene((70, 90), unlabelled=[1]), DONOR),  # nobody looked for its class there
        (drawn_scene((13, 90)), DONOR),  # it does not fit
        (drawn_scene((70, 90)), drawn_scene((60, 80), [((0, 20, 20, 34), 1)])),  # cut by the border
        (drawn_scene((70, 90)), drawn_scene((60, 80), [((60, 20, 80, 34), 1)])),
        (drawn_scene((70, 90)), drawn_scene((60, 80))),
    ],
    ids=["unlabelled", "too large", "cut left", "cut right", "nothing there"],
)
def test_what_is_not_pasted(scene: Scene, donor: Scene) -> None:
    result = pasted(scene, donor)
    assert len(result.boxes) == len(result.ignore_boxes) == 0
    assert np.array_equal(result.pixels, scene.pixels)


def test_only_as_much_is_hidden_as_the_limit_says() -> None:
    """The scene is full of one object, of which the pasted one would hide 280 of 5000 pixels."""
    full = drawn_scene((50, 100), [((0, 0, 100, 50), 0)])
    assert pasted(full, DONOR, paste_covers=0.055).labels.tolist() == [0]
    assert pasted(full, DONOR, paste_covers=0.057).labels.tolist() == [0, 1]


def test_what_is_known_of_the_donor_s_part_comes_along() -> None:
    donor = drawn_scene(
        (60, 80),
        objects=[
            ((30, 20, 50, 40), 1),
            ((40, 30, 60, 50), 2),  # a quarter of it is in the box
            ((45, 20, 75, 60), 3),  # less
            ((0, 0, 10, 10), 4),
        ],
        ignored=[((20, 10, 35, 25), 5)],
        unlabelled=[0, 6],
    )
    only_first = AugmentSettings(copy_paste=1, paste_objects=1)
    for seed in range(30):
        result = paste(drawn_scene((70, 90)), donor, only_first, np.random.default_rng(seed))
        if len(result.labels) and result.labels[0] == 1 and 2 in result.labels:
            break
    corner = result.boxes[0, :2]
    moved = (result.boxes - np.tile(corner, 2)).tolist()
    assert (result.labels.tolist(), moved) == ([1, 2], [[0, 0, 20, 20], [10, 10, 20, 20]])
    moved = (result.ignore_boxes - np.tile(corner, 2)).tolist()
    assert result.ignore_labels.tolist() == [3, 5, 0, 6]
    assert moved[:2] == [[15, 0, 20, 20], [0, 0, 5, 5]]
    left, top, right, bottom = corner[0], corner[1], 90 - corner[0], 70 - corner[1]
    border = [-min(4, left), -min(4, top), min(24, right), min(24, bottom)]
    assert moved[2:] == [border, border]  # unknown as far as the soft border reaches
    assert result.unlabelled.tolist() == []


@pytest.mark.parametrize(
    ("width", "objects", "ignored"),
    [
        (45, [[0, 0, 15, 20], [15, 0, 60, 20]], []),  # 15 of 60 columns are left: a quarter
        (46, [[14, 0, 60, 20]], [[0, 0, 14, 20]]),
        (60, [[0, 0, 60, 20]], []),
    ],
)
def test_a_box_shrinks_to_what_is_still_seen(
    width: int, objects: list[list[int]], ignored: list[list[int]]
) -> None:
    """An object as large as the scene, and one as high pasted over it; the seed puts it to the right."""
    scene = drawn_scene((20, 60), [((0, 0, 60, 20), 0)])
    donor = drawn_scene((40, 80), [((10, 10, 10 + width, 30), 1)])
    for seed in range(500):
        result = pasted(scene, donor, seed, paste_covers=1)
        if result.boxes[-1].tolist() == objects[-1]:
            break
    assert result.boxes.tolist() == objects
    assert result.labels.tolist() == ([0, 1] if len(objects) == 2 else [1])
    assert result.ignore_boxes.tolist() == ignored
    assert result.ignore_labels.tolist() == [0] * len(ignored)


def rectangles(height: int, width: int) -> st.SearchStrategy[Rectangle]:
    side = st.integers(8, 24)
    corner = st.tuples(st.integers(1, width - 26), st.integers(1, height - 26), side, side)
    return corner.map(lambda place: (place[0], place[1], place[0] + place[2], place[1] + place[3]))


def overlap(one: Rectangle, other: Rectangle) -> bool:
    return max(one[0], other[0]) < min(one[2], other[2]) and max(one[1], other[1]) < min(one[3], other[3])


@given(
    boxes=st.lists(rectangles(80, 90), min_size=6, max_size=6),
    seed=st.integers(0, 2**32),
    covers=st.sampled_from([0.0, 0.3, 1.0]),
)
def test_boxes_enclose_their_colour(boxes: list[Rectangle], seed: int, covers: float) -> None:
    """Labels 0 to 2 are the scene's, 3 to 5 the donor's. Without soft borders, all is exact."""
    there, donated = boxes[:3], boxes[3:]
    pairs = [(0, 1), (0, 2), (1, 2)]
    assume(not any(overlap(group[i], group[j]) for group in (there, donated) for i, j in pairs))
    scene = drawn_scene((80, 90), [(box, label) for label, box in enumerate(there)])
    donor = drawn_scene((80, 90), [(box, label) for label, box in enumerate(donated, start=3)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(copy_paste, "BORDER_PX", 0)
        result = pasted(scene, donor, seed, paste_objects=5, paste_covers=covers)
    known = dict(
        zip(
            [*result.labels.tolist(), *result.ignore_labels.tolist()],
            [*result.boxes.tolist(), *result.ignore_boxes.tolist()],
            strict=True,
        )
    )
    assert len(known) == len(result.labels) + len(result.ignore_labels)
    assert known == {
        label: seen for label in range(6) if (seen := seen_box(result.pixels, label, tolerance=0)) is not None
    }
    if covers == 0:
        for label, box in enumerate(there):
            assert known[label] == list(box)
            assert label in result.labels
