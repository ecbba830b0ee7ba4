"""From the bytes of a YAML file to plain values, and where each of them stands."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StreamMark, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from densewatch.site.errors import SiteError

Location = tuple[str | int, ...]
"""The keys and positions on the way to a value."""

MAX_BYTES = 256 * 1024
_MAX_VALUES = 100_000
_MAX_DEPTH = 24
_MAX_MESSAGE = 1000
_CORE = "tag:yaml.org,2002:"
_TEXT_TAGS = {_CORE + name for name in ("str", "timestamp", "value")}
_NUMBER_TAGS = {_CORE + name for name in ("int", "float", "bool", "null")}


@dataclass(frozen=True)
class Place:
    """Line and column in a file, from 1."""

    line: int
    column: int

    @classmethod
    def of(cls, mark: StreamMark) -> Place:
        """Return the place of a mark, which counts from 0."""
        return cls(mark.line + 1, mark.column + 1)


@dataclass
class Document:
    """A YAML file.

    Attributes:
        name: of the file, for messages.
        text: what is in it.
        root: as YAML sees it; None where the file is empty.
        value: plain dicts with text as keys, lists, texts, numbers, booleans and None.
        keys: where the key of a value stands.
        values: where the value itself stands.
    """

    name: str
    text: str
    root: Node | None = None
    value: Any = None
    keys: dict[Location, Place] = field(default_factory=dict)
    values: dict[Location, Place] = field(default_factory=dict)

    def sentence(self, place: Place | None, message: str) -> str:
        """Return a message that begins with the file, the line and the column; one line, not too long."""
        where = self.name if place is None else f"{self.name}:{place.line}:{place.column}"
        shown = "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in message[:_MAX_MESSAGE])
        return f"{where}: {shown}"


def read_document(data: bytes, name: str) -> Document:
    """Read a YAML document of plain values.

    Args:
        data: of the file.
        name: of the file, for messages.

    Raises:
        SiteError: it is no YAML, or larger, deeper or more than plain values are.
    """
    document = Document(name, _decoded(data, name))
    document.root = _composed(document)
    if document.root is not None:
        builder = _Builder(document)
        document.value = builder.build(document.root, ())
        if builder.mistakes:
            raise SiteError(*dict.fromkeys(builder.mistakes))
    return document


def _decoded(data: bytes, name: str) -> str:
    if len(data) > MAX_BYTES:
        raise SiteError(f"{name}: is larger than {MAX_BYTES // 1024} KiB, which no site needs")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start]
        place = Place(before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        raise SiteError(f"{name}:{place.line}:{place.column}: this is not UTF-8 text") from None


def _composed(document: Document) -> Node | None:
    """Return what YAML makes of a text. Errors' own texts are not passed on whole: they quote lines."""
    yaml = YAML(typ="safe", pure=True)
    yaml.composer.warn_double_anchors = False
    try:
        root: Node | None = yaml.compose(document.text)
    except ReaderError as error:
        before = document.text[: error.position]
        place = Place(before.count("\n") + 1, error.position - before.rfind("\n"))
        raise SiteError(document.sentence(place, "this character is not allowed in YAML")) from None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        parts = (_without_names(part) for part in (error.problem, error.context) if part)
        message = f"this is no YAML: {', '.join(parts)}"
        raise SiteError(document.sentence(None if mark is None else Place.of(mark), message)) from None
    except RecursionError:
        raise SiteError(document.sentence(None, "is nested too deeply")) from None
    except (
        YAMLError,
        ValueError,
        TypeError,
        AttributeError,
        LookupError,
        AssertionError,
        NotImplementedError,
    ):
        # The library lets some of these pass for odd directives and tags.
        raise SiteError(document.sentence(None, "this is no YAML that a site can be read from")) from None
    return root


def _without_names(problem: str) -> str:
    """Return a YAML library's words without what they quote from the file, unless that is a single sign."""
    text = " ".join(problem.split())
    text = re.sub(r"\('(<[a-z ]+>|.)',\)", r"'\1'", text)
    return re.sub(r"'(?!<[a-z ]+>'|\W'|\\.')(?:[^'\\]|\\.)*'|\"[^\"]{2,}\"", "a name", text)


class _Builder:
    """Turns nodes into values; collects mistakes that do not keep it from reading on."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._constructor = YAML(typ="safe", pure=True).constructor
        self._left = _MAX_VALUES
        self.mistakes: list[str] = []

    def build(self, node: Node, location: Location) -> Any:
        self._count(node, len(location))
        self._document.values[location] = Place.of(node.start_mark)
        if isinstance(node, MappingNode) and node.tag == _CORE + "map":
            pairs = self._pairs(node, len(location))
            for key, (mark, _) in pairs.items():
                self._document.keys[(*location, key)] = Place.of(mark)
            return {key: self.build(value, (*location, key)) for key, (_, value) in pairs.items()}
        if isinstance(node, SequenceNode) and node.tag == _CORE + "seq":
            return [self.build(item, (*location, number)) for number, item in enumerate(node.value)]
        if isinstance(node, ScalarNode) and node.tag in _TEXT_TAGS:
            return str(node.value)
        if isinstance(node, ScalarNode) and node.tag in _NUMBER_TAGS:
            return self._number(node, location)
        return self._mistake(
            node,
            f"{dotted(location)}: tags are not allowed here: plain text, numbers, lists and mappings are",
        )

    def _count(self, node: Node, depth: int) -> None:
        """End a file whose aliases would grow without end."""
        self._left -= 1
        if self._left < 0 or depth > _MAX_DEPTH:
            what = "is nested too deeply" if self._left >= 0 else "has more values than a site can have"
            raise SiteError(self._document.sentence(Place.of(node.start_mark), what))

    def _number(self, node: ScalarNode, location: Location) -> Any:
        try:
            value = self._constructor.construct_object(node)
        except (ValueError, TypeError, LookupError, YAMLError, AssertionError):
            return self._mistake(
                node, f"{dotted(location)}: this is no number; put it in quotes if it is text"
            )
        if isinstance(value, float) and not math.isfinite(value):
            return self._mistake(node, f"{dotted(location)}: must be a finite number")
        return value

    def _pairs(self, node: MappingNode, depth: int) -> dict[str, tuple[StreamMark, Node]]:
        """Return the keys of a mapping, those that `<<` takes over too, with their places and values."""
        pairs: dict[str, tuple[StreamMark, Node]] = {}
        others: list[Node] = []
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self._mistake(key, "a key must be a plain word")
            elif is_merge(key):
                others += value.value if isinstance(value, SequenceNode) else [value]
            elif key.value in pairs:
                line = pairs[key.value][0].line + 1
                self._mistake(key, f"{shortened(key.value)} is given twice, here and in line {line}")
            else:
                pairs[key.value] = key.start_mark, value
        for other in others:
            self._count(other, depth)
            if isinstance(other, MappingNode):
                pairs = self._pairs(other, depth + 1) | pairs
            else:
                self._mistake(other, "`<<` takes over a mapping, or a list of mappings")
        return pairs

    def _mistake(self, node: Node, message: str) -> None:
        self.mistakes.append(self._document.sentence(Place.of(node.start_mark), message))


def is_merge(key: Node) -> bool:
    """Return whether a key is the sign that takes over another mapping."""
    return isinstance(key, ScalarNode) and key.value == "<<" and key.style is None


def shortened(name: str) -> str:
    """Return a key as messages show it: in quotes, on one line, not too long."""
    return repr(name if len(name) <= 60 else f"{name[:57]}...")


def dotted(location: Location) -> str:
    """Return `cameras.hall.masks[0]`, positions counted from 0."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{_key(part)}" for part in location)
    return "".join(parts).removeprefix(".") or "the file"


def _key(part: str) -> str:
    return part if len(part) <= 60 and part.isprintable() else shortened(part)
