"""Parity: torchvision's RetinaNets, imported, compute what they computed before.

The published weights cannot be shipped, so networks with seeded random weights stand in for them, scaled so that
some hundred objects pass the threshold. V1 is built as its published weights are run: with frozen batch norms
whose epsilon is 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet50
from torchvision.models.detection import RetinaNet as TorchvisionRetinaNet
from torchvision.models.detection import RetinaNet_ResNet50_FPN_Weights, retinanet_resnet50_fpn_v2
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.models.detection.image_list import ImageList
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.ops.misc import FrozenBatchNorm2d

from densewatch.detections import Detections
from densewatch.export.torchvision_import import coco_classes, torchvision_network
from densewatch.imaging.read import read_image
from densewatch.imaging.resize import Prepared, prepare
from densewatch.metadata import TORCHVISION_RESIZE, LevelInfo, ModelInfo, ResizePolicy
from densewatch.models.candidates import select_candidates
from densewatch.models.retinanet import STRIDES, DenseOutput, RetinaNet
from densewatch.runtime.candidates import TORCHVISION_LIMITS, Filter, to_detections

V1, V2 = "retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2"
ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = [ROOT / "examples" / name for name in ("astronaut.jpg", "coffee.jpg")]
VAL = [
    ROOT.parent / "shared" / "data" / "everyday" / "val" / f"coco-{number:012}.jpg"
    for number in (785, 1503, 2006, 2149)
]
# Sides become such as 192 × 288 and 416 × 448: multiples of 32, but not of 128.
ODD_SIDES_PX = (190, 290, 400)
COCO_NAMES: list[str] = RetinaNet_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
AS_TORCHVISION = Filter(threshold=0.05, iou=0.5, limits=TORCHVISION_LIMITS)


def build_v1() -> TorchvisionRetinaNet:
    """Return V1 as torchvision builds it for its published weights."""
    body = resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
    backbone = _resnet_fpn_extractor(body, 5, returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256))
    network = TorchvisionRetinaNet(backbone, 91)
    overwrite_eps(network, 0.0)
    return network


def randomise(network: TorchvisionRetinaNet) -> None:
    """Give norms a function of their own, and the head enough strength to find objects."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.BatchNorm2d | FrozenBatchNorm2d):
            # The last norm of a residual block is weak, as after training, or else the sum would explode.
            strength = 0.3 if name.endswith("bn3") else 1.0
            layer.weight.data.uniform_(0.5 * strength, 1.5 * strength)
            layer.bias.data.normal_(0, 0.1)
            layer.running_mean.normal_(0, 0.2)
            layer.running_var.uniform_(0.5, 1.5)
    for tower in (network.head.classification_head.conv, network.head.regression_head.conv):
        for layer in tower.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.normal_(network.head.regression_head.bbox_reg.weight, std=0.004)
    cls_logits = network.head.classification_head.cls_logits
    nn.init.normal_(cls_logits.weight, std=0.03)
    nn.init.constant_(cls_logits.bias, -6.0)
    # 11 of the 91 outputs belong to no class. Training has taught them never to fire.
    unused = sorted(set(range(91)) - {item.id for item in coco_classes(V1)})
    cls_logits.bias.data.view(9, 91)[:, unused] = -20
    cls_logits.weight.data.view(9, 91, -1)[:, unused] = 0


@dataclass(frozen=True)
class TheirOutput:
    """What torchvision's network says of one picture: all levels in a row, `[1, A, 91]` and `[1, A, 4]`."""

    cls_logits: Tensor
    bbox_deltas: Tensor
    anchors: list[Tensor]
    detections: dict[str, Tensor]


@dataclass(frozen=True)
class Pair:
    """One architecture: torchvision's network, and ours with its weights."""

    theirs: TorchvisionRetinaNet
    ours: RetinaNet
    info: ModelInfo


@pytest.fixture(scope="module", params=[V1, V2])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    architecture: str = request.param
    torch.manual_seed(0)
    theirs = (
        build_v1() if architecture == V1 else retinanet_resnet50_fpn_v2(weights=None, weights_backbone=None)
    )
    randomise(theirs)
    path = tmp_path_factory.mktemp("weights") / f"{architecture}.pth"
    torch.save(theirs.state_dict(), path)
    ours, info = torchvision_network(architecture, path)
    path.unlink()
    per_cell = ours.config.anchors.per_cell
    levels = tuple(LevelInfo(stride=stride, anchors_per_cell=per_cell, topk=1000) for stride in STRIDES)
    with torch.inference_mode():
        yield Pair(theirs.eval(), ours, info.model_copy(update={"levels": levels}))


def read(photo: Path) -> npt.NDArray[np.uint8]:
    if not photo.is_file():
        pytest.skip(f"needs {photo.relative_to(ROOT.parent)}, the data beside the project")
    return read_image(photo)


def as_input(prepared: Prepared) -> Tensor:
    """Return the padded picture as `[1, 3, H, W]`, 0 to 1."""
    return torch.from_numpy(prepared.pixels).permute(2, 0, 1)[None].float() / 255


def run_theirs(
    network: TorchvisionRetinaNet, images: ImageList, original_size: tuple[int, int]
) -> TheirOutput:
    """Do what torchvision's `forward` does with a normalised, padded picture, and keep what is in between."""
    features = list(network.backbone(images.tensors).values())
    head = network.head(features)
    counts = [feature.shape[2] * feature.shape[3] * 9 for feature in features]
    anchors = [list(torch.split(one, counts)) for one in network.anchor_generator(images, features)]
    levels = {name: list(torch.split(values, counts, dim=1)) for name, values in head.items()}
    found = network.postprocess_detections(levels, anchors, images.image_sizes)
    (detections,) = network.transform.postprocess(found, images.image_sizes, [original_size])
    return TheirOutput(head["cls_logits"], head["bbox_regression"], anchors[0], detections)


def compare_outputs(ours: DenseOutput, theirs: TheirOutput, ids: list[int]) -> tuple[float, float]:
    """Return the largest difference of a logit and of a delta."""
    logits, deltas = torch.cat(ours.cls_logits, dim=1), torch.cat(ours.bbox_deltas, dim=1)
    return (
        float((logits - theirs.cls_logits[..., ids]).abs().max()),
        float((deltas - theirs.bbox_deltas).abs().max()),
    )


def our_detections(output: DenseOutput, prepared: Prepared, info: ModelInfo) -> Detections:
    boxes, scores = select_candidates(output, topk=1000)
    return to_detections(boxes[0].numpy(), scores[0].numpy(), prepared, info, AS_TORCHVISION)


def assert_same_detections(ours: Detections, theirs: dict[str, Tensor]) -> None:
    """Check that each of theirs is exactly one of ours: its name, its box, its score."""
    assert len(ours) == len(theirs["boxes"])
    names = np.array([ours.names[label] for label in ours.labels])
    found = set()
    for box, score, label in zip(
        *(theirs[key].numpy() for key in ("boxes", "scores", "labels")), strict=True
    ):
        same = np.flatnonzero(
            (names == COCO_NAMES[label])
            & (np.abs(ours.boxes - box).max(axis=1) < 0.05)
            & (np.abs(ours.scores - score) < 1e-4)
        )
        assert len(same) >= 1, f"no {COCO_NAMES[label]} of score {score:.4f} at {box.round(2)}"
        found.update(same.tolist())
    assert len(found) == len(ours)


def check_parity(pair: Pair, photo: Path, policy: ResizePolicy) -> None:
    prepared = prepare(read(photo), policy)
    assert all(side % 32 == 0 for side in prepared.pixels.shape[:2])
    images = as_input(prepared)
    normalised = ImageList((images - pair.ours.mean) / pair.ours.std, [prepared.valid_size])
    theirs = run_theirs(pair.theirs, normalised, prepared.original_size)
    output = pair.ours(images)
    for level, anchors in zip(output.anchors, theirs.anchors, strict=True):
        assert torch.equal(level, anchors)
    logit_error, delta_error = compare_outputs(output, theirs, list(pair.info.category_ids))
    assert logit_error < 1e-4
    assert delta_error < 1e-4
    ours = our_detections(output, prepared, pair.info)
    assert len(ours) > 5
    assert_same_detections(ours, theirs.detections)


@pytest.mark.parametrize("side_px", ODD_SIDES_PX)
@pytest.mark.parametrize("photo", [*EXAMPLES, *VAL], ids=lambda photo: photo.stem)
def test_at_odd_sizes(pair: Pair, photo: Path, side_px: int) -> None:
    check_parity(pair, photo, TORCHVISION_RESIZE.model_copy(update={"size": side_px}))


@pytest.mark.parametrize("photo", [*EXAMPLES, *VAL], ids=lambda photo: photo.stem)
def test_at_800_1333(pair: Pair, photo: Path) -> None:
    check_parity(pair, photo, TORCHVISION_RESIZE)


def test_odd_sizes_are_odd() -> None:
    sides = [
        side
        for photo in EXAMPLES
        for side_px in ODD_SIDES_PX
        for side in prepare(
            read(photo), TORCHVISION_RESIZE.model_copy(update={"size": side_px})
        ).pixels.shape[:2]
    ]
    assert all(side % 32 == 0 for side in sides)
    assert sum(side % 128 != 0 for side in sides) > len(sides) / 2
