"""What `detect` found in one picture, and the JSON that says it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from densewatch.detections import Detections
    from densewatch.metadata import ModelInfo
    from densewatch.runtime.detector import Timing


@dataclass(frozen=True)
class PictureReport:
    """One picture, done.

    Attributes:
        position: place among all pictures of the command, from 1; failed ones count.
        source: path or URL, as the user would recognise it.
        detections: what was found.
        timing: how long each stage took.
    """

    position: int
    source: str
    detections: Detections
    timing: Timing

    def to_dict(self) -> dict[str, Any]:
        """Return the picture's record in the JSON formats."""
        height, width = self.detections.size
        record: dict[str, Any] = {
            "source": self.source,
            "width": width,
            "height": height,
            "saturated": self.detections.saturated,
            "detections": self.detections.to_dicts(),
            "counts": self.detections.counts(),
            "timing_ms": self.timing.to_dict(),
        }
        if self.timing.left_out is not None:
            record["left_out"] = self.timing.left_out
        return record


def topk_in_words(info: ModelInfo) -> str:
    """Return what a model file passes on: `the best 1000 candidates of each pyramid level`."""
    topk = sorted({level.topk for level in info.levels})
    return f"the best {' or '.join(map(str, topk))} candidates of each pyramid level"


def counted(count: int, noun: str) -> str:
    """Return `1 object`, `2 objects`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def counts_in_words(counts: dict[str, int]) -> str:
    """Return `11 objects: 9 person, 2 chair`, or `no objects`."""
    if not counts:
        return "no objects"
    parts = ", ".join(f"{count} {name}" for name, count in counts.items())
    return f"{counted(sum(counts.values()), 'object')}: {parts}"
