"""The whole examination of a data set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from densewatch.data.dataset import Dataset
from densewatch.doctor.breakdown import Kind, by_coco_size, by_input_size, by_level, by_shape
from densewatch.doctor.changes import Change, recommend, try_changes
from densewatch.doctor.class_checks import ClassCounts, check_classes, count_classes
from densewatch.doctor.crowding import best_survivors
from densewatch.doctor.findings import Finding, worst_first
from densewatch.doctor.geometry_checks import check_geometry
from densewatch.doctor.label_checks import check_labels
from densewatch.doctor.objects import Objects
from densewatch.doctor.picture_checks import LookedAt, check_doubles, check_pictures
from densewatch.doctor.pictures import look_at_pictures
from densewatch.doctor.setup import Outcome, Setup, examine


@dataclass(frozen=True, eq=False)
class Part:
    """One part of the data, such as what is learned.

    Attributes:
        split: what it is called, `train` or `val`.
        source: where it was read from.
        dataset: its samples, not checked against the pictures.
    """

    split: str
    source: str
    dataset: Dataset


@dataclass(frozen=True, eq=False)
class Examined:
    """What was found out about one part.

    Attributes:
        part: of the data.
        outcome: what anchors, NMS and limits mean for it.
        nms_deletes_agnostic: how many of the objects that an anchor learns NMS deletes from what an oracle
            gives, which is exactly the labelled boxes, if objects of all classes competed.
        kinds: heading → how objects of each kind fare.
    """

    part: Part
    outcome: Outcome
    nms_deletes_agnostic: int
    kinds: dict[str, list[Kind]]


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What `diagnose` found out.

    Attributes:
        setup: that was planned.
        parts: what is learned, and what is measured, if anything.
        classes: examples of each.
        changes: what could be done otherwise, tried on the first part.
        recommended: those that are worth it.
        findings: what is odd about the data, worst first.
        losses: what anchors and NMS lose, worst first.
    """

    setup: Setup
    parts: tuple[Examined, ...]
    classes: list[ClassCounts]
    changes: list[Change]
    recommended: list[Change]
    findings: list[Finding]
    losses: list[Finding]

    @property
    def learned(self) -> Examined:
        """The part to learn from."""
        return self.parts[0]

    def verdict(self) -> str:
        """Return the whole in a sentence or two."""
        now = self.learned.outcome
        limit = self.setup.limits.max_detections
        if now.by_iou.ar is None:
            return "There is no object to learn from."
        count, ignored = now.by_iou.objects, int(now.coverage.ignored.sum())
        sentence = f"AR{limit} can reach {now.by_iou.ar:.3f} with boxes exactly as labelled"
        reasons = [
            f"{lost} of {count} objects {what}"
            for lost, what in (
                (ignored, f"are under {self.setup.min_side_px:g} px, which training ignores"),
                (now.by_iou.without_anchor - ignored, "have no anchor"),
                (now.by_iou.deleted_by_nms, "are deleted by NMS"),
                (now.by_iou.beyond_limit, f"are beyond {limit} a class"),
            )
            if lost
        ]
        sentence += f": {', '.join(reasons)}." if reasons else "."
        for change in self.recommended:
            then = change.outcome.by_iou.ar or 0.0
            sentence += f" With {change.name}: {then:.3f}."
        errors = sum(finding.severity == "error" for finding in self.findings)
        warnings = sum(finding.severity == "warning" for finding in self.findings)
        return f"{sentence} Labels and pictures: {_kinds(errors, 'error')}, {_kinds(warnings, 'warning')}."


def diagnose(
    parts: Sequence[Part],
    setup: Setup,
    *,
    threads: int = 1,
    on_picture: Callable[[], None] = lambda: None,
) -> Diagnosis:
    """Examine a data set before anything is trained on it.

    Args:
        parts: what is learned, and if there is one, what is measured.
        setup: what is to be trained.
        threads: for reading pictures.
        on_picture: called after each picture.
    """
    looked_at = [_look_at(part, threads, on_picture) for part in parts]
    objects = [Objects.of(part.dataset) for part in parts]
    examined = tuple(_examine(part, own, setup) for part, own in zip(parts, objects, strict=True))
    learned = examined[0].outcome
    changes = try_changes(objects[0], setup, learned)
    losses = [
        finding
        for item in examined
        for finding in check_geometry(item.part.dataset, item.outcome, setup, item.part.split)
    ]
    classes = count_classes([part.dataset for part in parts])
    findings = [finding for part in looked_at for finding in check_pictures(part)]
    findings += check_doubles(looked_at)
    findings += check_classes(classes, [part.split for part in parts])
    for item in examined:
        findings += check_labels(item.part.dataset, item.outcome.scaled, item.part.split, setup.min_side_px)
    return Diagnosis(
        setup,
        examined,
        classes,
        changes,
        recommend(setup, learned, changes),
        worst_first(findings),
        worst_first(losses),
    )


def _examine(part: Part, objects: Objects, setup: Setup) -> Examined:
    outcome = examine(objects, setup)
    kinds = {
        "by COCO size": by_coco_size(outcome),
        "by size for the network": by_input_size(outcome),
        "by width:height": by_shape(outcome),
        "by level of the best anchor": by_level(outcome, setup),
    }
    learned = outcome.coverage.learned
    stays = best_survivors(outcome.scaled.boxes[learned], objects.pictures[learned], setup.limits.iou_nms)
    return Examined(part, outcome, int(np.count_nonzero(~stays)), kinds)


def _look_at(part: Part, threads: int, on_picture: Callable[[], None]) -> LookedAt:
    facts = look_at_pictures([sample.path for sample in part.dataset], threads, on_picture)
    return LookedAt(part.split, part.dataset, facts)


def _kinds(count: int, noun: str) -> str:
    """Return `no errors`, `1 kind of error`, `2 kinds of errors`."""
    if not count:
        return f"no {noun}s"
    return f"1 kind of {noun}" if count == 1 else f"{count} kinds of {noun}s"
