"""Which format a path holds, and which splits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from densewatch.data.dataset import DataError
from densewatch.data.formats.csv import is_class_file
from densewatch.data.formats.sidecar import SIDECAR_FILE
from densewatch.data.formats.splits import in_order, split_name
from densewatch.data.formats.voc import voc_splits
from densewatch.data.formats.yolo_config import YoloConfig, read_config
from densewatch.data.labels import Format

ROBOFLOW_FILE = "_annotations.coco.json"
_CONFIG_FILES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_LOOKED_FOR = (
    "COCO (*.json), YOLO (data.yaml), Pascal VOC (Annotations/*.xml or *.xml), CSV (*.csv), "
    f"Roboflow (train/{ROBOFLOW_FILE})"
)


@dataclass(frozen=True)
class Found:
    """What a path holds.

    Attributes:
        format: of the labels.
        path: of the data set, as it was given.
        entry: file or folder of the labels where there are no splits.
        splits: split → its file or folder, in the order train, val, test; empty where there are none.
        config: of YOLO.
    """

    format: Format
    path: Path
    entry: Path
    splits: Mapping[str, Path] = field(default_factory=dict)
    config: YoloConfig | None = None


def recognise(path: Path) -> Found:
    """Tell the format of labels from their file or folder.

    Raises:
        DataError: there is nothing, or it is none of the formats, or more than one; it says what was looked
            for, and what was found.
    """
    if path.is_dir():
        return _recognise_folder(path)
    if not path.exists():
        raise DataError(f"{path}: cannot be read: No such file or directory")
    suffix = path.suffix.lower()
    if suffix == ".json":
        return Found("roboflow" if path.name == ROBOFLOW_FILE else "coco", path, path)
    if suffix in (".yaml", ".yml"):
        return _yolo_config(path, path)
    if suffix == ".csv" and not is_class_file(path):
        return Found("csv", path, path)
    hints = {
        ".csv": "it lists classes: give the file of the rows",
        ".xml": "it is one picture of Pascal VOC: give the folder",
        ".txt": "as YOLO's, it lacks the names of the classes: give the data.yaml",
    }
    hint = hints.get(suffix, f"known are {_LOOKED_FOR}, as a file or a folder")
    raise DataError(f"{path}: is no file of labels: {hint}")


def _recognise_folder(folder: Path) -> Found:
    searches: Sequence[Callable[[Path], Found | None]] = (_roboflow, _yolo, _voc, _coco, _csv)
    found = [item for item in (search(folder) for search in searches) if item is not None]
    if len(found) > 1:
        several = ", ".join(f"{item.format} ({item.entry.name or item.entry})" for item in found)
        raise DataError(f"{folder}: holds labels in several formats, {several}: give the file of one of them")
    if found:
        return found[0]
    if (folder / "images").is_dir() and (folder / "labels").is_dir():
        raise DataError(
            f"{folder}: has images/ and labels/, as YOLO's, but no data.yaml: write one with `train: images` "
            "and `names: [first class, …]`"
        )
    names = sorted(f"{item.name}/" if item.is_dir() else item.name for item in folder.iterdir())
    shown = f"{', '.join(names[:8])}{', …' if len(names) > 8 else ''}" if names else "nothing"
    json_files = [name for name in names if name.endswith((".json", ".csv"))]
    hint = ": if one of these files is meant, give that file" if len(json_files) > 1 else ""
    raise DataError(f"{folder}: no labels are recognised: looked for {_LOOKED_FOR}; found {shown}{hint}")


def _roboflow(folder: Path) -> Found | None:
    if (folder / ROBOFLOW_FILE).is_file():
        return Found("roboflow", folder, folder / ROBOFLOW_FILE)
    files = {item.name: item / ROBOFLOW_FILE for item in sorted(folder.iterdir()) if item.is_dir()}
    splits = {split: file for name, file in files.items() if (split := split_name(name)) and file.is_file()}
    return Found("roboflow", folder, folder, in_order(splits)) if splits else None


def _yolo(folder: Path) -> Found | None:
    for name in _CONFIG_FILES:
        if (folder / name).is_file():
            return _yolo_config(folder, folder / name)
    others = [file for suffix in ("*.yaml", "*.yml") for file in folder.glob(suffix)]
    is_yolo = (folder / "images").is_dir() or (folder / "labels").is_dir()
    return _yolo_config(folder, others[0]) if len(others) == 1 and is_yolo else None


def _yolo_config(path: Path, file: Path) -> Found:
    config = read_config(file)
    return Found("yolo", path, file, dict.fromkeys(config.splits, file), config)


def _voc(folder: Path) -> Found | None:
    splits = voc_splits(folder)
    annotations = folder / "Annotations"
    if splits or any(folder.glob("*.xml")) or (annotations.is_dir() and any(annotations.rglob("*.xml"))):
        return Found("voc", folder, folder, splits)
    return None


def _coco(folder: Path) -> Found | None:
    files = [item for item in folder.glob("*.json") if item.name not in (SIDECAR_FILE, ROBOFLOW_FILE)]
    inner = list((folder / "annotations").glob("*.json"))
    return _by_stem(folder, "coco", files) or _by_stem(folder, "coco", inner)


def _csv(folder: Path) -> Found | None:
    return _by_stem(folder, "csv", [file for file in folder.glob("*.csv") if not is_class_file(file)])


def _by_stem(folder: Path, format_: Format, files: Sequence[Path]) -> Found | None:
    """Return files that are called like splits, or the only file that there is."""
    named = {split: file for file in sorted(files) if (split := split_name(file.stem)) is not None}
    if named:
        return Found(format_, folder, folder, in_order(named))
    return Found(format_, folder, files[0]) if len(files) == 1 else None
