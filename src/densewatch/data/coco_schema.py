"""The two JSON formats of COCO, instances and results, as typed records; unknown keys are allowed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from densewatch.data.dataset import DataError

_T = TypeVar("_T")


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore")


class ImageRecord(_Record):
    """A picture; its further keys, such as `source`, are in `model_extra`."""

    model_config = ConfigDict(strict=True, extra="allow")

    id: int | str
    file_name: str
    width: int
    height: int
    not_exhaustive_category_ids: tuple[int, ...] = ()


class AnnotationRecord(_Record):
    """An object, or with `iscrowd` a region full of objects; `bbox` is xywh, all in pixels."""

    image_id: int | str
    category_id: int
    bbox: tuple[float, float, float, float]
    id: int | str | None = None
    iscrowd: int | bool = 0
    area: float | None = None


class CategoryRecord(_Record):
    """A class."""

    id: int
    name: str


class InstancesFile(_Record):
    """Labelled pictures."""

    images: list[ImageRecord]
    annotations: list[AnnotationRecord]
    categories: list[CategoryRecord]


class ResultRecord(_Record):
    """An object that a detector reported; `bbox` is xywh in pixels."""

    image_id: int | str
    category_id: int
    bbox: tuple[float, float, float, float]
    score: float


INSTANCES: TypeAdapter[InstancesFile] = TypeAdapter(InstancesFile)
RESULTS: TypeAdapter[list[ResultRecord]] = TypeAdapter(list[ResultRecord])


def parse_json(file: Path, schema: TypeAdapter[_T]) -> _T:
    """Read a JSON file that must fit `schema`.

    Raises:
        DataError: the file cannot be read, is not JSON, or does not fit; it names the first misfit.
    """
    try:
        text = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error
    return _validate(text, schema, str(file))


def load_instances(source: Path | Mapping[str, Any]) -> InstancesFile:
    """Read COCO instances from a file, or check those that are in memory.

    Raises:
        DataError: like `parse_json`.
    """
    if isinstance(source, Mapping):
        return _validate(json.dumps(dict(source)), INSTANCES, "annotations in memory")
    return parse_json(Path(source), INSTANCES)


def _validate(text: bytes | str, schema: TypeAdapter[_T], name: str) -> _T:
    try:
        return schema.validate_json(text)
    except ValidationError as error:
        raise DataError(f"{name}: {_first_complaint(error)}") from None


def _first_complaint(error: ValidationError) -> str:
    complaints = error.errors(include_url=False, include_context=False)
    first = complaints[0]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    sentence = f"{where.lstrip('.')}: {first['msg']}" if where else first["msg"]
    if first["type"] not in ("missing", "json_invalid"):
        value = repr(first["input"])
        sentence += f", but it is {value if len(value) <= 80 else value[:80] + '…'}"
    if len(complaints) > 1:
        sentence += f" ({len(complaints) - 1} more such complaints)"
    return sentence
