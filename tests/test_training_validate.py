"""Validation: a network that sees everything scores one, on the pictures that are asked for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from densewatch.data.coco_schema import load_instances
from densewatch.data.dataset import Dataset
from densewatch.data.read import read_dataset
from densewatch.imaging.read import read_image
from densewatch.imaging.resize import prepare
from densewatch.metadata import ResizePolicy
from densewatch.models.retinanet import DenseOutput, RetinaNet
from densewatch.training.sources import ValidationData
from densewatch.training.validate import validate
from drawn_scenes import DrawnScenes, draw_scenes

CPU = torch.device("cpu")
AS_IT_IS = ResizePolicy(mode="none")


class Oracle(nn.Module):
    """Answers with the labels of the picture that it sees, as anchors with no deltas."""

    def __init__(self, data: Dataset, resize: ResizePolicy, scale: float = 1, certain: float = 8.0) -> None:
        super().__init__()
        self.answers = {
            int(prepare(read_image(sample.path), resize).pixels.sum(dtype=np.int64)): sample
            for sample in data
        }
        self.scale = scale
        self.certain = certain
        self.num_classes = len(data.classes)
        self.inputs: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> DenseOutput:
        assert not self.training
        self.inputs.append(tuple(images.shape))
        sample = self.answers[int((images * 255).round().to(torch.int64).sum())]
        logits = torch.full((1, len(sample.boxes), self.num_classes), -20.0)
        logits[0, torch.arange(len(sample.boxes)), torch.from_numpy(sample.labels)] = self.certain
        anchors = torch.from_numpy(sample.boxes) * self.scale
        return DenseOutput([logits], [torch.zeros(1, len(anchors), 4)], [anchors])


@pytest.fixture
def scenes(tmp_path: Path) -> DrawnScenes:
    return draw_scenes(tmp_path, count=4, size=96, shapes=(3, 5))


def measured(scenes: DrawnScenes, data: Dataset) -> ValidationData:
    return ValidationData(data, load_instances(scenes.annotations))


@pytest.mark.parametrize(
    ("resize", "scale"),
    [(AS_IT_IS, 1), (ResizePolicy(mode="longer", size=192, max_size=None), 2)],
)
def test_a_perfect_network_scores_one(scenes: DrawnScenes, resize: ResizePolicy, scale: float) -> None:
    """Its boxes are in pixels of the scaled picture, so this fails unless they find the way back."""
    data = read_dataset(scenes.annotations)
    oracle = Oracle(data, resize, scale).train()
    metrics = validate(cast(RetinaNet, oracle), data.classes, measured(scenes, data), resize, CPU)
    assert oracle.inputs == [(1, 3, 96 * scale, 96 * scale)] * 4
    assert metrics["AP"] == pytest.approx(1)
    assert metrics["AP50"] == pytest.approx(1)
    assert metrics["APl"] is None
    assert oracle.training


def test_only_the_pictures_of_the_data_count(scenes: DrawnScenes) -> None:
    data = read_dataset(scenes.annotations)
    half = Dataset(data.samples[:2], data.classes)
    metrics = validate(
        cast(RetinaNet, Oracle(half, AS_IT_IS)), half.classes, measured(scenes, half), AS_IT_IS, CPU
    )
    assert metrics["AP"] == pytest.approx(1)


@pytest.mark.parametrize(("certain", "found"), [(-4.5, True), (-4.7, False)])
def test_scores_count_from_one_percent_on(scenes: DrawnScenes, certain: float, found: bool) -> None:
    """The logit of 0.01 is -4.595."""
    data = read_dataset(scenes.annotations)
    oracle = Oracle(data, AS_IT_IS, certain=certain)
    metrics = validate(cast(RetinaNet, oracle), data.classes, measured(scenes, data), AS_IT_IS, CPU)
    assert metrics["AP"] == pytest.approx(float(found))


def test_a_class_that_the_file_does_not_list_is_left_out(scenes: DrawnScenes) -> None:
    """The network knows a class more than the validation file, and sees it everywhere."""
    full = read_dataset(scenes.annotations)
    content = json.loads(scenes.annotations.read_text())
    gone = content["categories"].pop()["id"]
    content["annotations"] = [item for item in content["annotations"] if item["category_id"] != gone]
    scenes.annotations.write_text(json.dumps(content))
    oracle = cast(RetinaNet, Oracle(full, AS_IT_IS))
    data = measured(scenes, read_dataset(scenes.annotations))
    metrics = validate(oracle, full.classes, data, AS_IT_IS, CPU)
    assert metrics["AP"] == pytest.approx(1)


def test_classes_are_matched_by_name_whatever_their_ids(scenes: DrawnScenes) -> None:
    full = read_dataset(scenes.annotations)
    content = json.loads(scenes.annotations.read_text())
    new_id = {5: 23, 11: 0, 23: 5}
    for category in content["categories"]:
        category["id"] = new_id[category["id"]]
    for annotation in content["annotations"]:
        annotation["category_id"] = new_id[annotation["category_id"]]
    scenes.annotations.write_text(json.dumps(content))
    data = measured(scenes, read_dataset(scenes.annotations))
    metrics = validate(cast(RetinaNet, Oracle(full, AS_IT_IS)), full.classes, data, AS_IT_IS, CPU)
    assert metrics["AP"] == pytest.approx(1)
