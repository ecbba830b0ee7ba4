"""The beginning of `watch`: from a site's file, or from what was typed, to a run."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from platformdirs import user_data_path

from densewatch.cli.console import report_error, say, stop, warn
from densewatch.cli.options import load_detector
from densewatch.cli.watch_output import create_output
from densewatch.cli.watch_run import Limits, Run, watch_until_done
from densewatch.cli.watch_serve import serve_until_done
from densewatch.cli.watch_sources import Flags, cameras
from densewatch.live.allocator import limit_arenas
from densewatch.live.frames import SourceError
from densewatch.live.policy import SourcePolicy
from densewatch.live.references import SecretError
from densewatch.runtime.detector import Detector
from densewatch.server.serve import ServeError
from densewatch.server.tls import TlsError
from densewatch.site.errors import SiteError
from densewatch.site.settings import SiteSettings, StoreSettings
from densewatch.site.yaml_file import SiteFile
from densewatch.store.errors import StoreError


def new_run(output_format: str, frames: int | None, seconds: float | None) -> Run:
    """Return a run that writes results in a format until a limit is reached."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[_Said()])
    limit_arenas()
    run = Run(create_output(output_format), Limits(frames, seconds))
    signal.signal(signal.SIGTERM, lambda *_: run.stop())  # what is open is still kept then
    return run


class _Said(logging.Handler):
    """Says what the rooms log as the command says its own messages."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say one message."""
        try:
            (report_error if record.levelno >= logging.ERROR else warn)(self.format(record))
        except Exception:
            self.handleError(record)


def watch_sources(
    sources: Sequence[str], flags: Flags, detector: Detector, run: Run, *, serve: bool, port: int | None
) -> bool:
    """Watch what was typed; return whether all of it was seen. Whoever types a source may open it."""
    typed = cameras(sources, flags)
    policy = SourcePolicy.permissive()
    if not serve:
        return watch_until_done(run, typed, detector, policy)
    folder = user_data_path("densewatch", appauthor=False) / "watch"
    # Not checked against the rules of a site's file, which others may edit: they do not hold here.
    site = SiteSettings.model_construct(cameras=typed, store=StoreSettings(folder=folder))
    return serve_until_done(run, site, detector, policy, port=port)


def watch_site(path: Path, run: Run, *, serve: bool, port: int | None) -> bool:
    """Watch a site; return whether all of its cameras were seen."""
    file = SiteFile(path)
    file.check_secrets()
    site = file.settings
    detector = _detector(site)
    file.check_labels(detector.names)
    policy = site.sources.to_policy()
    if serve:
        return serve_until_done(run, site, detector, policy, site_file=file, port=port)
    return watch_until_done(run, site.cameras, detector, policy)


def check_site(path: Path) -> None:
    """Say whether a site's file is right, its secrets and class names too; no camera is opened."""
    file = SiteFile(path)
    file.check_secrets()
    file.check_labels(_detector(file.settings).names)
    count = len(file.settings.cameras)
    say(f"{path} is right: {count} {'camera' if count == 1 else 'cameras'}")


def _detector(site: SiteSettings) -> Detector:
    model = site.model
    return load_detector(
        model.model,
        model.engine,
        model.threads,
        model.precision,
        device=model.device,
        batch=model.batch,
        streams=len(site.cameras),
    )


@contextmanager
def said_plainly() -> Iterator[None]:
    """End the program with a sentence where something that the user gave does not work."""
    try:
        yield
    except SiteError as error:
        for sentence in str(error).splitlines():
            report_error(sentence)
        raise SystemExit(2) from None
    except (SecretError, SourceError, StoreError, ServeError, TlsError, ValueError) as error:
        stop(error)
