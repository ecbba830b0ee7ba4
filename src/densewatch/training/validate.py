"""Measuring a network while it trains, on the same path that users' pictures take."""

from __future__ import annotations

import torch

from densewatch.evaluation import evaluate_coco
from densewatch.evaluation.run import collect_results
from densewatch.metadata import ClassInfo, ModelInfo, ResizePolicy
from densewatch.models.retinanet import RetinaNet
from densewatch.runtime.detector import Detector
from densewatch.torch_engine.engine import TorchEngine
from densewatch.training.sources import ValidationData


def validate(
    network: RetinaNet,
    classes: tuple[ClassInfo, ...],
    data: ValidationData,
    resize: ResizePolicy,
    device: torch.device,
) -> dict[str, float | None]:
    """Return the twelve COCO numbers of a network, by name; it is left in the mode that it came in.

    Pictures are read, scaled, and sorted out exactly as `densewatch evaluate` does it, one after the other.

    Args:
        network: on `device`.
        classes: that it knows; those of `data` are matched by name.
        data: the pictures to measure on.
        resize: how pictures are prepared.
        device: where the network runs.

    Raises:
        DataError: the labels cannot be used.
        ImageError: a picture cannot be read.
    """
    info = ModelInfo(name="in training", family="retinanet", classes=classes, resize=resize)
    was_training = network.training
    network.eval()
    try:
        # A batch of one: the memory of a GPU is full of what training needs.
        detector = Detector(info, TorchEngine(network, device), batch=1)
        results = collect_results(detector, data.data, data.data.samples)
    finally:
        network.train(was_training)
    image_ids = [sample.image_id for sample in data.data]
    return dict(evaluate_coco(data.content, results, image_ids=image_ids).numbers)
