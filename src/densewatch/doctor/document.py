"""A diagnosis as plain values, ready for JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from densewatch.doctor.ceiling import Ceiling
from densewatch.doctor.changes import Change
from densewatch.doctor.diagnosis import Diagnosis, Examined
from densewatch.doctor.findings import Finding
from densewatch.doctor.setup import Outcome


def to_document(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return everything that a diagnosis holds, but pictures."""
    setup = diagnosis.setup
    return {
        "verdict": diagnosis.verdict(),
        "anchors": setup.config.anchors.model_dump(mode="json"),
        "strides": list(setup.config.pyramid.strides),
        "foreground_iou": setup.config.loss.foreground_iou,
        "resize": setup.policy.model_dump(mode="json"),
        "iou_nms": setup.limits.iou_nms,
        "max_detections": setup.limits.max_detections,
        "parts": [_part(part) for part in diagnosis.parts],
        "classes": [asdict(item) for item in diagnosis.classes],
        "changes": [_change(change, diagnosis.recommended) for change in diagnosis.changes],
        "findings": [_finding(finding) for finding in diagnosis.findings],
        "losses": [_finding(finding) for finding in diagnosis.losses],
    }


def _part(part: Examined) -> dict[str, Any]:
    return {
        "split": part.part.split,
        "source": part.part.source,
        "pictures": len(part.part.dataset),
        **_outcome(part.outcome),
        "nms_deletes": part.outcome.by_iou.deleted_by_nms,
        "nms_deletes_class_agnostic": part.nms_deletes_agnostic,
        "kinds": {title: [asdict(kind) for kind in kinds] for title, kinds in part.kinds.items()},
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "objects": outcome.by_iou.objects,
        "ignored": int(outcome.coverage.ignored.sum()),
        "uncovered": outcome.uncovered,
        "share_best_anchor": int(outcome.coverage.shares_best.sum()),
        "collided": int(outcome.coverage.collided.sum()),
        "mean_best_iou": outcome.mean_best_iou,
        "anchors_per_picture": outcome.anchors,
        "ceiling": _ceiling(outcome.by_iou),
        "ceiling_as_trained": _ceiling(outcome.as_trained),
    }


def _ceiling(ceiling: Ceiling) -> dict[str, Any]:
    return {
        "ar": ceiling.ar,
        "recall": ceiling.recall,
        "without_anchor": ceiling.without_anchor,
        "deleted_by_nms": ceiling.deleted_by_nms,
        "beyond_max_detections": ceiling.beyond_limit,
    }


def _change(change: Change, recommended: list[Change]) -> dict[str, Any]:
    return {
        "name": change.name,
        "train": list(change.train),
        "use": list(change.use),
        "recommended": change in recommended,
        **_outcome(change.outcome),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    cases = [
        {
            "pictures": [str(path) for path in case.pictures],
            "boxes": [list(box) for box in case.boxes],
            "caption": case.caption,
        }
        for case in finding.cases
    ]
    return {**{name: value for name, value in vars(finding).items() if name != "cases"}, "cases": cases}
