"""The system itself: what runs, how it is set, whether it works."""

from __future__ import annotations

import shutil
import threading
import time
from typing import Any

from fastapi import Request, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from densewatch import __version__
from densewatch.server import answers
from densewatch.server.access import Routes
from densewatch.server.asking import IdentityOf, ServiceOf
from densewatch.server.service import Service
from densewatch.site.redaction import redacted
from densewatch.store.errors import StoreError

routes = Routes("system")


@routes.add("GET", "/api/v1/system", access="viewer")
def system(service: ServiceOf, identity: IdentityOf) -> answers.System:
    """What runs here, and whether it is kept."""
    writer = service.writer.status()
    return answers.System(
        version=__version__,
        model=service.model,
        labels=service.watcher.names,
        cameras=len(service.watcher.statuses()),
        viewers=service.hub.viewers,
        threads=threading.active_count(),
        since=time.time() if service.since is None else service.since,
        writer=answers.WriterAnswer(
            state=writer.state,
            since=writer.since,
            queued=writer.queued,
            dropped=dict(writer.dropped),
            last_write=writer.last_write,
            error=writer.error if identity.role == "admin" else None,  # may name paths and hosts
        ),
        disk=_disk(service),
    )


@routes.add("GET", "/api/v1/config", access="admin")
def config(service: ServiceOf) -> dict[str, Any]:
    """The site's settings as they are now.

    Passwords and what stands for them are left out.
    """
    cameras = {id: service.watcher.settings(id) for id in service.site.cameras}
    return redacted(service.site.model_copy(update={"cameras": cameras}))


@routes.add("GET", "/api/v1/openapi.json", access="viewer")
async def openapi(request: Request) -> dict[str, Any]:
    """This document.

    What it cannot say: `/api/v1/live?cameras=a,b` is a WebSocket. A binary message from the server is the
    length of a JSON header (4 bytes, big-endian), the header, and the JPEG of the same frame; boxes are in
    pixels of the header's `width` and `height`. A text message is `{"type": "status", "cameras": […]}`, every
    second, or `{"type": "bye", "reason": …}`, the last one. A client may send
    `{"type": "want", "cameras": ["a"], "max_width": 640, "max_fps": 10}`.
    """
    document: dict[str, Any] = request.app.openapi()
    return document


@routes.add("GET", "/healthz", access="public")
async def alive() -> answers.Alive:
    """The process answers."""
    return answers.Alive()


@routes.add("GET", "/readyz", access="public", unwell=answers.Ready)
def ready(service: ServiceOf, response: Response) -> answers.Ready:
    """Whether the service does its work.

    503 while the model is not loaded or the store cannot be written. A lost camera is shown, and no reason.
    """
    states = {camera: status.state for camera, status in service.watcher.statuses().items()}
    model, store = service.since is not None and bool(service.watcher.names), _store_works(service)
    if not (model and store):
        response.status_code = 503
    return answers.Ready(ready=model and store, model=model, store=store, cameras=states)


@routes.add("GET", "/metrics", access="viewer", media_types=("text/plain",))
def metrics(service: ServiceOf) -> Response:
    """Figures for Prometheus; let it send an API key of a viewer."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _store_works(service: Service) -> bool:
    try:
        service.store.check()
    except StoreError:
        return False
    return service.writer.status().state == "ok"


def _disk(service: Service) -> answers.Disk | None:
    try:
        usage = shutil.disk_usage(service.store.media)
    except OSError:
        return None
    return answers.Disk(total_bytes=usage.total, free_bytes=usage.free)
