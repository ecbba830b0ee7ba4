"""How near a folder of photos comes to the throughput of the network alone, in turns with it.

python benchmarks/folder.py ../shared/data/everyday/val --count 480
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

import densewatch as dw
from densewatch.benchmarking.machine import describe_machine
from densewatch.imaging.draw import draw
from densewatch.imaging.read import read_image
from densewatch.imaging.resize import batch, prepare
from densewatch.imaging.save import save_image
from densewatch.imaging.sources import FileSource, expand_sources
from densewatch.imaging.threads import one_thread_a_picture
from densewatch.runtime.engine import describe_engine
from densewatch.runtime.in_order import map_in_order

LANDSCAPE, PORTRAIT = (640, 480), (480, 640)
WARM_UP = 40  # more pictures of a size than the engine waits for until it compiles for this size


def write_photos(folder: Path, count: int, target: Path) -> list[Path]:
    """Write `count` photos of 640×480 or 480×640 px, as JPEG of quality 90."""
    found = [item.path for item in expand_sources([str(folder)]) if isinstance(item, FileSource)]
    paths = []
    for index in range(count):
        image = read_image(found[index % len(found)])
        size = LANDSCAPE if image.shape[1] >= image.shape[0] else PORTRAIT
        paths.append(target / f"{index:05}.jpg")
        pixels = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(paths[-1]), pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return paths


def rate(work: Callable[[], object], count: int) -> float:
    """Return how many pictures a second `work` does."""
    start = time.perf_counter()
    work()
    return count / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="a folder of photos")
    parser.add_argument("--model")
    parser.add_argument("--count", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    one_thread_a_picture()  # as `densewatch detect FOLDER` does
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        paths = write_photos(arguments.photos, arguments.count, folder)
        detector = dw.load(arguments.model, threads=arguments.threads, streams=1024)
        machine = describe_machine()
        print(
            f"{machine.cpu}, {machine.cores} cores; {detector.info.name}, {describe_engine(detector.engine)}"
        )
        print(f"{len(paths)} photos of 640x480 px, {detector.engine.streams} streams")
        measure(detector, paths, arguments.rounds, folder / "drawn")


def measure(detector: dw.Detector, paths: Sequence[Path], rounds: int, drawn: Path) -> None:
    policy = detector.info.resize
    inputs = [batch([prepare(read_image(path), policy)], policy.pad_value) for path in paths]

    def network(image: npt.NDArray[np.uint8]) -> None:
        detector.engine(image)

    def seen(path: Path) -> None:
        image = read_image(path)
        save_image(drawn / path.name, draw(image, detector.detect(image)))

    ways: dict[str, Callable[[], object]] = {
        "network alone": lambda: list(map_in_order(network, inputs, detector.engine.streams)),
        "files to boxes": lambda: list(detector.detect_many(paths)),
        "and drawn": lambda: list(map_in_order(seen, paths, detector.workers)),
    }
    list(detector.detect_many(paths[: 2 * WARM_UP]))
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            rates[name].append(rate(work, len(paths)))
    own = np.median(rates["network alone"])
    for name, values in rates.items():
        share = f"{np.median(values) / own:.0%} of the network alone"
        print(f"{name:15} {np.median(values):6.1f} photos/s (best {max(values):.1f}), {share}")


if __name__ == "__main__":
    main()
