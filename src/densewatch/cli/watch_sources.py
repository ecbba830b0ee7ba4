"""From what a user types after `watch` to the settings of cameras."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from densewatch.live.settings import CameraSettings

SITE_SUFFIXES = (".yaml", ".yml")
_MAX_ID = 40


@dataclass(frozen=True)
class Flags:
    """What the command line says of every camera.

    Attributes:
        threshold: lowest score; None leaves it to the model.
        only: class names that count; None is all.
        max_fps: most frames a second that are looked at.
        tiles: as `detect` has it.
        realtime: files play as a camera would, over and over.
    """

    threshold: float | None = None
    only: tuple[str, ...] | None = None
    max_fps: float | None = None
    tiles: str = "off"
    realtime: bool = False

    def camera(self, source: str) -> CameraSettings:
        """Return the settings of one camera."""
        return CameraSettings(
            source=source,
            threshold=self.threshold,
            only=self.only,
            max_fps=self.max_fps,
            tiles=self.tiles,
            loop=self.realtime,
        )


def cameras(sources: Sequence[str], flags: Flags) -> dict[str, CameraSettings]:
    """Return cameras by id; the ids are made from the sources, which are all different afterwards."""
    return dict(zip(_ids(sources), (flags.camera(source) for source in sources), strict=True))


def site_file(sources: Sequence[str]) -> Path | None:
    """Return the YAML file of a site, where that is what the user typed; None for cameras and files.

    Raises:
        ValueError: a site and something else.
    """
    sites = [source for source in sources if source.lower().endswith(SITE_SUFFIXES) and "://" not in source]
    if not sites:
        return None
    if len(sources) > 1:
        raise ValueError(f"{sites[0]} is a site of its own: put the other sources into it, or leave it out")
    return Path(sites[0])


def _ids(sources: Iterable[str]) -> list[str]:
    taken: list[str] = []
    for source in sources:
        base = _id(source)
        number = 1
        chosen = base
        while chosen in taken:
            number += 1
            chosen = f"{base}-{number}"
        taken.append(chosen)
    return taken


def _id(source: str) -> str:
    """Return a short name: the host of an address, which has no credentials, or a file's own name."""
    if "://" in source:
        rest = source.split("://", 1)[1]
        authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
        name = authority.rsplit("@", 1)[-1].split(":")[0]
    else:
        name = Path(source.rstrip("/\\")).stem
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:_MAX_ID].strip("-") or "camera"
