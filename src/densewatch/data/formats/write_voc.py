"""Writing Pascal VOC: `Annotations/`, `JPEGImages/`, `ImageSets/Main/SPLIT.txt` and `labels.txt`."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path, PurePosixPath
from xml.sax.saxutils import escape

from densewatch.data.coco_schema import AnnotationRecord, ImageRecord
from densewatch.data.dataset import DataError
from densewatch.data.formats.voc import CLASS_FILES, CORNERS, OWN_TAGS, SPLIT_LISTS
from densewatch.data.formats.write_plan import (
    Fields,
    Plan,
    SidecarWriter,
    annotations_by_image,
    check_plain,
    pixels,
)

_CROWD_AS_DIFFICULT = "crowd region written as a difficult object"
_TAG = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)


def write_voc(plan: Plan) -> None:
    """Write a Pascal VOC data set; crowd regions become difficult objects, which are ignored as well.

    Raises:
        DataError: two pictures would share an XML file, or a name cannot be held.
    """
    for item in plan.categories:
        check_plain(item.name, "the class")
    names = {item.id: item.name for item in plan.categories}
    sidecar = SidecarWriter(plan, "voc")
    prefix = _needs_prefix(plan)
    lists = plan.folder / SPLIT_LISTS
    lists.mkdir(parents=True)
    for split, labels in plan.splits.items():
        stems = []
        for record, objects in annotations_by_image(labels):
            check_plain(record.file_name, f"{labels.source}: the picture")
            name = PurePosixPath(split if prefix else "", record.file_name)
            plan.place(labels, record, Path("JPEGImages", name))
            rows = sidecar.add(
                split, str(name), record, objects, lambda item: _fields(item, names), _is_ignored
            )
            for annotation in objects:
                if annotation.iscrowd:
                    plan.findings.note(_CROWD_AS_DIFFICULT, f"annotation {annotation.id!r} of {name}")
            _write_xml(plan.folder / "Annotations" / name.with_suffix(".xml"), record, name, rows)
            stems.append(str(name.with_suffix("")))
        (lists / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")
    listed = "".join(f"{name}\n" for name in names.values())
    (plan.folder / CLASS_FILES[0]).write_text(listed, encoding="utf-8")
    sidecar.write()


def _needs_prefix(plan: Plan) -> bool:
    """Tell whether splits need folders of their own, because pictures of the same name are in several."""
    names = Counter(
        PurePosixPath(record.file_name).with_suffix("")
        for labels in plan.splits.values()
        for record in labels.content.images
    )
    return len(plan.splits) > 1 and any(count > 1 for count in names.values())


def _is_ignored(annotation: AnnotationRecord) -> bool:
    return bool(annotation.iscrowd or annotation.difficult)


def _fields(annotation: AnnotationRecord, names: dict[int, str]) -> Fields:
    left, top, width, height = annotation.bbox
    corners = (left + 1, top + 1, left + width, top + height)
    difficult = "1" if _is_ignored(annotation) else "0"
    return (names[annotation.category_id], *(pixels(corner) for corner in corners), difficult)


def _write_xml(
    file: Path, record: ImageRecord, name: PurePosixPath, rows: list[tuple[AnnotationRecord, Fields]]
) -> None:
    if file.exists():
        raise DataError(
            f"{record.file_name!r} and another picture of the same name would share {file.name}: rename one"
        )
    size = f"<width>{record.width}</width><height>{record.height}</height><depth>3</depth>"
    objects = "".join(_object(annotation, fields) for annotation, fields in rows)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(
        f"<annotation>\n  <filename>{escape(name.name)}</filename>\n  <size>{size}</size>\n{objects}"
        "</annotation>\n",
        encoding="utf-8",
    )


def _object(annotation: AnnotationRecord, fields: Fields) -> str:
    name, *corners, difficult = fields
    box = "".join(f"<{tag}>{text}</{tag}>" for tag, text in zip(CORNERS, corners, strict=True))
    words = {
        key: int(value) if isinstance(value, bool) else value
        for key, value in annotation.attributes.items()
        if _TAG.fullmatch(key) and key not in OWN_TAGS and isinstance(value, bool | int | str)
    }
    more = "".join(f"<{key}>{_plain(value)}</{key}>" for key, value in words.items())
    return (
        f"  <object>\n    <name>{escape(name)}</name>{more}<difficult>{difficult}</difficult>\n"
        f"    <bndbox>{box}</bndbox>\n  </object>\n"
    )


def _plain(value: int | str) -> str:
    """Return an attribute as text that XML can hold; the whole of it is in the sidecar."""
    return escape("".join(character for character in str(value) if character.isprintable()))
