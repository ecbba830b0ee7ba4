"""What was found in overlapping tiles and in the whole picture, as one result without doubles at the seams.

A tile shows an object at its border only in part, and gives a box of that part. It overlaps the box of the
whole object by little, so that NMS keeps both. But where two boxes are known to be of one object can be said
exactly: the box of the whole object, cut at the border of the tile, is the box that the tile gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from densewatch.detections import Detections
from densewatch.runtime.candidates import Filter
from densewatch.runtime.neighbours import Neighbours
from densewatch.runtime.suppression import suppress

_Floats = npt.NDArray[np.float32]
_Flags = npt.NDArray[np.bool_]

_TOUCHES = 0.02  # of a tile's side: boxes of cut objects end near the border, not exactly on it
_SAME_IOU = 0.5


@dataclass(frozen=True)
class Tile:
    """A part of a picture: its top left corner and its sides, in pixels of the picture."""

    x: int
    y: int
    width: int
    height: int

    @property
    def box(self) -> _Floats:
        """float32 [4], xyxy."""
        return np.array([self.x, self.y, self.x + self.width, self.y + self.height], np.float32)


@dataclass(frozen=True, eq=False)
class _Found:
    """Boxes [N, 4] in the picture, with the part [N, 4] in which each was seen; aligned arrays."""

    boxes: _Floats
    scores: _Floats
    labels: npt.NDArray[np.int64]
    regions: _Floats

    def __getitem__(self, index: Any) -> _Found:
        return _Found(self.boxes[index], self.scores[index], self.labels[index], self.regions[index])

    def __len__(self) -> int:
        return len(self.scores)


def merge_tiles(found: Sequence[Detections], tiles: Sequence[Tile], wanted: Filter) -> Detections:
    """Return the objects of a picture from what was found in its parts.

    A box is cut if it touches a border of its tile that is not the border of the picture. A cut box goes
    where another tile shows the same place with its surroundings, and where a box that is not cut is the same
    object: cut at the border of the tile, it overlaps the cut box by more than half. Cut boxes of several
    tiles that are the same in what the tiles show both are joined. Then all boxes compete as those of one
    picture do; under `soft` suppression, those of one part for the second time.

    Args:
        found: of each part, in pixels of the part; at least one part.
        tiles: where the parts lie; the whole picture is the first.
        wanted: the suppression, the overlap and the limit for the whole result.

    Returns:
        In pixels of the picture. `saturated` if any part was, or if the limit left objects out.

    Raises:
        ValueError: there are not as many results as parts.
    """
    if len(found) != len(tiles):
        raise ValueError(f"there are {len(found)} results for {len(tiles)} tiles")
    if len(found) == 1:
        return _limit(found[0], wanted)
    size, names = found[0].size, found[0].names
    everything = _in_picture(found, tiles)
    touching = _touching(everything.boxes, everything.regions, size)
    cut = touching.any(axis=1)
    whole, parts = everything[~cut], everything[cut]
    parts = parts[~_seen_better(parts, tiles, size)]
    parts = parts[~_explained(parts, whole)]
    parts = _join(parts)
    boxes, scores, labels = suppress(
        np.concatenate([whole.boxes, parts.boxes]),
        np.concatenate([whole.scores, parts.scores]),
        np.concatenate([whole.labels, parts.labels]),
        wanted.suppression,
        iou=wanted.iou,
        threshold=wanted.threshold,
    )
    saturated = any(part.saturated for part in found)
    return _limit(Detections(boxes, scores, labels, names, size, saturated=saturated), wanted)


def _limit(detections: Detections, wanted: Filter) -> Detections:
    most = wanted.limits.max_detections
    if most is None or len(detections) <= most:
        return detections
    return replace(detections[:most], saturated=True)


def _in_picture(found: Sequence[Detections], tiles: Sequence[Tile]) -> _Found:
    """Shift the boxes of all parts to where the parts lie in the picture."""
    counts = [len(part) for part in found]
    regions = np.repeat(np.stack([tile.box for tile in tiles]), counts, axis=0)
    return _Found(
        np.concatenate([part.boxes for part in found]) + regions[:, [0, 1, 0, 1]],
        np.concatenate([part.scores for part in found]),
        np.concatenate([part.labels for part in found]),
        regions,
    )


def _touching(boxes: _Floats, regions: _Floats, size: tuple[int, int]) -> _Flags:
    """Return bool [N, 4]: which sides of the boxes lie at an inner border of the parts they were seen in.

    Args:
        boxes: float32 [N, 4], xyxy.
        regions: float32 [N, 4] or [4], the parts.
        size: (height, width) of the picture.
    """
    height, width = size
    inner = regions != np.array([0, 0, width, height], np.float32)
    sides = regions[..., 2:] - regions[..., :2]
    near = np.abs(boxes - regions) <= _TOUCHES * sides[..., [0, 1, 0, 1]]
    touching: _Flags = near & inner
    return touching


def _seen_better(parts: _Found, tiles: Sequence[Tile], size: tuple[int, int]) -> _Flags:
    """Return bool [N]: which cut boxes lie in a tile, not the whole picture, and touch no border there."""
    better = np.zeros(len(parts), bool)
    for tile in tiles[1:]:
        inside = _clip(parts.boxes, tile.box) == parts.boxes
        better |= inside.all(axis=1) & ~_touching(parts.boxes, tile.box, size).any(axis=1)
    return better


def _explained(parts: _Found, whole: _Found) -> _Flags:
    """Return bool [N]: which cut boxes are what their tile shows of a box that is not cut."""
    explained = np.zeros(len(parts), bool)
    for region in np.unique(parts.regions, axis=0):
        members = np.flatnonzero((parts.regions == region).all(axis=1))
        same, _ = _same_within(region, parts[members], whole)
        explained[members[same]] = True
    return explained


def _join(parts: _Found) -> _Found:
    """Join cut boxes that are the same in what two tiles show both; their hull has the best score.

    The best pairs come first, and of one tile only one box is part of an object.
    """
    tiles, tile_of = np.unique(parts.regions, axis=0, return_inverse=True)
    tiles_of = {i: {tile} for i, tile in enumerate(tile_of.tolist())}
    group = np.arange(len(parts))
    first, second = _same_parts(parts, tiles, tile_of)
    best_first = np.argsort(-np.minimum(parts.scores[first], parts.scores[second]), kind="stable")
    for pair in zip(first[best_first], second[best_first], strict=True):
        one, other = group[list(pair)].tolist()
        if not tiles_of[one] & tiles_of[other]:
            tiles_of[one] |= tiles_of.pop(other)
            group[group == other] = one
    return _hulls(parts, group)


def _hulls(parts: _Found, group: npt.NDArray[np.int64]) -> _Found:
    """Return the hulls of the boxes and of the regions of each group, with its best score."""
    if not len(parts):
        return parts
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    parts = parts[order]
    boxes, regions = (
        np.concatenate(
            [np.minimum.reduceat(sides[:, :2], starts), np.maximum.reduceat(sides[:, 2:], starts)], axis=1
        )
        for sides in (parts.boxes, parts.regions)
    )
    return _Found(boxes, np.maximum.reduceat(parts.scores, starts), parts.labels[starts], regions)


def _same_parts(
    parts: _Found, tiles: _Floats, tile_of: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the pairs of cut boxes of two tiles that are the same within what both tiles show.

    Args:
        parts: cut boxes.
        tiles: float32 [T, 4], the tiles.
        tile_of: int64 [N], index into `tiles` of each box.

    Returns:
        int64 [P] and int64 [P], indices of boxes.
    """
    members = [np.flatnonzero(tile_of == tile) for tile in range(len(tiles))]
    nobody = np.zeros(0, np.int64)
    firsts, seconds = [nobody], [nobody]
    for one, other in combinations(range(len(tiles)), 2):
        common = _clip(tiles[one], tiles[other])
        if (common[2:] > common[:2]).all():
            first, second = _same_within(common, parts[members[one]], parts[members[other]])
            firsts.append(members[one][first])
            seconds.append(members[other][second])
    return np.concatenate(firsts), np.concatenate(seconds)


def _same_within(
    region: _Floats, first: _Found, second: _Found
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return pairs (first, second) of one class whose boxes, cut at the borders of a region, are the same."""
    shown = [_clip(found.boxes, region) for found in (first, second)]
    one, other = (np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(axis=1)) for boxes in shown)
    neighbours = Neighbours(
        np.concatenate([shown[0][one], shown[1][other]]),
        np.concatenate([first.labels[one], second.labels[other]]),
        _SAME_IOU,
    )
    indices = np.arange(len(one) + len(other))
    found = [(indices[:0], indices[:0])]
    for left, right in neighbours.near(indices[: len(one)], indices[len(one) :]):
        same = neighbours.ious(left, right) > _SAME_IOU
        found.append((one[left[same]], other[right[same] - len(one)]))
    firsts, seconds = zip(*found, strict=True)
    return np.concatenate(firsts), np.concatenate(seconds)


def _clip(boxes: _Floats, regions: _Floats) -> _Floats:
    """Return boxes cut at the borders of regions, both xyxy; what lies outside loses its area."""
    low = regions[..., [0, 1, 0, 1]]
    high = regions[..., [2, 3, 2, 3]]
    return np.clip(boxes, low, high)
