"""What could be changed, and what each change would reach: computed, not guessed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from densewatch.doctor.ceiling import Limits
from densewatch.doctor.coverage import Coverage, cover
from densewatch.doctor.fit import fit_anchors
from densewatch.doctor.objects import Ints, Objects, Scaled
from densewatch.doctor.setup import Outcome, Setup, anchors_per_picture, conclude, examine
from densewatch.metadata import ModelInfo
from densewatch.models.config import AnchorConfig, RetinaNetConfig
from densewatch.runtime.tiles import Plan, TilesError, plan_tiles

WORTH_AR = 0.005
"""A change that raises the ceiling by less is not recommended."""
_NEARLY_BEST = 0.01
"""Of changes whose ceilings differ by no more than this, the one with the fewest anchors is recommended."""
_SIZES = (0.75, 1.25, 1.5, 2.0)
"""Factors that the size of pictures is tried with; those that help are told."""
_HIGHER_IOU = (0.6, 0.7, 0.8)
_MULTIPLE_PX = 32


@dataclass(frozen=True, eq=False)
class Change:
    """One thing that could be done otherwise.

    Attributes:
        name: in a few words.
        train: arguments of `densewatch train` that do it; empty where training stays as it is.
        use: arguments of `densewatch detect` and `evaluate` that do it; empty where use stays as it is.
        setup: with the change.
        outcome: what it reaches.
    """

    name: str
    train: tuple[str, ...]
    use: tuple[str, ...]
    setup: Setup
    outcome: Outcome


def try_changes(objects: Objects, setup: Setup, now: Outcome) -> list[Change]:
    """Return the changes that bear on what limits this data, each tried on it.

    Args:
        objects: of the data.
        setup: as it is.
        now: its outcome.
    """
    return list(_each(objects, setup, now))


def recommend(setup: Setup, now: Outcome, changes: list[Change]) -> list[Change]:
    """Return the changes that are worth it: at most one of those for training, and those of limits.

    Where several of training come near to the best ceiling, the one with the fewest anchors is taken. Where
    none of training helps, tiles may.
    """
    worth = [change for change in changes if gain(now, change.outcome) >= WORTH_AR]
    limits = [change for change in worth if change.setup.limits != setup.limits]
    others = [change for change in worth if change not in limits]
    candidates = [change for change in others if change.train] or others
    if not candidates:
        return limits
    best = max(gain(now, change.outcome) for change in candidates)
    near = [change for change in candidates if gain(now, change.outcome) >= best - _NEARLY_BEST]
    return [min(near, key=lambda change: change.outcome.anchors), *limits]


def gain(now: Outcome, then: Outcome) -> float:
    """Return by how much the ceiling rises, without low-quality matches."""
    return (then.by_iou.ar or 0.0) - (now.by_iou.ar or 0.0)


def _each(objects: Objects, setup: Setup, now: Outcome) -> Iterator[Change]:
    if len(objects):
        yield _fitted(objects, setup, now.scaled, "fitted anchors", ())
    if now.by_iou.without_anchor:
        if not setup.config.pyramid.p2:
            yield from _with_p2(objects, setup, now)
        if setup.policy.mode != "none":
            yield from _resized(objects, setup, now)
        yield _tiled(objects, setup, now)
    if now.by_iou.deleted_by_nms:
        yield from _higher_iou(setup, now)
    if now.by_iou.beyond_limit:
        yield _more_detections(setup, now)


def _fitted(objects: Objects, setup: Setup, scaled: Scaled, name: str, flags: tuple[str, ...]) -> Change:
    anchors = fit_anchors(scaled, setup.config, setup.min_side_px)
    config = _configured(setup.config, anchors=anchors)
    then = replace(setup, config=config)
    return Change(name, (*flags, *anchor_flags(anchors)), (), then, examine(objects, then))


def _configured(config: RetinaNetConfig, **sections: object) -> RetinaNetConfig:
    values = {name: getattr(config, name) for name in type(config).model_fields}
    return RetinaNetConfig.model_validate({**values, **sections})


def anchor_flags(
    anchors: AnchorConfig, fields: tuple[str, ...] = ("sizes", "scales", "ratios")
) -> tuple[str, ...]:
    """Return the options of `densewatch train` that set anchors."""
    lists = {name: ",".join(f"{value:.4g}" for value in getattr(anchors, name)) for name in fields}
    return tuple(part for name, text in lists.items() for part in ("--set", f"model.anchors.{name}=[{text}]"))


def _with_p2(objects: Objects, setup: Setup, now: Outcome) -> Iterator[Change]:
    old = setup.config
    # As the presets have it: the new level's anchors cover as many cells as those of P3.
    anchors = old.anchors.model_copy(update={"sizes": (old.anchors.sizes[0] / 2, *old.anchors.sizes)})
    pyramid = old.pyramid.model_copy(update={"p2": True})
    then = replace(setup, config=_configured(old, pyramid=pyramid, anchors=anchors))
    flags = ("--set", "model.pyramid.p2=true")
    yield Change("P2", (*flags, *anchor_flags(anchors, ("sizes",))), (), then, examine(objects, then))
    yield _fitted(objects, then, now.scaled, "P2 and fitted anchors", flags)


def _resized(objects: Objects, setup: Setup, now: Outcome) -> Iterator[Change]:
    """Give the sizes of pictures that raise the ceiling."""
    for factor in _SIZES:
        policy = setup.policy
        size = math.ceil(policy.size * factor / _MULTIPLE_PX) * _MULTIPLE_PX
        flags: tuple[str, ...] = ("--imgsz", str(size))
        update: dict[str, int] = {"size": size}
        if policy.mode == "shorter" and policy.max_size is not None:
            update["max_size"] = math.ceil(policy.max_size * size / policy.size)
            flags += ("--set", f"augment.max_size={update['max_size']}")
        then = replace(setup, policy=policy.model_copy(update=update))
        outcome = examine(objects, then)
        if gain(now, outcome) > 0:
            yield Change(f"{size} px", flags, (), then, outcome)


def _tiled(objects: Objects, setup: Setup, now: Outcome) -> Change:
    info = ModelInfo(
        name="planned",
        family="retinanet",
        architecture=setup.config.model_dump(mode="json"),
        classes=(),
        resize=setup.policy,
    )
    plans, tiles = _plans(objects.sizes, info, "auto"), "auto"
    if all(len(plan) == 1 for plan in plans):
        plans, tiles = _plans(objects.sizes, info, "2x2"), "2x2"
    parts, owners = _cut(objects, plans)
    scaled = Scaled.of(parts, setup.policy)
    coverage = _gather(cover(scaled, setup.config, setup.min_side_px), owners, len(objects))
    anchors = anchors_per_picture(scaled.inputs, setup.config) * len(scaled.inputs) / len(objects.sizes)
    outcome = conclude(now.scaled, coverage, setup, anchors)
    return Change(f"tiles {tiles}", (), ("--tiles", tiles), setup, outcome)


def _plans(sizes: Ints, info: ModelInfo, tiles: str) -> list[Plan]:
    """Return the parts of each picture; of one that is too small for tiles, the whole."""
    known: dict[tuple[int, int], Plan] = {}
    for height, width in {(height, width) for height, width in sizes.tolist()}:
        try:
            known[height, width] = plan_tiles((height, width), info, tiles)
        except TilesError:
            known[height, width] = plan_tiles((height, width), info, "off")
    return [known[height, width] for height, width in sizes.tolist()]


def _cut(objects: Objects, plans: list[Plan]) -> tuple[Objects, Ints]:
    """Return the objects that lie whole in each part, and which of `objects` each of them is."""
    counts = np.array([len(plan) for plan in plans], np.int64)
    first_part = np.cumsum(counts) - counts
    tiles = np.array([(tile.x, tile.y, tile.width, tile.height) for plan in plans for tile in plan], np.int64)
    repeats = counts[objects.pictures]
    owners = np.repeat(np.arange(len(objects)), repeats)
    within = np.arange(len(owners)) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    parts = first_part[objects.pictures[owners]] + within
    corners = tiles[parts, :2]
    boxes = objects.boxes[owners] - np.concatenate([corners, corners], axis=1)
    inside = (boxes.min(axis=1) >= 0) & (boxes[:, 2:] <= tiles[parts, 2:]).all(axis=1)
    rows = np.flatnonzero(inside)
    rows = rows[np.argsort(parts[rows], kind="stable")]
    cut = Objects(
        boxes=boxes[rows].astype(np.float32),
        labels=objects.labels[owners[rows]],
        pictures=parts[rows],
        sizes=tiles[:, [3, 2]],
        num_classes=objects.num_classes,
    )
    return cut, owners[rows]


def _gather(parts: Coverage, owners: Ints, count: int) -> Coverage:
    """Return what the parts' anchors mean for the objects: the best that any part has for one."""
    order = np.argsort(parts.best_iou, kind="stable")  # of values for one place, the last one stays
    gathered = Coverage.without_anchors(count)
    for name in ("best_iou", "best_level", "shares_best"):
        getattr(gathered, name)[owners[order]] = getattr(parts, name)[order]
    gathered.ignored[:] = True
    np.logical_and.at(gathered.ignored, owners, parts.ignored)
    np.logical_or.at(gathered.covered, owners, parts.covered)
    for name in ("place", "low_quality_place"):
        np.maximum.at(getattr(gathered, name), owners, getattr(parts, name))
    return gathered


def _higher_iou(setup: Setup, now: Outcome) -> Iterator[Change]:
    """Give the least higher IoU that halves what NMS deletes, or else the highest one."""
    higher = [iou for iou in _HIGHER_IOU if iou > setup.limits.iou_nms]
    for iou in higher:
        change = _limited(
            setup, now, f"NMS at IoU {iou:g}", ("--iou", f"{iou:g}"), replace(setup.limits, iou_nms=iou)
        )
        if change.outcome.by_iou.deleted_by_nms <= now.by_iou.deleted_by_nms / 2 or iou == higher[-1]:
            yield change
            return


def _more_detections(setup: Setup, now: Outcome) -> Change:
    """Return a limit that leaves nothing out, in hundreds."""
    most = int(np.bincount(now.scaled.objects.groups).max())
    count = math.ceil(most / 100) * 100
    name, flags = f"{count} detections a class", ("--max-detections", str(count))
    return _limited(setup, now, name, flags, replace(setup.limits, max_detections=count))


def _limited(setup: Setup, now: Outcome, name: str, flags: tuple[str, ...], limits: Limits) -> Change:
    then = replace(setup, limits=limits)
    return Change(name, (), flags, then, conclude(now.scaled, now.coverage, then, now.anchors))
