"""Pascal VOC: an XML file a picture, with corners that count from 1 and belong to the box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from densewatch.data.checks import Findings, measure_pictures
from densewatch.data.coco_schema import CategoryRecord
from densewatch.data.dataset import DataError
from densewatch.data.formats.assemble import Picture, Row, assemble
from densewatch.data.formats.paths import list_files, picture_name
from densewatch.data.formats.sidecar import read_sidecar
from densewatch.data.formats.splits import in_order, split_name
from densewatch.data.formats.text import lines_of, parse_number, parse_whole, read_text, shorten
from densewatch.data.formats.voc_xml import Element, read_xml
from densewatch.data.labels import Labels, check_content
from densewatch.imaging.sources import PICTURE_SUFFIXES
from densewatch.suggest import suggest

CORNERS = ("xmin", "ymin", "xmax", "ymax")
CLASS_FILES = ("labels.txt", "classes.txt")
SPLIT_LISTS = Path("ImageSets", "Main")
_PICTURE_FOLDERS = ("JPEGImages", "images", "Images")
OWN_TAGS = {"name", "bndbox", "difficult", "part"}

_BY_STEM = "picture found by the name of the XML file, as there is none of the name inside"
_NO_SIZE = "size taken from the picture, as the XML file records none"
_NO_XML = "picture without an XML file left out"


def voc_splits(folder: Path) -> dict[str, Path]:
    """Return the lists in `ImageSets/Main`, or the folders `train`, `valid` and `test` with XML files."""
    lists = {file.stem: file for file in sorted((folder / SPLIT_LISTS).glob("*.txt"))}
    found = {split: file for name, file in lists.items() if (split := split_name(name)) is not None}
    if not found and folder.is_dir():
        for place in sorted(folder.iterdir()):
            split = split_name(place.name)
            if split is not None and place.is_dir() and any(place.glob("*.xml")):
                found[split] = place
    return in_order(found)


def read_voc(folder: Path, splits: Mapping[str, Path], split: str | None, images: Path | None) -> Labels:
    """Read a folder of Pascal VOC, or one split of it.

    Classes are those of `labels.txt` or `classes.txt` in the folder, one a line, else all names that occur in
    any split, sorted; they are numbered from 1.

    Args:
        folder: of the data set.
        splits: as `voc_splits` gives them.
        split: one of them, or None where there are none.
        images: folder of the pictures; by default `JPEGImages`, `images`, or that of the XML files.

    Raises:
        DataError: labels or pictures cannot be read or used.
    """
    findings = Findings(folder)
    place = folder if split is None else splits[split]
    xml_folder, files = _xml_files(folder, place)
    trees = {file: _read_annotation(file) for file in files}
    names = _class_file(folder) or _all_names(folder, splits, trees)
    picture_folder = images or _picture_folder(folder, xml_folder)
    reader = _Reader(names, xml_folder, picture_folder, findings)
    found = [(reader.picture_name(file, tree), tree, file) for file, tree in trees.items()]
    pictures = [
        Picture(name, reader.size(tree, file, name), reader.rows(tree, file)) for name, tree, file in found
    ]
    if not place.is_file() and picture_folder == xml_folder:
        _note_unlabelled(picture_folder, {name for name, *_ in found}, findings)
    categories = [CategoryRecord(id=id_, name=name) for id_, name in enumerate(names, start=1)]
    content = assemble(pictures, categories, read_sidecar(folder, "voc"), split, findings)
    check_content(content, folder)
    return Labels(content, picture_folder, folder, "voc", findings.warnings(), split)


def _xml_files(folder: Path, place: Path) -> tuple[Path, list[Path]]:
    """Return the XML files of a split, and the folder that they are in."""
    if place.is_dir():
        xml_folder = place / "Annotations" if (place / "Annotations").is_dir() else place
        files = list_files(xml_folder, {".xml"})
        if not files:
            raise DataError(f"{place}: there is no XML file in {xml_folder}")
        return xml_folder, files
    xml_folder = folder / "Annotations"
    listed: dict[Path, None] = {}
    for number, line in lines_of(read_text(place)):
        name = picture_name(line, xml_folder, xml_folder, Findings(place), f"line {number}")
        file = xml_folder / f"{name}.xml"
        if not file.is_file():
            raise DataError(f"{place}:{number}: there is no {file}")
        if file in listed:
            raise DataError(f"{place}:{number}: {line} is listed twice")
        listed[file] = None
    if not listed:
        raise DataError(f"{place}: is empty")
    return xml_folder, list(listed)


def _picture_folder(folder: Path, xml_folder: Path) -> Path:
    for base in (folder, xml_folder.parent):
        for name in _PICTURE_FOLDERS:
            if (base / name).is_dir():
                return base / name
    return xml_folder if xml_folder.name != "Annotations" else folder


def _read_annotation(file: Path) -> Element:
    root = read_xml(file)
    if root.tag != "annotation":
        raise DataError(f"{file}:{root.line}: begins with <{shorten(root.tag)[1:-1]}>, not with <annotation>")
    return root


def _class_file(folder: Path) -> list[str]:
    """Return the classes that a file in the folder lists, or none."""
    for name in CLASS_FILES:
        file = folder / name
        if file.is_file():
            names = [line for _, line in lines_of(read_text(file))]
            if not names:
                raise DataError(f"{file}: is empty: write one class a line, or delete it")
            return names
    return []


def _all_names(folder: Path, splits: Mapping[str, Path], known: dict[Path, Element]) -> list[str]:
    """Return all names that occur, sorted, so that every split numbers its classes alike."""
    places = [place for place in splits.values() if place.is_dir()] or [folder]
    names = set()
    for place in places:
        for file in _xml_files(folder, place)[1]:
            tree = known.get(file) or _read_annotation(file)
            names |= {_name(item, file) for item in tree.children if item.tag == "object"}
    if not names:
        raise DataError(f"{folder}: there is no object in any XML file, and no {' or '.join(CLASS_FILES)}")
    return sorted(names)


def _name(item: Element, file: Path) -> str:
    name = item.text_of("name")
    if name is None:
        raise DataError(f"{file}:{item.line}: the object has no <name>")
    return name


def _note_unlabelled(folder: Path, named: set[str], findings: Findings) -> None:
    for file in list_files(folder, PICTURE_SUFFIXES):
        name = file.relative_to(folder).as_posix()
        if name not in named:
            findings.note(_NO_XML, name)


@dataclass
class _Reader:
    """Turns XML trees into pictures and rows.

    Attributes:
        names: of the classes, in order.
        xml_folder: of the XML files.
        folder: of the pictures.
        findings: takes what was mended.
    """

    names: Sequence[str]
    xml_folder: Path
    folder: Path
    findings: Findings

    def picture_name(self, file: Path, tree: Element) -> str:
        """Return where the picture of an XML file lies in the folder of pictures."""
        inner = file.relative_to(self.xml_folder).parent
        written = tree.text_of("filename")
        where = file.relative_to(self.xml_folder).as_posix()
        if written is not None:
            for name in (str(inner / written), written):
                placed = picture_name(name, self.folder, self.folder, self.findings, where)
                if (self.folder / placed).is_file():
                    return placed
        for suffix in sorted(PICTURE_SUFFIXES):
            for candidate in (suffix, suffix.upper()):
                name = (inner / f"{file.stem}{candidate}").as_posix()
                if (self.folder / name).is_file():
                    if written is not None:
                        self.findings.note(_BY_STEM, f"{where}: {written}")
                    return name
        name = (inner / (written or f"{file.stem}.jpg")).as_posix()
        return picture_name(name, self.folder, self.folder, self.findings, where)

    def size(self, tree: Element, file: Path, name: str) -> tuple[int, int]:
        """Return (height, width): as recorded, or that of the picture where nothing is."""
        recorded = tree.child("size")
        values = {tag: recorded.text_of(tag) if recorded is not None else None for tag in ("height", "width")}
        where = f"{file}:{recorded.line if recorded is not None else tree.line}"
        height, width = (parse_whole(text or "0", f"{where}: the {tag}") for tag, text in values.items())
        if height > 0 and width > 0:
            return height, width
        self.findings.note(_NO_SIZE, file.relative_to(self.xml_folder).as_posix())
        return measure_pictures([self.folder / name], file)[0]

    def rows(self, tree: Element, file: Path) -> list[Row]:
        """Return the objects of a tree; what is inside an object, such as parts of a person, is none."""
        return [self._row(item, file) for item in tree.children if item.tag == "object"]

    def _row(self, item: Element, file: Path) -> Row:
        name = _name(item, file)
        if name not in self.names:
            raise DataError(f"{file}:{item.line}: there is no class {name!r}: {suggest(name, self.names)}")
        box = item.child("bndbox")
        if box is None:
            raise DataError(f"{file}:{item.line}: the object has no <bndbox>")
        texts = []
        for tag in CORNERS:
            text = box.text_of(tag)
            if text is None:
                raise DataError(f"{file}:{box.line}: the box has no <{tag}>")
            texts.append(text)
        numbers = (
            parse_number(text, f"{file}:{box.line}: {tag}") for tag, text in zip(CORNERS, texts, strict=True)
        )
        left, top, right, bottom = numbers
        difficult = item.text_of("difficult") or "0"
        if difficult not in ("0", "1"):
            raise DataError(f"{file}:{item.line}: difficult is {shorten(difficult)}, neither 0 nor 1")
        bbox = (left - 1, top - 1, right - left + 1, bottom - top + 1)
        row = " ".join([name, *texts, difficult])
        return Row(row, self.names.index(name), bbox, difficult == "1", _attributes(item))


def _attributes(item: Element) -> dict[str, str | int]:
    """Return the further words about an object, such as `truncated` and `pose`."""
    found: dict[str, str | int] = {}
    for child in item.children:
        text = child.text.strip()
        if child.tag not in OWN_TAGS and not child.children and text:
            found[child.tag] = int(text) if text in ("0", "1") else text
    return found
