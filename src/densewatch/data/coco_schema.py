"""The two JSON formats of COCO, instances and results, as typed records; unknown keys are allowed."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from densewatch.data.dataset import DataError

_T = TypeVar("_T")


class Record(BaseModel):
    """What all records of label files share: types are taken strictly, unknown keys are passed over."""

    model_config = ConfigDict(strict=True, extra="ignore")


Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]
"""What an id may be: larger ones do not pass through arrays and evaluators."""


class ImageRecord(Record):
    """A picture; its further keys, such as `source`, are in `model_extra`."""

    model_config = ConfigDict(strict=True, extra="allow")

    id: Int64 | str
    file_name: str
    width: int
    height: int
    not_exhaustive_category_ids: tuple[Int64, ...] = ()


class AnnotationRecord(Record):
    """An object, or with `iscrowd` a region full of objects; `bbox` is xywh, all in pixels.

    A `difficult` object, as in Pascal VOC, is one that need not be found: neither learned nor measured.
    Further words about the object, such as VOC's `truncated`, are in `attributes`, as CVAT writes them.
    """

    image_id: Int64 | str
    category_id: Int64
    bbox: tuple[float, float, float, float]
    id: Int64 | str | None = None
    iscrowd: int | bool = 0
    difficult: bool = Field(default=False, strict=False)
    area: float | None = None
    attributes: dict[str, Any] = {}


class CategoryRecord(Record):
    """A class."""

    id: Int64
    name: str
    supercategory: str | None = None


class InstancesFile(Record):
    """Labelled pictures."""

    images: list[ImageRecord]
    annotations: list[AnnotationRecord]
    categories: list[CategoryRecord]


class ResultRecord(Record):
    """An object that a detector reported; `bbox` is xywh in pixels."""

    image_id: Int64 | str
    category_id: Int64
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
        text = file.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error
    return _validate(text, schema, str(file))


def load_instances(source: Path | InstancesFile | Mapping[str, Any]) -> InstancesFile:
    """Read COCO instances from a file, or check those that are in memory; checked ones stay as they are.

    Raises:
        DataError: like `parse_json`.
    """
    if isinstance(source, InstancesFile):
        return source
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
