"""Changes in a YAML text that leave every other byte of it alone.

Own code on the marks of the YAML library. Its own way, reading a text and writing it anew, moves lines, and
loses comments inside of lists that go over several lines, as polygons do.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.representer import SafeRepresenter

from densewatch.site.document import Document, is_merge

Values = Mapping[str, Any]
"""Plain values, nested."""

_STEP = 2
_LEVELS = 2
"""Below a camera: `zones` and `lines`, and each of them; one entry of such a mapping may change alone."""


class EditError(Exception):
    """The YAML in a place is written in a way that cannot be changed."""


@dataclass
class _Edits:
    """What goes instead of which part of a text."""

    text: str
    found: list[tuple[int, int, str]] = field(default_factory=list)

    def put(self, start: int, end: int, text: str) -> None:
        self.found.append((start, end, text))

    def applied(self) -> str:
        text, before = self.text, len(self.text)
        # Of two in the same place the later one belongs around the earlier one, and so behind it.
        ordered = sorted(enumerate(self.found), key=lambda item: (*item[1][:2], item[0]), reverse=True)
        for _, (start, end, new) in ordered:
            if not start <= end <= before:
                raise EditError  # an alias: its value stands somewhere else
            text, before = text[:start] + new + text[end:], start
        return text


def edited(document: Document, keys: tuple[str, ...], old: Values, new: Values, short: Values) -> str:
    """Return a document's text with other values in one of its mappings.

    Args:
        document: the text, and how YAML sees it.
        keys: the way to the mapping.
        old: what it says now, with defaults; keys that are not in here stay as they are.
        new: what it shall say, with defaults.
        short: what it shall say, without defaults; this is what is written.

    Raises:
        EditError: the mapping is not there, or not in one piece.
    """
    node = document.root
    for key in keys:
        node = _own(node).get(key, (None, None))[1]
    if not isinstance(node, MappingNode):
        raise EditError
    edits = _Edits(document.text)
    _Editor(edits, "\r\n" if "\r\n" in document.text else "\n").change(node, old, new, short, _LEVELS)
    return edits.applied()


class _Editor:
    """Finds the least that must change."""

    def __init__(self, edits: _Edits, newline: str) -> None:
        self._edits = edits
        self._text = edits.text
        self._newline = newline

    def change(self, node: MappingNode, old: Values, new: Values, short: Values, levels: int) -> None:
        """Change the entries of a mapping whose old and new values differ."""
        own = _own(node)
        if any(is_merge(key) for key, _ in node.value):  # what is left out would come from elsewhere
            short = {**new, **short}
        changed = [key for key in {**old, **new} if old.get(key) != new.get(key)]
        gone = {key for key in changed if key in own and key not in short}
        added = {key: short[key] for key in changed if key in short and key not in own}
        kept = [key for key in own if key not in gone]
        if not kept:
            self._put(node, node.start_mark.index, node, short, levels)
            return
        for key in changed:
            if key in own and key in short:
                value = own[key][1]
                if levels and isinstance(value, MappingNode) and value.value:
                    self.change(value, old.get(key) or {}, new[key], short[key], levels - 1)
                else:
                    self._put(node, self._value_start(*own[key]), value, short[key], levels - 1)
        if gone:
            self._remove(node, gone)
        if added:
            self._add(node, own[kept[-1]][1], added, levels)

    def _put(self, around: MappingNode, start: int, node: Node, value: Any, levels: int) -> None:
        """Put a value in the place of `node`, which is a value in `around`, or is `around` itself."""
        if around.flow_style or levels < 0 or not isinstance(value, Mapping) or not value:
            space = " " if self._text[start - 1 : start] == ":" else ""
            self._edits.put(start, _end(node), space + _flow(value))
            return
        column = around.start_mark.column + (0 if node is around else _STEP)
        lines = self._block(value, column, levels)
        self._edits.put(start, _end(node), lines.lstrip() if node is around else self._newline + lines)

    def _value_start(self, key: Node, value: Node) -> int:
        """Return where a value starts: behind the colon of its key, if that line has nothing else."""
        start, key_end = int(value.start_mark.index), int(key.end_mark.index)
        colon = re.fullmatch(r"(\s*:)\s*\n\s*", self._text[key_end:start])
        return start if colon is None else key_end + len(colon[1])

    def _remove(self, node: MappingNode, gone: set[str]) -> None:
        """Remove entries, of which at least one stays."""
        runs = [
            (is_gone, [entry for _, entry in run])
            for is_gone, run in groupby(_own(node).items(), lambda item: item[0] in gone)
        ]
        for number, (is_gone, entries) in enumerate(runs):
            start, end = entries[0][0].start_mark.index, _end(entries[-1][1])
            if not is_gone:
                continue
            if not node.flow_style:
                start, end = self._line_end(self._text.rfind("\n", 0, start)), self._line_end(end)
            elif number:  # the comma before it goes too
                start = _end(runs[number - 1][1][-1][1])
            else:
                end = runs[1][1][0][0].start_mark.index
            self._edits.put(start, end, "")

    def _add(self, node: MappingNode, last: Node, values: Values, levels: int) -> None:
        if node.flow_style:
            self._edits.put(_end(last), _end(last), f", {_flow(values)[1:-1]}")
            return
        place = self._line_end(_end(last))
        self._edits.put(place, place, self._newline + self._block(values, node.start_mark.column, levels))

    def _block(self, values: Values, column: int, levels: int) -> str:
        """Return entries in lines of their own, without a break at the end."""
        lines = []
        for key, value in values.items():
            if levels and value and isinstance(value, Mapping):
                lines.append(f"{' ' * column}{key}:")
                lines.append(self._block(value, column + _STEP, levels - 1))
            else:
                lines.append(" " * column + _flow({key: value})[1:-1])
        return self._newline.join(lines)

    def _line_end(self, place: int) -> int:
        """Return where the line of a place ends, without its break."""
        end = self._text.find("\n", place)
        if end < 0:
            return len(self._text)
        return end - 1 if self._text[end - 1] == "\r" else end


def _own(node: Node | None) -> dict[str, tuple[Node, Node]]:
    """Return the keys and values that stand in a mapping itself, by key."""
    if not isinstance(node, MappingNode):
        return {}
    return {key.value: (key, value) for key, value in node.value if isinstance(key, ScalarNode)}


def _end(node: Node) -> int:
    """Return where a value ends; YAML counts what follows a block, to the next key, as part of it."""
    if isinstance(node, MappingNode | SequenceNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.index)


class _Representer(SafeRepresenter):
    """Puts all but plain words into quotes; the library leaves them off of some that it cannot read then."""

    def represent_str(self, data: str) -> ScalarNode:
        style = None if re.fullmatch(r"[^\W\d_][\w -]*", data) else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Representer.add_representer(str, _Representer.represent_str)


def _flow(value: Any) -> str:
    """Return a value on one line."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = True
    yaml.width = 10**9
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream = io.StringIO()
    # A scalar alone would get a line that ends the document.
    alone = not isinstance(value, Mapping | list)
    yaml.dump([value] if alone else value, stream)
    text = stream.getvalue().strip()
    return text[1:-1] if alone else text
