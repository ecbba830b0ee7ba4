"""From pictures and rows of labels, as text formats have them, to COCO's words; the sidecar helps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from densewatch.data.checks import Findings
from densewatch.data.coco_schema import AnnotationRecord, CategoryRecord, ImageRecord, InstancesFile
from densewatch.data.formats.sidecar import SIDECAR_FILE, ObjectNote, PictureNote, Sidecar, digest

_CHANGED = f"labels changed since the conversion, so ids and flags in {SIDECAR_FILE} are not taken"
_CLASSES_CHANGED = f"classes changed since the conversion, so category ids in {SIDECAR_FILE} are not taken"
_HIDDEN_LOST = f"object in {SIDECAR_FILE} left out, because its class is gone"
_NO_NOTE = ObjectNote()


@dataclass(frozen=True)
class Row:
    """An object as a label file tells it.

    Attributes:
        text: all that the file says of it, in one form; what changes it changes the labels.
        category: its place in the list of classes.
        bbox: xywh, pixels.
        difficult: need not be found.
        attributes: further words about it.
    """

    text: str
    category: int
    bbox: tuple[float, float, float, float]
    difficult: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Picture:
    """A picture and its rows; `size` is (height, width), `name` is relative to the labels' folder."""

    name: str
    size: tuple[int, int]
    rows: Sequence[Row]


def assemble(
    pictures: Sequence[Picture],
    categories: Sequence[CategoryRecord],
    sidecar: Sidecar | None,
    split: str | None,
    findings: Findings,
) -> InstancesFile:
    """Return pictures and rows in COCO's words.

    Ids come from the sidecar, else they count from 1.

    Args:
        pictures: in the order that they shall have.
        categories: in the order that rows count them; where the sidecar has the same names, its ids count.
        sidecar: what was kept when the labels were written, if anything.
        split: of the pictures.
        findings: takes what the sidecar says in vain.
    """
    notes = {} if sidecar is None else sidecar.splits.get(split or "train", {})
    known = [] if sidecar is None else sidecar.categories
    if [item.name for item in known] == [item.name for item in categories]:
        categories = known
    elif known:
        findings.note(_CLASSES_CHANGED, ", ".join(item.name for item in known[:3]))
    translated = _Translation(known, categories)
    image_ids = _fresh_ids(note.id for note in notes.values())
    object_ids = _fresh_ids(
        id_
        for note in notes.values()
        for id_ in (*(item.id for item in note.objects), *(item.id for item in note.hidden))
    )
    images, annotations = [], []
    for picture in pictures:
        note = notes.get(picture.name)
        image_id = next(image_ids) if note is None else note.id
        images.append(_image(picture, image_id, note, translated))
        objects = _object_notes(picture, note, findings)
        for row, known_object in zip(picture.rows, objects or [_NO_NOTE] * len(picture.rows), strict=True):
            object_id = known_object.id if objects else next(object_ids)
            category_id = categories[row.category].id
            annotations.append(_annotation(row, image_id, object_id, category_id, known_object))
        annotations += translated.annotations(note, image_id, picture.name, findings)
    return InstancesFile(images=images, annotations=annotations, categories=list(categories))


class _Translation:
    """From the category ids of a sidecar to those of now, by name."""

    def __init__(self, then: Sequence[CategoryRecord], now: Sequence[CategoryRecord]) -> None:
        id_of = {item.name: item.id for item in now}
        self._ids = {item.id: id_of[item.name] for item in then if item.name in id_of}

    def ids(self, category_ids: Sequence[int]) -> tuple[int, ...]:
        """Return the ids of now; classes that are gone are left out."""
        return tuple(self._ids[item] for item in category_ids if item in self._ids)

    def annotations(
        self, note: PictureNote | None, image_id: int | str, name: str, findings: Findings
    ) -> Iterator[AnnotationRecord]:
        """Yield the objects of a picture that have no row."""
        for record in [] if note is None else note.hidden:
            if record.category_id not in self._ids:
                findings.note(_HIDDEN_LOST, f"{name}, category {record.category_id}")
                continue
            yield record.model_copy(
                update={"image_id": image_id, "category_id": self._ids[record.category_id]}
            )


def _fresh_ids(taken: Iterator[int | str | None]) -> Iterator[int]:
    """Count from 1, or from above the numbers that are taken."""
    return count(1 + max((item for item in taken if isinstance(item, int) and item > 0), default=0))


def _image(
    picture: Picture, image_id: int | str, note: PictureNote | None, translated: _Translation
) -> ImageRecord:
    own = {"id": image_id, "file_name": picture.name, "width": picture.size[1], "height": picture.size[0]}
    if note is None:
        return ImageRecord.model_validate(own)
    unlabelled = translated.ids(note.not_exhaustive_category_ids)
    return ImageRecord.model_validate({**note.extra, **own, "not_exhaustive_category_ids": unlabelled})


def _object_notes(picture: Picture, note: PictureNote | None, findings: Findings) -> Sequence[ObjectNote]:
    """Return a note for each row, or nothing where there are none that still hold."""
    if note is None:
        return []
    if note.rows != digest([row.text for row in picture.rows]) or len(note.objects) != len(picture.rows):
        findings.note(_CHANGED, picture.name)
        return []
    return note.objects


def _annotation(
    row: Row, image_id: int | str, object_id: int | str | None, category_id: int, note: ObjectNote
) -> AnnotationRecord:
    return AnnotationRecord(
        id=object_id,
        image_id=image_id,
        category_id=category_id,
        bbox=row.bbox,
        iscrowd=note.iscrowd,
        difficult=row.difficult if note.difficult is None else note.difficult,
        area=note.area,
        attributes=dict(row.attributes) if note.attributes is None else note.attributes,
    )
