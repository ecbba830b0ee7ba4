"""Write torchvision's RetinaNet-R50-V2 with random weights as a densewatch model file, for the clock.

python benchmarks/random_r50.py r50-v2-random.onnx
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import torch
from torchvision.models import get_model

from densewatch.export.torchvision_import import convert_torchvision

ARCHITECTURE = "retinanet_resnet50_fpn_v2"


def main(output: Path) -> None:
    torch.manual_seed(0)
    network = get_model(ARCHITECTURE, weights=None, weights_backbone=None)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "random.pth"
        torch.save(network.state_dict(), weights)
        convert_torchvision(ARCHITECTURE, weights, output)
    print(f"wrote {output}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
