"""Objects that lie on each other: which of them greedy NMS can let stay at best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from densewatch.doctor.objects import Bools, Floats, Ints
from densewatch.runtime.neighbours import Neighbours
from densewatch.runtime.nms import nms

_MOST_BRANCHES = 2000
"""Of a cluster of objects; beyond, the least entangled come first. A hundred objects take far fewer."""


def overlapping_pairs(boxes: Floats, groups: Ints, iou: float) -> tuple[Ints, Ints, Floats]:
    """Return the pairs of boxes of one group that overlap by more than `iou`, and by how much.

    Args:
        boxes: float32 [N, 4], xyxy.
        groups: int64 [N]; boxes of different groups are no pairs.
        iou: 0 to 1.

    Returns:
        int64 [M] and int64 [M], each pair once, the lower row first, and float32 [M].
    """
    neighbours = Neighbours(boxes, groups, iou)
    everything = np.arange(len(boxes))
    found = [(everything[:0], everything[:0], np.zeros(0, np.float32))]
    for first, second in neighbours.near(everything, everything):
        ordered = np.flatnonzero(first < second)
        first, second = first[ordered], second[ordered]
        ious = neighbours.ious(first, second)
        near = np.flatnonzero(ious > np.float64(iou))
        found.append((first[near], second[near], ious[near]))
    firsts, seconds, values = zip(*found, strict=True)
    return np.concatenate(firsts), np.concatenate(seconds), np.concatenate(values)


def best_survivors(boxes: Floats, groups: Ints, iou: float) -> Bools:
    """Return which boxes of objects greedy NMS lets stay, when a detector scores them as well as can be.

    Greedy NMS lets any set of boxes stay of which no two overlap, if they have the best scores; so the best
    case is the largest such set. It is found exactly, but for clusters that are too entangled.

    Args:
        boxes: float32 [N, 4], xyxy.
        groups: int64 [N]; boxes of different groups do not compete.
        iou: of NMS, 0 to 1.
    """
    first, second, _ = overlapping_pairs(boxes, groups, iou)
    preferred = largest_independent_set(len(boxes), first, second)
    stays = np.zeros(len(boxes), np.bool_)
    stays[nms(boxes, preferred.astype(np.float32), groups, iou)] = True
    return stays


def largest_independent_set(count: int, first: Ints, second: Ints) -> Bools:
    """Return a largest set of vertices of which no two are joined, bool [count].

    Args:
        count: of vertices.
        first: int64 [M], one end of each edge.
        second: int64 [M], the other.
    """
    joined: dict[int, set[int]] = {}
    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        joined.setdefault(one, set()).add(other)
        joined.setdefault(other, set()).add(one)
    chosen = np.ones(count, np.bool_)
    seen: set[int] = set()
    for vertex in joined:
        if vertex in seen:
            continue
        cluster = _cluster(vertex, joined)
        seen.update(cluster)
        place = {member: position for position, member in enumerate(cluster)}
        masks = [sum(1 << place[neighbour] for neighbour in joined[member]) for member in cluster]
        kept = _Search(masks).run()
        for position, member in enumerate(cluster):
            chosen[member] = bool(kept >> position & 1)
    return chosen


def _cluster(start: int, joined: dict[int, set[int]]) -> list[int]:
    """Return all vertices that a vertex is joined with, however far around."""
    found, left = {start}, [start]
    while left:
        new = joined[left.pop()] - found
        found |= new
        left += new
    return sorted(found)


class _Search:
    """Finds a largest independent set of a graph by branching; sets are the bits of a number.

    Args of the constructor: `masks`, for each vertex the vertices that it is joined with.
    """

    def __init__(self, masks: Sequence[int]) -> None:
        self._masks = masks
        self._branches = 0

    def run(self) -> int:
        """Return the set."""
        return self._best((1 << len(self._masks)) - 1)

    def _best(self, alive: int) -> int:
        chosen = 0
        while alive:
            degrees = {vertex: (self._masks[vertex] & alive).bit_count() for vertex in _bits(alive)}
            vertex = min(degrees, key=degrees.__getitem__)
            if degrees[vertex] > 1 and not self._is_clique(self._masks[vertex] & alive):
                simplicial = next(
                    (other for other in degrees if self._is_clique(self._masks[other] & alive)), None
                )
                if simplicial is None and self._branches < _MOST_BRANCHES:
                    return chosen | self._branch(alive, max(degrees, key=degrees.__getitem__))
                vertex = vertex if simplicial is None else simplicial
            # A vertex whose neighbours are all joined with each other is in some largest set.
            chosen |= 1 << vertex
            alive &= ~(1 << vertex | self._masks[vertex])
        return chosen

    def _branch(self, alive: int, vertex: int) -> int:
        """Return the better of the largest sets with and without a vertex."""
        self._branches += 1
        rest = alive & ~(1 << vertex)
        with_it = 1 << vertex | self._best(rest & ~self._masks[vertex])
        without = self._best(rest)
        return max(with_it, without, key=int.bit_count)

    def _is_clique(self, vertices: int) -> bool:
        return all(vertices & ~(self._masks[vertex] | 1 << vertex) == 0 for vertex in _bits(vertices))


def _bits(number: int) -> list[int]:
    """Return the positions of the bits that are set."""
    positions = []
    while number:
        lowest = number & -number
        positions.append(lowest.bit_length() - 1)
        number ^= lowest
    return positions
