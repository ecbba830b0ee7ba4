"""Figures for Prometheus: names, bounded labels, and no zeros where there is no data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from densewatch.server.service import Service
from fake_service import fake_service
from fake_watcher import FakeWatcher

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = fake_service(tmp_path)
    yield service
    service.store.close()


@pytest.fixture
def watcher(service: Service) -> FakeWatcher:
    assert isinstance(service.watcher, FakeWatcher)
    return service.watcher


def figures(service: Service) -> Series:
    found: Series = {}
    for family in text_string_to_metric_families(service.metrics.text().decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


def series(found: Series, name: str) -> dict[tuple[str, ...], float]:
    return {tuple(value for _, value in labels): n for (at, labels), n in found.items() if at == name}


def test_all_figures_are_there(service: Service, watcher: FakeWatcher) -> None:
    watcher.show("hall")
    found = figures(service)
    assert series(found, "densewatch_frame_age_seconds_count") == {("hall",): 1}
    assert series(found, "densewatch_frame_age_seconds_sum")["hall",] == pytest.approx(0.05)
    assert series(found, "densewatch_detector_seconds_count") == {(): 1}
    assert series(found, "densewatch_frames_dropped_total") == {("hall", "newer"): 3}
    assert series(found, "densewatch_reconnects_total") == {("yard", "timeout"): 2}
    states = series(found, "densewatch_camera_state")
    assert states["hall", "live"] == states["yard", "lost"] == 1
    assert sum(states.values()) == 2
    assert series(found, "densewatch_count_valid") == {("hall",): 1, ("yard",): 0}
    assert series(found, "densewatch_objects") == {
        ("hall", "person", ""): 1,
        ("hall", "chair", ""): 2,
        ("hall", "person", "door"): 1,
        ("hall", "chair", "door"): 1,
    }
    assert series(found, "densewatch_store_state") == {("ok",): 1, ("full_disk",): 0, ("failing",): 0}
    assert series(found, "densewatch_viewers") == {(): 0}
    assert found["process_resident_memory_bytes", ()] > 1e6
    assert "camera.example" not in service.metrics.text().decode()


def test_a_class_that_is_gone_is_0_and_a_camera_that_is_gone_is_nothing(
    service: Service, watcher: FakeWatcher
) -> None:
    result = watcher.show("hall")
    service.hub.publish(replace(result, counts={}, zones={}))
    objects = series(figures(service), "densewatch_objects")
    assert objects == {("hall", "person", ""): 0, ("hall", "chair", ""): 0}
    watcher._lost = "hall"
    found = figures(service)
    assert series(found, "densewatch_objects") == {}
    assert series(found, "densewatch_count_valid")["hall",] == 0


def test_counts_that_are_too_old_are_not_valid(service: Service, watcher: FakeWatcher) -> None:
    watcher._newest["hall"] = replace(watcher.show("hall"), time=1.0)
    found = figures(service)
    assert series(found, "densewatch_count_valid")["hall",] == 0
    assert series(found, "densewatch_objects") == {}


def test_labels_are_bounded(service: Service, watcher: FakeWatcher) -> None:
    result = watcher.show("hall")
    for number in range(100):
        service.metrics.observe(replace(result, counts={f"class {number}": 1}))
    many = {f"class {number}": 1 for number in range(100)}
    service.hub.publish(replace(result, counts=many, zones={}))
    objects = series(figures(service), "densewatch_objects")
    assert len(objects) == 21
    assert sum(objects.values()) == 100
    assert objects["hall", "(others)", ""] == 82


def test_set_classes_have_figures_before_they_are_seen(service: Service, watcher: FakeWatcher) -> None:
    watcher.replace("hall", watcher.settings("hall").model_copy(update={"only": ("car",)}))
    service.hub.publish(replace(watcher.show("hall"), counts={}, zones={}))
    assert series(figures(service), "densewatch_objects") == {("hall", "car", ""): 0}


def test_the_registry_is_not_the_global_one(service: Service) -> None:
    assert service.metrics.registry is not REGISTRY
    assert not [family for family in REGISTRY.collect() if family.name.startswith("densewatch")]
