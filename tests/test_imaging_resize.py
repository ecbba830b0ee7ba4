"""Pictures become inputs as torchvision makes them, where that is asked, and boxes find their way back."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from densewatch.imaging.read import read_image
from densewatch.imaging.resize import (
    Prepared,
    batch,
    clip_boxes,
    needed_size,
    prepare,
    resized_size,
    restore_boxes,
)
from densewatch.metadata import TORCHVISION_RESIZE, ResizePolicy

PAD = (124, 116, 104)
sides = st.integers(1, 5000)
policies = st.builds(
    ResizePolicy,
    mode=st.sampled_from(["shorter", "longer", "none"]),
    size=st.integers(32, 400),
    max_size=st.none() | st.integers(32, 600),
    antialias=st.booleans(),
    multiple=st.sampled_from([1, 32, 128]),
)


def noise(height: int, width: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("size", "policy", "expected"),
    [
        ((480, 640), TORCHVISION_RESIZE, (800, 1066)),
        ((640, 428), TORCHVISION_RESIZE, (1196, 800)),
        ((300, 1000), TORCHVISION_RESIZE, (399, 1333)),
        ((1, 9000), TORCHVISION_RESIZE, (1, 1333)),
        ((480, 640), ResizePolicy(size=480, max_size=None), (480, 640)),
        ((100, 1000), ResizePolicy(size=200, max_size=None), (200, 2000)),
        ((480, 640), ResizePolicy(mode="longer", size=320), (240, 320)),
        ((640, 480), ResizePolicy(mode="longer", size=1280), (1280, 960)),
        ((481, 643), ResizePolicy(mode="none"), (481, 643)),
    ],
)
def test_resized_size(size: tuple[int, int], policy: ResizePolicy, expected: tuple[int, int]) -> None:
    assert resized_size(size, policy) == expected


def test_torchvision_s_sizes_at_every_aspect() -> None:
    torch = pytest.importorskip("torch")
    transform = pytest.importorskip("torchvision.models.detection.transform")
    sizes = np.random.default_rng(0).integers(8, 3000, (100, 2)).tolist()
    short = [side for side in range(8, 3000) if int(side * (800 / side)) == 799]
    assert short, "rounding no longer makes some sides one pixel short; the next line tests nothing"
    sizes += [[side, side + 50] for side in short[:20]]
    wrong = []
    for height, width in sizes:
        image = torch.zeros(1, 1, 1).expand(1, height, width)
        resized, _ = transform._resize_image_and_masks(image, 800, 1333)
        if tuple(resized.shape[1:]) != resized_size((height, width), TORCHVISION_RESIZE):
            wrong.append((height, width, tuple(resized.shape[1:])))
    assert not wrong


@pytest.mark.parametrize("size_px", [800, 320])
def test_torchvision_s_pixels_within_one_grey_level(shared: Path, size_px: int) -> None:
    torch = pytest.importorskip("torch")
    transform = pytest.importorskip("torchvision.models.detection.transform")
    theirs = transform.GeneralizedRCNNTransform(size_px, 1333, [0.0] * 3, [1.0] * 3, size_divisible=32)
    policy = TORCHVISION_RESIZE.model_copy(update={"size": size_px})
    photos = sorted((shared / "data/everyday/val").glob("*.jpg"))[:4]
    assert photos
    for path in photos:
        image = read_image(path)
        images, _ = theirs([torch.from_numpy(image).permute(2, 0, 1).float()])
        ours = prepare(image, policy)
        height, width = ours.valid_size
        assert images.image_sizes == [(height, width)]
        assert images.tensors.shape[2:] == ours.pixels.shape[:2]
        expected = images.tensors[0, :, :height, :width].permute(1, 2, 0).numpy()
        difference = np.abs(ours.pixels[:height, :width] - expected)
        assert difference.max() < 1.0
        assert difference.mean() < 0.3  # rounding alone makes 0.25


@settings(max_examples=60)
@given(height=st.integers(20, 700), width=st.integers(20, 700), policy=policies)
def test_prepared_pictures_keep_their_promises(height: int, width: int, policy: ResizePolicy) -> None:
    image = noise(height, width)
    before = image.copy()
    prepared = prepare(image, policy)
    rows, columns = prepared.valid_size
    padded_rows, padded_columns, _ = prepared.pixels.shape
    assert prepared.original_size == (height, width)
    assert prepared.pixels.flags.c_contiguous
    assert padded_rows % policy.multiple == padded_columns % policy.multiple == 0
    assert 0 <= padded_rows - rows < policy.multiple
    assert 0 <= padded_columns - columns < policy.multiple
    assert (prepared.pixels[rows:] == PAD).all()
    assert (prepared.pixels[:, columns:] == PAD).all()
    if not policy.antialias or (2 * rows > height and 2 * columns > width):
        expected = np.asarray(cv2.resize(image, (columns, rows)), np.uint8)
        np.testing.assert_array_equal(prepared.pixels[:rows, :columns], expected)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("size", [(480, 640), (960, 1280), (1080, 1920), (997, 1501), (2400, 3200)])
def test_shrinking_averages(size: tuple[int, int]) -> None:
    """As area averaging does, on something that looks like a picture."""
    image = cv2.resize(noise(12, 16), size[::-1], interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    image[::3, :, 0] //= 2
    prepared = prepare(image, ResizePolicy(mode="longer", size=320, max_size=None))
    rows, columns = prepared.valid_size
    expected = cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA)
    difference = np.abs(prepared.pixels[:rows, :columns].astype(int) - expected)
    assert difference.mean() < 3


def test_a_picture_that_was_read_at_a_reduced_size_is_prepared_as_the_whole_one() -> None:
    policy = ResizePolicy(mode="longer", size=160, max_size=None)
    reduced = prepare(noise(101, 151), policy, (403, 602))
    whole = prepare(noise(403, 602), policy)
    assert (reduced.valid_size, reduced.original_size) == (whole.valid_size, whole.original_size)
    assert reduced.pixels.shape == whole.pixels.shape
    assert needed_size((403, 602), policy) == whole.valid_size
    assert needed_size((403, 602), TORCHVISION_RESIZE) == (403, 602)


def test_antialias_averages_where_bilinear_picks() -> None:
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[::4] = 240
    averaged = prepare(stripes, ResizePolicy(mode="longer", size=32)).pixels
    picked = prepare(stripes, ResizePolicy(mode="longer", size=32, antialias=False)).pixels
    assert np.unique(averaged).tolist() == [60]
    assert np.unique(picked).tolist() == [0]


def test_nothing_is_copied_where_nothing_changes() -> None:
    image = noise(96, 128)
    prepared = prepare(image, ResizePolicy(mode="none"))
    assert prepared.pixels is image
    assert batch([prepared], PAD).base is image
    assert prepared.valid_size == prepared.original_size == (96, 128)


def test_a_view_is_prepared_as_its_copy() -> None:
    view = noise(96, 256)[::-1, ::2]
    for policy in (ResizePolicy(mode="none"), ResizePolicy(mode="longer", size=64)):
        prepared = prepare(view, policy)
        assert prepared.pixels.flags.c_contiguous
        np.testing.assert_array_equal(prepared.pixels, prepare(view.copy(), policy).pixels)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3)),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(image: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"uint8 array \[H, W, 3\]"):
        prepare(image, TORCHVISION_RESIZE)


def test_batch_pads_to_the_largest() -> None:
    sizes = [(64, 96), (128, 32), (100, 100)]
    prepared = [prepare(noise(*size), ResizePolicy(mode="none")) for size in sizes]
    images = batch(prepared, (1, 2, 3))
    assert images.shape == (3, 128, 128, 3)
    for image, item in zip(images, prepared, strict=True):
        rows, columns, _ = item.pixels.shape
        np.testing.assert_array_equal(image[:rows, :columns], item.pixels)
        assert (image[rows:] == (1, 2, 3)).all()
        assert (image[:, columns:] == (1, 2, 3)).all()
    with pytest.raises(ValueError, match="at least one"):
        batch([], PAD)


def prepared_of(original: tuple[int, int], policy: ResizePolicy) -> Prepared:
    """Return what `prepare` gives, without the pixels."""
    return Prepared(np.empty((0, 0, 3), np.uint8), resized_size(original, policy), original)


@given(height=sides, width=sides, policy=policies, corners=st.tuples(*[st.floats(0, 1)] * 4))
def test_boxes_return_to_where_they_came_from(
    height: int, width: int, policy: ResizePolicy, corners: tuple[float, float, float, float]
) -> None:
    prepared = prepared_of((height, width), policy)
    x1, x2, y1, y2 = corners
    boxes = np.array([[x1 * width, y1 * height, x2 * width, y2 * height]], np.float32)
    scaled_height, scaled_width = prepared.valid_size
    scales = np.array([scaled_width / width, scaled_height / height] * 2, np.float32)
    np.testing.assert_allclose(restore_boxes(boxes * scales, prepared), boxes, rtol=1e-5, atol=1e-3)


@given(height=sides, width=sides, policy=policies)
def test_restored_boxes_lie_within_the_picture(height: int, width: int, policy: ResizePolicy) -> None:
    prepared = prepared_of((height, width), policy)
    boxes = np.array([[-50, -50, 1e8, 1e8]], np.float32)
    restored = restore_boxes(boxes, prepared)
    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored, [[0, 0, width, height]], rtol=1e-6)
    assert (restored <= [width, height, width, height]).all()


def test_restored_boxes_are_torchvision_s() -> None:
    torch = pytest.importorskip("torch")
    transform = pytest.importorskip("torchvision.models.detection.transform")
    prepared = prepared_of((427, 640), TORCHVISION_RESIZE)
    points = np.random.default_rng(0).uniform(0, 800, (500, 2, 2)).astype(np.float32)
    boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
    theirs = transform.resize_boxes(torch.from_numpy(boxes), prepared.valid_size, prepared.original_size)
    np.testing.assert_array_equal(restore_boxes(boxes, prepared), theirs.numpy())


def test_boxes_are_clipped_and_may_be_none() -> None:
    boxes = np.array([[-1, -2, 30, 40], [5, 6, 7, 8]], np.float32)
    np.testing.assert_array_equal(clip_boxes(boxes, (20, 10)), [[0, 0, 10, 20], [5, 6, 7, 8]])
    none = restore_boxes(np.zeros((0, 4), np.float32), prepared_of((48, 64), TORCHVISION_RESIZE))
    assert none.shape == (0, 4)
