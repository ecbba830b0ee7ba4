"""Time RetinaNet-R50-V2 with random weights in PyTorch on a GPU: latency, throughput, share of the chip.

python benchmarks/gpu.py
python benchmarks/gpu.py --batches 1 8 16 32 --precision bfloat16 --compile

The whole way is from a JPEG in memory to boxes. The share is of the rate that a large matrix product reaches
in the same numeric type, in the same run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections import deque
from collections.abc import Callable
from itertools import cycle, islice
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

import densewatch as dw
from densewatch.benchmarking.machine import describe_machine
from densewatch.benchmarking.pictures import drawn_picture
from densewatch.imaging.read import read_image
from densewatch.imaging.resize import batch, prepare
from densewatch.metadata import ClassInfo, ModelInfo, ResizePolicy
from densewatch.models.candidates import CandidateNet, levels_of
from densewatch.models.config import preset
from densewatch.models.retinanet import RetinaNet
from densewatch.runtime.detector import Timing
from densewatch.runtime.engine import Engine, describe_engine
from densewatch.torch_engine.cuda_engine import CudaEngine
from densewatch.torch_engine.engine import TorchEngine
from densewatch.torch_engine.network import make_ready

CLASSES, TOPK = 80, 1000
OBJECTS = 300  # boxes that pass the threshold; random weights have no opinion of their own
PERCENTILES = (50, 95)


class Section(TypedDict, total=False):
    """Options of `preset` that make a network small, for trying this program out."""

    backbone: dict[str, str]
    pyramid: dict[str, int]
    head: dict[str, int]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--size", type=int, default=800, help="shorter side of the input")
    parser.add_argument("--max-size", type=int, default=1333, help="limit of the longer side")
    parser.add_argument("--picture", default="1333x800", metavar="WIDTHxHEIGHT")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--seconds", type=float, default=5.0, help="for each figure")
    parser.add_argument("--matrix", type=int, default=8192, help="side of the matrices of the chip's rate")
    parser.add_argument("--compile", action="store_true", help="with torch.compile, inside the CUDA graphs")
    parser.add_argument("--eager", action="store_true", help="without CUDA graphs")
    parser.add_argument("--tiny", action="store_true", help="a tiny network, to try this program out")
    options = parser.parse_args()

    device = torch.device(options.device)
    numeric_type = getattr(torch, options.precision)
    network, info = random_network(options.size, options.max_size, tiny=options.tiny)
    width, height = (int(side) for side in options.picture.split("x"))
    picture = drawn_picture((height, width))
    images = batch([prepare(read_image(picture), info.resize)], info.resize.pad_value)
    flops = count_flops(network, images)
    engine = make_engine(network, device, numeric_type, options)
    print_surroundings(engine, info, images, flops, width, height)

    rate = matrix_rate(device, numeric_type, options.matrix)
    print(f"matrix product {options.matrix}³ in {options.precision}: {rate / 1e12:.2f} TFLOP/s")
    threshold = threshold_of(engine, images)
    latency(dw.Detector(info, engine, batch=1), picture, threshold, options.seconds)
    best = 0.0
    for count in options.batches:
        alone = network_rate(engine, np.repeat(images, count, axis=0), options.seconds)
        whole = whole_rate(dw.Detector(info, engine, batch=count), picture, threshold, options.seconds)
        best = max(best, whole)
        print(
            f"batch {count:3}: network alone {alone:8.1f} pictures/s, {alone * flops / rate:.1%} of the "
            f"matrix rate; JPEG to boxes {whole:8.1f} pictures/s, {whole * flops / rate:.1%}"
        )
    print(f"best, JPEG to boxes: {best:.1f} pictures/s, {best * flops / rate:.1%} of the matrix rate")


def random_network(size: int, max_size: int, *, tiny: bool) -> tuple[RetinaNet, ModelInfo]:
    """Return torchvision's RetinaNet-R50-V2 with random weights, and a description that goes with it."""
    torch.manual_seed(0)
    small: Section = {}
    if tiny:
        small = {
            "backbone": {"name": "resnet18"},
            "pyramid": {"width": 16},
            "head": {"width": 16, "depth": 1, "groups": 4},
        }
    network = RetinaNet(preset("torchvision-v2", CLASSES, **small)).eval()
    return network, ModelInfo(
        name="tiny" if tiny else "R50-V2, random weights",
        family="retinanet",
        architecture=network.config.model_dump(mode="json"),
        classes=tuple(ClassInfo(name=f"class {number}", id=number) for number in range(CLASSES)),
        resize=ResizePolicy(mode="shorter", size=size, max_size=max_size),
        levels=levels_of(network, TOPK),
    )


def make_engine(
    network: RetinaNet, device: torch.device, numeric_type: torch.dtype, options: argparse.Namespace
) -> Engine:
    if device.type == "cuda":
        return CudaEngine(
            network,
            torch.device("cuda", device.index or 0),
            numeric_type=numeric_type,
            topk=TOPK,
            record=not options.eager,
            compiled=options.compile,
        )
    ready = make_ready(network, device, numeric_type)
    return TorchEngine(ready, device, numeric_type=options.precision, topk=TOPK)


def count_flops(network: RetinaNet, images: npt.NDArray[np.uint8]) -> int:
    """Return the floating-point operations of one picture, a product and a sum counted as two."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        CandidateNet(network, TOPK)(torch.from_numpy(images))
    return int(counter.get_total_flops())


def matrix_rate(device: torch.device, numeric_type: torch.dtype, side: int, runs: int = 20) -> float:
    """Return the operations a second of a product of two square matrices of random numbers, the median."""
    left, right = (torch.randn(side, side, device=device, dtype=numeric_type) for _ in range(2))
    times = []
    for _ in range(runs + 3):
        wait(device)
        start = time.perf_counter()
        left @ right
        wait(device)
        times.append(time.perf_counter() - start)
    return 2 * side**3 / statistics.median(times[3:])


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def threshold_of(engine: Engine, images: npt.NDArray[np.uint8]) -> float:
    """Return the score that the best `OBJECTS` (candidate, class) pairs have, as in a scene with as many."""
    _, scores = engine(images)
    pairs = np.sort(scores, axis=None)
    return float(pairs[-min(OBJECTS, len(pairs))])


def latency(detector: dw.Detector, picture: bytes, threshold: float, seconds: float) -> None:
    """Print how long one picture takes, from JPEG to boxes, when it is the only one."""
    timings: list[Timing] = []
    for _ in range(10):
        found = detector.detect(picture, threshold=threshold)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not timings:
        timings.append(detector.detect_timed(picture, threshold=threshold)[1])
    print(f"one picture at a time, {len(found)} objects, {len(timings)} times; p50 and p95 in ms:")
    for stage in timings[0].to_dict():
        values = [timing.to_dict()[stage] for timing in timings]
        print(f"  {stage:8} " + "  ".join(f"{np.percentile(values, share):8.2f}" for share in PERCENTILES))


def network_rate(engine: Engine, images: npt.NDArray[np.uint8], seconds: float) -> float:
    """Return the pictures a second of batches one after the other, without copies to a GPU and back."""
    if not isinstance(engine, CudaEngine):
        return len(images) * per_second(lambda: engine(images), seconds)
    with torch.inference_mode(), torch.cuda.device(engine.place):
        on_gpu = torch.from_numpy(images).to(engine.place)
        return len(images) * per_second(lambda: engine.compute(on_gpu), seconds)


def whole_rate(detector: dw.Detector, picture: bytes, threshold: float, seconds: float) -> float:
    """Return the pictures a second from JPEG to boxes, decoded in as many threads as the detector wants."""

    def work(count: int) -> None:
        deque(detector.detect_many(islice(cycle([picture]), count), threshold=threshold), maxlen=0)

    work(4 * detector.workers)  # and batches of all sizes are recorded
    count = 4 * detector.workers
    while True:
        start = time.perf_counter()
        work(count)
        elapsed = time.perf_counter() - start
        if elapsed >= seconds / 2:
            return count / elapsed
        count = max(2 * count, int(count * seconds / elapsed))


def per_second(work: Callable[[], object], seconds: float) -> float:
    """Return how often a second `work` is done, after it was done some times uncounted."""
    for _ in range(5):
        work()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not times:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1 / statistics.median(times)


def print_surroundings(
    engine: Engine, info: ModelInfo, images: npt.NDArray[np.uint8], flops: int, width: int, height: int
) -> None:
    machine = describe_machine()
    print(f"{machine.cpu}, {machine.cores} cores, {os.cpu_count()} threads; {machine.system}")
    print(
        f"densewatch {dw.__version__}, torchvision {torchvision.__version__}, CUDA {torch.version.cuda}, "
        f"cuDNN {torch.backends.cudnn.version()}"  # type: ignore[no-untyped-call]
    )
    print(f"{info.name}: {describe_engine(engine)}")
    print(
        f"pictures of {width}x{height} px, input {images.shape[2]}x{images.shape[1]} px, "
        f"{flops / 1e9:.1f} GFLOP a picture"
    )


if __name__ == "__main__":
    main()
