"""Tiles: parts of a large picture that the network looks at more closely, for far and small objects."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np
import numpy.typing as npt

from densewatch.imaging.resize import Prepared, batch, prepare, resized_size
from densewatch.metadata import ModelInfo, ResizePolicy
from densewatch.runtime.seams import Tile

Plan = tuple[Tile, ...]
"""Parts of a picture: the whole of it, then its tiles, row by row; the whole alone where there are none."""

SMALL_OBJECT_PX = 48.0
"""`auto` plans tiles until objects with sides of so many pixels of the picture get the smallest anchor."""

_LEAST_OVERLAP = 0.1  # of a tile: below, too many objects are cut where the overlap for objects is small
_MOST_OVERLAP = 0.5  # of a tile: above, a third tile would lie over the overlap of two
_LEAST_TILE_PX = 32
_STEP = 1.1  # by how much more detail a finer plan shows at least; less is not worth a tile
_PIXELS_AT_ONCE = 1 << 20  # of the network's input; see `batches`
_STRIDES_PER_ANCHOR = 4.0  # RetinaNet's smallest anchor, 32, lies on its finest stride, 8


class TilesError(ValueError):
    """No possible plan, or none for a picture of this size; the message says why."""


def plan_tiles(size: tuple[int, int], info: ModelInfo, tiles: str) -> Plan:
    """Return the parts of a picture that the network looks at.

    Tiles are of one size and overlap by at least `lost_side_px`: an object too small to be found in the whole
    picture lies whole in some tile. They overlap by at least a tenth and about half of a tile at most; with
    so many tiles that half a tile is less than `lost_side_px`, the seams join what they cut.

    Args:
        size: (height, width) of the picture in pixels.
        info: of the model; its resize policy says how much is lost, its smallest anchor what that means.
        tiles: `off`, `COLSxROWS` such as `4x3`, or `auto`, the last of `plan_ladder`.

    Raises:
        TilesError: `tiles` is none of these, or the picture is too small for so many.
    """
    if tiles == "auto":
        return plan_ladder(size, info)[-1]
    return _plan(size, parse_grid(tiles), lost_side_px(size, info))


def plan_ladder(size: tuple[int, int], info: ModelInfo) -> list[Plan]:
    """Return the plans worth a choice, from coarse to fine: each shows more detail for more tiles.

    The first is the whole picture. The last is the first that shows objects of `SMALL_OBJECT_PX` as large as
    the model's smallest anchor, or every pixel of the picture; where the whole picture already does, it is
    the only one. (Smaller objects hold little to tell them by, and tiles grow with the square of the detail.)

    Args:
        size: (height, width) of the picture in pixels.
        info: of the model.
    """
    enough = min(1.0, smallest_anchor_px(info) / SMALL_OBJECT_PX)
    plans = [_plan(size, (1, 1), 0.0)]
    best = shrinkage(size, info.resize)
    for grid, tile_size in _grids(size, info, enough):
        if best >= enough:
            break
        scale = shrinkage(tile_size, info.resize)
        if scale >= min(enough, best * _STEP):
            plans.append(_plan(size, grid, lost_side_px(size, info)))
            best = scale
    return plans


def parse_grid(tiles: str) -> tuple[int, int]:
    """Return (columns, rows) of `off` or `COLSxROWS`.

    Raises:
        TilesError: `tiles` is neither.
    """
    if tiles == "off":
        return 1, 1
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", tiles)
    if match is None:
        raise TilesError(f"tiles must be off, auto or COLUMNSxROWS such as 4x3, not {tiles!r}")
    return int(match[1]), int(match[2])


def smallest_anchor_px(info: ModelInfo) -> float:
    """Return the side of the smallest anchor in pixels of the network's input.

    A family without anchors is taken to see what covers four cells of its finest level, as RetinaNet's
    smallest anchor does; one that names no levels, to have RetinaNet's strides.
    """
    anchors = info.architecture.get("anchors")
    if anchors is not None:
        return float(min(anchors["sizes"]) * min(anchors.get("scales", (1.0,))))
    return _STRIDES_PER_ANCHOR * min((level.stride for level in info.levels), default=8)


def shrinkage(size: tuple[int, int], policy: ResizePolicy) -> float:
    """Return by what factor a picture of `size` is scaled; less than 1 loses detail."""
    height, width = resized_size(size, policy)
    return max(height / size[0], width / size[1])  # sides are rounded down


def lost_side_px(size: tuple[int, int], info: ModelInfo) -> float:
    """Return the side, in pixels of the picture, of objects that the whole of it shows at anchor size.

    Smaller ones are what tiles are there for.
    """
    return smallest_anchor_px(info) / shrinkage(size, info.resize)


def prepare_parts(
    image: npt.NDArray[np.uint8],
    plan: Plan,
    policy: ResizePolicy,
    original_size: tuple[int, int] | None = None,
) -> list[Prepared]:
    """Return the parts of a picture as the network takes them.

    Args:
        image: uint8 [H, W, 3] RGB; whole, where the plan has tiles.
        plan: the parts.
        policy: the resize policy of the model.
        original_size: (height, width) of the picture, where `image` was read at a reduced size.
    """
    if len(plan) == 1:
        return [prepare(image, policy, original_size)]
    return [
        prepare(image[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width], policy) for tile in plan
    ]


def batches(
    prepared: Sequence[Prepared], pad_value: tuple[int, int, int], most_pixels: int = _PIXELS_AT_ONCE
) -> Iterator[npt.NDArray[np.uint8]]:
    """Give the inputs of the network, uint8 [N, H, W, 3], for all parts in their order.

    Parts of one shape go in one batch, but memory grows with the batch: many parts make several batches of
    about equal length. Tiles shaped like the picture share a batch with the whole of it.

    Args:
        prepared: parts of one picture.
        pad_value: RGB of the padding.
        most_pixels: of a batch, padding included; one part may have more.
    """
    for (height, width, _), group in groupby(prepared, lambda part: part.pixels.shape):
        parts = list(group)
        count = math.ceil(len(parts) / max(1, most_pixels // (height * width)))
        ends = [len(parts) * (i + 1) // count for i in range(count)]
        for start, end in zip([0, *ends], ends, strict=False):
            yield batch(parts[start:end], pad_value)


def _grids(
    size: tuple[int, int], info: ModelInfo, enough: float
) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return (columns, rows) and the tiles' (height, width), fewest tiles first, as fine as `enough` asks."""
    object_px = lost_side_px(size, info)
    # A side is at most twice its share of the picture, so that twice as many tiles as without overlap do.
    most = math.ceil(2 * enough / shrinkage(size, info.resize))
    grids = [
        ((columns, rows), (_tile_side(size[0], rows, object_px), _tile_side(size[1], columns, object_px)))
        for columns in range(1, most + 1)
        for rows in range(1, most + 1)
        if not _too_fine(size, (columns, rows))
    ]
    # Of as many tiles, those nearest to squares are shrunk least.
    return sorted(grids, key=lambda item: (math.prod(item[0]), -shrinkage(item[1], info.resize)))


def _plan(size: tuple[int, int], grid: tuple[int, int], object_px: float) -> Plan:
    (height, width), (columns, rows) = size, grid
    whole = Tile(0, 0, width, height)
    if columns * rows == 1:
        return (whole,)
    if _too_fine(size, grid):
        raise TilesError(f"a picture of {width}x{height} px is too small for {columns}x{rows} tiles")
    tile_height, tile_width = _tile_side(height, rows, object_px), _tile_side(width, columns, object_px)
    tiles = [
        Tile(x, y, tile_width, tile_height)
        for y in _starts(height, rows, tile_height)
        for x in _starts(width, columns, tile_width)
    ]
    return (whole, *tiles)


def _too_fine(size: tuple[int, int], grid: tuple[int, int]) -> bool:
    (height, width), (columns, rows) = size, grid
    return any(
        count > 1 and side // count < _LEAST_TILE_PX for side, count in ((height, rows), (width, columns))
    )


def _tile_side(total: int, count: int, object_px: float) -> int:
    """Return the side of `count` tiles along a side of the picture, `total`, all in pixels.

    n tiles of side s that overlap by o cover n s - (n - 1) o.
    """
    if count == 1:
        return total
    for_objects = (total + (count - 1) * math.ceil(object_px)) / count
    at_least, at_most = (total / (count - (count - 1) * share) for share in (_LEAST_OVERLAP, _MOST_OVERLAP))
    return math.ceil(min(max(for_objects, at_least), at_most))


def _starts(total: int, count: int, side: int) -> list[int]:
    return [0] if count == 1 else [i * (total - side) // (count - 1) for i in range(count)]
