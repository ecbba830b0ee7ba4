"""What the writers of all formats share: where pictures go, and what a row of labels cannot say."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from densewatch.data.checks import Findings
from densewatch.data.coco_schema import AnnotationRecord, CategoryRecord, ImageRecord
from densewatch.data.dataset import DataError
from densewatch.data.formats.sidecar import (
    SIDECAR_FILE,
    ObjectNote,
    PictureNote,
    Sidecar,
    digest,
    write_sidecar,
)
from densewatch.data.formats.text import shorten, whole_again
from densewatch.data.labels import Format, Labels

Fields = tuple[str, ...]
"""An object as a row of labels tells it."""

_ONLY_HERE = f"kept in {SIDECAR_FILE} only, which other tools do not read"
_CROWD = f"crowd region {_ONLY_HERE}"
_DIFFICULT = f"difficult object {_ONLY_HERE}"
_FAR_OUT = f"box far out of its picture {_ONLY_HERE}"
_UNLABELLED = f"picture with incompletely labelled classes, {_ONLY_HERE}"


@dataclass
class Plan:
    """A conversion under way.

    Attributes:
        folder: that is written into.
        splits: what is written.
        findings: takes what other tools will not see.
        pictures: where each picture goes → where it comes from; the writers fill it.
    """

    folder: Path
    splits: Mapping[str, Labels]
    findings: Findings
    pictures: dict[Path, Path] = field(default_factory=dict)

    @property
    def categories(self) -> list[CategoryRecord]:
        """The classes, in the order of their ids, which is that of labels."""
        first = next(iter(self.splits.values()))
        return sorted(first.content.categories, key=lambda item: item.id)

    def place(self, labels: Labels, record: ImageRecord, target: Path) -> Path:
        """Let a picture go to `target`, relative to the folder, and return the whole path.

        Raises:
            DataError: a picture goes there already.
        """
        place = self.folder / target
        if place in self.pictures:
            raise DataError(f"{labels.source}: there are several records of the picture {record.file_name!r}")
        self.pictures[place] = labels.folder / record.file_name
        return place


def check_plain(text: str, what: str) -> None:
    """See that a name survives in a line of text: no outer blanks, no line ends, no control characters.

    Raises:
        DataError: it does not.
    """
    if text != text.strip() or not text:
        raise DataError(f"{what} {shorten(text)} begins or ends with a blank, or is empty: rename it first")
    if any(unicodedata.category(character) in ("Cc", "Cn", "Cs", "Zl", "Zp") for character in text):
        raise DataError(
            f"{what} {shorten(text)} has a character that this format cannot hold: rename it first"
        )


def pixels(value: float) -> str:
    """Return a coordinate in pixels, without what lies behind nine decimals."""
    return number(whole_again(value))


def number(value: float) -> str:
    """Return a number as short as it can be without losing anything."""
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)


def annotations_by_image(labels: Labels) -> Iterator[tuple[ImageRecord, list[AnnotationRecord]]]:
    """Yield every picture with its objects."""
    found: dict[int | str, list[AnnotationRecord]] = {record.id: [] for record in labels.content.images}
    for annotation in labels.content.annotations:
        found[annotation.image_id].append(annotation)
    for record in labels.content.images:
        yield record, found[record.id]


@dataclass
class SidecarWriter:
    """Collects what the rows of a format cannot say.

    Attributes:
        plan: the conversion.
        format: that is written.
    """

    plan: Plan
    format: Format
    _splits: dict[str, dict[str, PictureNote]] = field(default_factory=dict)

    def add(
        self,
        split: str,
        name: str,
        record: ImageRecord,
        annotations: list[AnnotationRecord],
        to_fields: Callable[[AnnotationRecord], Fields | None],
        row_difficult: Callable[[AnnotationRecord], bool] = lambda _: False,
    ) -> list[tuple[AnnotationRecord, Fields]]:
        """Note a picture, and return the objects that get a row.

        Args:
            split: of the picture.
            name: of the picture, as it will be read.
            record: of the picture.
            annotations: its objects.
            to_fields: object → the row, or None where it gets none.
            row_difficult: object → whether the row says that it is difficult.
        """
        rows: list[tuple[AnnotationRecord, Fields]] = []
        hidden = []
        for annotation in annotations:
            fields = to_fields(annotation)
            if fields is None:
                hidden.append(annotation)
                self._say_hidden(annotation, name)
            else:
                rows.append((annotation, fields))
        if record.not_exhaustive_category_ids:
            self.plan.findings.note(_UNLABELLED, name)
        self._splits.setdefault(split, {})[name] = PictureNote(
            id=record.id,
            rows=digest([" ".join(fields) for _, fields in rows]),
            objects=tuple(_object_note(annotation, row_difficult(annotation)) for annotation, _ in rows),
            hidden=tuple(hidden),
            not_exhaustive_category_ids=record.not_exhaustive_category_ids,
            extra=record.model_extra or {},
        )
        return rows

    def write(self) -> None:
        """Write the sidecar into the folder."""
        sidecar = Sidecar(format=self.format, categories=self.plan.categories, splits=self._splits)
        write_sidecar(sidecar, self.plan.folder)

    def _say_hidden(self, annotation: AnnotationRecord, name: str) -> None:
        kind = _CROWD if annotation.iscrowd else _DIFFICULT if annotation.difficult else _FAR_OUT
        self.plan.findings.note(kind, f"annotation {annotation.id!r} of {name}")


def _object_note(annotation: AnnotationRecord, row_difficult: bool) -> ObjectNote:
    return ObjectNote(
        id=annotation.id,
        iscrowd=annotation.iscrowd,
        difficult=None if annotation.difficult == row_difficult else annotation.difficult,
        area=annotation.area,
        attributes=annotation.attributes or None,
    )
