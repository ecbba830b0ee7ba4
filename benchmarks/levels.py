"""What the finest level of the pyramid costs, and what it is worth: P2, P3 or P4, at several input sizes.

The embedded model's network, one thread, float32. Heads are the same on all levels, so the network without P3
is the network with P3, less what P3 finds: nothing is trained anew, and AP is that of the shipped weights. P2
was never trained in it, and is only timed.

python benchmarks/levels.py [--data ../shared/data/everyday/val.json] [--sides 384 512 640]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

import densewatch as dw
from densewatch.benchmarking.clock import TOTAL, take_turns
from densewatch.benchmarking.engine_peer import network_alone
from densewatch.benchmarking.machine import describe_machine
from densewatch.data.read import read_dataset
from densewatch.evaluation import CocoMetrics, evaluate_coco
from densewatch.evaluation.run import collect_results, select
from densewatch.export.onnx_graph import write_graph
from densewatch.imaging.resize import padded_size
from densewatch.metadata import ModelInfo
from densewatch.models.candidates import CandidateNet, levels_of
from densewatch.models.config import preset
from densewatch.models.model_file_weights import read_model_file_weights
from densewatch.models.retinanet import DenseOutput, RetinaNet
from densewatch.runtime.model_file import find_model, read_info
from densewatch.runtime.openvino_engine import OpenVinoEngine

EMBEDDED = "everyday-light"
TOPK = 1000
WARM_UP = 20  # by then OpenVINO runs a network that is compiled for this size


class WithoutFinest(RetinaNet):
    """A RetinaNet whose heads do not look at the finest level."""

    def forward(self, images: torch.Tensor) -> DenseOutput:
        """Do as `RetinaNet` does, from the second level on."""
        features = self.pyramid(self.backbone((images - self.mean) / self.std))
        coarser = features[1:]
        return DenseOutput(
            cls_logits=[self.class_head.predict(self.class_head.tower(level)) for level in coarser],
            bbox_deltas=[self.box_head(level) for level in coarser],
            anchors=self.anchors(images.shape[-2:], [level.shape[-2:] for level in features])[1:],
        )


def networks() -> dict[str, RetinaNet]:
    """Return the networks by what they look at; all but the first know what the embedded model knows."""
    torch.manual_seed(0)
    config = preset("light", 80)
    weights = read_model_file_weights(find_model(EMBEDDED))
    made = {
        "P2 to P7": RetinaNet(preset("light", 80, pyramid={"p2": True})),
        "P3 to P7": RetinaNet(config),
        "P4 to P7": WithoutFinest(config),
    }
    for network in list(made.values())[1:]:
        network.load_state_dict(weights)
    return made


def detector_of(network: RetinaNet, engine: OpenVinoEngine) -> dw.Detector:
    levels = levels_of(network, TOPK)
    info = read_info(find_model(EMBEDDED))
    own = levels[1:] if isinstance(network, WithoutFinest) else levels
    return dw.Detector(info.model_copy(update={"levels": own}), engine)


def at_side(info: ModelInfo, side: int) -> ModelInfo:
    return info.model_copy(update={"resize": info.resize.model_copy(update={"size": side})})


def measure_ap(detector: dw.Detector, annotations: Path, side: int) -> CocoMetrics:
    detector.info = at_side(detector.info, side)
    dataset = read_dataset(annotations)
    samples = select(dataset, "source", "coco")
    results = collect_results(detector, dataset, samples)
    return evaluate_coco(annotations, results, image_ids=[sample.image_id for sample in samples])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="labels of everyday/val, for AP on its COCO photos")
    parser.add_argument("--sides", type=int, nargs="+", default=[384, 512, 640], help="longer, in pixels")
    parser.add_argument("--runs", type=int, default=60)
    arguments = parser.parse_args()
    machine = describe_machine()
    print(f"{machine.cpu} ({', '.join(machine.instruction_sets)}), 1 thread, float32, 4:3 pictures")
    print(f"{'side':>5} {'levels':9} {'p50 ms':>7} {'p95 ms':>7} {'AP':>6} {'AP50':>6} {'APs':>6}")
    made = networks()
    with tempfile.TemporaryDirectory() as folder:
        engines = {}
        for name, network in made.items():
            path = Path(folder) / f"{name}.onnx"
            write_graph(CandidateNet(network.eval(), TOPK), path)
            engines[name] = OpenVinoEngine(path, threads=1, precision="float32", cache_dir=None)
        for side in arguments.sides:
            height, width = padded_size((side * 3 // 4, side), multiple=32)
            noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8).tobytes()
            contestants = {name: network_alone(engine, width) for name, engine in engines.items()}
            taken = take_turns(contestants, [noise], runs=arguments.runs, warm_up=WARM_UP)
            for name, recording in taken.items():
                times = recording.summary()[TOTAL]
                line = f"{side:5} {name:9} {times['p50']:7.1f} {times['p95']:7.1f}"
                if arguments.data and name != "P2 to P7":
                    numbers = measure_ap(detector_of(made[name], engines[name]), arguments.data, side)
                    line += "".join(f" {100 * (numbers[key] or 0):6.2f}" for key in ("AP", "AP50", "APs"))
                print(line, flush=True)


if __name__ == "__main__":
    main()
