"""Which boxes overlap which, without looking at all pairs: a grid of the boxes' centres."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

_BOXES_PER_CELL = 4  # measured: 1 to 16 differ by less than a third
_PAIRS_AT_ONCE = 1 << 15  # what is computed at once stays in the processor's cache, and memory is bounded
_ROUNDING = 1e-5  # of float32 areas and ratios, with much to spare

Indices = npt.NDArray[np.int64]


class Overlaps:
    """How much boxes overlap each other."""

    def __init__(self, boxes: npt.NDArray[np.float32]) -> None:
        """Take the boxes, float32 [N, 4], xyxy."""
        self._sides = tuple(np.ascontiguousarray(side) for side in boxes.T)
        x1, y1, x2, y2 = self._sides
        with np.errstate(over="ignore", invalid="ignore"):
            self._areas = (x2 - x1) * (y2 - y1)

    def ious(self, first: Indices, second: Indices) -> npt.NDArray[np.float32]:
        """Return the intersection over union of pairs of boxes; NaN where both boxes have no area.

        In float32, in this order of operations: the bits of torchvision's kernel.

        Args:
            first: int64 [P], indices of boxes.
            second: int64 [P], likewise.

        Returns:
            float32 [P].
        """
        x1, y1, x2, y2 = self._sides
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            width = np.maximum(np.minimum(x2[first], x2[second]) - np.maximum(x1[first], x1[second]), 0)
            height = np.maximum(np.minimum(y2[first], y2[second]) - np.maximum(y1[first], y1[second]), 0)
            intersection = width * height
            ious: npt.NDArray[np.float32] = intersection / (
                self._areas[first] + self._areas[second] - intersection
            )
        return ious


class Neighbours(Overlaps):
    """Finds pairs of boxes of one label that overlap.

    If the intersection over union of two boxes is greater than t, then along each axis their common part is
    longer than t times either side. So their centres are nearer than a bound that depends on one of the two
    sides alone, and all neighbours of a box lie in a few cells around it. Lines of the grid are quantiles of
    the centres: a crowd in a corner of the picture gets small cells. Each label has a grid of its own, as
    fine as its number of boxes asks for.
    """

    def __init__(self, boxes: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], iou: float) -> None:
        """Lay the grid.

        Args:
            boxes: float32 [N, 4], xyxy.
            labels: int64 [N]; boxes of different labels are no neighbours.
            iou: 0 to 1; pairs that overlap by no more than this are of no interest.
        """
        super().__init__(boxes)
        x1, y1, x2, y2 = self._sides
        _, groups, counts = np.unique(labels, return_inverse=True, return_counts=True)
        lines = np.maximum(1, np.sqrt(counts / _BOXES_PER_CELL).astype(np.int64))  # [labels], along each axis
        self._cell_count = int(np.sum(lines**2))
        first_cell = (np.cumsum(lines**2) - lines**2)[groups]
        self._stride = lines[groups]
        column, self._first_column, self._last_column = _axis(x1, x2, iou, self._stride)
        row, first_row, last_row = _axis(y1, y2, iou, self._stride)
        self._cell = first_cell + row * self._stride + column
        self._first_line = first_cell + first_row * self._stride
        self._row_count = last_row - first_row + 1

    def near(self, queries: Indices, targets: Indices) -> Iterator[tuple[Indices, Indices]]:
        """Give all pairs (query, target) that may overlap by more than `iou`, and some that do not.

        Args:
            queries: int64 [Q], indices of boxes.
            targets: int64 [T], likewise; where a box is in both, it is paired with itself too.

        Yields:
            int64 [P] and int64 [P], every pair once, not too many at a time.
        """
        if not len(targets):
            return
        starts = np.zeros(self._cell_count + 1, np.int64)
        np.cumsum(np.bincount(self._cell[targets], minlength=self._cell_count), out=starts[1:])
        members = targets[np.argsort(self._cell[targets])]
        queries = queries[np.argsort(self._cell[queries])]  # neighbours in space, neighbours in memory
        # A run is the cells that one query needs of one row: they lie side by side, and so do their members.
        queries, row = _expand(queries, np.zeros_like(queries), self._row_count[queries])
        line = self._first_line[queries] + row * self._stride[queries]
        run_starts = starts[line + self._first_column[queries]]
        lengths = starts[line + self._last_column[queries] + 1] - run_starts
        for part in _portions(lengths):
            pair_queries, positions = _expand(queries[part], run_starts[part], lengths[part])
            yield pair_queries, members[positions]


def reach(sides: npt.NDArray[np.float64], iou: float) -> npt.NDArray[np.float64]:
    """Return how far from the centre of each box those of its neighbours can be, along one axis.

    Two sides a and b whose common part is longer than t max(a, b) have centres nearer than
    (a + b) / 2 - t max(a, b), and b is less than a / t. As b varies, that is greatest at b = a where t is at
    least 1/2, else at b = a / t.

    Args:
        sides: float64 [N], the widths or the heights of all boxes.
        iou: t, 0 to 1; boxes that overlap by no more than this are no neighbours.

    Returns:
        float64 [N], with some room for the rounding of float32 overlaps.
    """
    touching: npt.NDArray[np.float64] = (sides + sides.max(initial=0)) / 2 * (1 + _ROUNDING)
    least = iou - _ROUNDING
    if least <= 0:
        return touching
    return np.minimum(touching, sides * ((1 - least) / min(1, 2 * least)))


def _axis(
    low: npt.NDArray[np.float32], high: npt.NDArray[np.float32], iou: float, lines: Indices
) -> tuple[Indices, Indices, Indices]:
    """Return, along one axis, where each box lies in the grid of its label, and from where to where to look.

    Args:
        low: float32 [N], the left or upper edge of each box.
        high: float32 [N], the right or lower edge.
        iou: pairs that overlap by no more than this are of no interest.
        lines: int64 [N], how many columns or rows the grid of the box's label has.

    Returns:
        Three times int64 [N], 0 to `lines` - 1: of the centre, and the first and the last to look at.
    """
    # Not a number and infinity overlap nothing, but they must stand somewhere.
    start, stop = (np.nan_to_num(edge.astype(np.float64), posinf=1e39, neginf=-1e39) for edge in (low, high))
    centres = (start + stop) / 2
    distance = reach(np.maximum(stop - start, 0), iou)
    finest = int(lines.max(initial=1))
    quantiles = np.sort(centres)[np.arange(1, finest) * len(centres) // finest]
    values = (centres, centres - distance, centres + distance)
    column, first, last = (np.searchsorted(quantiles, value, "right") * lines // finest for value in values)
    return column, first, last


def _expand(items: Indices, starts: Indices, lengths: Indices) -> tuple[Indices, Indices]:
    """Return each item `lengths` times, and beside it `starts`, `starts` + 1, and so on."""
    offsets = starts - np.cumsum(lengths) + lengths
    repeated = np.repeat(items, lengths)
    return repeated, np.arange(len(repeated)) + np.repeat(offsets, lengths)


def _portions(lengths: Indices) -> Iterator[slice]:
    """Give slices of `lengths` that add up to about `_PAIRS_AT_ONCE` each, at least one run long."""
    ends = np.cumsum(lengths)
    start = 0
    while start < len(lengths):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _PAIRS_AT_ONCE, "right")))
        yield slice(start, stop)
        start = stop
