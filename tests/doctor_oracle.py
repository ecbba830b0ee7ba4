"""An oracle: a detector that knows the labels, and is limited by its anchors, NMS and limits alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.ops import box_iou

from densewatch.detections import Detections
from densewatch.doctor.crowding import best_survivors
from densewatch.evaluation import evaluate_coco
from densewatch.imaging.resize import prepare
from densewatch.metadata import ClassInfo, LevelInfo, ModelInfo, ResizePolicy
from densewatch.models.anchors import Anchors
from densewatch.models.box_coding import encode_boxes
from densewatch.models.candidates import select_candidates
from densewatch.models.config import RetinaNetConfig
from densewatch.models.matching import match_anchors
from densewatch.models.retinanet import DenseOutput
from densewatch.runtime.candidates import Filter, to_detections

NOTHING, OTHER, SECOND, FIRST = -12.0, 2.0, 3.0, 4.0
"""Logits: of anchors that learn nothing, that learn an object that NMS must delete, that learn an object that
may stay, and the one of these that fits it best."""


TOPK = 2000


class Oracle:
    """Sees labels through the anchors, box coding, candidates and NMS of the project."""

    def __init__(
        self,
        config: RetinaNetConfig,
        policy: ResizePolicy,
        *,
        low_quality: bool,
        iou: float,
        knows_best: bool = True,
    ) -> None:
        self.config, self.low_quality, self.iou = config, low_quality, iou
        self.knows_best = knows_best  # which objects NMS should let stay; else all score alike
        self.info = ModelInfo(
            name="oracle",
            family="retinanet",
            classes=tuple(ClassInfo(name=f"c{i}", id=i + 1) for i in range(config.num_classes)),
            levels=tuple(
                LevelInfo(stride=stride, anchors_per_cell=config.anchors.per_cell, topk=TOPK)
                for stride in config.pyramid.strides
            ),
            resize=policy,
        )

    def detect(
        self, size: tuple[int, int], boxes: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
    ) -> Detections:
        """Find the objects of one picture of `size`; `boxes` are in its pixels."""
        prepared = prepare(np.zeros((*size, 3), np.uint8), self.info.resize)
        ratio_y, ratio_x = np.divide(prepared.valid_size, prepared.original_size)
        truth = torch.from_numpy((boxes * [ratio_x, ratio_y, ratio_x, ratio_y]).astype(np.float32))
        height, width = prepared.pixels.shape[:2]
        grids = [(-(-height // stride), -(-width // stride)) for stride in self.config.pyramid.strides]
        anchors = Anchors(self.config.anchors, self.config.pyramid.strides)((height, width), grids)
        logits, deltas = self._say(torch.cat(anchors), truth, torch.from_numpy(labels))
        counts = [len(level) for level in anchors]
        output = DenseOutput(
            [part[None] for part in torch.split(logits, counts)],
            [part[None] for part in torch.split(deltas, counts)],
            anchors,
        )
        candidates, scores = select_candidates(output, TOPK)
        wanted = Filter(threshold=0.05, iou=self.iou)
        return to_detections(candidates[0].numpy(), scores[0].numpy(), prepared, self.info, wanted)

    def _say(self, anchors: Tensor, truth: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits `[A, C]` and deltas `[A, 4]`: the box of its object for every matched anchor."""
        loss = self.config.loss
        iou = box_iou(truth, anchors)
        matched_idxs = match_anchors(iou, loss.foreground_iou, loss.background_iou, self.low_quality)
        logits = torch.full((len(anchors), self.config.num_classes), NOTHING)
        deltas = torch.zeros(len(anchors), 4)
        foreground = torch.nonzero(matched_idxs >= 0).squeeze(1)
        objects = matched_idxs[foreground]
        deltas[foreground] = encode_boxes(truth[objects], anchors[foreground])
        seen = torch.unique(objects)
        stays = torch.zeros(len(truth), dtype=torch.bool)
        if self.knows_best:
            stays[seen] = torch.from_numpy(
                best_survivors(truth[seen].numpy(), labels[seen].numpy(), self.iou)
            )
        logits[foreground, labels[objects]] = torch.where(stays[objects], SECOND, OTHER)
        for item in seen.tolist():
            own = torch.where(matched_idxs == item, iou[item], -1.0)
            if stays[item]:
                logits[own.argmax(), labels[item]] = FIRST
        return logits, deltas


def oracle_ar(oracle: Oracle, content: dict[str, Any], max_detections: int) -> float:
    """Return the AR, over IoU 0.50:0.95, that COCO's evaluator gives the oracle."""
    results = []
    for image in content["images"]:
        own = [item for item in content["annotations"] if item["image_id"] == image["id"]]
        xywh = np.array([item["bbox"] for item in own], np.float32).reshape(-1, 4)
        boxes = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        labels = np.array([item["category_id"] - 1 for item in own], np.int64)
        found = oracle.detect((image["height"], image["width"]), boxes, labels)
        results += found.to_coco(image["id"], oracle.info.category_ids)
    metrics = evaluate_coco(content, results, max_detections=(1, 10, max_detections))
    ar = metrics[f"AR{max_detections}"]
    assert ar is not None
    return ar
