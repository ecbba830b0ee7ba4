"""Measuring a network while it trains, on the same path that users' pictures take."""

from __future__ import annotations

from pathlib import Path

import torch

from densewatch.data.coco_schema import load_instances
from densewatch.data.dataset import Dataset
from densewatch.evaluation import evaluate_coco
from densewatch.evaluation.run import collect_results
from densewatch.metadata import ModelInfo, ResizePolicy
from densewatch.models.retinanet import RetinaNet
from densewatch.runtime.detector import Detector
from densewatch.torch_engine.engine import TorchEngine


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
    was_training = network.training
    network.eval()
    try:
        # A batch of one: the memory of a GPU is full of what training needs.
        detector = Detector(info, TorchEngine(network, device), batch=1)
        results = collect_results(detector, data, data.samples)
    finally:
        network.train(was_training)
    listed = {category.id for category in load_instances(annotations).categories}
    found = [result for result in results if result["category_id"] in listed]
    return dict(evaluate_coco(annotations, found, image_ids=[sample.image_id for sample in data]).numbers)
