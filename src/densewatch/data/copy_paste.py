"""Objects of one picture pasted into another (after arXiv 2012.07177), by their boxes.

Without masks, what is pasted is all that a box shows: the object, what is behind it, and parts of others in
front of it. So everything that is known of that part of the donor comes along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from densewatch.data.augment_settings import AugmentSettings
from densewatch.data.scene import Boxes, Labels, Scene, cut

BORDER_PX = 4
"""Around its box, a patch fades into the picture over this many pixels."""

_TRIES = 10
"""Places that are tried for an object, before it is left out."""


@dataclass(frozen=True, eq=False)
class _Patch:
    """A part of a donor: the box of an object and the soft border around it.

    Attributes:
        scene: the part's pixels, with its labels in pixels of the part.
        opacity: float32 [h, w, 1], 1 inside the box.
        solid: int [4], xyxy, the box in pixels of the part, as whole pixels.
    """

    scene: Scene
    opacity: npt.NDArray[np.float32]
    solid: npt.NDArray[np.int64]


def paste(scene: Scene, donor: Scene, settings: AugmentSettings, random: np.random.Generator) -> Scene:
    """Return a scene with one to `paste_objects` objects of a donor, each at a place of its own.

    Only whole objects are taken, of classes that were labelled in the scene. A place where an object would
    hide more than `paste_covers` of another one is not taken. Afterwards each box encloses what is still to
    be seen of its object; where less than `min_visible` of it is, it becomes an ignored region.

    Args:
        scene: what is pasted into; it is not changed.
        donor: where objects come from.
        settings: of copy-paste.
        random: draws.
    """
    candidates = _whole_objects(donor, scene)
    if not len(candidates):
        return scene
    count = int(random.integers(1, settings.paste_objects + 1))
    pixels = scene.pixels.copy()
    painted = np.zeros(scene.size, np.int16)  # 0 what was there, 1 the first patch, 2 the second, …
    layers = [scene]
    for index in random.permutation(candidates)[:count]:
        patch = _take(donor, int(index), settings)
        corner = _find_place(patch, scene.size, [layer.boxes for layer in layers], settings, random)
        if corner is None:
            continue
        _paint(pixels, painted, patch, corner, len(layers))
        layers.append(_moved(patch.scene, corner))
    return _flatten(pixels, painted, layers, settings)


def _whole_objects(donor: Scene, scene: Scene) -> Labels:
    """Return the index of each object of the donor that its border does not cut, and that may be pasted."""
    height, width = donor.size
    boxes = donor.boxes
    whole = (boxes[:, :2] > 0).all(axis=1) & (boxes[:, 2:] < [width, height]).all(axis=1)
    fits = (np.ceil(boxes[:, 2:]) - np.floor(boxes[:, :2]) <= scene.size[::-1]).all(axis=1)
    return np.flatnonzero(whole & fits & ~np.isin(donor.labels, scene.unlabelled))


def _take(donor: Scene, index: int, settings: AugmentSettings) -> _Patch:
    """Cut the box of an object out of a donor, with a soft border as far as the donor reaches."""
    inner = np.concatenate([np.floor(donor.boxes[index, :2]), np.ceil(donor.boxes[index, 2:])]).astype(
        np.int64
    )
    height, width = donor.size
    border = np.array([-BORDER_PX, -BORDER_PX, BORDER_PX, BORDER_PX])
    outer: Labels = np.clip(inner + border, 0, np.array([width, height] * 2))
    left, top, right, bottom = outer.tolist()
    known = cut(donor, donor.boxes[index], settings)
    extent = np.array([0, 0, right - left, bottom - top], np.float32)
    moved = _moved(known, (-top, -left))
    part = replace(
        moved,
        pixels=donor.pixels[top:bottom, left:right],
        ignore_boxes=np.concatenate([moved.ignore_boxes, np.tile(extent, (len(donor.unlabelled), 1))]),
        ignore_labels=np.concatenate([moved.ignore_labels, donor.unlabelled]),
        unlabelled=donor.unlabelled[:0],
    )
    solid: Labels = inner - outer[[0, 1, 0, 1]]
    return _Patch(part, _opacity(part.size, solid), solid)


def _opacity(size: tuple[int, int], solid: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return float32 [h, w, 1]: 1 inside `solid`, falling to nothing over the border around it."""
    ramps = []
    for side, start, end in ((size[0], solid[1], solid[3]), (size[1], solid[0], solid[2])):
        place = np.arange(side)
        outside_px = np.maximum(np.maximum(start - place, place - end + 1), 0)
        ramps.append((1 - outside_px / (BORDER_PX + 1)).astype(np.float32))
    opacity: npt.NDArray[np.float32] = ramps[0][:, None, None] * ramps[1][None, :, None]
    return opacity


def _find_place(
    patch: _Patch,
    size: tuple[int, int],
    boxes: Sequence[Boxes],
    settings: AugmentSettings,
    random: np.random.Generator,
) -> tuple[int, int] | None:
    """Return the (y, x) of the patch's corner in a scene of `size`; None where every try hides too much.

    The box lies inside the scene; its soft border may reach out.
    """
    there = np.concatenate(boxes)
    areas = (there[:, 2:] - there[:, :2]).prod(axis=1)
    left, top, right, bottom = patch.solid.tolist()
    for _ in range(_TRIES):
        y = int(random.integers(size[0] - (bottom - top) + 1)) - top
        x = int(random.integers(size[1] - (right - left) + 1)) - left
        place = patch.solid + np.array([x, y, x, y])
        sides = np.minimum(there[:, 2:], place[2:]) - np.maximum(there[:, :2], place[:2])
        hidden = sides.clip(min=0).prod(axis=1)
        if (hidden <= settings.paste_covers * areas).all():
            return y, x
    return None


def _paint(
    pixels: npt.NDArray[np.uint8],
    painted: npt.NDArray[np.int16],
    patch: _Patch,
    corner: tuple[int, int],
    layer: int,
) -> None:
    """Blend a patch into `pixels`, and write its layer into `painted` where it is solid."""
    (y, x), (height, width) = corner, patch.scene.size
    top, left = max(y, 0), max(x, 0)
    bottom, right = min(y + height, pixels.shape[0]), min(x + width, pixels.shape[1])
    inside = (slice(top - y, bottom - y), slice(left - x, right - x))
    there = pixels[top:bottom, left:right]
    opacity = patch.opacity[inside]
    there[:] = np.rint(there + opacity * (patch.scene.pixels[inside].astype(np.float32) - there))
    x1, y1, x2, y2 = (patch.solid + np.array([x, y, x, y])).tolist()
    painted[y1:y2, x1:x2] = layer


def _moved(scene: Scene, corner: tuple[int, int]) -> Scene:
    """Return a scene whose boxes are moved by `corner` (y, x)."""
    shift = np.array([corner[1], corner[0]] * 2, np.float32)
    return replace(scene, boxes=scene.boxes + shift, ignore_boxes=scene.ignore_boxes + shift)


def _flatten(
    pixels: npt.NDArray[np.uint8],
    painted: npt.NDArray[np.int16],
    layers: Sequence[Scene],
    settings: AugmentSettings,
) -> Scene:
    """Join layers, the lowest first, and shrink each box to what later layers leave of its object."""
    height, width = painted.shape
    boxes: list[Boxes] = []
    ignored = [np.clip(layer.ignore_boxes, 0, [width, height] * 2).astype(np.float32) for layer in layers]
    kept_labels: list[int] = []
    weights: list[float] = []
    hidden_labels: list[int] = []
    for number, layer in enumerate(layers):
        for box, label, weight in zip(
            layer.boxes, layer.labels.tolist(), layer.weights.tolist(), strict=True
        ):
            share, rest = _seen(box, painted, number)
            if share >= settings.min_visible and (rest[2:] - rest[:2] >= settings.min_side).all():
                boxes.append(rest)
                kept_labels.append(label)
                weights.append(weight)
            elif share:
                ignored.append(rest[None])
                hidden_labels.append(label)
    return Scene(
        pixels,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(kept_labels, np.int64),
        np.concatenate(ignored),
        np.concatenate([*(layer.ignore_labels for layer in layers), np.array(hidden_labels, np.int64)]),
        layers[0].unlabelled,
        np.array(weights, np.float32),
    )


def _seen(box: Boxes, painted: npt.NDArray[np.int16], layer: int) -> tuple[float, Boxes]:
    """Return the share of a box [4] that no later layer hides, and the box [4] around that part."""
    left, top = np.floor(box[:2]).astype(int)
    right, bottom = np.ceil(box[2:]).astype(int)
    visible = painted[top:bottom, left:right] <= layer
    if visible.all():
        return 1.0, box
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    if not len(rows):
        return 0.0, box
    around = [left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1]
    corners = np.array(around, np.float32)
    rest = np.concatenate([np.maximum(box[:2], corners[:2]), np.minimum(box[2:], corners[2:])])
    return float(visible.mean()), rest
