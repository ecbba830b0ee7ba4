"""Which objects have an anchor to learn them, by the rule that training matches by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

from densewatch.doctor.anchor_places import NearAnchors, near_anchors
from densewatch.doctor.objects import Bools, Floats, Ints, Scaled
from densewatch.models.config import LossConfig, RetinaNetConfig
from densewatch.models.matching import match_anchors

_OBJECTS_AT_ONCE = 4096
NOWHERE = -1


@dataclass(frozen=True, eq=False)
class Coverage:
    """What the anchors of a network mean for N objects.

    An object is covered where some anchor overlaps it by `foreground_iou`, 0.5 in all presets. It may go
    unlearned all the same, where each of those anchors fits another object better: a collision. An object
    that is ignored takes no part: training makes a region of it in which nothing is learned.

    Attributes:
        best_iou: float32 [N], of the best anchor.
        best_level: int64 [N], level of the best anchor, 0 is the finest.
        ignored: bool [N], a side is so short that training ignores the object.
        covered: bool [N], `best_iou` reaches `foreground_iou`, and the object is not ignored.
        shares_best: bool [N], the best anchor is the best one of another covered object too.
        place: int64 [N], picture * levels + level of the best anchor that learns the object by its IoU alone;
            `NOWHERE` where none does.
        low_quality_place: int64 [N], the same where the best anchors of every object learn their own best
            object, however low the IoU, as `low_quality_matches` has it.
    """

    best_iou: Floats
    best_level: Ints
    ignored: Bools
    covered: Bools
    shares_best: Bools
    place: Ints
    low_quality_place: Ints

    @classmethod
    def without_anchors(cls, count: int) -> Coverage:
        """Return that of so many objects before any anchor is looked at; its arrays are to be filled in."""
        return cls(
            best_iou=np.zeros(count, np.float32),
            best_level=np.zeros(count, np.int64),
            ignored=np.zeros(count, np.bool_),
            covered=np.zeros(count, np.bool_),
            shares_best=np.zeros(count, np.bool_),
            place=np.full(count, NOWHERE, np.int64),
            low_quality_place=np.full(count, NOWHERE, np.int64),
        )

    @property
    def learned(self) -> Bools:
        """Whether an anchor learns the object by its IoU alone, bool [N]."""
        learned: Bools = self.place != NOWHERE
        return learned

    @property
    def uncovered(self) -> Bools:
        """Whether training looks for an anchor for the object, but none overlaps it enough, bool [N]."""
        return ~self.covered & ~self.ignored

    @property
    def collided(self) -> Bools:
        """Whether the object is covered, but each of its anchors learns another one, bool [N]."""
        return self.covered & ~self.learned


def cover(scaled: Scaled, config: RetinaNetConfig, min_side_px: float = 0.0) -> Coverage:
    """Match the anchors of a network with objects, picture by picture, as training does.

    Args:
        scaled: the objects.
        config: of the network.
        min_side_px: training ignores objects with a shorter side, in pixels of the network's input.
    """
    coverage = Coverage.without_anchors(len(scaled.objects))
    coverage.ignored[:] = scaled.under(min_side_px)
    levels = len(config.pyramid.strides)
    for rows, part in scaled.portions(_OBJECTS_AT_ONCE):
        boxes = torch.from_numpy(part.boxes)
        for near in near_anchors(part, config):
            here = slice(rows.start + near.rows.start, rows.start + near.rows.stop)
            first_place = int(part.objects.pictures[near.rows.start]) * levels
            _fill(coverage, here, boxes[near.rows], near, config.loss, first_place)
    return coverage


def _fill(
    coverage: Coverage, rows: slice, boxes: Tensor, near: NearAnchors, loss: LossConfig, first_place: int
) -> None:
    """Fill in the rows of one picture; `first_place` is that of its finest level."""
    iou = box_iou(boxes, torch.from_numpy(near.boxes))
    best_iou, best_anchor = iou.max(dim=1)
    covered = (best_iou >= loss.foreground_iou).numpy() & ~coverage.ignored[rows]
    coverage.best_iou[rows] = best_iou.numpy()
    coverage.best_level[rows] = near.levels[best_anchor.numpy()]
    coverage.covered[rows] = covered
    _, which, users = np.unique(best_anchor.numpy()[covered], return_inverse=True, return_counts=True)
    shares = np.zeros(len(covered), np.bool_)
    shares[covered] = users[which] > 1
    coverage.shares_best[rows] = shares
    taught = np.flatnonzero(~coverage.ignored[rows])
    iou = iou[torch.from_numpy(taught)]
    for low_quality, place in ((False, coverage.place), (True, coverage.low_quality_place)):
        matched_idxs = match_anchors(iou, loss.foreground_iou, loss.background_iou, low_quality)
        own = torch.where(matched_idxs == torch.arange(len(taught))[:, None], iou, -1.0)
        own_iou, own_anchor = own.max(dim=1)
        levels = near.levels[own_anchor.numpy()]
        place[rows.start + taught] = np.where(own_iou.numpy() >= 0, first_place + levels, NOWHERE)
