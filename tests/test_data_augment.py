"""Augmentation: boxes stay on what they enclose, and what a cut leaves of an object is treated rightly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from densewatch.data.augment import Augment, TrainingSample
from densewatch.data.augment_settings import AugmentSettings
from densewatch.data.dataset import Sample
from densewatch.data.view import View, draw_view, largest_size

GREY = (124, 116, 104)
COLOURS = {0: (255, 0, 0), 1: (0, 255, 0), 2: (0, 0, 255)}
BOXES = [(8, 12, 60, 50), (70, 20, 120, 84), (20, 60, 64, 92)]


def picture(height: int = 100, width: int = 140) -> npt.NDArray[np.uint8]:
    """Grey, with one rectangle of each colour."""
    pixels = np.full((height, width, 3), GREY, np.uint8)
    for (x1, y1, x2, y2), colour in zip(BOXES, COLOURS.values(), strict=True):
        pixels[y1:y2, x1:x2] = colour
    return pixels


def sample(boxes: Sequence[tuple[int, ...]], ignored: Sequence[tuple[int, ...]] = ()) -> Sample:
    """Label `boxes` 0, 1, … and `ignored` regions after them."""
    labels = np.arange(len(boxes) + len(ignored))
    return Sample(
        image_id=1,
        path=Path("drawn.png"),
        size=(100, 140),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=labels[: len(boxes)],
        ignore_boxes=np.array(ignored, np.float32).reshape(-1, 4),
        ignore_labels=labels[len(boxes) :],
        unlabelled_classes=np.array([4]),
    )


def varied(settings: AugmentSettings, labelled: Sample, imgsz: int = 96, seed: int = 0) -> TrainingSample:
    return Augment(settings, lambda _, needed: picture())([labelled], imgsz, seed)


def coloured_box(image: torch.Tensor, label: int) -> list[float] | None:
    """Where a label's colour is, xyxy; None where less than 3 columns or rows of it are left."""
    difference = np.abs(image.numpy().astype(int) - np.reshape(COLOURS[label], (3, 1, 1))).max(axis=0)
    rows, columns = np.nonzero(difference < 60)
    if len(rows) == 0 or int(rows.max() - rows.min()) < 3 or int(columns.max() - columns.min()) < 3:
        return None
    return [float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)]


GEOMETRIES = {
    "shorter": AugmentSettings(geometry="shorter", max_size=120),
    "square": AugmentSettings(geometry="square"),
    "zoomed": AugmentSettings(geometry="square", zoom=(0.4, 2.5)),
}


@pytest.mark.parametrize("settings", GEOMETRIES.values(), ids=GEOMETRIES)
@given(seed=st.integers(0, 2**32), imgsz=st.sampled_from([64, 96, 160]))
def test_boxes_enclose_their_colour(settings: AugmentSettings, seed: int, imgsz: int) -> None:
    """Objects and ignored regions alike: the first two rectangles are objects, the third is ignored."""
    result = varied(settings, sample(BOXES[:2], BOXES[2:]), imgsz, seed)
    boxes = torch.cat([result.boxes, result.ignore_boxes]).tolist()
    labels = torch.cat([result.labels, result.ignore_labels]).tolist()
    found = dict(zip(labels, boxes, strict=True))
    assert 2 not in result.labels
    for label in COLOURS:
        seen = coloured_box(result.image, label)
        if seen is not None:
            assert found[label] == pytest.approx(seen, abs=2)
    height, width = result.image.shape[1:]
    assert all(0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height for x1, y1, x2, y2 in boxes)


@given(seed=st.integers(0, 2**32))
def test_square_geometry_gives_squares(seed: int) -> None:
    assert varied(GEOMETRIES["zoomed"], sample(BOXES), 96, seed).image.shape == (3, 96, 96)


@pytest.mark.parametrize(("imgsz", "expected"), [(50, (50, 70)), (100, (85, 120))])
def test_shorter_geometry_scales_the_shorter_side_up_to_a_limit(
    imgsz: int, expected: tuple[int, int]
) -> None:
    assert tuple(varied(GEOMETRIES["shorter"], sample(BOXES), imgsz).image.shape[1:]) == expected


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_flip(probability: float) -> None:
    settings = AugmentSettings(flip=probability, geometry="shorter")
    result = varied(settings, sample(BOXES[:1]), imgsz=100)
    expected = [8, 12, 60, 50] if probability == 0 else [140 - 60, 12, 140 - 8, 50]
    pixels = picture()[:, ::-1] if probability else picture()
    assert result.boxes.tolist() == [expected]
    assert torch.equal(result.image, torch.from_numpy(pixels.transpose(2, 0, 1).copy()))
    assert result.image.dtype == torch.uint8
    assert result.labels.tolist() == [0]
    assert result.unlabelled.tolist() == [4]


@pytest.mark.parametrize(
    ("box", "outcome"),
    [
        ((10, 10, 50, 50), "object"),
        ((-30, 10, 10, 50), "object"),  # exactly a quarter is left
        ((-31, 10, 9, 50), "ignored"),  # less
        ((10, 80, 50, 110), "object"),  # 20 of 30 rows
        ((10, 98, 50, 198), "ignored"),
        ((10, 10, 12, 50), "ignored"),  # 2 px narrow
        ((10, 10, 13, 50), "object"),
        ((-40, 10, 0, 50), "gone"),
        ((140, 0, 160, 10), "gone"),
    ],
)
def test_what_a_cut_leaves_of_an_object(box: tuple[int, ...], outcome: str) -> None:
    """The box reaches out of the picture already; a cut makes the same of one that did not."""
    settings = AugmentSettings(flip=0, geometry="shorter", min_visible=0.25, min_side=3)
    result = varied(settings, sample([box]), imgsz=100)
    counts = (len(result.boxes), len(result.ignore_boxes))
    assert counts == {"object": (1, 0), "ignored": (0, 1), "gone": (0, 0)}[outcome]


def test_an_empty_picture_survives() -> None:
    result = varied(AugmentSettings(geometry="square", zoom=(0.5, 2), photometric=1), sample([]))
    assert result.boxes.shape == (0, 4)
    assert result.ignore_boxes.shape == (0, 4)
    assert result.labels.dtype == torch.int64
    assert result.image.shape == (3, 96, 96)


def test_photometric_changes_colours_alone() -> None:
    plain, distorted = (
        varied(AugmentSettings(flip=0, photometric=probability), sample(BOXES), imgsz=100)
        for probability in (0, 1)
    )
    assert torch.equal(plain.boxes, distorted.boxes)
    assert not torch.equal(plain.image, distorted.image)


def test_around_a_zoomed_out_picture_is_the_pad_value() -> None:
    settings = AugmentSettings(geometry="square", zoom=(0.3, 0.3), flip=0, pad_value=(1, 2, 3))
    image = varied(settings, sample(BOXES), imgsz=96).image
    padding = (image == torch.tensor([1, 2, 3]).view(3, 1, 1)).all(dim=0)
    assert int((~padding).sum()) == pytest.approx(0.3 * 96 * 0.3 * 96 * 100 / 140, rel=0.1)


def test_the_seed_decides_everything() -> None:
    settings = AugmentSettings(geometry="square", zoom=(0.5, 2), photometric=0.5)
    first, again, other = (varied(settings, sample(BOXES), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.boxes, again.boxes)
    assert not torch.equal(first.image, other.image)


@pytest.mark.parametrize("name", ["zoom", "mosaic_zoom"])
@pytest.mark.parametrize("zoom", [(2.0, 1.0), (0.0, 1.0)])
def test_zoom_must_be_positive_and_rise(name: str, zoom: tuple[float, float]) -> None:
    with pytest.raises(ValidationError, match=f"{name}\n.*must be positive and rise"):
        AugmentSettings.model_validate({name: zoom})


ZOOMS = st.tuples(st.floats(0.1, 1), st.floats(1, 3))


@given(
    seed=st.integers(0, 2**32),
    size=st.tuples(st.integers(1, 2000), st.integers(1, 2000)),
    imgsz=st.sampled_from([32, 96, 512]),
    zoom=ZOOMS,
)
def test_zooms_are_uniform_within_their_limits_and_windows_anywhere(
    seed: int, size: tuple[int, int], imgsz: int, zoom: tuple[float, float]
) -> None:
    """Large scale jitter: the picture fits the square times the zoom, and the window never leaves both."""
    view = draw_view(size, imgsz, AugmentSettings(geometry="square", zoom=zoom), np.random.default_rng(seed))
    smallest, largest = (imgsz * limit for limit in zoom)
    assert int(smallest) <= max(view.scaled) <= max(1, largest + 1e-6)
    for scaled, corner in zip(view.scaled, view.corner, strict=True):
        assert min(scaled - imgsz, 0) <= corner <= max(scaled - imgsz, 0)


def test_large_scale_jitter_is_spread_evenly() -> None:
    settings, random = AugmentSettings(geometry="square", zoom=(0.1, 2.0)), np.random.default_rng(0)
    sides = [max(draw_view((480, 640), 640, settings, random).scaled) / 640 for _ in range(4000)]
    counts, _ = np.histogram(sides, bins=10, range=(0.1, 2.0))
    assert counts.min() > 340
    assert counts.max() < 460


@pytest.mark.parametrize("geometry", ["square", "shorter"])
@given(
    seed=st.integers(0, 2**32),
    size=st.tuples(st.integers(1, 2000), st.integers(1, 2000)),
    imgsz=st.sampled_from([64, 320]),
    zoom=ZOOMS,
)
def test_the_largest_size_is_enough_for_every_view(
    geometry: str, seed: int, size: tuple[int, int], imgsz: int, zoom: tuple[float, float]
) -> None:
    settings = AugmentSettings.model_validate({"geometry": geometry, "zoom": zoom, "max_size": 400})
    largest = largest_size(size, 320, settings)
    scaled = draw_view(size, imgsz, settings, np.random.default_rng(seed)).scaled
    assert all(kept >= min(side, whole) for kept, side, whole in zip(largest, scaled, size, strict=True))
    assert all(kept <= side for kept, side in zip(largest, size, strict=True))


def test_labels_do_not_depend_on_how_large_a_picture_was_decoded() -> None:
    settings = AugmentSettings(geometry="square", zoom=(0.2, 0.5))
    labelled, sizes = replace(sample(BOXES), size=(100, 140)), []

    def half(_: Sample, needed: tuple[int, int]) -> npt.NDArray[np.uint8]:
        sizes.append(needed)
        return np.ascontiguousarray(picture()[::2, ::2])

    for seed in range(20):
        small = Augment(settings, half)([labelled], 64, seed)
        large = varied(settings, labelled, 64, seed)
        assert torch.equal(small.boxes, large.boxes)
        assert torch.equal(small.ignore_boxes, large.ignore_boxes)
        near = (small.image.float() - large.image.float()).abs() < 40
        assert float(near.float().mean()) > 0.95
    assert all(height <= 23 and 12 <= width <= 32 for height, width in sizes)


def test_a_view_shows_exactly_its_pixels() -> None:
    pixels = np.arange(4 * 6, dtype=np.uint8).reshape(4, 6, 1).repeat(3, axis=2)
    view = View(original=(4, 6), scaled=(4, 6), flip=True, window=(4, 4), corner=(-1, 1))
    shown = view.show(pixels, (9, 9, 9))[:, :, 0]
    assert shown.tolist() == [[9] * 4, [4, 3, 2, 1], [10, 9, 8, 7], [16, 15, 14, 13]]
    assert view.move(np.array([[0, 0, 2, 1]], np.float32)).tolist() == [[3, 1, 5, 2]]


def test_mosaics_need_square_geometry() -> None:
    with pytest.raises(ValidationError, match=r"mosaic 0\.5 needs geometry square, but it is shorter"):
        AugmentSettings(mosaic=0.5)


def test_weights_stay_with_their_objects() -> None:
    """However a view cuts, each object that is left has the weight that its label was given."""
    weights = np.array([0.1, 0.2, 0.3, 0.4], np.float32)[: len(BOXES)]
    labelled = replace(sample(BOXES), weights=weights)
    kept = set()
    for seed in range(30):
        result = varied(AugmentSettings(geometry="square", zoom=(1.0, 3.0)), labelled, seed=seed)
        assert result.weights.tolist() == weights[result.labels.numpy()].tolist()
        kept.add(len(result.labels))
    assert len(kept) > 1
