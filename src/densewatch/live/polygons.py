"""Whether a polygon is one area."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

_Point = tuple[float, float]
_Side = tuple[_Point, _Point]


def fault(points: Sequence[_Point]) -> str | None:
    """Return why a polygon is not one area, or None where it is.

    A side that crosses another would leave a hole, in which nothing is counted and nothing is masked.

    Args:
        points: x, y of each corner; a corner that is given twice in a row counts once.
    """
    corners = [
        point for point, before in zip(points, (points[-1], *points[:-1]), strict=True) if point != before
    ]
    if len(corners) < 3 or all(_turn(corners[0], corners[1], corner) == 0 for corner in corners):
        return "has no area: a polygon needs three corners that are not in a row"
    sides = list(zip(corners, (*corners[1:], corners[0]), strict=True))
    for (first, one), (second, other) in combinations(enumerate(sides), 2):
        neighbours = second - first == 1 or (first == 0 and second == len(sides) - 1)
        if _folds_back(one, other) if neighbours else _meet(one, other):
            return (
                f"has sides that cross: the one from {_named(one[0])} to {_named(one[1])}, and the one from "
                f"{_named(other[0])} to {_named(other[1])}; give the corners in their order around the area"
            )
    return None


def _turn(a: _Point, b: _Point, c: _Point) -> float:
    """Return on which side of the way from a to b the point c lies; 0 is on it."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _between(a: _Point, b: _Point, c: _Point) -> bool:
    """Return whether c, which is in a row with a and b, lies between them."""
    return min(a[0], b[0]) <= c[0] <= max(a[0], b[0]) and min(a[1], b[1]) <= c[1] <= max(a[1], b[1])


def _meet(one: _Side, other: _Side) -> bool:
    turns = _turn(*one, other[0]), _turn(*one, other[1]), _turn(*other, one[0]), _turn(*other, one[1])
    if turns[0] * turns[1] < 0 and turns[2] * turns[3] < 0:
        return True
    ends = ((one, other[0]), (one, other[1]), (other, one[0]), (other, one[1]))
    return any(turn == 0 and _between(*side, end) for turn, (side, end) in zip(turns, ends, strict=True))


def _folds_back(one: _Side, other: _Side) -> bool:
    """Return whether two sides that share a corner run back over each other."""
    shared = one[1] if one[1] == other[0] else one[0]
    a = one[0] if shared == one[1] else one[1]
    b = other[1] if shared == other[0] else other[0]
    return _turn(a, shared, b) == 0 and (_between(shared, a, b) or _between(shared, b, a))


def _named(point: _Point) -> str:
    return f"[{point[0]:.4g}, {point[1]:.4g}]"
