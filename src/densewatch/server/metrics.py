"""Figures for Prometheus: how old frames are, what was dropped, whether counts can be trusted."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import get_args

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from densewatch.live.results import CameraState, CameraStatus, FrameResult
from densewatch.live.settings import CameraSettings
from densewatch.server.hub import Hub
from densewatch.store.writer import WriterState, WriterStatus

_AGES = (0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
_DETECTION_TIMES = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
_MOST_LABELS = 20
OTHERS = "(others)"
"""Label of all objects of a camera whose classes are beyond the first ones that came."""


class Metrics:
    """All figures, in a registry of their own. Cameras are told by their ids, never by their addresses."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._ages = Histogram(
            "densewatch_frame_age_seconds",
            "Age of a frame when its result was ready.",
            ["camera"],
            buckets=_AGES,
            registry=self.registry,
        )
        self._detector = Histogram(
            "densewatch_detector_seconds",
            "Time that the detector took for a frame.",
            buckets=_DETECTION_TIMES,
            registry=self.registry,
        )
        self._lock = threading.Lock()
        self._labels: dict[str, list[str]] = {}
        ProcessCollector(registry=self.registry)  # under the names that all dashboards know

    def observe(self, result: FrameResult) -> None:
        """Take a frame's result; quick, from any thread."""
        self._ages.labels(result.camera).observe(result.age_ms / 1000)
        if result.detected:
            self._detector.observe(result.detector_ms / 1000)
        with self._lock:
            known = self._labels.setdefault(result.camera, [])
            new = [label for label in result.counts if label not in known]
            known += new[: _MOST_LABELS - len(known)]

    def labels(self, camera: str, settings: CameraSettings) -> list[str]:
        """Return which classes of a camera have figures: those that are set, else the first that came."""
        if settings.only is not None:
            return list(settings.only)
        with self._lock:
            return list(self._labels.get(camera, ()))

    def text(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        return generate_latest(self.registry)


class WatchedCollector(Collector):
    """Asks the loop when it is asked, so that nothing is kept twice."""

    def __init__(
        self,
        statuses: Callable[[], Mapping[str, CameraStatus]],
        settings: Callable[[str], CameraSettings],
        hub: Hub,
        labels: Callable[[str, CameraSettings], list[str]],
    ) -> None:
        self._statuses = statuses
        self._settings = settings
        self._hub = hub
        self._labels = labels

    def collect(self) -> Iterator[Metric]:
        """Give all figures of all cameras."""
        statuses = self._statuses()
        yield from _states(statuses)
        valid = GaugeMetricFamily(
            "densewatch_count_valid",
            "1 while the camera's counts are of now; 0 is no data.",
            labels=["camera"],
        )
        objects = GaugeMetricFamily(
            "densewatch_objects",
            "Objects in a zone, or in the whole picture (zone empty); no series while there is no data.",
            labels=["camera", "zone", "label"],
        )
        for camera, status in statuses.items():
            settings, newest = self._settings(camera), self._hub.newest(camera)
            is_valid = newest is not None and counts_are_valid(status, settings)
            valid.add_metric([camera], float(is_valid))
            if newest is not None and is_valid:
                self._add_objects(objects, settings, newest.result)
        yield valid
        yield objects

    def _add_objects(self, family: GaugeMetricFamily, settings: CameraSettings, result: FrameResult) -> None:
        shown = self._labels(result.camera, settings)
        for zone, counts in [("", result.counts), *((id, zone.counts) for id, zone in result.zones.items())]:
            of_zone = settings.zones[zone].only if zone in settings.zones else None
            for label, count in _bounded(counts, shown if of_zone is None else of_zone).items():
                family.add_metric([result.camera, zone, label], count)


class StoreCollector(Collector):
    """How keeping goes, and how many look."""

    def __init__(self, status: Callable[[], WriterStatus], viewers: Callable[[], int]) -> None:
        self._status = status
        self._viewers = viewers

    def collect(self) -> Iterator[Metric]:
        """Give the figures."""
        status = self._status()
        states = GaugeMetricFamily(
            "densewatch_store_state", "1 for the state that the writer is in.", labels=["state"]
        )
        for state in get_args(WriterState):
            states.add_metric([state], float(status.state == state))
        dropped = CounterMetricFamily(
            "densewatch_store_dropped", "What was lost because it could not be written.", labels=["kind"]
        )
        for kind, count in status.dropped.items():
            dropped.add_metric([kind], count)
        yield from (states, dropped)
        yield GaugeMetricFamily(
            "densewatch_store_queued", "Events and bins that wait to be written.", value=status.queued
        )
        yield GaugeMetricFamily("densewatch_viewers", "Open live views.", value=self._viewers())


def counts_are_valid(status: CameraStatus, settings: CameraSettings) -> bool:
    """Return whether a camera's newest counts are of now."""
    return status.state == "live" and status.age_ms is not None and status.age_ms <= settings.max_age_ms


def _states(statuses: Mapping[str, CameraStatus]) -> Iterator[Metric]:
    states = GaugeMetricFamily(
        "densewatch_camera_state", "1 for the state that the camera is in.", labels=["camera", "state"]
    )
    dropped = CounterMetricFamily(
        "densewatch_frames_dropped", "Frames that were not looked at.", labels=["camera", "reason"]
    )
    reconnects = CounterMetricFamily(
        "densewatch_reconnects", "Times that the camera was connected to anew.", labels=["camera", "reason"]
    )
    for camera, status in statuses.items():
        for state in get_args(CameraState):
            states.add_metric([camera, state], float(status.state == state))
        _add(dropped, camera, status.dropped)
        _add(reconnects, camera, status.reconnects)
    return iter([states, dropped, reconnects])


def _add(family: CounterMetricFamily, camera: str, by_reason: Mapping[str, int]) -> None:
    for reason, count in by_reason.items():
        family.add_metric([camera, reason], count)


def _bounded(counts: Mapping[str, int], shown: Iterable[str]) -> dict[str, int]:
    """Return counts of the classes that have figures, 0 among them, and the sum of all others."""
    bounded = {label: counts.get(label, 0) for label in shown}
    others = Counter(counts).total() - sum(bounded.values())
    return bounded | ({OTHERS: others} if others else {})
