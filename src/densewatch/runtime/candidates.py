"""From a network's candidates to the `Detections` of a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt

from densewatch.detections import Detections
from densewatch.imaging.resize import Prepared, clip_boxes, restore_boxes
from densewatch.metadata import LevelInfo, ModelInfo
from densewatch.runtime.fusion import Fused
from densewatch.runtime.suppression import Suppression, suppress
from densewatch.suggest import suggest


@dataclass(frozen=True)
class Limits:
    """What cuts a result short; by default, nothing does.

    Attributes:
        pairs_per_level: how many (candidate, class) pairs of a pyramid level go into NMS; None is all.
        max_detections: how many objects are kept after NMS; None is all.
        keep_empty_boxes: keep boxes without area in the picture, such as those wholly in the padding.
    """

    pairs_per_level: int | None = None
    max_detections: int | None = None
    keep_empty_boxes: bool = False


TORCHVISION_LIMITS = Limits(pairs_per_level=1000, max_detections=300, keep_empty_boxes=True)
"""What torchvision's RetinaNet does, for comparison with it; its score threshold is 0.05."""


@dataclass(frozen=True)
class Filter:
    """Which objects are wanted.

    Attributes:
        threshold: lowest score, 0 to 1.
        iou: objects of one class that overlap more than this are one object, 0 to 1.
        labels: of the classes wanted; None is all.
        limits: what cuts the result short.
        suppression: what becomes of boxes that overlap.
    """

    threshold: float
    iou: float
    labels: Sequence[int] | None = None
    limits: Limits = Limits()
    suppression: Suppression = "greedy"

    def __post_init__(self) -> None:
        for name, value in (("threshold", self.threshold), ("iou", self.iou)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must be between 0 and 1, not {value}")
        most = self.limits.max_detections
        if most is not None and most < 1:
            raise ValueError(f"max_detections must be at least 1, or None for no limit, not {most}")
        ways = get_args(Suppression)
        if self.suppression not in ways:
            raise ValueError(f"unknown suppression {self.suppression!r}: {suggest(self.suppression, ways)}")


@dataclass(frozen=True, eq=False)
class _Pairs:
    """(Candidate, class) pairs: `candidates` and `labels` int64 [P], `scores` float32 [P]."""

    candidates: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]

    def __getitem__(self, index: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> _Pairs:
        return _Pairs(self.candidates[index], self.labels[index], self.scores[index])


def to_detections(
    boxes: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    prepared: Prepared,
    info: ModelInfo,
    wanted: Filter,
    input_size: tuple[int, int] | None = None,
) -> Detections:
    """Return the objects of one picture.

    A candidate is an object of every class whose score passes the threshold. Boxes are cut at the border of
    the picture before NMS, so that what lies in the padding does not count as overlap.

    Args:
        boxes: float32 [K, 4], xyxy, pixels of the network's input.
        scores: float32 [K, C].
        prepared: the picture.
        info: of the model that found them.
        wanted: which objects are wanted.
        input_size: (height, width) of the network's input in pixels, where a batch was padded further.

    Raises:
        ValueError: there are not as many candidates or classes as `info` says.
    """
    check_classes(scores.shape[1], info)
    height, width = input_size or prepared.pixels.shape[:2]
    levels = level_slices(info.levels, (height, width), len(scores))
    passed = scores >= np.float32(wanted.threshold)
    graph_cut = any(
        _all_any(passed[members]) for members in full_levels(info.levels, levels, (height, width))
    )
    pairs = _pairs(scores, passed, wanted.labels)
    pairs, pairs_cut = _limit_pairs(pairs, levels, wanted.limits.pairs_per_level)
    clipped = clip_boxes(boxes[pairs.candidates], prepared.valid_size)
    if not wanted.limits.keep_empty_boxes:
        solid = np.all(clipped[:, 2:] > clipped[:, :2], axis=1)
        pairs, clipped = pairs[solid], clipped[solid]
    found = suppress(
        clipped, pairs.scores, pairs.labels, wanted.suppression, iou=wanted.iou, threshold=wanted.threshold
    )
    return as_detections(found, prepared, info, wanted, cut=pairs_cut or graph_cut)


def as_detections(
    found: Fused, prepared: Prepared, info: ModelInfo, wanted: Filter, *, cut: bool
) -> Detections:
    """Return what NMS left of a picture, best first, in the picture's own pixels and within the limit.

    Args:
        found: boxes float32 [N, 4], xyxy, pixels of the network's input, scores [N] and labels [N].
        prepared: the picture.
        info: of the model.
        wanted: its limit is kept.
        cut: some other limit has cut objects before.
    """
    boxes, scores, labels = found
    most = len(boxes) if wanted.limits.max_detections is None else wanted.limits.max_detections
    return Detections(
        boxes=restore_boxes(boxes[:most], prepared),
        scores=scores[:most],
        labels=labels[:most],
        names=info.names,
        size=prepared.original_size,
        saturated=cut or len(boxes) > most,
    )


def level_slices(levels: Sequence[LevelInfo], input_size: tuple[int, int], candidates: int) -> list[slice]:
    """Return which of the candidates belong to each pyramid level; one slice for a family without levels.

    Args:
        levels: as the model file lists them.
        input_size: (height, width) of the network's input in pixels.
        candidates: how many the network gave.

    Raises:
        ValueError: `candidates` is not what the levels add up to.
    """
    if not levels:
        return [slice(0, candidates)]
    counts = [min(level.topk, _anchor_count(level, input_size)) for level in levels]
    if sum(counts) != candidates:
        height, width = input_size
        raise ValueError(
            f"the network gave {candidates} candidates for an input of {width}x{height} pixels, but its "
            f"metadata promises {' + '.join(map(str, counts))} = {sum(counts)}; export the model again"
        )
    ends = np.cumsum(counts).tolist()
    return [slice(end - count, end) for count, end in zip(counts, ends, strict=True)]


def full_levels(
    levels: Sequence[LevelInfo], slices: Sequence[slice], input_size: tuple[int, int]
) -> list[slice]:
    """Return which candidates belong to levels whose top-k inside the network left some out.

    A level's candidates are its best by their best class. If even the last of a full level passes the
    threshold, so may those that were left out, in any class, whichever classes are wanted.

    Args:
        levels: as the model file lists them.
        slices: of the same levels, see `level_slices`.
        input_size: (height, width) of the network's input in pixels.
    """
    return [
        members
        for level, members in zip(levels, slices, strict=False)
        if _anchor_count(level, input_size) > level.topk
    ]


def _all_any(passed: npt.NDArray[np.bool_]) -> bool:
    """Tell whether every candidate passed in some class; bool [K, C].

    Counting is ten times as fast as looking at each, and nearly always enough to know that they did not.
    """
    return bool(np.count_nonzero(passed) >= len(passed) and passed.any(axis=1).all())


def _anchor_count(level: LevelInfo, input_size: tuple[int, int]) -> int:
    height, width = input_size
    return -(-height // level.stride) * -(-width // level.stride) * level.anchors_per_cell


def check_classes(count: int, info: ModelInfo) -> None:
    """Raise `ValueError` where a network scores another number of classes than its description names."""
    if count != len(info.classes):
        raise ValueError(
            f"the network of model {info.name!r} scores {count} classes, but its metadata names "
            f"{len(info.classes)}; export the model again"
        )


def _pairs(
    scores: npt.NDArray[np.float32], passed: npt.NDArray[np.bool_], labels: Sequence[int] | None
) -> _Pairs:
    """Return the pairs that passed the threshold, bool [K, C], of the wanted classes."""
    if labels is not None:
        passed = passed & np.isin(np.arange(scores.shape[1]), list(labels))
    places = np.flatnonzero(passed)  # many times faster than `nonzero` in two dimensions
    candidates, classes = np.divmod(places, scores.shape[1])
    return _Pairs(candidates, classes, scores.reshape(-1)[places])


def _limit_pairs(pairs: _Pairs, levels: Sequence[slice], most: int | None) -> tuple[_Pairs, bool]:
    """Return the best `most` pairs of each level, and whether that left any out."""
    if most is None:
        return pairs, False
    kept = np.concatenate(list(_best_of_each(pairs, levels, most)))
    return pairs[kept], len(kept) < len(pairs.scores)


def _best_of_each(pairs: _Pairs, levels: Sequence[slice], most: int) -> Iterator[npt.NDArray[np.int64]]:
    for level in levels:
        members = np.flatnonzero((pairs.candidates >= level.start) & (pairs.candidates < level.stop))
        yield members[np.argsort(-pairs.scores[members], kind="stable")[:most]]
