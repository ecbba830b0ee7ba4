"""The packed cache: the same pictures, whoever reads them, and safe against what happens to disks."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from densewatch.data.dataset import DataError, Dataset
from densewatch.training import pack as pack_module
from densewatch.training.batches import StepSampler, make_loader, read_scaled
from densewatch.training.pack import Pack, open_pictures
from densewatch.training.settings import DataSource, TrainingError, TrainSettings
from densewatch.training.sources import read_sources
from drawn_scenes import DrawnScenes, draw_scenes
from tiny_training import tiny_settings

WHOLE = 3 * 64 * 64
"""Bytes of a drawn picture."""


@pytest.fixture
def scenes(tmp_path: Path) -> DrawnScenes:
    return draw_scenes(tmp_path, count=5, size=64, shapes=(2, 4))


@pytest.fixture
def data(scenes: DrawnScenes) -> Dataset:
    return read_sources([DataSource(annotations=scenes.annotations)])


def caching(scenes: DrawnScenes, cache: str = "disk", **changes: Any) -> TrainSettings:
    return tiny_settings(scenes, cache=cache, cache_dir=scenes.annotations.parent / "packs", **changes)


class Reports(list[tuple[int, int]]):
    """Remembers what it is told."""

    def __call__(self, done: int, total: int) -> None:
        self.append((done, total))


def opened(data: Dataset, settings: TrainSettings, report: Reports | None = None) -> Pack:
    pictures = open_pictures(data, settings, Reports() if report is None else report)
    assert isinstance(pictures, Pack)
    return pictures


def packs(scenes: DrawnScenes) -> list[Path]:
    return sorted((scenes.annotations.parent / "packs").glob("*.pack"))


CACHES = [
    "disk",
    pytest.param("ram", marks=pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="Linux")),
]


@pytest.mark.parametrize("cache", CACHES)
def test_pictures_that_are_small_enough_are_kept_as_they_are(
    scenes: DrawnScenes, data: Dataset, cache: str
) -> None:
    reports = Reports()
    pack = opened(data, caching(scenes, cache, imgsz=[64, 96]), reports)
    for sample in data:
        assert np.array_equal(pack(sample, (64, 64)), read_scaled(sample, (64, 64)))
    assert reports == [(done, 5) for done in range(6)]


def test_large_pictures_are_scaled_to_the_largest_that_training_asks_for(
    scenes: DrawnScenes, data: Dataset
) -> None:
    pack = opened(data, caching(scenes, imgsz=[32], augment={"geometry": "square", "zoom": [0.5, 1.5]}))
    assert pack(data[0], (48, 48)).shape == (48, 48, 3)
    whole = read_scaled(data[0], (64, 64))
    averaged = cv2.resize(whole, (48, 48), interpolation=cv2.INTER_AREA).astype(float)
    assert np.abs(pack(data[0], (48, 48)) - averaged).mean() < 12
    assert packs(scenes)[0].stat().st_size == 5 * 3 * 48 * 48


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_with_and_without(
    scenes: DrawnScenes, data: Dataset, cache: str, workers: int
) -> None:
    settings = caching(scenes, cache, imgsz=[64])

    def batches(cached: bool) -> list[Any]:
        sampler = StepSampler(5, 2, settings.imgsz, 0, 0, 4)
        read = opened(data, settings) if cached else read_scaled
        return list(make_loader(data, sampler, settings.augment, workers, read))

    for one, other in zip(batches(cached=True), batches(cached=False), strict=True):
        assert torch.equal(one.images, other.images)
        assert all(torch.equal(a.boxes, b.boxes) for a, b in zip(one.targets, other.targets, strict=True))


@pytest.mark.parametrize("cache", CACHES)
def test_another_process_maps_the_same_file(scenes: DrawnScenes, data: Dataset, cache: str) -> None:
    pack = opened(data, caching(scenes, cache))
    text = pickle.dumps(pack)
    assert len(text) < 5000  # paths and places, no pixels
    assert np.array_equal(pickle.loads(text)(data[3], (64, 64)), read_scaled(data[3], (64, 64)))


def test_a_pack_is_found_again(scenes: DrawnScenes, data: Dataset) -> None:
    opened(data, caching(scenes))
    reports = Reports()
    opened(data, caching(scenes), reports)
    assert reports == []
    assert len(packs(scenes)) == 1


def change(file: Path) -> None:
    """Paint a picture black, as a file of the same length."""
    length = file.stat().st_size
    file.write_bytes(cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes().ljust(length, b"\0"))
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))


def test_a_changed_picture_makes_another_pack(scenes: DrawnScenes, data: Dataset) -> None:
    opened(data, caching(scenes))
    change(data[2].path)
    assert not opened(data, caching(scenes))(data[2], (64, 64)).any()
    assert len(packs(scenes)) == 2


@pytest.mark.parametrize("changes", [{"imgsz": [32]}, {"imgsz": [32], "augment": {"geometry": "shorter"}}])
def test_another_size_makes_another_pack(scenes: DrawnScenes, data: Dataset, changes: dict[str, Any]) -> None:
    opened(data, caching(scenes, augment={"geometry": "square"}))
    settings = caching(scenes, **{"augment": {"geometry": "square"}, **changes})
    assert opened(data, settings)(data[0], (32, 32)).shape == (32, 32, 3)
    assert len(packs(scenes)) == 2


def test_what_does_not_fit_is_read_from_its_file(scenes: DrawnScenes, data: Dataset) -> None:
    reports = Reports()
    pack = opened(data, caching(scenes, cache_gb=2.5 * WHOLE / 1e9), reports)
    assert packs(scenes)[0].stat().st_size == 2 * WHOLE
    assert reports[-1] == (2, 2)
    assert pack.left_out == 3
    for sample in data:
        assert np.array_equal(pack(sample, (64, 64)), read_scaled(sample, (64, 64)))


def test_a_cache_without_room_for_any_picture_works(scenes: DrawnScenes, data: Dataset) -> None:
    pack = opened(data, caching(scenes, cache_gb=1e-9))
    assert np.array_equal(pack(data[0], (64, 64)), read_scaled(data[0], (64, 64)))


def test_the_packs_used_longest_ago_make_room(scenes: DrawnScenes, data: Dataset) -> None:
    """There is room for two packs of five pictures; the first is used again before the third comes."""
    kept: list[Path] = []
    for number, samples in enumerate([data.samples, data.samples[::-1], data.samples, data.samples[1:]]):
        opened(Dataset(samples, data.classes), caching(scenes, cache_gb=11 * WHOLE / 1e9))
        for file in packs(scenes):
            if file not in kept:
                kept.append(file)
        time.sleep(0.02)
        assert len(packs(scenes)) == (1, 2, 2, 2)[number]
    first, _, last = kept
    assert set(packs(scenes)) == {first, last}


def test_repeated_pictures_are_packed_once(scenes: DrawnScenes, data: Dataset) -> None:
    opened(Dataset(data.samples * 3, data.classes), caching(scenes))
    assert packs(scenes)[0].stat().st_size == 5 * WHOLE


def test_an_interrupted_pack_is_none(
    scenes: DrawnScenes, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_pictures(data, caching(scenes), interrupt)
    folder = scenes.annotations.parent / "packs"
    assert [file.name for file in folder.iterdir()] in (["lock"], [])
    (folder / "left-by-a-killed-process.part").write_bytes(b"half")
    reports = Reports()
    opened(data, caching(scenes), reports)
    assert reports[-1] == (5, 5)
    assert not list(folder.glob("*.part"))


def test_a_pack_that_was_cut_short_is_made_anew(scenes: DrawnScenes, data: Dataset) -> None:
    opened(data, caching(scenes))
    os.truncate(packs(scenes)[0], 100)
    assert np.array_equal(opened(data, caching(scenes))(data[4], (64, 64)), read_scaled(data[4], (64, 64)))


def test_a_disk_that_is_too_full_is_known_before(
    scenes: DrawnScenes, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(
        TrainingError, match=r"packs: a pack of 0\.0 GB cannot be written there \(0\.0 GB are free"
    ):
        opened(data, caching(scenes))
    assert not packs(scenes)


def test_a_disk_that_fills_up_on_the_way_leaves_nothing(
    scenes: DrawnScenes, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        TrainingError, match=r"No space left on device\): choose another folder \(cache_dir\)"
    ):
        opened(data, caching(scenes))
    assert not packs(scenes)
    assert not list((scenes.annotations.parent / "packs").glob("*.part"))


def test_memory_that_is_too_small_is_known_before(
    scenes: DrawnScenes, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pack_module, "_free_memory", lambda: 1000)
    with pytest.raises(
        TrainingError, match=r"would take 0\.0 GB of memory, but 0\.0 GB are free: keep them on"
    ):
        opened(data, caching(scenes, "ram"))


def test_a_missing_picture_is_named(scenes: DrawnScenes, data: Dataset) -> None:
    data[1].path.unlink()
    with pytest.raises(DataError, match=r"001\.png: No such file"):
        opened(data, caching(scenes))


def test_several_that_come_at_once_make_one_pack(scenes: DrawnScenes, data: Dataset) -> None:
    def make(_: int) -> Sequence[tuple[int, int]]:
        reports = Reports()
        assert np.array_equal(
            opened(data, caching(scenes), reports)(data[0], (64, 64)), read_scaled(data[0], (64, 64))
        )
        return reports

    with ThreadPoolExecutor(4) as pool:
        made = [reports for reports in pool.map(make, range(4)) if reports]
    assert len(made) == 1


def test_memory_is_given_back(scenes: DrawnScenes, data: Dataset) -> None:
    if not hasattr(os, "memfd_create"):
        pytest.skip("Linux")
    pack = opened(data, caching(scenes, "ram"))
    name = pack.file
    assert name.exists()
    del pack
    assert not name.exists()
