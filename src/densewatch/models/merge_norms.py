"""Batch norm merged into the convolutions: the same function in evaluation, in fewer steps."""

from __future__ import annotations

from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.ops.misc import FrozenBatchNorm2d

_IN_ORDER = (nn.Sequential, BasicBlock, Bottleneck)
"""Modules in which a norm that comes after a convolution is applied to what the convolution gives."""


def merge_norms(network: nn.Module) -> None:
    """Merge every batch norm, frozen or not, into the convolution before it, in place.

    The convolution gets a bias. What remains is for evaluation: there are no statistics any more to train.
    Norms in modules of an unknown kind, such as timm's, stay as they are.
    """
    for module in network.modules():
        if not isinstance(module, _IN_ORDER):
            continue
        for (name, layer), (norm_name, norm) in pairwise(list(module.named_children())):
            if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d | FrozenBatchNorm2d):
                setattr(module, name, _merged(layer, norm))
                setattr(module, norm_name, nn.Identity())


def _merged(convolution: nn.Conv2d, norm: nn.BatchNorm2d | FrozenBatchNorm2d) -> nn.Conv2d:
    merged = nn.Conv2d(
        convolution.in_channels,
        convolution.out_channels,
        convolution.kernel_size,  # type: ignore[arg-type]
        convolution.stride,  # type: ignore[arg-type]
        convolution.padding,  # type: ignore[arg-type]
        convolution.dilation,  # type: ignore[arg-type]
        convolution.groups,
        device=convolution.weight.device,
        dtype=convolution.weight.dtype,
    )
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight, bias = fuse_conv_bn_weights(
        convolution.weight,
        convolution.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
    )
    merged.weight.data, merged.bias.data = weight.data, bias.data  # type: ignore[union-attr]
    return merged.train(convolution.training)
