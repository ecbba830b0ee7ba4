"""From a dense output to candidates: the best anchors of each level, decoded. This is what gets exported."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from densewatch.metadata import LevelInfo
from densewatch.models.box_coding import decode_boxes
from densewatch.models.retinanet import DenseOutput, RetinaNet


def select_candidates(output: DenseOutput, topk: int) -> tuple[Tensor, Tensor]:
    """Return the best `topk` anchors of each level, best first: boxes `[N, K, 4]` xyxy, scores `[N, K, C]`.

    Anchors are ranked by their best class, so the best `topk` (anchor, class) pairs are always among them.
    A level with fewer anchors gives all it has. What is chosen is decoded in float32, whatever the network
    computes in.
    """
    boxes, scores = [], []
    for logits, deltas, anchors in zip(*output, strict=True):
        count = torch.sym_min(topk, anchors.shape[0])
        best = logits.amax(dim=2).topk(count, dim=1).indices
        boxes.append(decode_boxes(_pick(deltas, best).float(), anchors[best]))
        scores.append(_pick(logits, best).float().sigmoid())
    return torch.cat(boxes, dim=1), torch.cat(scores, dim=1)


class CandidateNet(nn.Module):
    """A detector as model files carry it: uint8 pictures in, candidates out, NMS left to the runtime.

    Attributes:
        topk: how many anchors each level passes on.
    """

    def __init__(self, network: RetinaNet, topk: int = 1000) -> None:
        super().__init__()
        self.network = network
        self.topk = topk

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes `[N, K, 4]` in input pixels and scores `[N, K, C]` of `image` uint8 `[N, H, W, 3]`."""
        return select_candidates(self.network(image.permute(0, 3, 1, 2).float() / 255), self.topk)


def levels_of(network: RetinaNet, topk: int) -> tuple[LevelInfo, ...]:
    """Return how the candidates of a `CandidateNet` are grouped, as a model's description has it."""
    per_cell, strides = network.config.anchors.per_cell, network.config.pyramid.strides
    return tuple(LevelInfo(stride=stride, anchors_per_cell=per_cell, topk=topk) for stride in strides)


def _pick(values: Tensor, index: Tensor) -> Tensor:
    """Return `[N, K, D]`: the rows `index` `[N, K]` of `values` `[N, A, D]`, picture by picture.

    Whole rows are copied out of one long table: engines do that many times faster than `torch.gather`.
    """
    pictures, anchors, _ = values.shape
    first = torch.arange(pictures, device=index.device)[:, None] * anchors
    return values.flatten(0, 1)[index + first]
