"""The parts of a data set, by the names that formats give them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

_T = TypeVar("_T")

SPLITS = ("train", "val", "test")
_MEANS_SPLIT = re.compile(r"(?:instances_|_)?(train|val|valid|validation|test)(?:\d{4})?")


def split_name(name: str) -> str | None:
    """Return `train`, `val` or `test` for a name that means it, such as `valid` or `instances_val2017`."""
    match = _MEANS_SPLIT.fullmatch(name.lower())
    if match is None:
        return None
    return "val" if match[1].startswith("val") else match[1]


def in_order(splits: Mapping[str, _T]) -> dict[str, _T]:
    """Return splits in the order train, val, test."""
    return {split: splits[split] for split in SPLITS if split in splits}
