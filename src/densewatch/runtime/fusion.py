"""Weighted boxes fusion: boxes that overlap become one box, their average."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
import numpy.typing as npt

from densewatch.runtime.neighbours import reach

FusedScore = Literal["mean", "best"]

Fused = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]
"""Boxes float32 [M, 4], scores float32 [M] and labels int64 [M], best first."""

_Box = tuple[float, float, float, float]

_SMALLEST_CELL = 1e-9  # of the greatest coordinate, so that cells can be counted


def weighted_boxes_fusion(
    boxes: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    iou: float = 0.55,
    *,
    models: int = 1,
    score: FusedScore = "mean",
) -> Fused:
    """Merge boxes of several models, of overlapping tiles, or of one model.

    "Weighted boxes fusion: Ensembling boxes from different object detection models" (Solovyev et al., 2019,
    arXiv 1910.13302), section 3: boxes come by falling score. Each joins the fused box of its class that it
    overlaps most, if by more than `iou`, else it founds one. A fused box is the average of its members,
    weighted by their scores, and moves as they join. Of equal scores the lower index comes first, of equal
    overlaps the fused box that was founded first counts. There is no limit on the number of boxes.

    Args:
        boxes: float32 [N, 4], xyxy, of all models one after another.
        scores: float32 [N], not negative.
        labels: int64 [N]; boxes of different labels are never merged.
        iou: intersection over union, 0 to 1.
        models: how many models the boxes are from. A fused box with T members, fewer than the models, loses
            score: it is multiplied by T / `models`.
        score: of a fused box, before that: `mean` of its members', or that of the `best`.

    Returns:
        Boxes float32 [M, 4], scores float32 [M] and labels int64 [M], best first. Computed in float64.

    Raises:
        ValueError: `models` is less than 1, or a box or a score is not finite.
    """
    if models < 1:
        raise ValueError(f"models must be at least 1, not {models}")
    if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
        raise ValueError("boxes and scores must be finite to be merged")
    order = np.argsort(-scores, kind="stable")
    fused = [np.zeros((0, 6))]
    for label in np.unique(labels):
        members = order[labels[order] == label]
        clusters = _clusters(boxes[members].astype(np.float64), scores[members].tolist(), iou)
        rows = [(*cluster.box, cluster.score(models, score), label) for cluster in clusters]
        fused.append(np.array(rows, np.float64))
    table = np.concatenate(fused)
    table = table[np.argsort(-table[:, 4], kind="stable")]
    return table[:, :4].astype(np.float32), table[:, 4].astype(np.float32), table[:, 5].astype(np.int64)


@dataclass(slots=True)
class _Cluster:
    """Boxes that were merged: their weighted average `box` xyxy, and what is needed to go on averaging."""

    box: _Box
    best: float
    mass: float
    members: int = 1

    def add(self, box: _Box, weight: float) -> None:
        """Move towards a new member."""
        self.mass += weight
        self.members += 1
        share = weight / self.mass if self.mass else 0.0
        x1, y1, x2, y2 = self.box
        self.box = (
            x1 + (box[0] - x1) * share,
            y1 + (box[1] - y1) * share,
            x2 + (box[2] - x2) * share,
            y2 + (box[3] - y2) * share,
        )

    def score(self, models: int, kind: FusedScore) -> float:
        """Return the score of the fused box."""
        score = self.mass / self.members if kind == "mean" else self.best
        return score * min(self.members, models) / models


def _clusters(boxes: npt.NDArray[np.float64], scores: list[float], iou: float) -> list[_Cluster]:
    """Merge the boxes of one class, best first.

    The fused boxes stand in the cells of a grid by their centres, and change cells as they move: a box looks
    only at those whose centres are near enough for the overlap that is asked for.
    """
    reaches = np.stack([reach(boxes[:, 2] - boxes[:, 0], iou), reach(boxes[:, 3] - boxes[:, 1], iou)], axis=1)
    cell_px = float(max(2 * np.median(reaches), _SMALLEST_CELL * np.abs(boxes).max())) or 1.0
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    firsts = np.floor((centres - reaches) / cell_px).astype(np.int64).tolist()
    lasts = np.floor((centres + reaches) / cell_px).astype(np.int64).tolist()
    clusters: list[_Cluster] = []
    cells: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row, weight, first, last in zip(boxes.tolist(), scores, firsts, lasts, strict=True):
        box: _Box = tuple(row)
        found = _best_match(box, clusters, _look(cells, first, last, len(clusters)), iou)
        if found is None:
            found = len(clusters)
            clusters.append(_Cluster(box, best=weight, mass=weight))
        else:
            cells[_cell(clusters[found].box, cell_px)].remove(found)
            clusters[found].add(box, weight)
        cells[_cell(clusters[found].box, cell_px)].append(found)
    return clusters


def _look(
    cells: dict[tuple[int, int], list[int]], first: list[int], last: list[int], count: int
) -> Iterable[int]:
    """Return which clusters stand in the cells from `first` to `last`, or all where these are fewer."""
    columns, rows = range(first[0], last[0] + 1), range(first[1], last[1] + 1)
    if len(columns) * len(rows) > count:
        return range(count)
    return [index for cell in product(columns, rows) if cell in cells for index in cells[cell]]


def _cell(box: _Box, cell_px: float) -> tuple[int, int]:
    return math.floor((box[0] + box[2]) / 2 / cell_px), math.floor((box[1] + box[3]) / 2 / cell_px)


def _best_match(box: _Box, clusters: list[_Cluster], among: Iterable[int], iou: float) -> int | None:
    """Return which of the clusters the box overlaps most and by more than `iou`, or None."""
    best, most = None, iou
    for index in among:
        overlap = _iou(box, clusters[index].box)
        if overlap > most or (overlap == most and best is not None and index < best):
            best, most = index, overlap
    return best


def _iou(a: _Box, b: _Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)
