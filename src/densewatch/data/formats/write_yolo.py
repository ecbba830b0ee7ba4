"""Writing YOLO: `data.yaml`, pictures in `images/SPLIT/`, and a text file for each in `labels/SPLIT/`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from densewatch.data.coco_schema import AnnotationRecord, ImageRecord
from densewatch.data.dataset import DataError
from densewatch.data.formats.write_plan import Fields, Plan, SidecarWriter, annotations_by_image, number
from densewatch.data.formats.yolo import LARGEST_SHARE, label_path
from densewatch.imaging.sources import PICTURE_SUFFIXES


def write_yolo(plan: Plan) -> None:
    """Write a YOLO data set; crowd regions and difficult objects have no row, else they would be learned.

    Raises:
        DataError: two pictures would share a label file, or a file is none of the pictures that YOLO finds.
    """
    index_of = {item.id: index for index, item in enumerate(plan.categories)}
    sidecar = SidecarWriter(plan, "yolo")
    taken: set[Path] = set()
    for split, labels in plan.splits.items():
        for record, objects in annotations_by_image(labels):
            if Path(record.file_name).suffix.lower() not in PICTURE_SUFFIXES:
                raise DataError(
                    f"{labels.source}: {record.file_name!r} does not end like a picture, so YOLO "
                    "would not find it"
                )
            place = plan.place(labels, record, Path("images", split, record.file_name))
            file = label_path(place, plan.folder)
            if file in taken:
                raise DataError(
                    f"{labels.source}: {record.file_name!r} and another picture of the same name would share "
                    f"the label file {file.name}: rename one"
                )
            taken.add(file)
            rows = sidecar.add(split, record.file_name, record, objects, _row_maker(record, index_of))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(f"{' '.join(fields)}\n" for _, fields in rows), encoding="utf-8")
    _write_config(plan)
    sidecar.write()


def _row_maker(record: ImageRecord, index_of: dict[int, int]) -> Callable[[AnnotationRecord], Fields | None]:
    def make(annotation: AnnotationRecord) -> Fields | None:
        left, top, width, height = annotation.bbox
        shares = (
            (left + width / 2) / record.width,
            (top + height / 2) / record.height,
            width / record.width,
            height / record.height,
        )
        if annotation.iscrowd or annotation.difficult or max(abs(share) for share in shares) > LARGEST_SHARE:
            return None
        return (str(index_of[annotation.category_id]), *(number(share) for share in shares))

    return make


def _write_config(plan: Plan) -> None:
    lines = [f"{split}: images/{split}" for split in plan.splits]
    lines += ["names:", *(f"  {index}: {_quoted(item.name)}" for index, item in enumerate(plan.categories))]
    (plan.folder / "data.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _quoted(name: str) -> str:
    """Return a name as YAML's text in double quotes, whatever it holds.

    Raises:
        DataError: it is empty.
    """
    if not name:
        raise DataError("a class has an empty name, which YOLO's data.yaml cannot hold: rename it first")
    escaped = (
        character if character.isprintable() and character not in '"\\' else f"\\U{ord(character):08x}"
        for character in name
    )
    return f'"{"".join(escaped)}"'
