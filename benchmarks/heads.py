"""What RetinaNet's heads cost, and what they are worth: time and AP of variants of the preset `light`.

Every variant starts from the embedded model's backbone and pyramid, and from heads that know nothing. All
learn alike: one epoch, the backbone stays as it is. AP is far from what long training gives, but it is
comparable. Then all networks take turns on the clock.

python benchmarks/heads.py ../shared/data/everyday --runs runs/heads
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from densewatch.benchmarking.clock import TOTAL, Contestant, take_turns
from densewatch.benchmarking.engine_peer import network_alone
from densewatch.benchmarking.machine import describe_machine
from densewatch.data.augment_settings import AugmentSettings
from densewatch.export.onnx_graph import write_graph
from densewatch.metadata import ResizePolicy
from densewatch.models.candidates import CandidateNet
from densewatch.models.checkpoint import load_network, save_checkpoint
from densewatch.models.config import preset
from densewatch.models.model_file_weights import read_model_file_weights
from densewatch.models.retinanet import RetinaNet
from densewatch.runtime.engine import Precision
from densewatch.runtime.model_file import find_model, read_info
from densewatch.runtime.openvino_engine import OpenVinoEngine
from densewatch.training.folder import MODEL_FILE
from densewatch.training.loop import Trainer
from densewatch.training.settings import DataSource, TrainSettings

Sections = dict[str, dict[str, Any]]

VARIANTS: dict[str, Sections] = {
    "light: 96 wide, 3 deep": {},
    "1 deep": {"head": {"depth": 1}},
    "64 wide": {"head": {"width": 64}},
    "128 wide": {"head": {"width": 128}},
    "128 wide, 1 deep": {"head": {"width": 128, "depth": 1}},
    "one tower for both": {"head": {"shared": True}},
    "full convolutions": {"head": {"depthwise": False}},
    "with P2": {"pyramid": {"p2": True}},
    "3 anchors a cell": {"anchors": {"scales": (1.0,)}},
}
ONLY_TIMED: dict[str, Sections] = {"class output of 1": {}}
"""As cheap as a first pass that says only whether anything is there."""

EMBEDDED = "everyday-light"
LONGER_SIDE = 480
WARM_UP = 20  # by then OpenVINO runs networks that are compiled for this size


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="a folder with train.json, train.teacher.json and val.json")
    parser.add_argument("--runs", type=Path, default=Path("runs/heads"), help="what is there is not repeated")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--side", type=int, default=256, help="of the pictures to learn from")
    parser.add_argument("--precision", choices=["float32", "bfloat16", "auto"], default="float32")
    parser.add_argument("--turns", type=int, default=60)
    arguments = parser.parse_args()
    metrics = {
        name: learn(name, sections, arguments.data, arguments.runs, arguments.epochs, arguments.side)
        for name, sections in VARIANTS.items()
    }
    report(metrics, measure_time(arguments.runs, arguments.precision, arguments.turns), arguments.precision)


def place(name: str, runs: Path) -> Path:
    """Return the folder of a variant's run."""
    return runs / name.translate(str.maketrans(" ", "-", ":,"))


def learn(name: str, sections: Sections, data: Path, runs: Path, epochs: int, side: int) -> dict[str, float]:
    """Train a variant, unless it has been, and return its COCO numbers on the validation photos of COCO."""
    folder = place(name, runs)
    done = folder / "metrics.json"
    if not done.exists():
        start = runs / "start.safetensors"
        write_start(sections, start)
        settings = make_settings(sections, data, folder, start, epochs, side)
        trained = Trainer(settings).run(
            lambda progress: print(
                f"\r{name}: step {progress.step}/{progress.total_steps}  ", end="", flush=True
            )
        )
        print(f"AP {trained['AP']:.4f}")
        done.write_text(json.dumps(trained))
    return dict(json.loads(done.read_text()))


def write_start(sections: Sections, path: Path) -> None:
    """Write a network with the embedded model's backbone and pyramid, and heads that know nothing."""
    torch.manual_seed(0)
    network = RetinaNet(preset("light", 80, **sections))
    weights = read_model_file_weights(find_model(EMBEDDED))
    body = {name: value for name, value in weights.items() if name.startswith(("backbone.", "pyramid."))}
    network.load_state_dict(body, strict=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, network, read_info(find_model(EMBEDDED)))


def make_settings(
    sections: Sections, data: Path, out: Path, start: Path, epochs: int, side: int
) -> TrainSettings:
    photos = data / "train.json"
    return TrainSettings(
        data=(
            DataSource(
                annotations=photos,
                teacher=data / "train.teacher.json",
                teacher_score=0.4,
                ignore_score=0.2,
            ),
            DataSource(annotations=photos, where={"source": "coco"}, repeat=2),
        ),
        val=DataSource(annotations=data / "val.json", where={"source": "coco"}),
        model={**sections, "backbone": {"freeze_stages": 5}},
        init=start,
        out=out,
        epochs=epochs,
        imgsz=(side,),
        optimizer="adamw",
        lr=0.002,
        weight_decay=0.02,
        schedule="cosine",
        warmup=30,
        ema=0.99,
        precision="bf16",
        augment=AugmentSettings(geometry="square", zoom=(0.6, 1.6), photometric=0.3),
        resize=ResizePolicy(mode="longer", size=LONGER_SIDE, max_size=None),
        save_every=10_000,
    )


def measure_time(runs: Path, precision: Precision, turns: int) -> dict[str, float]:
    """Return the median time of each variant's network on one photo's input, in milliseconds."""
    contestants = {
        name: contestant(name, sections, runs, precision)
        for name, sections in {**VARIANTS, **ONLY_TIMED}.items()
    }
    noise = np.random.default_rng(0).integers(0, 256, (384, LONGER_SIDE, 3), np.uint8).tobytes()
    taken = take_turns(contestants, [noise], runs=turns, warm_up=WARM_UP)
    return {name: recording.summary()[TOTAL]["p50"] for name, recording in taken.items()}


def contestant(name: str, sections: Sections, runs: Path, precision: Precision) -> Contestant:
    folder = place(name, runs)
    file = folder.with_suffix(".onnx")
    if not file.exists():
        checkpoint = folder / MODEL_FILE
        if checkpoint.exists():
            network, _ = load_network(checkpoint)
        else:
            network = RetinaNet(preset("light", num_classes=1, **sections))
        write_graph(CandidateNet(network), file)
    engine = OpenVinoEngine(file, threads=1, precision=precision, cache_dir=None)
    return network_alone(engine, LONGER_SIDE)


def report(metrics: dict[str, dict[str, float]], times: dict[str, float], precision: str) -> None:
    machine = describe_machine()
    print(f"{machine.cpu} ({', '.join(machine.instruction_sets)}), 1 thread, {precision}, input 480x384")
    own = next(iter(times.values()))
    print(f"{'heads':24} {'network ms':>10} {'of light':>8} {'AP':>6} {'AP50':>6} {'APs':>6}")
    for name, time_ms in times.items():
        numbers = metrics.get(name)
        shown = [f"{100 * numbers[key]:6.2f}" if numbers else f"{'':6}" for key in ("AP", "AP50", "APs")]
        print(f"{name:24} {time_ms:10.1f} {time_ms / own:8.2f} {' '.join(shown)}".rstrip())


if __name__ == "__main__":
    main()
