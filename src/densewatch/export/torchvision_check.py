"""torchvision's own networks, as the reference that imported weights are compared with."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torchvision.models import WeightsEnum, get_model, get_model_weights

from densewatch.export.proof import shipped_pictures
from densewatch.imaging.read import read_image
from densewatch.imaging.resize import prepare
from densewatch.metadata import ResizePolicy
from densewatch.models.foreign.convert import Imported
from densewatch.models.foreign.errors import ImportFailedError
from densewatch.models.retinanet import RetinaNet

MAX_OUTPUT_ERROR = 1e-3
ARCHITECTURES = ("retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2")
_SIDES_PX = (352, 480)


def architecture_of(network: RetinaNet) -> str:
    """Return torchvision's name of a network whose weights came from there."""
    v2 = network.config.head.norm != "none"
    return ARCHITECTURES[v2]


def published_weights(architecture: str) -> WeightsEnum:
    """Return torchvision's entry of its published COCO weights."""
    weights: WeightsEnum = get_model_weights(architecture)["COCO_V1"]
    return weights


def check_against_torchvision(imported: Imported) -> None:
    """Compare our network with torchvision's, which has the same weights, on real photos at two sizes.

    Raises:
        ImportFailedError: a logit or a delta differs by more than 0.001.
    """
    network, rows = imported.network, list(imported.rows)
    reference = _reference(imported)
    for path, side in zip(shipped_pictures(), _SIDES_PX, strict=True):
        policy = ResizePolicy(mode="longer", size=side, max_size=None)
        pixels = torch.from_numpy(prepare(read_image(path), policy).pixels)
        image = pixels.permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            ours = network(image)
            features = list(reference.backbone((image - network.mean) / network.std).values())
            theirs = reference.head(features)
        errors = (
            (torch.cat(ours.cls_logits, dim=1) - theirs["cls_logits"][..., rows]).abs().max(),
            (torch.cat(ours.bbox_deltas, dim=1) - theirs["bbox_regression"]).abs().max(),
        )
        if not max(errors) <= MAX_OUTPUT_ERROR:  # written so that NaN fails
            raise ImportFailedError(
                f"the imported network differs from torchvision's {architecture_of(network)}: a logit by "
                f"{errors[0]:.3g} and a delta by {errors[1]:.3g} (allowed {MAX_OUTPUT_ERROR}); nothing was "
                "written"
            )


def _reference(imported: Imported) -> Any:
    """Return torchvision's network with these weights, as torchvision itself would run them.

    It overwrites the epsilon of batch norm for its published V1 weights, and for no others.
    """
    architecture = architecture_of(imported.network)
    outputs = imported.converted.config.num_classes
    reference: Any = get_model(architecture, weights=None, weights_backbone=None, num_classes=outputs)
    # Published V1 weights come without batch norm's counters, which evaluation does not use.
    missing, unexpected = reference.load_state_dict(imported.file.tensors, strict=False)
    odd = [name for name in missing if not name.endswith("num_batches_tracked")] + list(unexpected)
    if odd:
        raise ImportFailedError(
            f"torchvision's {architecture} does not fit these weights: {', '.join(odd[:3])}"
        )
    if imported.published is not None and architecture == ARCHITECTURES[0]:
        for layer in reference.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.eps = 0.0
    return reference.eval()
