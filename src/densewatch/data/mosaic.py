"""Four pictures as one, 2×2 (arXiv 2004.10934, section 3.4), each cut at the border of its quarter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from densewatch.data.scene import Boxes, Labels, Scene, Size

QUARTERS = 4
_HALVES = ((0, 1), (2, 3), (0, 2), (1, 3))
"""Quarters, counted by rows, that together are a half: upper, lower, left, right."""


def draw_quarters(imgsz: int, random: np.random.Generator) -> list[Size]:
    """Draw the centre of a mosaic, and return the (height, width) of its quarters, row by row.

    The centre lies in the middle half of the square, so no side is less than a quarter of it.
    """
    y, x = (int(random.integers(imgsz // 4, imgsz - imgsz // 4 + 1)) for _ in range(2))
    return [(height, width) for height in (y, imgsz - y) for width in (x, imgsz - x)]


def join(quarters: Sequence[Scene]) -> Scene:
    """Join four scenes, row by row, whose sizes fit together.

    A class that is unlabelled in some of them is unknown in their quarters only, and becomes ignored regions
    there. Quarters that touch become one region, so that an anchor across their border is ignored too; a
    class that is unlabelled in all four is unlabelled in the whole.

    Args:
        quarters: upper left, upper right, lower left, lower right.
    """
    rows = [np.concatenate([quarters[i].pixels, quarters[i + 1].pixels], axis=1) for i in (0, 2)]
    height, width = quarters[0].size
    corners = [np.array([x, y] * 2, np.float32) for y in (0, height) for x in (0, width)]
    pixels = np.concatenate(rows)
    extents = [
        np.array([0, 0, scene.size[1], scene.size[0]], np.float32) + corner
        for scene, corner in zip(quarters, corners, strict=True)
    ]
    unlabelled, regions, region_labels = _unknown([scene.unlabelled for scene in quarters], extents)
    return Scene(
        pixels,
        np.concatenate([scene.boxes + corner for scene, corner in zip(quarters, corners, strict=True)]),
        np.concatenate([scene.labels for scene in quarters]),
        np.concatenate(
            [*(scene.ignore_boxes + corner for scene, corner in zip(quarters, corners, strict=True)), regions]
        ),
        np.concatenate([*(scene.ignore_labels for scene in quarters), region_labels]),
        unlabelled,
        np.concatenate([scene.weights for scene in quarters]),
    )


def _unknown(unlabelled: Sequence[Labels], extents: Sequence[Boxes]) -> tuple[Labels, Boxes, Labels]:
    """Return the classes that are unlabelled everywhere, and regions [R, 4] with labels [R] of the others."""
    regions: list[Boxes] = []
    labels: list[int] = []
    everywhere: list[int] = []
    for label in np.unique(np.concatenate(unlabelled)).tolist():
        where = {quarter for quarter in range(QUARTERS) if label in unlabelled[quarter]}
        if len(where) == QUARTERS:
            everywhere.append(label)
            continue
        halves = [half for half in _HALVES if where.issuperset(half)]
        alone = where.difference(*halves)
        for group in (*halves, *((quarter,) for quarter in sorted(alone))):
            regions.append(_around([extents[quarter] for quarter in group]))
            labels.append(label)
    boxes = np.array(regions, np.float32).reshape(-1, 4)
    return np.array(everywhere, np.int64), boxes, np.array(labels, np.int64)


def _around(boxes: Sequence[Boxes]) -> Boxes:
    together = np.stack(boxes)
    return np.concatenate([together[:, :2].min(axis=0), together[:, 2:].max(axis=0)])
