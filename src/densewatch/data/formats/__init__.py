"""Label formats: recognised, read into COCO's words, and written."""

from __future__ import annotations

from densewatch.data.formats.read import choose_split, read_labels, splits_of
from densewatch.data.formats.splits import split_name
from densewatch.data.formats.write import TARGETS, Pictures, Target, write_labels

__all__ = [
    "TARGETS",
    "Pictures",
    "Target",
    "choose_split",
    "read_labels",
    "split_name",
    "splits_of",
    "write_labels",
]
