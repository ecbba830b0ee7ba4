"""Writing keras-retinanet's CSV: `SPLIT.csv`, `classes.csv`, and pictures in `SPLIT/`."""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath

from densewatch.data.coco_schema import AnnotationRecord
from densewatch.data.formats.csv import CLASS_FILE, COLUMNS
from densewatch.data.formats.write_plan import (
    Fields,
    Plan,
    SidecarWriter,
    annotations_by_image,
    check_plain,
    pixels,
)

_FRACTIONS = "box with fractions of a pixel, which keras-retinanet itself does not read"


def write_csv(plan: Plan) -> None:
    """Write CSV files; crowd regions and difficult objects have no row, else they would be learned.

    Raises:
        DataError: a name cannot be held, or there are several records of a picture.
    """
    for item in plan.categories:
        check_plain(item.name, "the class")
    names = {item.id: item.name for item in plan.categories}
    sidecar = SidecarWriter(plan, "csv")
    for split, labels in plan.splits.items():
        with (plan.folder / f"{split}.csv").open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            for record, objects in annotations_by_image(labels):
                check_plain(record.file_name, f"{labels.source}: the picture")
                path = PurePosixPath(split, record.file_name)
                plan.place(labels, record, Path(path))
                rows = sidecar.add(
                    split, record.file_name, record, objects, lambda item: _fields(item, names)
                )
                for annotation, fields in rows:
                    if any("." in text or "e" in text for text in fields[:4]):
                        plan.findings.note(_FRACTIONS, f"annotation {annotation.id!r} of {path}")
                    writer.writerow([path, *fields])
                if not rows:
                    writer.writerow([path, *[""] * (len(COLUMNS) - 1)])
    with (plan.folder / CLASS_FILE).open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows((name, id_) for id_, name in names.items())
    sidecar.write()


def _fields(annotation: AnnotationRecord, names: dict[int, str]) -> Fields | None:
    if annotation.iscrowd or annotation.difficult:
        return None
    left, top, width, height = annotation.bbox
    corners = (left, top, left + width, top + height)
    return (*(pixels(corner) for corner in corners), names[annotation.category_id])
