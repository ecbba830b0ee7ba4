"""`densewatch.json` beside converted labels: what their format has no place for.

Each picture's note tells by a digest whether its labels are still those that were written. Where people
edited them, the labels count, and the note gives only what does not hang on single objects.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, TypeAdapter

from densewatch.data.coco_schema import AnnotationRecord, CategoryRecord, Int64, Record, parse_json
from densewatch.data.labels import Format

SIDECAR_FILE = "densewatch.json"


class ObjectNote(Record):
    """What a row of labels cannot say of its object; None is what the row says.

    Attributes:
        id: of the annotation.
        iscrowd: whether the row stands for a crowd region.
        difficult: whether the row stands for a difficult object.
        area: as the annotation had it, px².
        attributes: further words about the object.
    """

    id: Int64 | str | None = None
    iscrowd: int | bool = 0
    difficult: bool | None = None
    area: float | None = None
    attributes: dict[str, Any] | None = None


class PictureNote(Record):
    """What the labels of a picture cannot say.

    Attributes:
        id: of the picture.
        rows: digest of its rows, see `digest`.
        objects: one a row.
        hidden: objects without a row.
        not_exhaustive_category_ids: as COCO's records have it.
        extra: further keys of the picture's record.
    """

    id: Int64 | str
    rows: str
    objects: tuple[ObjectNote, ...] = ()
    hidden: tuple[AnnotationRecord, ...] = ()
    not_exhaustive_category_ids: tuple[Int64, ...] = ()
    extra: dict[str, Any] = Field(default_factory=dict)


class Sidecar(Record):
    """The file; pictures are named by their `file_name`, split by split."""

    version: Literal[1] = 1
    format: Format
    categories: list[CategoryRecord]
    splits: dict[str, dict[str, PictureNote]] = Field(default_factory=dict)


_SIDECAR: TypeAdapter[Sidecar] = TypeAdapter(Sidecar)


def read_sidecar(folder: Path, format_: Format) -> Sidecar | None:
    """Return the sidecar in a folder of labels, or None where there is none for this format.

    Raises:
        DataError: it cannot be read, or does not fit.
    """
    file = folder / SIDECAR_FILE
    if not file.is_file():
        return None
    sidecar = parse_json(file, _SIDECAR)
    return sidecar if sidecar.format == format_ else None


def write_sidecar(sidecar: Sidecar, folder: Path) -> None:
    """Write the sidecar into a folder of labels; what is as usual is left out."""
    content = {"version": sidecar.version, **sidecar.model_dump(mode="json", exclude_defaults=True)}
    (folder / SIDECAR_FILE).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def digest(rows: Sequence[str]) -> str:
    """Return what tells rows of labels from others: 16 hex digits of their SHA-256."""
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]
