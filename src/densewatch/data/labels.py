"""Labels as they stand in their files, whatever the format, in COCO's words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from densewatch.data.coco_schema import AnnotationRecord, InstancesFile, ResultRecord
from densewatch.data.dataset import DataError

Format = Literal["coco", "yolo", "voc", "csv", "roboflow"]
FORMATS: tuple[Format, ...] = get_args(Format)


@dataclass(frozen=True)
class Labels:
    """Labelled pictures as a file has them, in COCO's words; nothing is clipped or left out yet.

    Attributes:
        content: pictures, objects and classes; they refer to each other without a gap.
        folder: that every `file_name` is relative to, and inside of which it stays.
        source: file or folder it was read from, for messages.
        format: that it was read from.
        warnings: what was mended on the way: file, finding and first record → count.
        split: `train`, `val` or `test`, where the data has splits.
        sizes_are_measured: sizes were read from the pictures, which therefore exist and are whole.
    """

    content: InstancesFile
    folder: Path
    source: Path
    format: Format
    warnings: Mapping[str, int] = field(default_factory=dict)
    split: str | None = None
    sizes_are_measured: bool = False


def check_content(content: InstancesFile, source: Path) -> None:
    """See that classes, pictures and objects are unique and refer to each other.

    Args:
        content: of a data set.
        source: where it comes from, for messages.

    Raises:
        DataError: they are not; it names the first one.
    """
    if not content.categories:
        raise DataError(f"{source}: `categories` is empty, so no box can have a class")
    for key in ("id", "name"):
        value, count = Counter(getattr(category, key) for category in content.categories).most_common(1)[0]
        if count > 1:
            raise DataError(f"{source}: {count} categories have the {key} {value!r}; it must be unique")
    category_ids = {category.id for category in content.categories}
    image_ids = Counter(record.id for record in content.images)
    for record in content.images:
        name = f"{source}: image {record.id!r} ({record.file_name})"
        if image_ids[record.id] > 1:
            raise DataError(f"{source}: image id {record.id!r} occurs twice; ids must be unique")
        if record.width < 1 or record.height < 1:
            raise DataError(f"{name}: its size {record.width}x{record.height} is not positive")
        if strangers := set(record.not_exhaustive_category_ids) - category_ids:
            raise DataError(f"{name}: not_exhaustive_category_ids has the unknown category {min(strangers)}")
    for row, annotation in enumerate(content.annotations):
        if annotation.image_id not in image_ids:
            raise DataError(f"{source}: {describe_record(row, annotation)}: there is no such image")
        if annotation.category_id not in category_ids:
            name = describe_record(row, annotation)
            raise DataError(f"{source}: {name}: there is no category {annotation.category_id}")


def describe_record(row: int, record: AnnotationRecord | ResultRecord) -> str:
    """Return a record of an object in words: `annotation 7 of image 'a', bbox [1.0, 2.0, 3.0, 4.0]`.

    Args:
        row: its place in the file, from 0; its name where it has no id.
        record: of the object.
    """
    if isinstance(record, ResultRecord):
        name = f"result {row}"
    else:
        name = f"annotation {row if record.id is None else repr(record.id)}"
    return f"{name} of image {record.image_id!r}, bbox {list(record.bbox)}"
