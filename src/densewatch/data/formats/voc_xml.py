"""Reading XML from strangers: plain elements with their line numbers; nothing that refers to anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from densewatch.data.dataset import DataError

_MAX_DEPTH = 50
_MAX_BYTES = 64 * 2**20


@dataclass
class Element:
    """An element of an XML file: attributes are left out, as labels have none.

    Attributes:
        tag: its name.
        line: where it begins, from 1.
        text: what it holds before, between and after its children.
        children: in the order of the file.
    """

    tag: str
    line: int
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def child(self, tag: str) -> Element | None:
        """Return the first child of that name."""
        return next((item for item in self.children if item.tag == tag), None)

    def text_of(self, tag: str) -> str | None:
        """Return the text of the first child of that name, without outer blanks; None where it is empty."""
        child = self.child(tag)
        return None if child is None else child.text.strip() or None


def read_xml(file: Path) -> Element:
    """Return the root of an XML file.

    A document type is refused, and with it every entity: entities can read files and fill the memory.

    Raises:
        DataError: the file cannot be read, is no XML, or has a document type.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error
    if len(content) > _MAX_BYTES:
        raise DataError(f"{file}: has {len(content)} bytes, which is too much for the labels of a picture")
    if not content.strip():
        raise DataError(f"{file}: is empty")
    builder = _Builder(file)
    try:
        builder.parser.Parse(content, True)
    except expat.ExpatError as error:
        raise DataError(f"{file}:{error.lineno}: is not XML: {expat.ErrorString(error.code)}") from None
    return builder.root.children[0]


class _Builder:
    """Builds elements while the parser goes through the file."""

    def __init__(self, file: Path) -> None:
        self.root = Element("", 0)
        self._file = file
        self._open = [self.root]
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.StartDoctypeDeclHandler = self._refuse_doctype

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        del attributes
        if len(self._open) > _MAX_DEPTH:
            line = self.parser.CurrentLineNumber
            raise DataError(f"{self._file}:{line}: has more than {_MAX_DEPTH} elements inside each other")
        element = Element(tag, self.parser.CurrentLineNumber)
        self._open[-1].children.append(element)
        self._open.append(element)

    def _end(self, tag: str) -> None:
        del tag
        self._open.pop()

    def _characters(self, text: str) -> None:
        self._open[-1].text += text

    def _refuse_doctype(self, name: str, system: str | None, public: str | None, internal: int) -> None:
        del name, system, public, internal
        raise DataError(
            f"{self._file}:{self.parser.CurrentLineNumber}: has a document type (<!DOCTYPE …>), which labels "
            "do not need and which can be made to read files or fill the memory: delete it"
        )
