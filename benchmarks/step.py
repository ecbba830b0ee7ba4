"""What a step of training costs on this CPU: forward, criterion, backward, of a preset on random pictures.

python benchmarks/step.py
python benchmarks/step.py --freeze 5 --batch 16 --side 320
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from time import perf_counter

import torch

from densewatch.benchmarking.machine import describe_machine
from densewatch.models.config import preset
from densewatch.models.criterion import Criterion, Target
from densewatch.models.retinanet import RetinaNet

OBJECTS = 5  # in each picture


def random_targets(pictures: int, side: int) -> list[Target]:
    generator = torch.Generator().manual_seed(0)
    targets = []
    for _ in range(pictures):
        corners = torch.rand(OBJECTS, 2, generator=generator) * side * 0.6
        sides = torch.rand(OBJECTS, 2, generator=generator) * side * 0.35 + 16
        nothing, nobody = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
        targets.append(
            Target(
                torch.cat([corners, corners + sides], dim=1),
                torch.randint(80, (OBJECTS,), generator=generator),
                nothing,
                nobody,
                nobody,
                torch.ones(OBJECTS),
            )
        )
    return targets


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="light")
    parser.add_argument("--freeze", type=int, default=2, help="stages of the backbone that do not learn")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--steps", type=int, default=8)
    arguments = parser.parse_args()
    config = preset(arguments.preset, 80, backbone={"freeze_stages": arguments.freeze})
    network = RetinaNet(config).train().to(memory_format=torch.channels_last)
    criterion = Criterion(config.loss)
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=1e-4)
    images = torch.rand(arguments.batch, 3, arguments.side, arguments.side)
    images = images.to(memory_format=torch.channels_last)
    targets = random_targets(arguments.batch, arguments.side)
    times = []
    for _ in range(arguments.steps):
        moments = [perf_counter()]
        with torch.autocast("cpu", torch.bfloat16):
            output = network(images)
        moments.append(perf_counter())
        logits, deltas = torch.cat(output.cls_logits, dim=1), torch.cat(output.bbox_deltas, dim=1)
        loss = criterion(logits.float(), deltas.float(), torch.cat(output.anchors), targets).total
        moments.append(perf_counter())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        moments.append(perf_counter())
        times.append([later - earlier for earlier, later in pairwise(moments)])
    forward, criterion_s, backward = torch.tensor(times[1:]).median(dim=0).values.tolist()
    machine = describe_machine()
    print(f"{machine.cpu}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}, bfloat16")
    print(f"forward {forward:.3f} s, criterion {criterion_s:.3f} s, backward and step {backward:.3f} s")
    print(f"{arguments.batch / (forward + criterion_s + backward):.1f} pictures a second")


if __name__ == "__main__":
    main()
