"""A diagnosis as tables of words and numbers: what the terminal and the page show alike."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from densewatch.doctor.breakdown import Kind
from densewatch.doctor.ceiling import Ceiling
from densewatch.doctor.changes import Change
from densewatch.doctor.diagnosis import Diagnosis, Examined
from densewatch.doctor.setup import Setup

_ENOUGH_RECALL = 0.99
UNKNOWN = "\N{EN DASH}"


@dataclass(frozen=True)
class Sheet:
    """A table; the first column holds words.

    Attributes:
        title: above it; may be empty.
        headings: of the columns.
        rows: as many texts as there are headings, in each.
    """

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def setup_in_words(setup: Setup, name: str) -> str:
    """Return what is planned on one line; `name` is that of the preset or model."""
    policy, anchors = setup.policy, setup.config.anchors
    side = {
        "shorter": f"shorter side {policy.size} px"
        + (f", longer at most {policy.max_size}" if policy.max_size else ""),
        "longer": f"longer side {policy.size} px",
        "none": "pictures as they are",
    }[policy.mode]
    levels = f"{setup.level_names[0]} to {setup.level_names[-1]}"
    smallest, largest = min(anchors.sizes) * min(anchors.scales), max(anchors.sizes) * max(anchors.scales)
    return (
        f"{name}, {side}; {levels}, {anchors.per_cell} anchors a cell from {smallest:.0f} to {largest:.0f} px"
    )


def limits_sheet(diagnosis: Diagnosis) -> Sheet:
    """Return what limits recall, a column for each part of the data."""
    setup, parts = diagnosis.setup, diagnosis.parts
    iou, most = setup.config.loss.foreground_iou, setup.limits.max_detections
    rows = [
        ("objects", *(str(part.outcome.by_iou.objects) for part in parts)),
        _counts(
            f"under {setup.min_side_px:g} px, ignored in training",
            parts,
            [int(part.outcome.coverage.ignored.sum()) for part in parts],
        ),
        _counts(f"no anchor at IoU {iou:g}", parts, [part.outcome.uncovered for part in parts]),
        _counts(
            "every such anchor learns another object",
            parts,
            [int(part.outcome.coverage.collided.sum()) for part in parts],
        ),
        _counts(
            "best anchor shared with another object",
            parts,
            [int(part.outcome.coverage.shares_best.sum()) for part in parts],
        ),
        _counts(
            f"deleted by NMS at IoU {setup.limits.iou_nms:g}",
            parts,
            [part.outcome.by_iou.deleted_by_nms for part in parts],
        ),
        _counts(
            "deleted by NMS if all classes competed", parts, [part.nms_deletes_agnostic for part in parts]
        ),
        _counts(
            f"beyond {most} of a class in a picture",
            parts,
            [part.outcome.by_iou.beyond_limit for part in parts],
        ),
        (f"highest AR{most} possible", *(ar(part.outcome.by_iou) for part in parts)),
    ]
    if setup.config.loss.low_quality_matches:
        rows.append(("the same with low-quality matches", *(ar(part.outcome.as_trained) for part in parts)))
    return Sheet("", ("what limits recall", *(part.part.split for part in parts)), tuple(rows))


def kind_sheets(examined: Examined) -> list[Sheet]:
    """Return how objects of each size, shape and level fare; those that lose most come first."""
    headings = ("objects", "ignored", "no anchor", "collision", "NMS, limit", "mean best IoU")
    return [
        Sheet(
            title,
            (title, *headings),
            tuple(_kind_row(kind) for kind in sorted(kinds, key=_loss, reverse=True)),
        )
        for title, kinds in examined.kinds.items()
    ]


def loses_much(examined: Examined) -> bool:
    """Return whether so many objects are lost that it is worth a look at which ones."""
    return examined.outcome.by_iou.recall is not None and examined.outcome.by_iou.recall < _ENOUGH_RECALL


def changes_sheet(diagnosis: Diagnosis) -> Sheet:
    """Return what could be changed, and what each change would reach on the first part."""
    now = diagnosis.learned.outcome
    entries = [("as it is", now), *((change.name, change.outcome) for change in diagnosis.changes)]
    low_quality = diagnosis.setup.config.loss.low_quality_matches
    headings = ("what to change", "no anchor", "NMS deletes", "mean best IoU", "anchors", "highest AR")
    rows = []
    for name, outcome in entries:
        iou = outcome.mean_best_iou
        row = (
            name,
            str(outcome.uncovered),
            str(outcome.by_iou.deleted_by_nms),
            UNKNOWN if iou is None else f"{iou:.3f}",
            f"×{outcome.anchors / now.anchors:.1f}" if now.anchors else UNKNOWN,
            ar(outcome.by_iou),
        )
        rows.append((*row, ar(outcome.as_trained)) if low_quality else row)
    return Sheet("", (*headings, "low-quality too") if low_quality else headings, tuple(rows))


def command(change: Change) -> str:
    """Return how a change is made, as one types it."""
    if change.train:
        return shlex.join(("densewatch", "train", *change.train))
    verb = "evaluate" if "--max-detections" in change.use else "detect"
    return shlex.join(("densewatch", verb, *change.use))


def classes_sheet(diagnosis: Diagnosis) -> Sheet:
    """Return the examples of every class, the rarest first."""
    splits = [part.part.split for part in diagnosis.parts]
    headings = tuple(f"{split} {what}" for split in splits for what in ("objects", "pictures"))
    rows = tuple(
        (
            item.name,
            *(
                UNKNOWN if count is None else str(count)
                for pair in zip(item.objects, item.pictures, strict=True)
                for count in pair
            ),
        )
        for item in sorted(diagnosis.classes, key=lambda item: item.objects[0] or 0)
    )
    return Sheet("", ("class", *headings), rows)


def ar(ceiling: Ceiling) -> str:
    """Return the AR of a ceiling as text."""
    return UNKNOWN if ceiling.ar is None else f"{ceiling.ar:.3f}"


def _counts(name: str, parts: Sequence[Examined], counts: Sequence[int]) -> tuple[str, ...]:
    return name, *(
        _share(count, part.outcome.by_iou.objects) for count, part in zip(counts, parts, strict=True)
    )


def _share(count: int, objects: int) -> str:
    return f"{count} ({100 * count / objects:.1f} %)" if count else "0"


def _loss(kind: Kind) -> float:
    return (kind.ignored + kind.uncovered + kind.collided + kind.deleted) / kind.objects


def _kind_row(kind: Kind) -> tuple[str, ...]:
    return (
        kind.name,
        str(kind.objects),
        str(kind.ignored),
        _share(kind.uncovered, kind.objects),
        str(kind.collided),
        str(kind.deleted),
        f"{kind.mean_best_iou:.3f}",
    )
