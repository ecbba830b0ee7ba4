"""YOLO: `data.yaml` names folders of pictures, and each picture has a text file of its own."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from densewatch.data.checks import Findings, measure_pictures
from densewatch.data.coco_schema import CategoryRecord
from densewatch.data.dataset import DataError
from densewatch.data.formats.assemble import Picture, Row, assemble
from densewatch.data.formats.paths import inside, list_files, picture_name
from densewatch.data.formats.sidecar import read_sidecar
from densewatch.data.formats.text import lines_of, parse_number, parse_whole, read_text, whole_again
from densewatch.data.formats.yolo_config import YoloConfig, without_dots
from densewatch.data.labels import Labels, check_content
from densewatch.imaging.sources import PICTURE_SUFFIXES

LARGEST_SHARE = 2.0
"""A box may reach out of its picture; a coordinate above this was meant as pixels."""

_NOT_LABELS = ("classes.txt", "labels.txt", "notes.txt")
"""Text files that labelling tools put among the labels."""

_POLYGON = "polygon taken as its bounding box"
_COMMENT = "comment line left out"
_ORPHAN = "label file without a picture"
_SHARED = "label file that two pictures of the same name share"
_TWICE = "picture listed twice, read once"


def read_yolo(config: YoloConfig, split: str, images: Path | None) -> Labels:
    """Read one split of a YOLO data set.

    A picture without a label file has no objects, but a split without any label file is an error.

    Args:
        config: content of `data.yaml`.
        split: one of `config.splits`.
        images: folder in place of the one that `path` names.

    Raises:
        DataError: folders, pictures or labels cannot be read or used.
    """
    findings = Findings(config.file)
    root = config.root(split, findings) if images is None else images
    folder, names = _pictures(config, split, root, findings)
    paths = [folder / name for name in names]
    sizes = measure_pictures(paths, config.file)
    label_files = [label_path(path, root) for path in paths]
    _check_label_files(paths, label_files, config, split, findings)
    rows = _RowReader(config.names, findings)
    pictures = [
        Picture(name, size, rows.read(file, size))
        for name, size, file in zip(names, sizes, label_files, strict=True)
    ]
    categories = [CategoryRecord(id=id_, name=name) for id_, name in config.names.items()]
    content = assemble(pictures, categories, read_sidecar(config.file.parent, "yolo"), split, findings)
    check_content(content, config.file)
    return Labels(content, folder, config.file, "yolo", findings.warnings(), split, sizes_are_measured=True)


def label_path(picture: Path, root: Path) -> Path:
    """Return where the labels of a picture lie: beside it, or in `labels/` where it lies in `images/`.

    Args:
        picture: inside `root`.
        root: of the data set; folders above it do not count.
    """
    parts = list(PurePosixPath(picture.relative_to(root).as_posix()).parts)
    folders = [index for index, part in enumerate(parts[:-1]) if part == "images"]
    if folders:
        parts[folders[-1]] = "labels"
    return root.joinpath(*parts).with_suffix(".txt")


def _pictures(config: YoloConfig, split: str, root: Path, findings: Findings) -> tuple[Path, list[str]]:
    """Return the pictures of a split by name, and the folder that names are relative to."""
    found: dict[str, None] = {}
    places = [_entry(entry, root, config, split, findings) for entry in config.splits[split]]
    for place in places:
        for picture in _list(place, root, findings):
            if picture in found:
                findings.note(_TWICE, picture)
            found[picture] = None
    if not found:
        raise DataError(f"{config.file}: {split}: there is no picture in {', '.join(map(str, places))}")
    if len(places) > 1 or not places[0].is_dir():
        return root, list(found)
    start = inside(places[0], root)
    return places[0], [name.removeprefix(f"{start}/") for name in found]


def _entry(entry: str, root: Path, config: YoloConfig, split: str, findings: Findings) -> Path:
    """Return the folder or list that `train: …` names; it lies inside `root`."""
    place = Path(os.path.normpath(root / entry))
    relative = inside(place, root)
    if relative is None and entry.startswith("../"):
        # Roboflow writes ../train/images beside the folder train, and means that one.
        own = Path(os.path.normpath(root / without_dots(entry)))
        if own.exists():
            findings.note("`..` left out of a path, as that folder lies beside the file", f"{split}: {entry}")
            return own
    if relative is None:
        raise DataError(
            f"{config.file}: {split}: {entry} lies outside of {root}, and labels are not followed out of "
            f"their folder; if you trust them, name a folder that holds it yourself: --images {place.parent}"
        )
    if not place.exists():
        raise DataError(f"{config.file}: {split}: there is no {place}")
    return place


def _list(place: Path, root: Path, findings: Findings) -> Iterator[str]:
    """Yield the pictures in a folder, sorted, or in a list, as it has them; relative to `root`."""
    if place.is_dir():
        for file in list_files(place, PICTURE_SUFFIXES):
            yield file.relative_to(root).as_posix()
        return
    if place.suffix != ".txt":
        raise DataError(f"{findings.file}: {place} is neither a folder of pictures nor a list of them (.txt)")
    for number, line in lines_of(read_text(place)):
        if not (root / line).exists() and (place.parent / line).exists():
            line = str(place.parent.absolute() / line)
        yield picture_name(line, root, place.parent, findings, f"{place}:{number}")


def _check_label_files(
    pictures: Sequence[Path], label_files: Sequence[Path], config: YoloConfig, split: str, findings: Findings
) -> None:
    """See that there are labels at all, and count those that belong to no picture, or to two."""
    if not any(file.exists() for file in label_files):
        raise DataError(
            f"{config.file}: {split}: none of its {len(label_files)} pictures has a label file: looked for "
            f"{label_files[0]}; if there is really nothing to label, make that file, empty"
        )
    for file, count in Counter(label_files).items():
        if count > 1:
            findings.note(_SHARED, str(file))
    folders: dict[Path, set[Path]] = {}
    for picture, file in zip(pictures, label_files, strict=True):
        if picture.parent != file.parent:
            folders.setdefault(file.parent, set()).add(picture.parent)
    for folder, parents in folders.items():
        stems = {item.stem for parent in parents for item in parent.iterdir()}
        for file in sorted(folder.glob("*.txt")):
            if file.stem not in stems and file.name not in _NOT_LABELS:
                findings.note(_ORPHAN, str(file))


@dataclass
class _RowReader:
    """Reads label files; `names` is class index → name."""

    names: dict[int, str]
    findings: Findings
    _place: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self._place = {index: place for place, index in enumerate(self.names)}

    def read(self, file: Path, size: tuple[int, int]) -> list[Row]:
        """Return the rows of a label file for a picture of (height, width) pixels."""
        if not file.exists():
            return []
        rows = []
        for number, line in lines_of(read_text(file)):
            if line.startswith("#"):
                self.findings.note(_COMMENT, f"{file}:{number}")
                continue
            rows.append(self._row(line.split(), f"{file}:{number}", size))
        return rows

    def _row(self, fields: list[str], where: str, size: tuple[int, int]) -> Row:
        index = self._class(fields[0], where)
        numbers = [parse_number(text, f"{where}: value {i}") for i, text in enumerate(fields[1:], start=2)]
        if len(numbers) == 4:
            centre_x, centre_y, width, height = numbers
        elif len(numbers) >= 6 and len(numbers) % 2 == 0:
            self.findings.note(_POLYGON, where)
            centre_x, centre_y, width, height = _bounding_box(numbers)
        else:
            hint = ", as if a score were among them" if len(numbers) == 5 else ""
            raise DataError(
                f"{where}: has {len(fields)} values{hint}; a box has 5, `class x y width height`, and a "
                "polygon the class and three or more pairs"
            )
        if largest := next((value for value in numbers if abs(value) > LARGEST_SHARE), None):
            raise DataError(
                f"{where}: {largest:g} is no share of the picture; YOLO's go from 0 to 1, not in pixels"
            )
        tall, wide = size
        left, top = (centre_x - width / 2) * wide, (centre_y - height / 2) * tall
        bbox = (whole_again(left), whole_again(top), whole_again(width * wide), whole_again(height * tall))
        return Row(" ".join(fields), self._place[index], bbox)

    def _class(self, text: str, where: str) -> int:
        index = parse_whole(text, f"{where}: the class")
        if index not in self.names:
            known = f"{len(self.names)} classes, {min(self.names)} to {max(self.names)}"
            raise DataError(f"{where}: there is no class {index}: `names` has {known}")
        return index


def _bounding_box(points: Sequence[float]) -> tuple[float, float, float, float]:
    """Return centre and size of the box around a polygon of x, y, x, y and so on."""
    left, right = min(points[::2]), max(points[::2])
    top, bottom = min(points[1::2]), max(points[1::2])
    return (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
