"""What a model file says of itself, as lines for people."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from densewatch.metadata import ModelInfo

_KEY_WIDTH, _VALUE_WIDTH = 21, 120
_INDENT = "  "
CUT = "…"
"""What a value that is too long ends in."""


def fact_lines(path: Path, info: ModelInfo) -> Iterator[str]:
    """Yield a line `key  value` for each thing that a model file says.

    What is nested is indented below its key, unless it fits on one line. Class names are whole, because
    `--only` takes them; other values are cut where they are long.

    Args:
        path: of the model file.
        info: what it says.
    """
    facts: dict[str, Any] = {"file": str(path), **info.model_dump(mode="json")}
    facts["parameters"] = f"{info.parameters:,}"
    facts["levels"] = {
        f"stride {level.stride}": f"{level.anchors_per_cell} anchors a cell, the best {level.topk} go on"
        for level in info.levels
    }
    names = facts.pop("classes")
    yield from _lines(facts)
    yield _line("classes", f"{len(names)}: {', '.join(info.names)}", "")


def _lines(facts: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    for key, value in facts.items():
        text = _in_words(value)
        if isinstance(value, dict) and len(text) > _VALUE_WIDTH:
            yield f"{indent}{key}"
            yield from _lines(value, indent + _INDENT)
        else:
            yield _line(
                key, text if len(text) <= _VALUE_WIDTH else f"{text[: _VALUE_WIDTH - 1]}{CUT}", indent
            )


def _line(key: str, text: str, indent: str) -> str:
    return f"{indent}{key:<{_KEY_WIDTH - len(indent)}}{_INDENT}{text}".rstrip()


def _in_words(value: Any) -> str:
    """Return a value on one line: text and mappings without quotes and braces, the rest as JSON."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {_in_words(item)}" for key, item in value.items()) or "none"
    return value if isinstance(value, str) else json.dumps(value)
