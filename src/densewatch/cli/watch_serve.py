"""A run of `watch` with its dashboard."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from densewatch.cli.console import say
from densewatch.cli.watch_run import Run
from densewatch.live.policy import SourcePolicy
from densewatch.live.references import fill
from densewatch.live.results import FrameResult
from densewatch.live.watcher import Listeners, Watcher
from densewatch.records import Bin, Event
from densewatch.runtime.detector import Detector
from densewatch.server.first_start import prepare_users
from densewatch.server.serve import serving
from densewatch.server.service import Service
from densewatch.site.settings import DATABASE_FILE, SiteSettings, StoreSettings
from densewatch.site.yaml_file import SiteFile
from densewatch.store.store import Store


def serve_until_done(
    run: Run,
    site: SiteSettings,
    detector: Detector,
    policy: SourcePolicy,
    *,
    site_file: SiteFile | None = None,
    port: int | None = None,
) -> bool:
    """Watch and serve until the user or a limit ends it; return whether all sources were seen.

    Args:
        run: takes the results.
        site: what to watch and how to serve it.
        detector: finds the objects.
        policy: what sources may be opened.
        site_file: where drawn zones are saved.
        port: to listen on instead of the site's.

    Raises:
        SiteError, SecretError, StoreError, ServeError, TlsError, SourceError, ValueError: what is wrong.
    """
    if port is not None:
        site = site.model_copy(update={"server": site.server.model_copy(update={"port": port})})
    made: list[Watcher] = []

    def create_watcher(
        *,
        on_result: Callable[[FrameResult], None],
        on_event: Callable[[Event], None],
        on_bin: Callable[[Bin], None],
    ) -> Watcher:
        def both(result: FrameResult) -> None:
            run.take(result, wait=False)  # what is counted and served waits for no reader
            on_result(result)

        made.append(
            Watcher(
                detector,
                site.cameras,
                policy=policy,
                listeners=Listeners(both, on_event, on_bin),
                bin_seconds=site.store.bin_seconds,
            )
        )
        return made[0]

    with ExitStack() as stack:
        store = _open_store(site.store)
        stack.callback(store.close)
        prepare_users(store, site.users)
        service = Service(site, store, create_watcher, model=detector.info.name, site_file=site_file)
        with serving(service) as server:
            say(f"dashboard: {server.address} (Ctrl-C ends)")
            run.until_done(made[0])
    return run.went_well(made[0])


def _open_store(settings: StoreSettings) -> Store:
    folder: Path = settings.folder
    folder.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{folder / DATABASE_FILE}" if settings.url is None else fill(settings.url)
    return Store.open(url, folder / "snapshots")
