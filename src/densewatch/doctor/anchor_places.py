"""Where the anchors near each object are, without laying out all anchors of all pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from densewatch.doctor.objects import Bools, Floats, Ints, Scaled
from densewatch.models.anchors import Anchors, cell_anchors
from densewatch.models.config import AnchorConfig, RetinaNetConfig

Doubles = npt.NDArray[np.float64]
_SLACK = 1e-4
"""Of an IoU, for the rounding of float32."""


@dataclass(frozen=True, eq=False)
class Lattice:
    """The centres of one level's anchors in the pictures of N objects; the last axis is (x, y).

    Attributes:
        first: float64 [N, 2], of the first cell, pixels of the network's input.
        step: float64 [N, 2], to the next cell.
        counts: int64 [N, 2], columns and rows.
        first_anchor: int64 [N], number of the level's first anchor among all of the picture.
    """

    first: Doubles
    step: Doubles
    counts: Ints
    first_anchor: Ints

    def offsets(self, centers: Doubles) -> Doubles:
        """Return how far the nearest cell's centre is from each of `centers` [N, 2], as float64 [N, 2]."""
        nearest = np.clip(np.rint((centers - self.first) / self.step), 0, self.counts - 1)
        offsets: Doubles = np.abs(centers - self.first - nearest * self.step)
        return offsets


def lattices(scaled: Scaled, config: RetinaNetConfig) -> list[Lattice]:
    """Return the lattice of each level, finest first."""
    anchors = Anchors(config.anchors, config.pyramid.strides)
    inputs, which = np.unique(scaled.inputs, axis=0, return_inverse=True)
    which = which.reshape(-1)[scaled.objects.pictures]
    found = []
    before = np.zeros(len(inputs), np.int64)
    for level, stride in enumerate(config.pyramid.strides):
        grids = -(-inputs // stride)
        centers = np.array(
            [
                anchors.centers(level, (size[0], size[1]), (grid[0], grid[1]))
                for size, grid in zip(inputs.tolist(), grids.tolist(), strict=True)
            ],
            np.float64,
        ).reshape(-1, 2, 2)[:, :, ::-1]
        found.append(
            Lattice(centers[which, 0], centers[which, 1], grids[which][:, ::-1].copy(), before[which])
        )
        before = before + grids.prod(axis=1) * config.anchors.per_cell
    return found


def level_shapes(config: AnchorConfig) -> list[Floats]:
    """Return the anchors of one cell of each level around its centre, float32 [A, 4] xyxy."""
    return [cell_anchors(size, config).numpy() for size in config.sizes]


class Nearest:
    """How far each object is from the centres of each level: all that its best IoUs depend on, with shapes.

    An anchor's overlap with an object only falls as their centres part, along x as along y. So the best
    anchor of each shape is the one whose centre is nearest along both.
    """

    def __init__(self, scaled: Scaled, config: RetinaNetConfig) -> None:
        sides = scaled.sides.astype(np.float64)
        centers = scaled.boxes[:, :2] + sides / 2
        self.sides = sides
        self.offsets = [lattice.offsets(centers) for lattice in lattices(scaled, config)]

    def best_ious(self, level: int, shapes: Floats) -> Doubles:
        """Return the best IoU of each object with anchors of each shape of a level, float64 [N, A].

        Args:
            level: 0 is the finest.
            shapes: float32 [A, 4] xyxy around the centre.
        """
        anchors = (shapes[:, 2:] - shapes[:, :2]).astype(np.float64)
        shared = np.ones((len(self.sides), len(anchors)))
        for axis in range(2):
            sides, offsets = self.sides[:, axis, None], self.offsets[level][:, axis, None]
            part = np.minimum(np.minimum(sides, anchors[:, axis]), (sides + anchors[:, axis]) / 2 - offsets)
            shared *= np.maximum(part, 0)
        areas = self.sides.prod(axis=1)[:, None] + anchors.prod(axis=1)
        ious: Doubles = shared / (areas - shared)
        return ious


@dataclass(frozen=True, eq=False)
class NearAnchors:
    """The anchors of one picture that may learn one of its objects.

    Attributes:
        rows: of the picture's objects, among all.
        numbers: int64 [A], each anchor's place among all anchors of the picture, rising.
        levels: int64 [A].
        boxes: float32 [A, 4], xyxy, pixels of the network's input.
    """

    rows: slice
    numbers: Ints
    levels: Ints
    boxes: Floats


def near_anchors(scaled: Scaled, config: RetinaNetConfig) -> Iterator[NearAnchors]:
    """Give, for every picture with objects, all anchors that `match_anchors` could call foreground.

    Those are all that overlap an object by `foreground_iou`, and the best ones of every object.
    """
    shapes = level_shapes(config.anchors)
    nearest = Nearest(scaled, config)
    best = [nearest.best_ious(level, anchors) for level, anchors in enumerate(shapes)]
    reached = np.max([ious.max(axis=1, initial=0) for ious in best], axis=0, initial=0)
    least = np.minimum(reached, config.loss.foreground_iou) - _SLACK
    parts = [
        _level_windows(scaled, lattice, anchors, ious, least, level)
        for level, (lattice, anchors, ious) in enumerate(
            zip(lattices(scaled, config), shapes, best, strict=True)
        )
    ]
    pictures, numbers, levels, boxes = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    order = np.lexsort((numbers, pictures))
    new = np.ones(len(order), np.bool_)
    new[1:] = (np.diff(pictures[order]) != 0) | (np.diff(numbers[order]) != 0)
    order = order[new]
    with_objects = np.unique(scaled.objects.pictures)
    starts, ends = (np.searchsorted(pictures[order], with_objects, side) for side in ("left", "right"))
    first, last = (np.searchsorted(scaled.objects.pictures, with_objects, side) for side in ("left", "right"))
    for begin, end, row, stop in zip(starts, ends, first, last, strict=True):
        some = order[begin:end]
        yield NearAnchors(slice(int(row), int(stop)), numbers[some], levels[some], boxes[some])


def _level_windows(
    scaled: Scaled, lattice: Lattice, shapes: Floats, best: Doubles, least: Doubles, level: int
) -> tuple[Ints, Ints, Ints, Floats]:
    """Return picture, number, level and box of a level's anchors near objects; some are there twice.

    Args:
        scaled: the objects.
        lattice: of the level.
        shapes: float32 [A, 4], of the level.
        best: float64 [N, A], best IoU of each object with each shape.
        least: float64 [N], an IoU below which anchors are of no interest.
        level: 0 is the finest.
    """
    objects, kinds = np.nonzero(best >= least[:, None])
    starts, counts = _window(scaled, lattice, shapes, least, objects, kinds)
    cells = counts.prod(axis=1)
    pairs = np.repeat(np.arange(len(objects)), cells)
    within = np.arange(len(pairs)) - np.repeat(np.cumsum(cells) - cells, cells)
    across = counts[pairs, 0]
    places = starts[pairs] + np.stack([within % across, within // across], axis=1)
    owner, kind = objects[pairs], kinds[pairs]
    numbers = (places[:, 1] * lattice.counts[owner, 0] + places[:, 0]) * len(shapes) + kind
    centers = (places * lattice.step[owner] + lattice.first[owner]).astype(np.float32)
    return (
        scaled.objects.pictures[owner],
        lattice.first_anchor[owner] + numbers,
        np.full(len(owner), level, np.int64),
        np.concatenate([centers, centers], axis=1) + shapes[kind],
    )


def _window(
    scaled: Scaled, lattice: Lattice, shapes: Floats, least: Doubles, objects: Ints, kinds: Ints
) -> tuple[Ints, Ints]:
    """Return the first column and row, and how many, in which the centre may lie, int64 [M, 2] each.

    Boxes with sides a and b and an IoU of t have along each axis a common part of at least t max(a, b), so
    that their centres are no further apart than (a + b) / 2 - t max(a, b).
    """
    sides = scaled.sides[objects].astype(np.float64)
    centers = scaled.boxes[objects, :2] + sides / 2
    anchors = (shapes[:, 2:] - shapes[:, :2])[kinds].astype(np.float64)
    reach = (sides + anchors) / 2 - np.maximum(least[objects], 0)[:, None] * np.maximum(sides, anchors)
    first, step, counts = lattice.first[objects], lattice.step[objects], lattice.counts[objects]
    low = np.clip(np.ceil((centers - reach - first) / step - _SLACK), 0, counts)
    high = np.clip(np.floor((centers + reach - first) / step + _SLACK), -1, counts - 1)
    empty: Bools = (high < low).any(axis=1)
    spans = np.where(empty[:, None], 0, high - low + 1)
    return low.astype(np.int64), spans.astype(np.int64)
