"""How many pictures a second training can be given: from their files, and from the packed cache.

The loader that training uses makes batches, and nobody learns from them: reading, decoding, scaling, mosaics,
colours, and the way from a worker to the training process. All ways take turns, in rounds, on the same draws.
With no workers, the figure is of the time that one core spends, which hardly depends on what else runs.

python benchmarks/loading.py ../shared/data/everyday/train.json
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import cv2
import numpy as np
import torch

from densewatch.benchmarking.machine import describe_machine
from densewatch.data.augment import ReadPicture
from densewatch.data.augment_settings import AugmentSettings
from densewatch.data.dataset import Dataset, Sample
from densewatch.imaging.read import read_image
from densewatch.metadata import ClassInfo
from densewatch.training.batches import StepSampler, make_loader, read_scaled
from densewatch.training.pack import open_pictures
from densewatch.training.settings import DataSource, TrainSettings
from densewatch.training.sources import read_sources

BATCH = 16
SIDE = 320
WARM_UP = 6  # batches that workers had read before the clock starts


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?", help="labels; without any, photos are drawn")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40, help=f"of {BATCH} pictures, a round")
    parser.add_argument("--photo", type=int, nargs=2, default=[3000, 4000], help="size of drawn photos")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as folder:
        data = drawn(Path(folder), arguments.photo) if arguments.data is None else read(arguments.data)
        ways = make_ways(data, Path(folder))
        mixes = {"alone": AugmentSettings(geometry="square", zoom=(0.6, 1.6), photometric=0.3)}
        mixes["mosaic, copy-paste"] = mixes["alone"].model_copy(update={"mosaic": 0.5, "copy_paste": 0.5})
        report(data, measure(data, ways, mixes, arguments.workers, arguments.rounds, arguments.steps))


def read(annotations: Path) -> Dataset:
    return read_sources([DataSource(annotations=annotations)])


def drawn(folder: Path, size: list[int]) -> Dataset:
    """Return thirty photos of `size`, blurred noise as JPEG, each with one object."""
    random, samples = np.random.default_rng(0), []
    for number in range(30):
        noise = random.integers(0, 256, (size[0] // 16, size[1] // 16, 3), np.uint8)
        path = folder / f"{number}.jpg"
        cv2.imwrite(str(path), cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC))
        box = np.array([[10, 10, size[1] // 2, size[0] // 2]], np.float32)
        samples.append(Sample(number, path, (size[0], size[1]), box, np.zeros(1, np.int64)))
    return Dataset(tuple(samples), (ClassInfo(name="noise", id=1),))


def make_ways(data: Dataset, folder: Path) -> dict[str, ReadPicture]:
    """Return where pictures may come from: whole files, files at a reduced size, and the cache."""
    settings = TrainSettings(
        data=(DataSource(annotations=Path("unused")),),
        imgsz=(SIDE,),
        augment=AugmentSettings(geometry="square", zoom=(0.6, 1.6), mosaic=0.5),
        cache="disk",
        cache_dir=folder,
        cache_gb=100,
    )
    start = perf_counter()
    cached = open_pictures(data, settings, lambda *_: None)
    size = sum(file.stat().st_size for file in folder.glob("*.pack"))
    print(f"the pack has {size / 1e9:.2f} GB, made in {perf_counter() - start:.1f} s")
    return {
        "whole files": lambda sample, _: read_image(sample.path),
        "files, reduced": read_scaled,
        "cache": cached,
    }


def measure(
    data: Dataset,
    ways: dict[str, ReadPicture],
    mixes: dict[str, AugmentSettings],
    workers: list[int],
    rounds: int,
    steps: int,
) -> dict[tuple[str, int, str], list[float]]:
    """Return pictures a second of each round, by mix, workers and way."""
    taken: dict[tuple[str, int, str], list[float]] = {}
    for number in range(rounds):
        for mix, augment in mixes.items():
            for count in workers:
                for way, source in sorted(ways.items(), reverse=bool(number % 2)):
                    speed = pictures_per_second(data, augment, count, source, steps, first=number * steps)
                    taken.setdefault((mix, count, way), []).append(speed)
                    print(f"round {number + 1}: {mix}, {count} worker(s), {way}: {speed:.0f}/s", flush=True)
    return taken


def pictures_per_second(
    data: Dataset, augment: AugmentSettings, workers: int, source: ReadPicture, steps: int, first: int
) -> float:
    total = first + steps + WARM_UP
    sampler = StepSampler(len(data), BATCH, (SIDE,), 0, first, total, augment=augment)
    loader = iter(make_loader(data, sampler, augment, workers, source))
    for _ in range(WARM_UP):
        next(loader)
    clock = perf_counter if workers else process_time
    start, pictures = clock(), 0
    for batch in loader:
        pictures += len(batch.images)
    return pictures / (clock() - start)


def report(data: Dataset, taken: dict[tuple[str, int, str], list[float]]) -> None:
    machine = describe_machine()
    print(f"{machine.cpu}, {machine.cores} cores; {len(data)} pictures, trained at {SIDE} px")
    print("medians of the rounds: pictures a second, and how many times as many as from whole files")
    for (mix, count, way), speeds in taken.items():
        times = median(speeds) / median(taken[mix, count, "whole files"])
        who = f"{count} worker(s)" if count else "one core"
        print(f"{mix:18} {who:12} {way:15} {median(speeds):7.0f} {times:6.2f}")


if __name__ == "__main__":
    main()
