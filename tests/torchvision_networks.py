"""torchvision's RetinaNets with seeded random weights, which stand in for the published ones."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models import resnet50
from torchvision.models.detection import RetinaNet as TorchvisionRetinaNet
from torchvision.models.detection import retinanet_resnet50_fpn_v2
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.ops.feature_pyramid_network import LastLevelP6P7
from torchvision.ops.misc import FrozenBatchNorm2d

from densewatch.models.foreign.class_names import coco_classes

V1, V2 = "retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2"


def random_network(architecture: str) -> TorchvisionRetinaNet:
    """Return a network in evaluation mode, scaled so that some hundred objects pass the threshold."""
    torch.manual_seed(0)
    network = (
        _build_v1() if architecture == V1 else retinanet_resnet50_fpn_v2(weights=None, weights_backbone=None)
    )
    _randomise(network)
    return network.eval()


def _build_v1() -> TorchvisionRetinaNet:
    """Return V1 as torchvision builds it for weights of one's own: frozen batch norms, the usual epsilon."""
    body = resnet50(weights=None, norm_layer=FrozenBatchNorm2d)
    backbone = _resnet_fpn_extractor(body, 5, returned_layers=[2, 3, 4], extra_blocks=LastLevelP6P7(256, 256))
    return TorchvisionRetinaNet(backbone, 91)


def _randomise(network: TorchvisionRetinaNet) -> None:
    """Give norms a function of their own, and the head enough strength to find objects."""
    for name, layer in network.named_modules():
        if isinstance(layer, nn.BatchNorm2d | FrozenBatchNorm2d):
            # The last norm of a residual block is weak, as after training, or else the sum would explode.
            strength = 0.3 if name.endswith("bn3") else 1.0
            layer.weight.data.uniform_(0.5 * strength, 1.5 * strength)
            layer.bias.data.normal_(0, 0.1)
            for name, value in layer.named_buffers():
                if name == "running_mean":
                    value.normal_(0, 0.2)
                elif name == "running_var":
                    value.uniform_(0.5, 1.5)
    for tower in (network.head.classification_head.conv, network.head.regression_head.conv):
        for layer in tower.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.normal_(network.head.regression_head.bbox_reg.weight, std=0.004)
    cls_logits = network.head.classification_head.cls_logits
    nn.init.normal_(cls_logits.weight, std=0.02)
    nn.init.constant_(cls_logits.bias, -5.5)
    # 11 of the 91 outputs belong to no class. Training has taught them never to fire.
    unused = sorted(set(range(91)) - {item.id for item in coco_classes()})
    cls_logits.bias.data.view(9, 91)[:, unused] = -20
    cls_logits.weight.data.view(9, 91, -1)[:, unused] = 0
