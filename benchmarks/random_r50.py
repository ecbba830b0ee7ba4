"""Write torchvision's RetinaNet-R50-V2 with random weights as a densewatch model file, for the clock.

python benchmarks/random_r50.py r50-v2-random.onnx
python benchmarks/random_r50.py r50-v2-random-int8.onnx --int8 ../shared/data/everyday/val
python benchmarks/random_r50.py r50-cheap-int8.onnx --int8 ../shared/data/everyday/val --depthwise-heads
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import onnx
import torch
from torchvision.models import get_model

from densewatch.export.foreign_import import convert_weights
from densewatch.export.graph_parts import name_nodes, split_graph
from densewatch.export.model_file import export_model
from densewatch.export.nncf_int8 import quantise_graph
from densewatch.export.onnx_graph import write_metadata
from densewatch.imaging.sources import FileSource, expand_sources
from densewatch.models.config import preset
from densewatch.models.retinanet import RetinaNet
from densewatch.runtime.model_file import read_info

ARCHITECTURE = "retinanet_resnet50_fpn_v2"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("--int8", metavar="DIR", help="quantise it with photos of this folder")
    parser.add_argument("--calibration-pictures", type=int, default=6)
    parser.add_argument(
        "--depthwise-heads", action="store_true", help="ours, with depthwise-separable towers in the heads"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model_file = arguments.output if arguments.int8 is None else Path(folder) / "float.onnx"
        if arguments.depthwise_heads:
            write_with_depthwise_heads(Path(folder), model_file)
        else:
            write_float(Path(folder), model_file)
        if arguments.int8 is not None:
            write_int8(model_file, arguments.output, photos(arguments.int8)[: arguments.calibration_pictures])
    print(f"wrote {arguments.output}")


def write_float(folder: Path, output: Path) -> None:
    torch.manual_seed(0)
    network = get_model(ARCHITECTURE, weights=None, weights_backbone=None)
    weights = folder / "random.pth"
    torch.save(network.state_dict(), weights)
    convert_weights(weights, output)


def write_with_depthwise_heads(folder: Path, output: Path) -> None:
    original = folder / "original.onnx"
    write_float(folder, original)
    config = preset("torchvision-v2", head={"depthwise": True})
    info = read_info(original).model_copy(update={"architecture": config.model_dump(mode="json")})
    export_model(RetinaNet(config).eval(), info, output)


def write_int8(model_file: Path, output: Path, pictures: list[Path]) -> None:
    """Quantise as `densewatch export --int8` does, but for its AP: random weights have none to lose."""
    info = read_info(model_file)
    model = onnx.load(str(model_file))
    name_nodes(model.graph)
    _, after = split_graph(model.graph)
    onnx.save(model, str(model_file))
    quantise_graph(model_file, output, keep_float=after, pictures=pictures, resize=info.resize)
    write_metadata(output, info.model_copy(update={"numeric_type": "int8"}))


def photos(folder: str) -> list[Path]:
    return [item.path for item in expand_sources([folder]) if isinstance(item, FileSource)]


if __name__ == "__main__":
    main()
