"""The Feature Pyramid Network: C3 to C5 in, P3 to P7 out; or from C2 and to P2."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from densewatch.models.config import PyramidConfig
from densewatch.models.layers import conv3x3


class FeaturePyramid(nn.Module):
    """Lin et al., Feature Pyramid Networks, 2017; P6 and P7 as RetinaNet has them (paper, section 4)."""

    def __init__(self, channels: tuple[int, ...], config: PyramidConfig) -> None:
        """Build the pyramid.

        Args:
            channels: of C3, C4, C5, or of C2 to C5 for a pyramid with P2.
            config: its width, and what it is made of.
        """
        super().__init__()
        width = config.width
        self.p6_from_c5 = config.p6_from == "C5"
        self.p7_relu = config.p7_relu
        c2, c3_to_c5 = channels[:-3], channels[-3:]
        self.lateral = nn.ModuleList([nn.Conv2d(in_channels, width, 1) for in_channels in c3_to_c5])
        self.output = nn.ModuleList([conv3x3(width, width, config.depthwise) for _ in c3_to_c5])
        self.p6 = conv3x3(channels[-1] if self.p6_from_c5 else width, width, config.depthwise, stride=2)
        self.p7 = conv3x3(width, width, config.depthwise, stride=2)
        # Lists of their own, empty without P2: in front of the others, they would move those one place on,
        # and a network that starts from weights without P2 would take those of C3 for C2.
        self.lateral_c2 = nn.ModuleList([nn.Conv2d(in_channels, width, 1) for in_channels in c2])
        self.output_p2 = nn.ModuleList([conv3x3(width, width, config.depthwise) for _ in c2])
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_uniform_(layer.weight, a=1)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Return P3 … P7, each `[N, width, H_l, W_l]`, from C3 … C5; or P2 … P7 from C2 … C5."""
        laterals, outputs = [*self.lateral_c2, *self.lateral], [*self.output_p2, *self.output]
        merged = [lateral(feature) for lateral, feature in zip(laterals, features, strict=True)]
        for level in range(len(merged) - 2, -1, -1):
            upsampled = F.interpolate(merged[level + 1], size=merged[level].shape[-2:], mode="nearest")
            merged[level] = merged[level] + upsampled
        pyramid = [output(feature) for output, feature in zip(outputs, merged, strict=True)]
        p6 = self.p6(features[-1] if self.p6_from_c5 else pyramid[-1])
        return [*pyramid, p6, self.p7(F.relu(p6) if self.p7_relu else p6)]
