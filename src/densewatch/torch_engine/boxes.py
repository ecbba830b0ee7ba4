"""From candidates to objects where the candidates are: on a GPU, for a whole batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import nms

from densewatch.detections import Detections
from densewatch.imaging.resize import Prepared
from densewatch.metadata import ModelInfo
from densewatch.runtime.candidates import (
    Filter,
    as_detections,
    check_classes,
    full_levels,
    level_slices,
    to_detections,
)
from densewatch.runtime.fusion import Fused
from densewatch.runtime.suppression import suppress

_PAIRS_AT_ONCE = 1 << 15  # in NMS, whose mask has a bit for every two of them: 128 MiB


@dataclass(frozen=True, eq=False)
class _Pairs:
    """(Candidate, class) pairs of a batch, picture by picture.

    `boxes` float32 [P, 4], cut at the border of the picture, `scores` float32 [P], `labels` and `pictures`
    int64 [P].
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    pictures: Tensor

    def __getitem__(self, index: Tensor | slice) -> _Pairs:
        return _Pairs(self.boxes[index], self.scores[index], self.labels[index], self.pictures[index])


def find_objects(
    boxes: Tensor, scores: Tensor, members: Sequence[Prepared], info: ModelInfo, wanted: Filter
) -> list[Detections]:
    """Return the objects of each picture of a batch, as `to_detections` finds them one by one.

    Thresholds and greedy NMS run on the device of the candidates. Overlaps are computed in float64 there and
    in float32 by `to_detections`: they can differ where an overlap is as near to the limit as float32 rounds.

    Args:
        boxes: float32 [N, K, 4], xyxy, pixels of the network's input.
        scores: float32 [N, K, C], on the same device.
        members: the N pictures, all of one size.
        info: of the model that found them.
        wanted: which objects are wanted.

    Raises:
        ValueError: there are not as many candidates or classes as `info` says.
    """
    if wanted.limits.pairs_per_level is not None or wanted.limits.keep_empty_boxes:
        return [
            to_detections(some_boxes, some_scores, member, info, wanted)
            for some_boxes, some_scores, member in zip(
                boxes.cpu().numpy(), scores.cpu().numpy(), members, strict=True
            )
        ]
    check_classes(scores.shape[2], info)
    input_size = (members[0].pixels.shape[0], members[0].pixels.shape[1])
    levels = level_slices(info.levels, input_size, scores.shape[1])
    passed = scores >= float(np.float32(wanted.threshold))
    cut = torch.zeros(len(members), dtype=torch.bool, device=scores.device)
    for level in full_levels(info.levels, levels, input_size):
        cut |= passed[:, level].any(dim=2).all(dim=1)
    pairs = _pairs(boxes, scores, passed, members, wanted)
    return [
        as_detections(found, member, info, wanted, cut=was_cut)
        for found, member, was_cut in zip(
            _suppressed(pairs, len(members), max(input_size), wanted), members, cut.tolist(), strict=True
        )
    ]


def _pairs(
    boxes: Tensor, scores: Tensor, passed: Tensor, members: Sequence[Prepared], wanted: Filter
) -> _Pairs:
    """Return the pairs that passed the threshold, bool [N, K, C], of the wanted classes, and have an area."""
    if wanted.labels is not None:
        classes = torch.zeros(scores.shape[2], dtype=torch.bool)
        classes[list(wanted.labels)] = True
        passed = passed & classes.to(passed.device)
    pictures, candidates, labels = passed.nonzero(as_tuple=True)
    corners = torch.tensor([member.valid_size[::-1] * 2 for member in members], dtype=boxes.dtype)
    clipped = boxes[pictures, candidates].clamp(min=0).minimum(corners.to(boxes.device)[pictures])
    solid = (clipped[:, 2:] > clipped[:, :2]).all(dim=1)
    return _Pairs(clipped, scores[pictures, candidates, labels], labels, pictures)[solid]


def _suppressed(pairs: _Pairs, pictures: int, side: int, wanted: Filter) -> Iterator[Fused]:
    """Yield what the suppression that is wanted leaves of each picture, best first.

    Greedy suppression runs where the pairs are, several pictures at once. What it cannot do there, the other
    kinds and pictures with more pairs than its mask has room for, is done on the CPU.
    """
    counts = torch.bincount(pairs.pictures, minlength=pictures).tolist()
    start = 0
    for members in _portions(counts):
        end = start + sum(counts[members.start : members.stop])
        some = pairs[start:end]
        start = end
        greedy = wanted.suppression in ("greedy", "agnostic") and len(some.scores) <= _PAIRS_AT_ONCE
        if greedy:
            some = some[_greedy(some, side, wanted)]
        boxes, scores, labels, of = (
            values.cpu().numpy() for values in (some.boxes, some.scores, some.labels, some.pictures)
        )
        for picture in members:
            own = of == picture
            found = boxes[own], scores[own], labels[own]
            if not greedy:
                found = suppress(*found, wanted.suppression, iou=wanted.iou, threshold=wanted.threshold)
            yield found


def _portions(counts: Sequence[int]) -> Iterator[range]:
    """Give ranges of pictures, in order, with at most `_PAIRS_AT_ONCE` pairs each, or of one picture."""
    first, total = 0, 0
    for picture, count in enumerate(counts):
        if picture > first and total + count > _PAIRS_AT_ONCE:
            yield range(first, picture)
            first, total = picture, 0
        total += count
    yield range(first, len(counts))


def _greedy(pairs: _Pairs, side: int, wanted: Filter) -> Tensor:
    """Return which pairs greedy NMS keeps, int64, best first.

    Boxes that do not compete are moved apart. In float64 they keep their fractions of pixels, however many
    pictures and classes there are; in float32 some classes would be enough to lose them.
    """
    groups = pairs.pictures
    if wanted.suppression == "greedy":
        groups = groups * (int(pairs.labels.max()) + 1 if len(pairs.labels) else 1) + pairs.labels
    apart = pairs.boxes.double() + (groups * (side + 1))[:, None]
    kept: Tensor = nms(apart, pairs.scores.double(), _limit(wanted.iou))
    return kept


def _limit(iou: float) -> float:
    """Return above which float64 an overlap, rounded to float32 as on the CPU, is greater than `iou`."""
    above = np.float32(iou)
    if float(above) <= iou:
        above = np.nextafter(above, np.float32(2))
    return (float(above) + float(np.nextafter(above, np.float32(0)))) / 2
