"""YOLO's `data.yaml`: class names, and where the pictures of each split are."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from densewatch.data.checks import Findings
from densewatch.data.dataset import DataError
from densewatch.data.formats.paths import inside
from densewatch.data.formats.splits import in_order, split_name
from densewatch.data.formats.text import read_text, shorten
from densewatch.extras import how_to_install


@dataclass(frozen=True)
class YoloConfig:
    """Content of a `data.yaml`.

    Attributes:
        file: it.
        path: folder of the data set as it names it, or None.
        splits: split → folders of pictures, or lists of them.
        names: class index → name.
    """

    file: Path
    path: str | None
    splits: Mapping[str, tuple[str, ...]]
    names: dict[int, str]

    def root(self, split: str, findings: Findings) -> Path:
        """Return the folder of the data set: what `path` names, as far as that can be followed.

        A `path` of another machine is common. It is passed over where the split's folder lies beside the
        file.

        Raises:
            DataError: `path` leads out of the file's folder, or to no folder.
        """
        home = self.file.parent
        if self.path is None:
            return home
        root = Path(os.path.normpath(home / self.path))
        is_inside = inside(root, home) is not None
        if is_inside and root.is_dir():
            return root
        if any((home / without_dots(entry)).exists() for entry in self.splits[split]):
            findings.note("`path` passed over, as the pictures lie beside the file", f"path: {self.path}")
            return home
        if is_inside:
            raise DataError(f"{self.file}: path: there is no folder {root}")
        raise DataError(
            f"{self.file}: path: {self.path} lies outside of {home}, and labels are not followed out of "
            f"their folder; if you trust them, name that folder yourself: --images {root}"
        )


def read_config(file: Path) -> YoloConfig:
    """Read a `data.yaml`.

    Raises:
        DataError: it is no YAML, or lacks what training needs.
    """
    content = _parse(file)
    splits: dict[str, tuple[str, ...]] = {}
    for key, value in content.items():
        split = split_name(key) if isinstance(key, str) else None
        if split is not None and value is not None:
            splits[split] = _entries(value, f"{file}: {key}")
    if not splits:
        raise DataError(f"{file}: names no pictures: train, val and test are missing")
    if "kpt_shape" in content:
        raise DataError(f"{file}: kpt_shape: these are labels of poses, which are not read")
    path = content.get("path")
    if path is not None and not isinstance(path, str):
        raise DataError(f"{file}: path is {shorten(path)}, not text")
    return YoloConfig(file, path or None, in_order(splits), _names(content, file))


def without_dots(entry: str) -> str:
    """Return a path without `./` and `../` at its beginning."""
    return re.sub(r"^(\.{1,2}/)+", "", entry)


def _parse(file: Path) -> dict[Any, Any]:
    try:
        import yaml
    except ImportError as error:
        raise DataError(f"{file}: reading YOLO's YAML needs pyyaml: {how_to_install('eval')}") from error
    try:
        content = yaml.safe_load(read_text(file))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f":{mark.line + 1}"
        reason = getattr(error, "problem", None) or str(error)
        raise DataError(f"{file}{line}: is not YAML: {' '.join(reason.split())}") from error
    except (RecursionError, ValueError) as error:
        raise DataError(f"{file}: is not YAML that can be read: {type(error).__name__}") from error
    if not isinstance(content, dict):
        raise DataError(f"{file}: must be a mapping with `train`, `val` and `names`")
    return content


def _entries(value: Any, where: str) -> tuple[str, ...]:
    entries = value if isinstance(value, list) else [value]
    for entry in entries:
        if not isinstance(entry, str) or not entry.strip():
            raise DataError(f"{where}: must be a folder, a list of folders, or a .txt file")
    return tuple(entry.strip() for entry in entries)


def _names(content: Mapping[Any, Any], file: Path) -> dict[int, str]:
    """Return class index → name, in the order of the indices."""
    names = content.get("names")
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise DataError(f"{file}: `names` is missing: the list of class names, in the order of their numbers")
    for index, name in names.items():
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < 2**63:
            raise DataError(f"{file}: names: {shorten(index)} is no class number")
        if not isinstance(name, str) or not name:
            hint = "YAML reads it as something else; put it in quotes"
            raise DataError(f"{file}: names: class {index} is {shorten(name)}, not text: {hint}")
    count = content.get("nc")
    if count is not None and count != len(names):
        raise DataError(f"{file}: nc is {shorten(count)}, but `names` has {len(names)} classes")
    return dict(sorted(names.items()))
