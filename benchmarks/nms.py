"""Time NMS, Soft-NMS, fusion and the whole way from candidates to boxes, beside torchvision and OpenCV.

python benchmarks/nms.py [--seconds S] [--slow]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import cv2
import numpy as np
import numpy.typing as npt

from densewatch.benchmarking.machine import describe_machine
from densewatch.imaging.resize import Prepared
from densewatch.metadata import ClassInfo, ModelInfo
from densewatch.runtime.candidates import Filter, to_detections
from densewatch.runtime.fusion import weighted_boxes_fusion
from densewatch.runtime.nms import nms
from densewatch.runtime.soft_nms import soft_nms

try:
    import torch
    from torchvision.ops import batched_nms
except ModuleNotFoundError:
    torch = None  # type: ignore[assignment]

SIDE_PX, IOU = 1024, 0.5
Floats = npt.NDArray[np.float32]
Scene = tuple[Floats, Floats, npt.NDArray[np.int64]]


def spread(count: int, classes: int) -> Scene:
    """Return random boxes anywhere, 8 to 200 px, of random classes."""
    rng = np.random.default_rng(0)
    centres = rng.uniform(0, SIDE_PX, (count, 2))
    sides = np.exp(rng.uniform(np.log(8), np.log(200), (count, 1))) * rng.uniform(0.7, 1.4, (count, 2))
    return xyxy(centres, sides), rng.beta(1, 4, count).astype(np.float32), rng.integers(0, classes, count)


def crowd(count: int, classes: int, objects: int = 300) -> Scene:
    """Return what a detector gives for `objects` objects: many boxes around each, better ones nearer."""
    rng = np.random.default_rng(0)
    object_centres = rng.uniform(0, SIDE_PX, (objects, 2))
    object_sides = np.exp(rng.uniform(np.log(16), np.log(120), (objects, 1))) * rng.uniform(
        0.6, 1.6, (objects, 2)
    )
    of = rng.integers(0, objects, count)
    offsets = rng.normal(0, 0.12, (count, 2))
    sides = object_sides[of] * np.exp(rng.normal(0, 0.2, (count, 2)))
    scores = np.exp(-3 * np.abs(offsets).sum(axis=1)) * rng.beta(2, 3, count)
    boxes = xyxy(object_centres[of] + offsets * object_sides[of], sides)
    return boxes, scores.astype(np.float32), rng.integers(0, classes, objects)[of]


def separate(count: int, classes: int, objects: int = 2000) -> Scene:
    """Return boxes of `objects` small objects side by side, one or more each."""
    rng = np.random.default_rng(0)
    of = np.arange(count) % objects
    centres = np.stack([of % 50 * 20.0 + 10, of // 50 * 24.0 + 10], axis=1) + rng.normal(0, 1, (count, 2))
    boxes = xyxy(centres, 16 * np.exp(rng.normal(0, 0.1, (count, 2))))
    return boxes, rng.beta(2, 3, count).astype(np.float32), of * 7 % classes


def mostly_one_class(count: int) -> Scene:
    """Return a crowd of which four in five are of the same class."""
    boxes, scores, labels = crowd(count, 80, objects=600)
    return boxes, scores, np.where(np.arange(count) % 10 < 8, 0, labels)


def pile(count: int) -> Scene:
    """Return boxes of one class that all lie on each other."""
    rng = np.random.default_rng(0)
    boxes = np.array([100, 100, 200, 200]) + rng.normal(0, 3, (count, 4))
    return boxes.astype(np.float32), rng.beta(2, 3, count).astype(np.float32), np.zeros(count, np.int64)


def xyxy(centres: npt.NDArray[np.float64], sides: npt.NDArray[np.float64]) -> Floats:
    return np.concatenate([centres - sides / 2, centres + sides / 2], axis=1).astype(np.float32)


SCENES: dict[str, Callable[[int], Scene]] = {
    "spread, 80 classes": lambda count: spread(count, 80),
    "spread, 1 class": lambda count: spread(count, 1),
    "crowd of 300, 80 classes": lambda count: crowd(count, 80),
    "crowd of 300, 1 class": lambda count: crowd(count, 1),
    "2,000 separate, 80 classes": lambda count: separate(count, 80),
    "2,000 separate, 1 class": lambda count: separate(count, 1),
    "all separate, 1 class": lambda count: separate(count, 1, objects=count),
    "crowd of 600, mostly 1 class": mostly_one_class,
    "all on each other, 1 class": pile,
}


def milliseconds(work: Callable[[], object], seconds: float) -> npt.NDArray[np.float64]:
    """Return the wall-clock times of the calls that fit into `seconds`, at least three, after a first."""
    work()
    times: list[float] = []
    stop = time.perf_counter() + seconds
    while time.perf_counter() < stop or len(times) < 3:
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1000)
    return np.array(times)


def row(name: str, count: int, times: npt.NDArray[np.float64], others: str = "") -> None:
    low, median, high = times.min(), np.median(times), np.percentile(times, 95)
    print(f"{name:32} {count:7,} {low:8.2f} {median:8.2f} {high:8.2f}  {others}", flush=True)


def nms_times(scene: Scene, seconds: float) -> npt.NDArray[np.float64]:
    return milliseconds(lambda: nms(*scene, IOU), seconds)


def against_others(scene: Scene, seconds: float, slow: bool) -> str:
    """Return the medians of torchvision's and OpenCV's NMS, and whether torchvision keeps the same boxes."""
    boxes, scores, labels = scene
    text = ""
    if torch is not None:
        tensors = [torch.from_numpy(array) for array in scene]
        theirs = np.sort(batched_nms(*tensors, IOU).numpy())
        equal = np.array_equal(theirs, np.sort(nms(*scene, IOU)))
        median = np.median(milliseconds(lambda: batched_nms(*tensors, IOU), seconds))
        text += f"{median:8.2f} {'equal' if equal else 'NOT EQUAL':10}"
    if slow:
        xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
        arguments = xywh.tolist(), scores.tolist(), labels.tolist(), 0.0, IOU
        text += f"{np.median(milliseconds(lambda: cv2.dnn.NMSBoxesBatched(*arguments), seconds)):8.2f}"
    return text


def candidates(threshold: float) -> tuple[int, Callable[[], object]]:
    """Return how many pairs pass, and the way from 5,000 candidates of 80 classes to `Detections`."""
    boxes, best, labels = crowd(5000, 80)
    rng = np.random.default_rng(0)
    scores = (rng.beta(0.1, 40, (5000, 80))).astype(np.float32)
    scores[np.arange(5000), labels] = best
    info = ModelInfo(
        name="random", family="retinanet", classes=tuple(ClassInfo(name=str(i), id=i) for i in range(80))
    )
    prepared = Prepared(np.zeros((SIDE_PX, SIDE_PX, 3), np.uint8), (SIDE_PX, SIDE_PX), (SIDE_PX, SIDE_PX))
    wanted = Filter(threshold, IOU)
    return int((scores >= threshold).sum()), lambda: to_detections(boxes, scores, prepared, info, wanted)


def installed(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each figure")
    parser.add_argument("--slow", action="store_true", help="time OpenCV too")
    arguments = parser.parse_args()
    machine = describe_machine()
    packages = ", ".join(map(installed, ("numpy", "opencv-python-headless", "torch", "torchvision")))
    print(f"{machine.cpu}, {machine.cores} cores, {machine.system}; {packages}")
    threads = f"torch on {torch.get_num_threads()} threads" if torch is not None else ""
    print(f"milliseconds of wall-clock time; ours on 1 thread, {threads}")
    print(f"{'NMS':32} {'boxes':>7} {'least':>8} {'median':>8} {'p95':>8}   torchvision, OpenCV")
    for count in (6000, 20_000):
        for name, make in SCENES.items():
            scene = make(count)
            row(
                name,
                count,
                nms_times(scene, arguments.seconds),
                against_others(scene, arguments.seconds, arguments.slow),
            )
    print("Crowd of 300, 80 classes")
    scene = crowd(6000, 80)
    row("Soft-NMS", 6000, milliseconds(lambda: soft_nms(*scene, threshold=0.01), arguments.seconds))
    row("Weighted boxes fusion", 6000, milliseconds(lambda: weighted_boxes_fusion(*scene), arguments.seconds))
    for threshold in (0.01, 0.3, 0.5):
        count, work = candidates(threshold)
        row(f"5,000 candidates, threshold {threshold}", count, milliseconds(work, arguments.seconds))


if __name__ == "__main__":
    main()
