"""COCO instances JSON: the format whose words all the others are told in."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from densewatch.data.checks import Findings
from densewatch.data.coco_schema import INSTANCES, ImageRecord, InstancesFile, parse_json
from densewatch.data.formats.paths import picture_name
from densewatch.data.labels import Format, Labels, check_content


def read_coco(file: Path, images: Path | None, format_: Format = "coco") -> Labels:
    """Read one COCO instances file.

    Args:
        file: the JSON file.
        images: folder that `file_name` is relative to. Default: the folder named like the file, beside it or
            beside its folder, else the folder of the file.
        format_: what the labels are said to come from.

    Raises:
        DataError: the file is no COCO instances JSON, or contradicts itself.
    """
    content = parse_json(file, INSTANCES)
    check_content(content, file)
    findings = Findings(file)
    if format_ == "roboflow":
        content = _without_group(content, findings)
    folder = _image_folder(file, content) if images is None else images
    content = content.model_copy(update={"images": _place_pictures(content, folder, file.parent, findings)})
    _note_doubles(content, findings)
    return Labels(content, folder, file, format_, findings.warnings())


def _without_group(content: InstancesFile, findings: Findings) -> InstancesFile:
    """Leave out the class 0 that Roboflow adds: it names the group of all others, and no object has it."""
    used = {record.category_id for record in content.annotations}
    groups = {category.supercategory for category in content.categories}
    kept = [
        category
        for category in content.categories
        if not (category.id == 0 and category.id not in used and category.name in groups)
    ]
    if not kept or len(kept) == len(content.categories):
        return content
    findings.note("class 0 left out, as it is Roboflow's name for all classes", content.categories[0].name)
    return content.model_copy(update={"categories": kept})


def _image_folder(file: Path, content: InstancesFile) -> Path:
    """Return the folder in which the first picture lies, or else the one in which it should."""
    name = file.name.removesuffix(".json").removeprefix("instances_")
    beside = file.with_suffix("")
    folders = [folder for folder in (beside, file.parent.parent / name, file.parent) if folder.is_dir()]
    for folder in folders:
        if content.images and (folder / content.images[0].file_name).is_file():
            return folder
    return beside if beside.is_dir() else file.parent


def _place_pictures(
    content: InstancesFile, folder: Path, base: Path, findings: Findings
) -> list[ImageRecord]:
    """Return the records with names that are relative to `folder` and stay inside."""
    placed = []
    for record in content.images:
        name = picture_name(record.file_name, folder, base, findings, f"image {record.id!r}")
        placed.append(record if name == record.file_name else record.model_copy(update={"file_name": name}))
    return placed


def _note_doubles(content: InstancesFile, findings: Findings) -> None:
    """Count what occurs twice and should not: pictures, and ids of objects."""
    names = Counter(record.file_name for record in content.images)
    for name, count in names.items():
        if count > 1:
            findings.note("picture listed more than once, under several image ids", f"{name} ({count} times)")
    ids = Counter(record.id for record in content.annotations if record.id is not None)
    for id_, count in ids.items():
        if count > 1:
            findings.note("annotation id used more than once", f"{id_!r} ({count} times)")
