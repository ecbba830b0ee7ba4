"""Parity: torchvision's RetinaNets, imported, compute what they computed before.

The published weights cannot be shipped. Networks with seeded random weights stand in for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.models.detection import RetinaNet as TorchvisionRetinaNet
from torchvision.models.detection import RetinaNet_ResNet50_FPN_Weights
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from densewatch.detections import Detections
from densewatch.export.foreign_import import import_network
from densewatch.imaging.read import read_image
from densewatch.imaging.resize import Prepared, batch, prepare
from densewatch.metadata import TORCHVISION_RESIZE, LevelInfo, ModelInfo, ResizePolicy
from densewatch.models.candidates import select_candidates
from densewatch.models.retinanet import DenseOutput, RetinaNet
from densewatch.runtime.candidates import TORCHVISION_LIMITS, Filter, to_detections
from torchvision_networks import V1, V2, random_network

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = [ROOT / "src" / "densewatch" / "assets" / name for name in ("astronaut.jpg", "coffee.jpg")]
VAL = [
    ROOT.parent / "shared" / "data" / "everyday" / "val" / f"coco-{number:012}.jpg" for number in (1503, 2006)
]
STAND_INS = [ROOT / "tests" / "photos" / name for name in ("chelsea.jpg", "rocket.jpg")]
PHOTOS = [*EXAMPLES, *(VAL if all(photo.is_file() for photo in VAL) else STAND_INS)]
# Sides become such as 192 × 288 and 416 × 448: multiples of 32, but not of 128.
ODD_SIDES_PX = (190, 290, 400)
COCO_NAMES: list[str] = RetinaNet_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
AS_TORCHVISION = Filter(threshold=0.05, iou=0.5, limits=TORCHVISION_LIMITS)


@dataclass(frozen=True)
class TheirOutput:
    """What torchvision's network says of N pictures: all levels in a row, `[N, A, 91]` and `[N, A, 4]`."""

    cls_logits: Tensor
    bbox_deltas: Tensor
    anchors: list[Tensor]
    detections: list[dict[str, Tensor]]


@dataclass(frozen=True)
class Pair:
    """One architecture: torchvision's network, and ours with its weights."""

    theirs: TorchvisionRetinaNet
    ours: RetinaNet
    info: ModelInfo


@pytest.fixture(scope="module", params=[pytest.param(V1, marks=pytest.mark.slow), V2])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    architecture: str = request.param
    theirs = random_network(architecture)
    path = tmp_path_factory.mktemp("weights") / f"{architecture}.pth"
    torch.save(theirs.state_dict(), path)
    ours, info, _ = import_network(path)
    path.unlink()
    per_cell, strides = ours.config.anchors.per_cell, ours.config.pyramid.strides
    levels = tuple(LevelInfo(stride=stride, anchors_per_cell=per_cell, topk=1000) for stride in strides)
    return Pair(theirs, ours, info.model_copy(update={"levels": levels}))


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def at_side(side_px: int) -> ResizePolicy:
    """Return torchvision's policy with another shorter side."""
    return TORCHVISION_RESIZE.model_copy(update={"size": side_px})


def as_input(prepared: Sequence[Prepared]) -> Tensor:
    """Return padded pictures as one `[N, 3, H, W]`, 0 to 1."""
    pixels = batch(prepared, TORCHVISION_RESIZE.pad_value)
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def run_theirs(
    network: TorchvisionRetinaNet, images: ImageList, original_sizes: list[tuple[int, int]]
) -> TheirOutput:
    """Do what torchvision's `forward` does with normalised, padded pictures, and keep what is in between."""
    features = list(network.backbone(images.tensors).values())
    head = network.head(features)
    counts = [feature.shape[2] * feature.shape[3] * 9 for feature in features]
    anchors = [list(torch.split(one, counts)) for one in network.anchor_generator(images, features)]
    levels = {name: list(torch.split(values, counts, dim=1)) for name, values in head.items()}
    found = network.postprocess_detections(levels, anchors, images.image_sizes)
    return TheirOutput(
        cls_logits=head["cls_logits"],
        bbox_deltas=head["bbox_regression"],
        anchors=anchors[0],
        detections=network.transform.postprocess(found, images.image_sizes, original_sizes),
    )


def largest_errors(ours: DenseOutput, theirs: TheirOutput, info: ModelInfo) -> tuple[float, float]:
    """Return the largest difference of a logit of the 80 classes, and of a delta."""
    logits = torch.cat(ours.cls_logits, dim=1) - theirs.cls_logits[..., list(info.category_ids)]
    deltas = torch.cat(ours.bbox_deltas, dim=1) - theirs.bbox_deltas
    return float(logits.abs().max()), float(deltas.abs().max())


def our_detections(output: DenseOutput, prepared: Sequence[Prepared], info: ModelInfo) -> list[Detections]:
    boxes, scores = (values.numpy() for values in select_candidates(output, topk=1000))
    size = as_input(prepared).shape[2:]
    return [
        to_detections(boxes[index], scores[index], one, info, AS_TORCHVISION, input_size=(size[0], size[1]))
        for index, one in enumerate(prepared)
    ]


def counterparts(
    ours: Detections, theirs: dict[str, Tensor], box_error_px: float, score_error: float
) -> list[set[int]]:
    """Return for each of their detections which of ours have its name, and its box and score so closely."""
    names = np.array([ours.names[label] for label in ours.labels])
    return [
        set(
            np.flatnonzero(
                (names == COCO_NAMES[label])
                & (np.abs(ours.boxes - box).max(axis=1, initial=0) < box_error_px)
                & (np.abs(ours.scores - score) < score_error)
            ).tolist()
        )
        for box, score, label in zip(
            *(theirs[key].numpy() for key in ("boxes", "scores", "labels")), strict=True
        )
    ]


def check_parity(pair: Pair, photos: Sequence[Path], policy: ResizePolicy) -> None:
    prepared = [prepare(read_image(photo), policy) for photo in photos]
    images = as_input(prepared)
    assert all(side % 32 == 0 for side in images.shape[2:])
    normalised = ImageList((images - pair.ours.mean) / pair.ours.std, [one.valid_size for one in prepared])
    theirs = run_theirs(pair.theirs, normalised, [one.original_size for one in prepared])
    output = pair.ours(images)
    for our_anchors, their_anchors in zip(output.anchors, theirs.anchors, strict=True):
        assert torch.equal(our_anchors, their_anchors)
    assert max(largest_errors(output, theirs, pair.info)) < 1e-4
    for ours, detections in zip(our_detections(output, prepared, pair.info), theirs.detections, strict=True):
        assert len(ours) == len(detections["boxes"]) > 5
        matches = counterparts(ours, detections, box_error_px=0.05, score_error=1e-4)
        assert all(matches)
        assert set.union(*matches) == set(range(len(ours)))


@pytest.mark.parametrize("side_px", ODD_SIDES_PX)
@pytest.mark.parametrize("photo", PHOTOS, ids=lambda photo: photo.stem)
def test_at_odd_sizes(pair: Pair, photo: Path, side_px: int) -> None:
    check_parity(pair, [photo], at_side(side_px))


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda photo: photo.stem)
def test_at_800_1333(pair: Pair, photo: Path) -> None:
    check_parity(pair, [photo], TORCHVISION_RESIZE)


def test_in_a_batch_whose_padding_moves_the_anchors(pair: Pair) -> None:
    check_parity(pair, EXAMPLES, at_side(190))


def test_odd_sizes_are_odd() -> None:
    sides = [
        side
        for photo in EXAMPLES
        for side_px in ODD_SIDES_PX
        for side in prepare(read_image(photo), at_side(side_px)).pixels.shape[:2]
    ]
    assert sum(side % 128 != 0 for side in sides) > len(sides) / 2


@pytest.mark.parametrize("side_px", [290, 800])
@pytest.mark.parametrize("photo", PHOTOS, ids=lambda photo: photo.stem)
def test_our_uint8_preparation_is_close_to_torchvisions_float_one(photo: Path, side_px: int) -> None:
    # Both resize without antialias, but ours computes with 11 bits and rounds to whole grey levels. Measured:
    # 0.26 on average, 0.77 at most. Shrinking the astronaut to 290 px with antialias differs by 1.18 and 54.
    image = read_image(photo)
    prepared = prepare(image, at_side(side_px))
    height, width = prepared.valid_size
    transform = GeneralizedRCNNTransform(side_px, 1333, image_mean=[0.0] * 3, image_std=[1 / 255] * 3)
    theirs, _ = transform([torch.from_numpy(image).permute(2, 0, 1) / 255])
    assert theirs.image_sizes == [(height, width)]
    assert theirs.tensors.shape[2:] == prepared.pixels.shape[:2]
    grey_levels = theirs.tensors[0, :, :height, :width].permute(1, 2, 0).numpy()
    difference = np.abs(prepared.pixels[:height, :width] - grey_levels)
    assert difference.mean() < 0.3
    assert difference.max() < 1


def test_from_photo_to_detections_the_preparation_changes_little(pair: Pair) -> None:
    # Measured on four photos at 800/1333: logits differ by 0.015 at most, deltas by 0.0016, and 95 to 100 %
    # of detections have a counterpart; the others met the limits of 1000 and 300, or lay near a threshold.
    image = read_image(EXAMPLES[1])
    prepared = prepare(image, TORCHVISION_RESIZE)
    images, _ = pair.theirs.transform([torch.from_numpy(image).permute(2, 0, 1) / 255])
    theirs = run_theirs(pair.theirs, images, [prepared.original_size])
    output = pair.ours(as_input([prepared]))
    logit_error, delta_error = largest_errors(output, theirs, pair.info)
    assert logit_error < 0.03
    assert delta_error < 0.005
    (ours,) = our_detections(output, [prepared], pair.info)
    matches = counterparts(ours, theirs.detections[0], box_error_px=0.5, score_error=0.005)
    assert np.mean([bool(found) for found in matches]) > 0.9
