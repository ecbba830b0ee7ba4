"""With torchvision's limits, candidates become exactly what torchvision makes of the same network outputs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.retinanet import RetinaNet

from densewatch.imaging.resize import Prepared
from densewatch.metadata import ClassInfo, LevelInfo, ModelInfo
from densewatch.runtime.candidates import TORCHVISION_LIMITS, Filter, to_detections

SIZE_PX, VALID = 256, (256, 200)
STRIDES, ANCHORS_PER_CELL, CLASSES = (8, 16, 32, 64, 128), 9, 5
CODER = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
INFO = ModelInfo(
    name="random",
    family="retinanet",
    classes=tuple(ClassInfo(name=f"class {i}", id=i) for i in range(CLASSES)),
    levels=tuple(LevelInfo(stride=s, anchors_per_cell=ANCHORS_PER_CELL, topk=1000) for s in STRIDES),
)


def random_outputs(seed: int, mean_logit: float) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Return, level by level, logits [A, C], box deltas [A, 4] and anchors [A, 4]."""
    generator = torch.Generator().manual_seed(seed)
    levels = []
    for stride in STRIDES:
        count = (SIZE_PX // stride) ** 2 * ANCHORS_PER_CELL
        centres = torch.rand(count, 2, generator=generator) * SIZE_PX
        sides = stride * (2 + 4 * torch.rand(count, 2, generator=generator))
        logits = torch.randn(count, CLASSES, generator=generator) * 1.5 + mean_logit
        deltas = torch.randn(count, 4, generator=generator) * 0.2
        levels.append((logits, deltas, torch.cat([centres - sides / 2, centres + sides / 2], dim=1)))
    logits_of, deltas_of, anchors_of = (list(values) for values in zip(*levels, strict=True))
    return logits_of, deltas_of, anchors_of


def torchvision_detections(
    logits: list[Tensor], deltas: list[Tensor], anchors: list[Tensor]
) -> dict[str, Tensor]:
    settings = SimpleNamespace(
        score_thresh=0.05, nms_thresh=0.5, topk_candidates=1000, detections_per_img=300, box_coder=CODER
    )
    outputs = {"cls_logits": [one[None] for one in logits], "bbox_regression": [one[None] for one in deltas]}
    found: list[dict[str, Tensor]] = RetinaNet.postprocess_detections(settings, outputs, [anchors], [VALID])
    return found[0]


def candidates(logits: list[Tensor], deltas: list[Tensor], anchors: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Return boxes [K, 4] and scores [K, C] as a model file gives them."""
    boxes, scores = [], []
    for cls_logits, bbox_deltas, level_anchors in zip(logits, deltas, anchors, strict=True):
        best = cls_logits.amax(dim=1).topk(min(1000, len(cls_logits))).indices
        boxes.append(CODER.decode_single(bbox_deltas[best], level_anchors[best]))
        scores.append(cls_logits[best].sigmoid())
    return torch.cat(boxes), torch.cat(scores)


@pytest.mark.parametrize(
    ("mean_logit", "saturated"),
    [
        (-7.5, False),
        (-6.0, True),
        (-3.0, True),
    ],  # few objects; more than 300; more than 1000 pairs a level too
)
@pytest.mark.parametrize("seed", range(3))
def test_detections_are_torchvisions(seed: int, mean_logit: float, saturated: bool) -> None:
    outputs = random_outputs(seed, mean_logit)
    theirs = torchvision_detections(*outputs)
    boxes, scores = candidates(*outputs)
    prepared = Prepared(np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8), VALID, VALID)
    wanted = Filter(threshold=0.05, iou=0.5, limits=TORCHVISION_LIMITS)
    ours = to_detections(boxes.numpy(), scores.numpy(), prepared, INFO, wanted)
    assert len(ours) > 5
    assert ours.saturated is saturated
    assert np.array_equal(ours.scores, theirs["scores"].numpy())
    assert np.array_equal(ours.labels, theirs["labels"].numpy())
    assert np.array_equal(ours.boxes, theirs["boxes"].numpy())
