"""A packed cache of decoded pictures: each scaled once to the largest size that training can ask for.

A pack is one file of raw RGB rows, picture after picture, in a folder or in memory. Where each picture lies
follows from the data set and the settings alone, so a pack has no index that could disagree with it; its name
is a hash of the paths, sizes and times of change of all its pictures and of how they are scaled. So pictures
that changed make another pack. Raw rows are copied at the speed of memory, by any number of workers and
processes at the same time: the operating system keeps one copy for all.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple
from weakref import finalize

import numpy as np
import numpy.typing as npt
import platformdirs
from filelock import FileLock

from densewatch.data.augment import ReadPicture
from densewatch.data.dataset import DataError, Dataset, Sample
from densewatch.data.scene import Size
from densewatch.data.view import largest_size
from densewatch.imaging.resize import scale_into
from densewatch.runtime.cores import available_cores
from densewatch.runtime.in_order import map_in_order
from densewatch.training.batches import read_scaled
from densewatch.training.settings import TrainingError, TrainSettings

Report = Callable[[int, int], None]
"""Is told how many pictures are packed, and how many there are to pack."""

_VERSION = 1
_GB = 10**9
_FREE_SHARE = 0.9
"""Of the memory that is free, a pack may take this share."""


class Place(NamedTuple):
    """Where a picture lies in a pack.

    Attributes:
        offset: of its first byte.
        size: (height, width) in pixels.
    """

    offset: int
    size: Size


@dataclass(eq=False)
class Pack:
    """Gives pictures out of a pack; those that it lacks are read from their files.

    Attributes:
        file: of the pack.
        places: path of a picture file → where it lies.
        left_out: how many pictures had no room.
    """

    file: Path
    places: Mapping[Path, Place]
    left_out: int = 0
    _bytes: npt.NDArray[np.uint8] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.places:
            self._bytes = np.memmap(self.file, np.uint8, mode="r")

    def __getstate__(self) -> dict[str, object]:
        """Leave the mapped bytes out: another process maps the file itself."""
        return {**self.__dict__, "_bytes": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        """Map the file."""
        self.__dict__.update(state)
        self.__post_init__()

    def __call__(self, sample: Sample, needed: Size) -> npt.NDArray[np.uint8]:
        """Return the picture of a sample, uint8 [H, W, 3] RGB, read-only; it is no less than `needed`.

        Raises:
            DataError: the pack lacks it, and its file cannot be read.
        """
        place = self.places.get(sample.path)
        if place is None or self._bytes is None:
            return read_scaled(sample, needed)
        height, width = place.size
        rows = self._bytes[place.offset : place.offset + 3 * height * width]
        return np.asarray(rows).reshape(height, width, 3)


def packs_dir() -> Path:
    """Return the folder in the user's cache where packs lie; it may not exist yet."""
    return platformdirs.user_cache_path("densewatch") / "pictures"


def open_pictures(dataset: Dataset, settings: TrainSettings, report: Report) -> ReadPicture:
    """Return what gives the pictures of a data set: their files, or a pack, made now unless it is there.

    Args:
        dataset: pictures that occur several times are packed once.
        settings: `cache` says where the pack lies, `cache_gb` how large it, or all packs of the folder
            together, may be.
        report: is told how making it goes, if it is made.

    Raises:
        TrainingError: there is not enough memory, or no pack can be written in the folder.
        DataError: a picture cannot be read.
    """
    if settings.cache == "off":
        return read_scaled
    places = _plan(dataset, settings)
    samples = [
        sample for sample in {sample.path: sample for sample in dataset}.values() if sample.path in places
    ]
    if settings.cache == "ram":
        pack = _pack_in_memory(samples, places, report)
    else:
        pack = _pack_on_disk(samples, places, settings, report)
    pack.left_out = len({sample.path for sample in dataset}) - len(samples)
    return pack


def _plan(dataset: Dataset, settings: TrainSettings) -> dict[Path, Place]:
    """Lay out the pictures in the order of the data set, as many as `cache_gb` has room for."""
    places: dict[Path, Place] = {}
    end = 0
    for sample in dataset:
        height, width = largest_size(sample.size, max(settings.imgsz), settings.augment)
        if sample.path not in places and end + 3 * height * width <= settings.cache_gb * _GB:
            places[sample.path] = Place(end, (height, width))
            end += 3 * height * width
    return places


def _length(places: Mapping[Path, Place]) -> int:
    return max((place.offset + 3 * place.size[0] * place.size[1] for place in places.values()), default=0)


def _pack_in_memory(samples: Sequence[Sample], places: Mapping[Path, Place], report: Report) -> Pack:
    """Make a pack that is no file of any folder: it is gone when this process and its workers are."""
    length = _length(places)
    if not hasattr(os, "memfd_create"):
        raise TrainingError("only Linux can keep pictures in memory for all workers: use disk (cache)")
    free = _free_memory()
    if length > _FREE_SHARE * free:
        raise TrainingError(
            f"the pictures would take {length / _GB:.1f} GB of memory, but {free / _GB:.1f} GB are free: "
            "keep them on disk (cache), or fewer of them (cache_gb)"
        )
    descriptor = os.memfd_create("densewatch-pictures")
    try:
        with open(descriptor, "wb", closefd=False) as stream:
            _write(stream, samples, places, report)
        # Under this name other processes of the same user find it, for as long as it is open here.
        pack = Pack(Path(f"/proc/{os.getpid()}/fd/{descriptor}"), places)
    except BaseException:
        os.close(descriptor)
        raise
    finalize(pack, os.close, descriptor)
    return pack


def _free_memory() -> int:
    """Return how many bytes can be taken without swapping, as Linux estimates it."""
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise TrainingError("how much memory is free cannot be told: keep pictures on disk (cache)")


def _pack_on_disk(
    samples: Sequence[Sample],
    places: Mapping[Path, Place],
    settings: TrainSettings,
    report: Report,
) -> Pack:
    """Find or make a pack in a folder; processes that come at the same time wait for the first."""
    folder = settings.cache_dir or packs_dir()
    length = _length(places)
    file = folder / f"{_key(samples, places)}.pack"
    with _disk_errors(folder, length):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"):
            if not file.exists() or file.stat().st_size != length:
                _make_room(folder, int(settings.cache_gb * _GB) - length)
                _write_file(file, samples, places, report)
            os.utime(file)  # when it was used last
            return Pack(file, places)


def _write_file(file: Path, samples: Sequence[Sample], places: Mapping[Path, Place], report: Report) -> None:
    """Write a pack under another name, and give it its own when it is whole."""
    part = file.with_suffix(".part")
    length, free = _length(places), shutil.disk_usage(file.parent).free
    if length > free:
        raise OSError(f"{free / _GB:.1f} GB are free")
    try:
        with part.open("wb") as stream:
            _write(stream, samples, places, report)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _write(stream: BinaryIO, samples: Sequence[Sample], places: Mapping[Path, Place], report: Report) -> None:
    def load(sample: Sample) -> npt.NDArray[np.uint8]:
        size = places[sample.path].size
        pixels = read_scaled(sample, size)
        packed = np.empty((*size, 3), np.uint8)
        scale_into(packed, pixels, antialias=True)
        return packed

    report(0, len(samples))
    for done, pixels in enumerate(map_in_order(load, samples, available_cores()), start=1):
        stream.write(pixels.data)
        report(done, len(samples))


def _key(samples: Sequence[Sample], places: Mapping[Path, Place]) -> str:
    """Return what names a pack: a hash of everything that its bytes depend on."""
    content: list[object] = [_VERSION]
    for sample in samples:
        path = sample.path.absolute()
        try:
            found = path.stat()
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from error
        content.append([str(path), found.st_size, found.st_mtime_ns, *places[sample.path].size])
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _make_room(folder: Path, others: int) -> None:
    """Delete what was never finished, and the packs used longest ago, until `others` bytes are left at most.

    The caller holds the folder's lock, so nobody else writes there. Who still reads a deleted pack keeps it.
    """
    for part in folder.glob("*.part"):
        part.unlink()
    kept = 0
    for pack in sorted(folder.glob("*.pack"), key=lambda file: file.stat().st_mtime, reverse=True):
        kept += pack.stat().st_size
        if kept > others:
            with suppress(PermissionError):  # Windows deletes no file that is being read
                pack.unlink()


@contextmanager
def _disk_errors(folder: Path, length: int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"{folder}: a pack of {length / _GB:.1f} GB cannot be written there "
            f"({error.strerror or error}): choose another folder (cache_dir), a smaller pack (cache_gb), or "
            "none: off (cache)"
        ) from error
