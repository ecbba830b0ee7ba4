"""Write labels, with their pictures, in another format."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

from densewatch.data.checks import Findings
from densewatch.data.dataset import DataError
from densewatch.data.formats.write_coco import write_coco
from densewatch.data.formats.write_csv import write_csv
from densewatch.data.formats.write_plan import Plan
from densewatch.data.formats.write_voc import write_voc
from densewatch.data.formats.write_yolo import write_yolo
from densewatch.data.labels import Labels

Target = Literal["coco", "yolo", "voc", "csv"]
Pictures = Literal["copy", "link", "none"]
TARGETS: tuple[Target, ...] = get_args(Target)

_WRITERS: Mapping[Target, Callable[[Plan], None]] = {
    "coco": write_coco,
    "yolo": write_yolo,
    "voc": write_voc,
    "csv": write_csv,
}


def write_labels(
    labels: Labels | Mapping[str, Labels],
    target: Path,
    format_: Target,
    *,
    pictures: Pictures = "copy",
    on_picture: Callable[[], None] = lambda: None,
) -> dict[str, int]:
    """Write labels into a new folder; it appears whole or not at all.

    What the format has no place for is kept in `densewatch.json` there, which `read_labels` takes into
    account.

    Args:
        labels: of one data set: split → labels, or labels alone, which are written as the split `train`.
        target: folder to make; it may exist if it is empty.
        format_: to write.
        pictures: copied, linked to where they are, or left where they are.
        on_picture: called after each picture is in place.

    Returns:
        What other tools will not see, or not as it was: sentence → count.

    Raises:
        DataError: `target` is not empty, splits have different classes, the format cannot hold a name, or a
            picture cannot be copied.
    """
    splits = {"train": labels} if isinstance(labels, Labels) else dict(labels)
    _check(splits, target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".convert-") as parent:
        folder = Path(parent, "data")
        folder.mkdir()
        findings = Findings(target)
        finite = {split: _finite(item, findings) for split, item in splits.items()}
        plan = Plan(folder, finite, findings)
        _WRITERS[format_](plan)
        if pictures != "none":
            _place_pictures(plan, pictures == "link", on_picture)
        if target.exists():
            target.rmdir()
        folder.rename(target)
    return findings.warnings()


def _check(splits: Mapping[str, Labels], target: Path) -> None:
    if not splits:
        raise DataError("there are no labels to write")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError(f"{target}: exists already: choose a folder that does not, so that nothing is lost")
    first, *others = splits.items()
    for split, labels in others:
        if labels.content.categories != first[1].content.categories:
            raise DataError(
                f"{labels.source}: the splits {first[0]} and {split} have different classes: convert them "
                "one by one, with --split"
            )


def _finite(labels: Labels, findings: Findings) -> Labels:
    """Leave out what is no box in any format."""
    kept = []
    for record in labels.content.annotations:
        if all(math.isfinite(value) for value in record.bbox):
            kept.append(record)
        else:
            findings.note("box left out, because it is not finite", f"annotation {record.id!r}")
    return replace(labels, content=labels.content.model_copy(update={"annotations": kept}))


def _place_pictures(plan: Plan, as_links: bool, on_picture: Callable[[], None]) -> None:
    for place, source in plan.pictures.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            if as_links:
                place.symlink_to(source.resolve(strict=True))
            else:
                shutil.copyfile(source, place)
        except OSError as error:
            verb = "linked" if as_links else "copied"
            raise DataError(f"{source}: cannot be {verb}: {error.strerror or error}") from error
        on_picture()
