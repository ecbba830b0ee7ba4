"""keras-retinanet's CSV: `path,x1,y1,x2,y2,class` a row, and `class,id` a row of a second file."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from densewatch.data.checks import Findings, measure_pictures
from densewatch.data.coco_schema import CategoryRecord
from densewatch.data.dataset import DataError
from densewatch.data.formats.assemble import Picture, Row, assemble
from densewatch.data.formats.paths import picture_name
from densewatch.data.formats.sidecar import read_sidecar
from densewatch.data.formats.splits import split_name
from densewatch.data.formats.text import parse_number, parse_whole, read_text, shorten
from densewatch.data.labels import Labels, check_content
from densewatch.suggest import suggest

CLASS_FILES = ("classes.csv", "class.csv", "class_mapping.csv", "class_list.csv", "labels.csv")
CLASS_FILE = CLASS_FILES[0]
COLUMNS = ("path", "x1", "y1", "x2", "y2", "class")
_HEADER_WORDS = (
    {"path", "filename", "file", "image", "img_file", "image_path"},
    {"x1", "xmin"},
    {"y1", "ymin"},
    {"x2", "xmax"},
    {"y2", "ymax"},
    {"class", "class_name", "label", "name"},
)
_HEADER = "header line left out"
_COMMENT = "comment line left out"
_DOUBLE = "empty row of a picture that has objects left out"


def read_csv(file: Path, images: Path | None, siblings: Mapping[str, Path]) -> Labels:
    """Read one CSV file.

    Classes are those of `classes.csv` beside the file, else all that occur in it and its `siblings`, sorted,
    numbered from 0.

    Args:
        file: of the rows.
        images: folder that paths are relative to. Default: the file's own.
        siblings: all splits of the data set.

    Raises:
        DataError: a row cannot be used, or pictures are missing or broken.
    """
    findings = Findings(file)
    lines = _read_rows(file, findings)
    categories = _categories(file, lines, siblings)
    folder, rows_of = _rows_by_picture(lines, images or file.parent, file, categories, findings)
    sizes = measure_pictures((folder / name for name in rows_of), file)
    pictures = [Picture(name, size, rows) for (name, rows), size in zip(rows_of.items(), sizes, strict=True)]
    split = split_name(file.stem)
    content = assemble(pictures, categories, read_sidecar(file.parent, "csv"), split, findings)
    check_content(content, file)
    return Labels(content, folder, file, "csv", findings.warnings(), sizes_are_measured=True)


def is_class_file(file: Path) -> bool:
    """Tell whether a CSV file lists classes, by its name."""
    return file.name.lower() in CLASS_FILES


@dataclass(frozen=True)
class _Line:
    """A row of the file: line number and the six fields."""

    number: int
    fields: tuple[str, ...]


def _read_rows(file: Path, findings: Findings) -> list[_Line]:
    lines: list[_Line] = []
    for number, fields in _records(file):
        if fields[0].startswith("#"):
            findings.note(_COMMENT, f"line {number}")
        elif not lines and _is_header(fields, file, number):
            findings.note(_HEADER, f"line {number}: {','.join(fields)}")
        elif len(fields) != len(COLUMNS):
            hint = ": fields are separated by commas" if ";" in fields[0] or "\t" in fields[0] else ""
            raise DataError(f"{file}:{number}: has {len(fields)} fields, not 6, `{','.join(COLUMNS)}`{hint}")
        else:
            lines.append(_Line(number, tuple(fields)))
    if not lines:
        raise DataError(f"{file}: is empty: it has no row `{','.join(COLUMNS)}`")
    return lines


def _records(file: Path) -> list[tuple[int, list[str]]]:
    """Return line number and fields of every row that is not blank."""
    reader = csv.reader(io.StringIO(read_text(file), newline=""), strict=True)
    records = []
    try:
        for fields in reader:
            stripped = [text.strip() for text in fields]
            if any(stripped):
                records.append((reader.line_num, stripped))
    except csv.Error as error:
        raise DataError(f"{file}:{reader.line_num}: is not CSV: {error}") from error
    return records


def _is_header(fields: list[str], file: Path, number: int) -> bool:
    """Tell whether a first row names the columns; other columns than ours are an error."""
    words = [text.lower() for text in fields]
    known = set().union(*_HEADER_WORDS) | {"width", "height"}
    if sum(word in known for word in words) < 3:
        return False
    if len(words) == len(COLUMNS) and all(
        word in meant for word, meant in zip(words, _HEADER_WORDS, strict=True)
    ):
        return True
    raise DataError(
        f"{file}:{number}: the columns are {', '.join(fields)}; they must be {', '.join(COLUMNS)}"
    )


def _categories(file: Path, lines: list[_Line], siblings: Mapping[str, Path]) -> list[CategoryRecord]:
    for name in CLASS_FILES:
        class_file = file.with_name(name)
        if class_file.is_file() and class_file != file:
            return _read_classes(class_file)
    several = [lines, *(_read_rows(item, Findings(item)) for item in siblings.values() if item != file)]
    names = {line.fields[5] for rows in several for line in rows} - {""}
    if not names:
        raise DataError(f"{file}: has no object, and there is no {CLASS_FILE} beside it with `class,id` rows")
    return [CategoryRecord(id=id_, name=name) for id_, name in enumerate(sorted(names))]


def _read_classes(file: Path) -> list[CategoryRecord]:
    found: dict[str, int] = {}
    for number, fields in _records(file):
        if len(fields) != 2:
            raise DataError(f"{file}:{number}: has {len(fields)} fields, not 2, `class,id`")
        if not found and [text.lower() for text in fields] in (["class", "id"], ["name", "id"]):
            continue
        name, id_ = fields[0], parse_whole(fields[1], f"{file}:{number}: the id")
        if name in found or id_ in found.values():
            raise DataError(f"{file}:{number}: the class {name!r} or its id {id_} occurs twice")
        found[name] = id_
    if not found:
        raise DataError(f"{file}: is empty: it has no row `class,id`")
    return [CategoryRecord(id=id_, name=name) for name, id_ in found.items()]


def _rows_by_picture(
    lines: list[_Line], base: Path, file: Path, categories: list[CategoryRecord], findings: Findings
) -> tuple[Path, dict[str, list[Row]]]:
    """Return the rows of each picture, as the file has them, and the folder that names count from."""
    place = {item.name: index for index, item in enumerate(categories)}
    rows_of: dict[str, list[Row]] = {}
    empty = set()
    for line in lines:
        name = picture_name(line.fields[0], base, file.parent, findings, f"line {line.number}")
        rows = rows_of.setdefault(name, [])
        if any(line.fields[1:]):
            rows.append(_row(line, file, place))
        else:
            empty.add(name)
    for name in empty:
        if rows_of[name]:
            findings.note(_DOUBLE, name)
    own = file.stem
    if all(name.startswith(f"{own}/") for name in rows_of):
        return base / own, {name.removeprefix(f"{own}/"): rows for name, rows in rows_of.items()}
    return base, rows_of


def _row(line: _Line, file: Path, place: Mapping[str, int]) -> Row:
    *corners, name = line.fields[1:]
    for column, text in zip(COLUMNS[1:], line.fields[1:], strict=True):
        if not text:
            raise DataError(
                f"{file}:{line.number}: {column} is empty; only a picture without objects has all five empty"
            )
    numbers = [
        parse_number(text, f"{file}:{line.number}: {column}")
        for column, text in zip(COLUMNS[1:], corners, strict=False)
    ]
    if name not in place:
        raise DataError(
            f"{file}:{line.number}: there is no class {shorten(name)}: {suggest(name, list(place))}"
        )
    left, top, right, bottom = numbers
    return Row(" ".join(line.fields[1:]), place[name], (left, top, right - left, bottom - top))
