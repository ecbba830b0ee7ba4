"""A detector of a few convolutions with random weights, so that quantising it takes a second."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from densewatch.metadata import ClassInfo, LevelInfo, ModelInfo, ResizePolicy
from densewatch.models.candidates import CandidateNet

STRIDE, CHANNELS = 32, 16
TOPK = 1000  # all cells: which of random scores are the best hangs on rounding
INFO = ModelInfo(
    name="tiny",
    family="tiny",
    classes=(ClassInfo(name="person", id=1), ClassInfo(name="chair", id=62)),
    resize=ResizePolicy(mode="longer", size=224, max_size=None),
    levels=(LevelInfo(stride=STRIDE, anchors_per_cell=1, topk=TOPK),),
    metrics={"elsewhere": {"AP": 0.9}},
)


class TinyConvolutions(nn.Module):
    """Keeps the contract of a model file: one level, one box a cell, the parts named as in RetinaNet."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        widths = (3, 8, 8, 8, CHANNELS, CHANNELS)
        stages = [nn.Conv2d(a, b, 3, 2, 1) for a, b in pairwise(widths)]
        self.network = nn.ModuleDict(
            {
                "backbone": nn.ModuleDict({"stages": nn.ModuleList(stages)}),
                "pyramid": nn.Conv2d(CHANNELS, CHANNELS, 3, 1, 1),
                **{f"{name}_head": _head(outputs) for name, outputs in (("class", 2), ("box", 4))},
            }
        )

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = image.permute(0, 3, 1, 2).float() / 255
        for stage in self.network["backbone"]["stages"]:  # type: ignore[index]
            features = stage(features).relu()
        features = self.network["pyramid"](features)
        logits, deltas = (_run(self.network[f"{name}_head"], features) for name in ("class", "box"))
        rows, columns = features.shape[2:]
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        centres = STRIDE * (torch.stack([x, y], dim=2).reshape(-1, 2) + 0.5)
        half = STRIDE * deltas[..., 2:].exp()
        middle = centres + STRIDE * deltas[..., :2]
        boxes = torch.cat([middle - half, middle + half], dim=2)
        best = logits.amax(dim=2).topk(torch.sym_min(TOPK, boxes.shape[1]), dim=1).indices[..., None]
        return boxes.gather(1, best.expand(-1, -1, 4)), logits.gather(1, best.expand(-1, -1, 2)).sigmoid()


def tiny_convolutions() -> CandidateNet:
    """Return the network, as `write_graph` takes it."""
    return cast(CandidateNet, TinyConvolutions().eval())


def _head(outputs: int) -> nn.ModuleDict:
    output = nn.Conv2d(CHANNELS, outputs, 3, 1, 1)
    return nn.ModuleDict({"tower": nn.Conv2d(CHANNELS, CHANNELS, 3, 1, 1), "output": output})


def _run(head: nn.Module, features: Tensor) -> Tensor:
    """Return `[N, cells, outputs]`."""
    assert isinstance(head, nn.ModuleDict)
    output: Tensor = head["output"](head["tower"](features).relu())
    return output.flatten(2).transpose(1, 2)
