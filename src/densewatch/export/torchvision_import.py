"""torchvision's RetinaNet checkpoints, turned into ours.

What differs is the module tree (names), the class output (91 sparse COCO ids, our 80 names), and, for V1,
the epsilon of batch norm, which torchvision sets to 0 for its published weights.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from densewatch.export.model_file import export_model
from densewatch.export.torchvision_check import (
    ImportFailedError,
    check_against_torchvision,
    coco_classes,
    published_weights,
)
from densewatch.hub import hash_in_name
from densewatch.metadata import TORCHVISION_RESIZE, ModelInfo
from densewatch.models.checkpoint import save_checkpoint
from densewatch.models.config import RetinaNetConfig, preset
from densewatch.models.retinanet import RetinaNet

PRESET_OF = {"retinanet_resnet50_fpn": "torchvision-v1", "retinanet_resnet50_fpn_v2": "torchvision-v2"}

_CLASS_OUTPUT = "class_head.output."
# torchvision's → ours. The `(?:\.0)?` bridges the names before and after torchvision 0.13.
_RENAMED: tuple[tuple[str, str], ...] = (
    (r"backbone\.body\.conv1\.", r"backbone.stages.0.0."),
    (r"backbone\.body\.bn1\.", r"backbone.stages.0.1."),
    (r"backbone\.body\.layer1\.", r"backbone.stages.1.1."),
    (r"backbone\.body\.layer([234])\.", r"backbone.stages.\1."),
    (r"backbone\.fpn\.inner_blocks\.(\d)(?:\.0)?\.", r"pyramid.lateral.\1."),
    (r"backbone\.fpn\.layer_blocks\.(\d)(?:\.0)?\.", r"pyramid.output.\1."),
    (r"backbone\.fpn\.extra_blocks\.(p[67])\.", r"pyramid.\1."),
    (r"head\.classification_head\.cls_logits\.", _CLASS_OUTPUT),
    (r"head\.regression_head\.bbox_reg\.", r"box_head.output."),
    (r"head\.classification_head\.conv\.", r"class_head.tower."),
    (r"head\.regression_head\.conv\.", r"box_head.tower."),
)


def convert_state_dict(
    architecture: str, state: Mapping[str, Tensor]
) -> tuple[RetinaNetConfig, dict[str, Tensor]]:
    """Return the configuration and the weights of our RetinaNet that computes what torchvision's does.

    Args:
        architecture: `retinanet_resnet50_fpn` or `retinanet_resnet50_fpn_v2`.
        state: of torchvision's network, with 91 class outputs.

    Raises:
        ImportFailedError: a tensor has a name or a shape that the architecture has not.
    """
    config = preset(PRESET_OF[architecture], num_classes=80)
    has_counters = config.backbone.norm == "batch"
    converted: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.endswith("num_batches_tracked") and not has_counters:
            continue
        our_name = _rename(name, blocks=config.head.norm != "none")
        if our_name.startswith(_CLASS_OUTPUT):
            value = _pick_classes(value, config.anchors.per_cell, architecture)
        converted[our_name] = value
    return config, converted


def torchvision_network(architecture: str, weights: Path) -> tuple[RetinaNet, ModelInfo]:
    """Read torchvision's weights from a file into our network, in evaluation mode, with its description.

    The network's outputs are compared with those of torchvision's own.

    Raises:
        ImportFailedError: the file is no weights file, or not of this architecture, or the outputs differ.
    """
    state = _read_weights(weights)
    try:
        config, tensors = convert_state_dict(architecture, state)
        network = RetinaNet(config)
        network.load_state_dict(tensors)
    except ImportFailedError as error:
        raise ImportFailedError(f"{weights}: {error}") from error
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ImportFailedError(
            f"{weights}: is not a {architecture} of torchvision: {reason[:400]}"
        ) from error
    check_against_torchvision(architecture, state, network.eval())
    return network, _describe(architecture, network, weights)


def convert_torchvision(architecture: str, weights: Path, output: Path) -> None:
    """Write torchvision's weights as a model file (`.onnx`), or as a checkpoint to train on (`.safetensors`).

    Raises:
        ImportFailedError: the weights cannot be converted.
        ExportError: the exported graph's boxes differ from the network's.
        ValueError: the output's name ends in neither.
    """
    network, info = torchvision_network(architecture, weights)
    if output.suffix == ".safetensors":
        output.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(output, network, info)
    else:
        export_model(network, info, output)


def _rename(name: str, blocks: bool) -> str:
    """Return our name of a tensor; `blocks` where a tower's convolutions come with a norm."""
    for pattern, replacement in _RENAMED:
        if re.match(pattern, name):
            name = re.sub(pattern, replacement, name, count=1)
            return _rename_tower(name, blocks) if ".tower." in name else name
    raise ImportFailedError(f"tensor {name!r} belongs to no RetinaNet of torchvision that is known here")


def _rename_tower(name: str, blocks: bool) -> str:
    """Return `tower.7.weight` for `tower.2.1.weight`: block 2 of three layers, layer 1 in it."""
    tower, _, rest = name.partition(".tower.")
    *place, parameter = rest.split(".")
    if len(place) == 2:
        block, layer = (int(part) for part in place)
        return f"{tower}.tower.{block * (3 if blocks else 2) + layer}.{parameter}"
    return name  # before torchvision 0.13 the tower was flat, as ours is


def _pick_classes(value: Tensor, per_cell: int, architecture: str) -> Tensor:
    """Return the rows of the 80 named classes from the class output `[A * 91, ...]`."""
    outputs = len(published_weights(architecture).meta["categories"])
    if len(value) != per_cell * outputs:
        raise ImportFailedError(
            f"the class output has {len(value)} rows, not {per_cell} anchors × {outputs}: "
            "only networks with COCO's classes can be imported"
        )
    ids = [item.id for item in coco_classes(architecture)]
    return value.reshape(per_cell, outputs, *value.shape[1:])[:, ids].flatten(0, 1)


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # bytes that are no pickle make the reader stumble over anything
        reason = str(error).strip().split("\n")[0][:200]
        raise ImportFailedError(f"{path}: cannot be read as PyTorch weights: {reason}") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ImportFailedError(f"{path}: holds no plain dictionary of tensors (a `state_dict`)")
    return state


def _describe(architecture: str, network: RetinaNet, weights: Path) -> ModelInfo:
    published = published_weights(architecture)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    is_published = digest.startswith(hash_in_name(published.url))
    box_map = published.meta["_metrics"]["COCO-val2017"]["box_map"]
    return ModelInfo(
        name=architecture.replace("_", "-"),
        family="retinanet",
        architecture=network.config.model_dump(mode="json"),
        classes=coco_classes(architecture),
        resize=TORCHVISION_RESIZE,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        training={
            "source": f"torchvision {architecture}, file {weights.name}",
            **({"data": ["COCO train2017"], "recipe": published.meta["recipe"]} if is_published else {}),
        },
        metrics={"COCO val2017, as published": {"AP": box_map / 100}} if is_published else {},
        licence="BSD-3-Clause" if is_published else "unknown",
    )
