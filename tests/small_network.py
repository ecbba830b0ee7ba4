"""A narrow RetinaNet with random weights, for tests of exporting."""

from __future__ import annotations

from pathlib import Path

import torch

from densewatch.metadata import ClassInfo, ModelInfo, ResizePolicy
from densewatch.models.checkpoint import save_checkpoint
from densewatch.models.config import preset
from densewatch.models.retinanet import RetinaNet

TOPK = 50
CLASSES = (ClassInfo(name="person", id=1), ClassInfo(name="chair", id=62))


def small_network(seed: int = 0, p2: bool = False) -> RetinaNet:
    """Return a narrow RetinaNet whose random scores are spread out, so that comparing them says something."""
    torch.manual_seed(seed)
    narrow = {"width": 16, "depth": 1, "norm": "group", "groups": 4, "depthwise": True}
    network = RetinaNet(preset("light", num_classes=2, head=narrow, pyramid={"width": 16, "p2": p2}))
    with torch.no_grad():
        for parameter in network.parameters():  # no two are equal, as after training
            parameter.add_(0.01 * torch.randn_like(parameter))
        for parameter in network.class_head.output.parameters():
            parameter.copy_(torch.randn_like(parameter) - 0.5)
    return network.eval()


def small_info(network: RetinaNet) -> ModelInfo:
    return ModelInfo(
        name="small",
        family="retinanet",
        architecture=network.config.model_dump(mode="json"),
        classes=CLASSES,
        resize=ResizePolicy(mode="longer", size=224, max_size=None),
    )


def write_small_checkpoint(folder: Path) -> Path:
    """Write the small network as a checkpoint; return its path."""
    network = small_network()
    path = folder / "small.safetensors"
    save_checkpoint(path, network, small_info(network))
    return path
