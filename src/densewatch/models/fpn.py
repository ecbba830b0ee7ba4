"""The Feature Pyramid Network: C3 to C5 in, P3 to P7 out."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from densewatch.models.config import PyramidConfig
from densewatch.models.layers import conv3x3


class FeaturePyramid(nn.Module):
    """Lin et al., Feature Pyramid Networks, 2017; P6 and P7 as RetinaNet has them (paper, section 4)."""

    def __init__(self, channels: tuple[int, ...], config: PyramidConfig) -> None:
        super().__init__()
        width = config.width
        self.p6_from_c5 = config.p6_from == "C5"
        self.lateral = nn.ModuleList([nn.Conv2d(in_channels, width, 1) for in_channels in channels])
        self.output = nn.ModuleList([conv3x3(width, width, config.depthwise) for _ in channels])
        self.p6 = conv3x3(channels[-1] if self.p6_from_c5 else width, width, config.depthwise, stride=2)
        self.p7 = conv3x3(width, width, config.depthwise, stride=2)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_uniform_(layer.weight, a=1)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Return P3 … P7, each `[N, width, H_l, W_l]`, from C3 … C5."""
        merged = [lateral(feature) for lateral, feature in zip(self.lateral, features, strict=True)]
        for level in range(len(merged) - 2, -1, -1):
            upsampled = F.interpolate(merged[level + 1], size=merged[level].shape[-2:], mode="nearest")
            merged[level] = merged[level] + upsampled
        pyramid = [output(feature) for output, feature in zip(self.output, merged, strict=True)]
        p6 = self.p6(features[-1] if self.p6_from_c5 else pyramid[-1])
        return [*pyramid, p6, self.p7(F.relu(p6))]
