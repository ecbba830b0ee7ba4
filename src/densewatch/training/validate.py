"""Measuring a network while it trains, on the same path that users' pictures take."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from densewatch.data.coco_schema import load_instances
from densewatch.data.dataset import Dataset, Sample
from densewatch.detections import Detections
from densewatch.evaluation import evaluate_coco
from densewatch.imaging.read import read_image
from densewatch.imaging.resize import prepare
from densewatch.metadata import ModelInfo, ResizePolicy
from densewatch.models.candidates import CandidateNet
from densewatch.models.retinanet import RetinaNet
from densewatch.runtime.candidates import Filter, to_detections

_LOWEST_SCORE = 0.01  # AP looks at the whole range of scores


def validate(
    network: RetinaNet, data: Dataset, annotations: Path, resize: ResizePolicy, device: torch.device
) -> dict[str, float | None]:
    """Return the twelve COCO numbers of a network, by name; it is left in the mode that it came in.

    Pictures are read, scaled, and sorted out exactly as `densewatch evaluate` does it, one after the other.

    Args:
        network: with the classes of `data`, on `device`.
        data: the pictures to measure on.
        annotations: the COCO instances file that `data` was read from.
        resize: how pictures are prepared.
        device: where the network runs.

    Raises:
        DataError: the annotations cannot be used.
        ImageError: a picture cannot be read.
    """
    info = ModelInfo(name="in training", family="retinanet", classes=data.classes, resize=resize)
    listed = {category.id for category in load_instances(annotations).categories}
    labels = [label for label, category_id in enumerate(data.category_ids) if category_id in listed]
    wanted = Filter(threshold=_LOWEST_SCORE, iou=info.iou, labels=labels)
    was_training = network.training
    candidate_net = CandidateNet(network).eval()
    try:
        results = [
            record
            for sample in data
            for record in _detect(candidate_net, sample, info, wanted, device).to_coco(
                sample.image_id, data.category_ids
            )
        ]
    finally:
        network.train(was_training)
    metrics = evaluate_coco(annotations, results, image_ids=[sample.image_id for sample in data])
    return dict(metrics.numbers)


@torch.inference_mode()
def _detect(
    candidate_net: nn.Module, sample: Sample, info: ModelInfo, wanted: Filter, device: torch.device
) -> Detections:
    prepared = prepare(read_image(sample.path), info.resize)
    boxes, scores = candidate_net(torch.from_numpy(prepared.pixels)[None].to(device))
    return to_detections(boxes[0].cpu().numpy(), scores[0].cpu().numpy(), prepared, info, wanted)
