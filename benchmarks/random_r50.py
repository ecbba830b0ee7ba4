"""Write torchvision's RetinaNet-R50-V2 with random weights as a densewatch model file, for the clock.

python benchmarks/random_r50.py r50-v2-random.onnx
python benchmarks/random_r50.py r50-v2-random-int8.onnx --int8 ../shared/data/everyday/val
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import onnx
import torch
from torchvision.models import get_model

from densewatch.export.graph_parts import name_nodes, split_graph
from densewatch.export.nncf_int8 import quantise_graph
from densewatch.export.onnx_graph import write_metadata
from densewatch.export.torchvision_import import convert_torchvision
from densewatch.imaging.sources import FileSource, expand_sources
from densewatch.runtime.model_file import read_info

ARCHITECTURE = "retinanet_resnet50_fpn_v2"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("--int8", metavar="DIR", help="quantise it with photos of this folder")
    parser.add_argument("--calibration-pictures", type=int, default=6)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.int8 is None:
            write_float(Path(folder), arguments.output)
        else:
            model_file = Path(folder) / "float.onnx"
            write_float(Path(folder), model_file)
            write_int8(model_file, arguments.output, photos(arguments.int8)[: arguments.calibration_pictures])
    print(f"wrote {arguments.output}")


def write_float(folder: Path, output: Path) -> None:
    torch.manual_seed(0)
    network = get_model(ARCHITECTURE, weights=None, weights_backbone=None)
    weights = folder / "random.pth"
    torch.save(network.state_dict(), weights)
    convert_torchvision(ARCHITECTURE, weights, output)


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
