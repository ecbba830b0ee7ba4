"""Time the network of the preset `light` with and without P2: one picture, one thread, float32.

python benchmarks/p2.py
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from densewatch.benchmarking.clock import TOTAL, Contestant, compare, take_turns
from densewatch.benchmarking.machine import describe_machine
from densewatch.export.onnx_graph import write_graph
from densewatch.models.candidates import CandidateNet
from densewatch.models.config import preset
from densewatch.models.retinanet import RetinaNet
from densewatch.runtime.openvino_engine import OpenVinoEngine

WARM_UP = 20  # by then OpenVINO runs a network that is compiled for this size


def contestant(p2: bool, side: int, folder: Path) -> Contestant:
    torch.manual_seed(0)
    path = folder / f"{p2}.onnx"
    write_graph(CandidateNet(RetinaNet(preset("light", pyramid={"p2": p2}))), path)
    engine = OpenVinoEngine(path, threads=1, precision="float32", cache_dir=None)

    def run(pixels: bytes) -> dict[str, float]:
        image = np.frombuffer(pixels, np.uint8).reshape(1, side, side, 3)
        start = perf_counter()
        engine(image)
        return {TOTAL: (perf_counter() - start) * 1000}

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=480, help="of the input, a multiple of 32")
    parser.add_argument("--runs", type=int, default=100)
    arguments = parser.parse_args()
    side: int = arguments.side
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8).tobytes()
    with tempfile.TemporaryDirectory() as folder:
        contestants = {
            "P3 to P7": contestant(False, side, Path(folder)),
            "P2 to P7": contestant(True, side, Path(folder)),
        }
        taken = take_turns(contestants, [noise], runs=arguments.runs, warm_up=WARM_UP)
    machine = describe_machine()
    print(f"{machine.cpu} ({', '.join(machine.instruction_sets)}), 1 thread, float32, {side}x{side}")
    for name, recording in taken.items():
        times = recording.summary()[TOTAL]
        print(f"{name}   p50 {times['p50']:6.1f} ms   p95 {times['p95']:6.1f} ms")
    ratio = compare(taken["P3 to P7"], taken["P2 to P7"]).median_of_ratios
    print(f"with P2 {ratio:.2f} times as long (median of the turns' ratios)")


if __name__ == "__main__":
    main()
