"""The OpenAPI document."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI


def write_document(app: FastAPI) -> None:
    """Write an app's document, once and for all; it has no routes that come later."""
    app.openapi_schema = _with_plain_arrays(app.openapi())


def _with_plain_arrays(node: Any) -> Any:
    """Return a document with `items` for `prefixItems`, which fewer programs know, where all are alike."""
    if isinstance(node, list):
        return [_with_plain_arrays(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    changed = {name: _with_plain_arrays(inner) for name, inner in node.items()}
    first, *others = changed.get("prefixItems") or [None]
    if first is not None and all(other == first for other in others):
        del changed["prefixItems"]
        changed["items"] = first
    return changed
