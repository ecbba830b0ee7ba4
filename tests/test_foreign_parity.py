"""Parity: RetinaNets of detectron2 and mmdetection, imported, compute what they computed before.

Published weights cannot be shipped. Random ones under the published names stand in for them, and forward
passes that are written from the published configurations stand in for the toolkits.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from densewatch.models.box_coding import decode_boxes
from densewatch.models.foreign.conversion import Style
from densewatch.models.foreign.convert import Imported, import_weights
from densewatch.models.retinanet import DenseOutput, RetinaNet
from foreign_networks import (
    NAMES,
    Answer,
    State,
    detectron2_answer,
    detectron2_state,
    mmdetection_answer,
    mmdetection_state,
    picture,
)

MAX_ERROR = 1e-4
FLOAT32_STEP = 2.0**-23
CONFIG = """
img_norm_cfg = dict(mean={mean}, std={std}, to_rgb={to_rgb})
model = dict(
    type='RetinaNet',
    backbone=dict(type='{kind}', depth={depth}, frozen_stages=1, style='{style}'),
    neck=dict(type='FPN', out_channels=256, start_level=1, add_extra_convs='on_input', num_outs=5),
    bbox_head=dict(
        type='RetinaHead',
        anchor_generator=dict(
            type='AnchorGenerator',
            octave_base_scale=4,
            scales_per_octave=3,
            ratios=[0.5, 1.0, 2.0],
            strides=[8, 16, 32, 64, 128]),
        bbox_coder=dict(
            type='DeltaXYWHBBoxCoder', target_means=[0.0, 0.0, 0.0, 0.0], target_stds={stds})))
work_dir = './work_dirs/' + 'retinanet'
"""


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("names") / "names.txt"
    path.write_text("\n".join(NAMES))
    return str(path)


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def write_pickle(state: State, path: Path) -> Path:
    """Write weights as detectron2's model zoo does."""
    content = {
        "model": {name: value.numpy() for name, value in state.items()},
        "__author__": "Detectron2 Model Zoo",
    }
    with path.open("wb") as stream:
        pickle.dump(content, stream, protocol=4)
    return path


def write_mmdetection(state: State, path: Path, style: str, **settings: Any) -> Path:
    """Write weights as mmdetection does, with its settings and class names."""
    values = {
        "kind": "ResNet",
        "depth": 50,
        "style": "caffe" if style == "caffe" else "pytorch",
        "mean": [123.675, 116.28, 103.53] if style == "pytorch" else [103.53, 116.28, 123.675],
        "std": [1.0, 1.0, 1.0] if style == "caffe" else [58.395, 57.12, 57.375],
        "to_rgb": style == "pytorch",
        "stds": [1.0, 1.0, 1.0, 1.0],
        **settings,
    }
    meta = {"mmdet_version": "2.25.0", "config": CONFIG.format(**values), "CLASSES": NAMES, "epoch": 12}
    torch.save({"meta": meta, "state_dict": state, "optimizer": {"lr": 0.01}}, path)
    return path


def run(network: RetinaNet, image: Tensor) -> DenseOutput:
    """Compute in double precision: what is compared are functions, not the last digits of float32."""
    network.double()
    backbone = network.config.backbone
    network.mean = torch.tensor(backbone.mean, dtype=torch.float64).view(3, 1, 1)
    network.std = torch.tensor(backbone.std, dtype=torch.float64).view(3, 1, 1)
    output: DenseOutput = network(image.permute(2, 0, 1)[None].double() / 255)
    return output


def check(imported: Imported, expected: Answer, image: Tensor) -> None:
    output = run(imported.network, image)
    logits, deltas = torch.cat(output.cls_logits, dim=1)[0], torch.cat(output.bbox_deltas, dim=1)[0]
    anchors = torch.cat(output.anchors)
    assert expected.cls_logits.std() > 0.2  # what is compared is no constant
    assert expected.bbox_deltas.std() > 0.05
    for ours, theirs in (
        (logits, expected.cls_logits),
        (deltas, expected.bbox_deltas),
        (anchors, expected.anchors),
        (decode_boxes(deltas, anchors), expected.boxes),
    ):
        # Our anchors are float32, so boxes of thousands of pixels differ in its last digits.
        torch.testing.assert_close(ours, theirs, atol=MAX_ERROR, rtol=FLOAT32_STEP)


def test_detectron2_as_in_its_model_zoo(tmp_path: Path, names: str) -> None:
    state, image = detectron2_state("resnet50"), picture()
    path = write_pickle(state, tmp_path / "model_final.pkl")
    imported = import_weights(path, names=names)
    path.unlink()
    assert imported.converted.toolkit == "detectron2"
    assert imported.network.config.backbone.stride_in == "1x1"
    assert "style caffe" in imported.converted.notes[0]
    check(imported, detectron2_answer(state, image, "caffe"), image)


def test_detectron2_on_torchvisions_resnet(tmp_path: Path, names: str) -> None:
    state, image = detectron2_state("resnet18", pixel_std=1), picture()
    buffers = {
        "pixel_mean": torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1),
        "pixel_std": torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1),
    }
    path = tmp_path / "model_final.pth"
    torch.save({"model": {**buffers, **state}, "iteration": 89_999, "scheduler": {"last_epoch": 9}}, path)
    imported = import_weights(path, names=names)
    assert imported.converted.notes == ()
    check(imported, detectron2_answer(state, image, "pytorch"), image)


def test_mmdetection_caffe(tmp_path: Path) -> None:
    state, image = mmdetection_state("resnet50"), picture()
    path = write_mmdetection(state, tmp_path / "epoch_12.pth", "caffe")
    imported = import_weights(path)
    path.unlink()
    assert imported.converted.toolkit == "mmdetection"
    assert [item.name for item in imported.classes] == list(NAMES)
    check(imported, mmdetection_answer(state, image, "caffe"), image)


def test_mmdetection_pytorch_with_other_deviations_of_deltas(tmp_path: Path) -> None:
    state, image, stds = mmdetection_state("resnet18", pixel_std=1), picture(), (0.5, 0.5, 0.25, 0.25)
    path = write_mmdetection(state, tmp_path / "epoch_12.pth", "pytorch", depth=18, stds=list(stds))
    imported = import_weights(path)
    assert imported.network.config.pyramid.p7_relu is False
    check(imported, mmdetection_answer(state, image, "pytorch", target_stds=stds), image)


@pytest.mark.slow
@pytest.mark.parametrize(("groups", "base_width"), [(32, 4), (32, 8), (64, 4)])
def test_resnext_101(tmp_path: Path, names: str, groups: int, base_width: int) -> None:
    image = picture()
    state = detectron2_state("resnext101", 1, groups, base_width)
    path = write_pickle(state, tmp_path / "x101.pkl")
    imported = import_weights(path, style="caffe2", names=names)
    path.unlink()
    assert imported.network.config.backbone.name == f"resnext101_{groups}x{base_width}d"
    check(imported, detectron2_answer(state, image, "caffe2", groups), image)


@pytest.mark.parametrize("wrong", ["pytorch", "caffe2"])
def test_a_wrong_style_gives_other_answers(tmp_path: Path, names: str, wrong: Style) -> None:
    """What the styles differ in is no detail: the checks above would see it."""
    state, image = detectron2_state("resnet18"), picture()
    path = write_pickle(state, tmp_path / "model_final.pkl")
    logits = torch.cat(run(import_weights(path, style=wrong, names=names).network, image).cls_logits, dim=1)
    expected = detectron2_answer(state, image, "caffe").cls_logits
    assert (logits[0] - expected).abs().max() > 0.1
