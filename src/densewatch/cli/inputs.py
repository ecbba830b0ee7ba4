"""Which pictures `detect` does: each once, and none that it drew itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from densewatch.cli.console import say, stop
from densewatch.cli.reports import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from densewatch.imaging.sources import Source, SourceError


def choose_inputs(arguments: Sequence[str], save: Path | None) -> list[Source | SourceError]:
    """Return what the arguments name, and say how much of it was left out.

    Left out are repeats of a file, and annotated pictures of earlier runs that were found in a folder or by a
    glob. The program ends where results would lie among the user's own photos.

    Args:
        arguments: as `expand_sources` takes them.
        save: where results go; None where none are drawn.
    """
    from densewatch.imaging.sources import expand_sources

    items = _without_results(expand_sources(arguments), arguments)
    if save is not None and save.is_dir():
        _check_folder(save, items)
    return _without_repeats(items)


def _without_results(
    items: list[Source | SourceError], arguments: Sequence[str]
) -> list[Source | SourceError]:
    """Leave out what earlier runs drew; what is named outright stays."""
    from densewatch.imaging.save import is_annotated

    results, kept = [], []
    for item in items:
        path = _file_of(item)
        if path is not None and item.name not in arguments and is_annotated(path):
            results.append(path)
        else:
            kept.append(item)
    if results:
        say(f"left out {counted(len(set(results)), 'annotated picture')} of earlier runs, as {results[0]}")
    if results and not kept:
        stop("all the pictures found were drawn by earlier runs; name other ones, or these one by one")
    return kept


def _check_folder(save: Path, items: Sequence[Source | SourceError]) -> None:
    """Stop where results would lie among the user's own photos: one of them may have a result's name."""
    for item in items:
        path = _file_of(item)
        if path is not None and path.parent.samefile(save):
            stop(f"--save {save}: {path} is in this folder, and so may be other photos: choose another one")


def _without_repeats(items: Sequence[Source | SourceError]) -> list[Source | SourceError]:
    seen: set[Path] = set()
    kept: list[Source | SourceError] = []
    for item in items:
        path = _file_of(item)
        place = None if path is None else _real_path(path)
        if place in seen:
            continue
        if place is not None:
            seen.add(place)
        kept.append(item)
    if len(kept) < len(items):
        say(f"left out {counted(len(items) - len(kept), 'repeat')}: a file named more than once is done once")
    return kept


def _file_of(item: Source | SourceError) -> Path | None:
    return None if isinstance(item, Exception) else item.path


def _real_path(path: Path) -> Path:
    """Return the path without links; unlike `Path.resolve`, a circle of links is no error here."""
    return Path(os.path.realpath(path))
