"""What the routes talk to: the loop, what is kept, and who looks."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from densewatch.live.filters import camera_filter, part_filter
from densewatch.live.results import CameraStatus, FrameResult
from densewatch.live.settings import CameraSettings, LineSettings, ZoneSettings
from densewatch.records import Bin, Event
from densewatch.server.hub import Hub
from densewatch.server.limits import Limits
from densewatch.server.metrics import Metrics, StoreCollector, WatchedCollector
from densewatch.site.errors import SiteError
from densewatch.site.settings import RetentionSettings, SiteSettings
from densewatch.site.yaml_file import SiteFile
from densewatch.store.errors import StoreError
from densewatch.store.retention import Retention
from densewatch.store.store import Store
from densewatch.store.writer import Writer, WriterSettings

_log = logging.getLogger(__name__)


class Watching(Protocol):
    """What the server needs of the loop; `live.watcher.Watcher` has it."""

    @property
    def names(self) -> tuple[str, ...]:
        """The model's class names."""
        ...

    def start(self) -> None:
        """Begin to watch."""
        ...

    def stop(self) -> None:
        """End, and hand out what is open."""
        ...

    def statuses(self) -> dict[str, CameraStatus]:
        """Return how each camera is."""
        ...

    def settings(self, camera: str) -> CameraSettings:
        """Return a camera's settings; raises KeyError where there is no such camera."""
        ...

    def replace(self, camera: str, settings: CameraSettings) -> None:
        """Change a camera's settings; raises ValueError where they make no sense."""
        ...


class CreateWatcher(Protocol):
    """Makes the loop, once it is known who listens."""

    def __call__(
        self,
        *,
        on_result: Callable[[FrameResult], None],
        on_event: Callable[[Event], None],
        on_bin: Callable[[Bin], None],
    ) -> Watching:
        """Return a loop that is not started yet."""
        ...


class ConflictError(Exception):
    """Something else changed the same thing; the message is for users."""


class Service:
    """A site at work: wires the loop to the store and to the viewers, and starts and stops them in order.

    Attributes:
        site: the settings that it was started with; zones, lines and masks may have changed since.
        model: the model's name; it is loaded.
        watcher: the loop.
        store: what is kept.
        hub: who looks.
        metrics: figures.
        writer: what keeps.
        limits: what clients may ask.
        since: when it was started, Unix seconds; None before.
    """

    def __init__(
        self,
        site: SiteSettings,
        store: Store,
        create_watcher: CreateWatcher,
        *,
        model: str,
        site_file: SiteFile | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Prepare; no thread runs yet.

        Args:
            site: the site's settings.
            store: an open store; it is closed by `stop`.
            create_watcher: makes the loop for the site's cameras.
            model: name of the model, for people.
            site_file: where zones, lines and masks that users draw are saved; None forgets them at the end.
            limits: what clients may ask; the site's where it is left out.
        """
        self.site = site
        self.model = model
        self.store = store
        self.writer = Writer(
            store,
            settings=WriterSettings(reserve_bytes=site.store.reserve),
            retention=_retention(site.store.retention),
        )
        self.metrics = Metrics()
        self.limits = limits or Limits.of(site.server.limits)
        self.since: float | None = None
        self._site_file = site_file
        self._changing = threading.Lock()
        self.watcher = create_watcher(
            on_result=self._take_result, on_event=self.writer.add_event, on_bin=self.writer.add_bin
        )
        self.hub = Hub(self.watcher.statuses, self.watcher.settings)
        self.metrics.registry.register(
            WatchedCollector(self.watcher.statuses, self.watcher.settings, self.hub, self.metrics.labels)
        )
        self.metrics.registry.register(StoreCollector(self.writer.status, lambda: self.hub.viewers))

    def start(self) -> None:
        """Begin to watch and to keep."""
        self.store.end_open_events(list(self.site.cameras))
        self.writer.start()
        self.watcher.start()
        self.since = time.time()

    def stop(self) -> None:
        """End the loop, keep what it hands out at its end, close the store; returns when that is done."""
        self.since = None
        try:
            self.watcher.stop()
        finally:
            self.writer.close()
            self.store.close()

    def change(
        self, camera: str, update: Callable[[CameraSettings], CameraSettings], who: str, what: str
    ) -> CameraSettings:
        """Change a camera's zones, lines or masks: in the loop, and in the site's file if there is one.

        Args:
            camera: the camera's id.
            update: returns the new settings, given those of now.
            who: name of the user or API key.
            what: is done, for the audit.

        Raises:
            KeyError: there is no such camera.
            ValueError: the new settings make no sense.
            ConflictError: the file cannot take them; nothing has changed then.
            StoreError: the audit cannot be written; nothing has changed then.
        """
        with self._changing:
            old = self.watcher.settings(camera)
            new = update(old)
            _check_names(new, self.watcher.names)
            self._save(camera, new)
            try:
                # Before anybody sees what a mask has hidden, it is written down who took the mask away.
                self.store.audit(who, what, camera)
                self._put(camera, new, who, what)
            except (StoreError, ValueError):
                self._save_back(camera, old)
                raise
            if new.masks != old.masks:
                self.hub.forget(camera)
        _log.info("%s: %s of camera %s", who, what, camera)
        return new

    def _save(self, camera: str, settings: CameraSettings) -> None:
        if self._site_file is None:
            return
        try:
            self._site_file.save_camera(camera, settings)
        except SiteError as error:
            raise ConflictError(f"the site's file does not take the change: {error}") from error

    def _save_back(self, camera: str, old: CameraSettings) -> None:
        try:
            self._save(camera, old)
        except ConflictError as error:
            _log.error("camera %s: the file keeps a change that was not made: %s", camera, error)

    def _put(self, camera: str, new: CameraSettings, who: str, what: str) -> None:
        try:
            self.watcher.replace(camera, new)
        except ValueError:
            self.store.audit(who, f"refused: {what}", camera)
            raise

    def _take_result(self, result: FrameResult) -> None:
        self.metrics.observe(result)
        self.hub.publish(result)


def _check_names(settings: CameraSettings, names: tuple[str, ...]) -> None:
    """Raise an UnknownNameError where a camera counts classes that the model does not have."""
    camera_filter(settings, names)
    parts: list[ZoneSettings | LineSettings] = [*settings.zones.values(), *settings.lines.values()]
    for part in parts:
        part_filter(part, settings, names)


def _retention(settings: RetentionSettings) -> Retention:
    return Retention(
        events_days=settings.events_days,
        snapshots_days=settings.snapshots_days,
        counts_days=settings.counts_days,
        audit_days=settings.audit_days,
        max_bytes=settings.max_size,
    )
