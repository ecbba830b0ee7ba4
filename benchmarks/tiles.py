"""Measure what tiles find: AP on 4x4 mosaics of photos, where all objects are small, by plan of tiles.

python benchmarks/tiles.py ANNOTATIONS.json [--where source=coco] [--tiles off auto 4x4] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

import densewatch as dw
from densewatch.benchmarking.machine import describe_machine
from densewatch.data.coco_schema import load_instances
from densewatch.data.dataset import Sample
from densewatch.data.read import read_dataset
from densewatch.evaluation import evaluate_coco
from densewatch.evaluation.run import collect_results, select
from densewatch.imaging.draw import draw
from densewatch.imaging.read import read_image
from densewatch.runtime.tiles import plan_tiles

SIDE = 4
PHOTOS = SIDE * SIDE
BACKGROUND = (124, 116, 104)
LIMITS = (1, 100, 100 * PHOTOS)
"""COCO counts 100 detections of a class in a photo; a mosaic is `PHOTOS` of them."""


def groups(samples: Sequence[Sample], seed: int) -> Iterator[list[Sample]]:
    """Give the samples in random order, `PHOTOS` at a time; what is left over is left out."""
    order = np.random.default_rng(seed).permutation(len(samples))
    for start in range(0, len(order) - PHOTOS + 1, PHOTOS):
        yield [samples[i] for i in order[start : start + PHOTOS]]


def write_mosaics(annotations: Path, samples: Sequence[Sample], seed: int, folder: Path) -> Path:
    """Write mosaics of photos at their own size, and their labels; return the path of the labels."""
    content = load_instances(annotations)
    width, height = (max(sample.size[axis] for sample in samples) for axis in (1, 0))
    not_exhaustive = {record.id: record.not_exhaustive_category_ids for record in content.images}
    images: list[dict[str, Any]] = []
    labels: list[dict[str, Any]] = []
    for number, photos in enumerate(groups(samples, seed), start=1):
        canvas = np.full((SIDE * height, SIDE * width, 3), BACKGROUND, np.uint8)
        corners = {}
        for place, photo in enumerate(photos):
            x, y = place % SIDE * width, place // SIDE * height
            canvas[y : y + photo.size[0], x : x + photo.size[1]] = read_image(photo.path)
            corners[photo.image_id] = x, y
        name = f"mosaic{number}.png"
        write(folder / name, canvas)
        # A class that one of the photos was not searched for was not searched for in the mosaic.
        unknown = sorted({label for image_id in corners for label in not_exhaustive[image_id]})
        image = {"id": number, "file_name": name, "width": SIDE * width, "height": SIDE * height}
        images.append({**image, "not_exhaustive_category_ids": unknown})
        for record in content.annotations:
            if record.image_id in corners:
                (x, y), (left, top, *sides) = corners[record.image_id], record.bbox
                moved = {"id": len(labels) + 1, "image_id": number, "bbox": [left + x, top + y, *sides]}
                labels.append({**record.model_dump(), **moved})
    categories = [category.model_dump() for category in content.categories]
    file = folder / "mosaics.json"
    file.write_text(json.dumps({"images": images, "annotations": labels, "categories": categories}))
    return file


def write(path: Path, image: npt.NDArray[np.uint8]) -> None:
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def measure(detector: dw.Detector, mosaics: Path, tiles: Sequence[str]) -> None:
    dataset = read_dataset(mosaics, mosaics.parent)
    size, objects = dataset[0].size, sum(len(sample.boxes) for sample in dataset)
    print(f"{len(dataset)} mosaics of {size[1]}x{size[0]} px, {objects} objects")
    sizes = ("AP", "AP50", "APs", "APm", "APl")
    header = (*(f"{name}@{LIMITS[-1]}" for name in sizes), f"AR{LIMITS[-1]}")
    columns = " ".join(f"{name:>9}" for name in header)
    print(f"{'tiles':8} {'number':>6} {columns} {'median ms':>10} {'p95':>8}")
    for plan in tiles:
        results = collect_results(detector, dataset, dataset.samples, tiles=plan)
        metrics = evaluate_coco(mosaics, results, max_detections=LIMITS)
        numbers = " ".join(f"{100 * (metrics[name] or 0):9.2f}" for name in header)
        times = milliseconds(detector, plan, [sample.path for sample in dataset])
        count = len(plan_tiles(size, detector.info, plan)) - 1
        clock = f"{np.median(times):10.0f} {np.percentile(times, 95):8.0f}"
        print(f"{plan:8} {count:6} {numbers} {clock}", flush=True)


def milliseconds(detector: dw.Detector, tiles: str, paths: Sequence[Path]) -> list[float]:
    """Return how long each picture takes at the model's own threshold, without reading it."""
    timings = [detector.detect_timed(read_image(path), tiles=tiles)[1] for path in paths]
    return [timing.total_ms - timing.read_ms for timing in timings]


def draw_first(detector: dw.Detector, mosaics: Path, tiles: Sequence[str], threshold: float) -> None:
    """Draw what each plan finds in the first mosaic beside the labels' file."""
    path = read_dataset(mosaics, mosaics.parent)[0].path
    for plan in tiles:
        found = detector.detect(path, threshold=threshold, tiles=plan)
        write(mosaics.parent / f"found-{plan}.png", draw(read_image(path), found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--where", default="source=coco", help="photos that are used, all with an empty text")
    parser.add_argument("--model")
    parser.add_argument("--tiles", nargs="+", default=["off", "auto", "4x4"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="keep the mosaics, and draw what is found in the first")
    parser.add_argument("--threshold", type=float, default=0.3, help="of what is drawn")
    arguments = parser.parse_args()
    dataset = read_dataset(arguments.annotations, arguments.images)
    samples = select(dataset, *arguments.where.split("=", 1)) if arguments.where else list(dataset)
    detector = dw.load(arguments.model)
    machine, engine = describe_machine(), detector.engine
    print(f"{machine.cpu}, {machine.cores} cores; {detector.info.name}, {engine.name} {engine.numeric_type}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        mosaics = write_mosaics(arguments.annotations, samples, arguments.seed, folder)
        measure(detector, mosaics, arguments.tiles)
        if arguments.out:
            draw_first(detector, mosaics, arguments.tiles, arguments.threshold)


if __name__ == "__main__":
    main()
