"""The app: all routes behind the gate, in layers that each do one thing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse, Response

from densewatch import __version__
from densewatch.server import live_socket
from densewatch.server.access import Declared, Routes
from densewatch.server.document import write_document
from densewatch.server.gate import AccessTable, Gate, confirm
from densewatch.server.hosts import HostCheck, Hosts, own_names
from densewatch.server.live_socket import Places
from densewatch.server.problems import add_handlers, responses
from densewatch.server.routes import cameras, drawings, history, pages, session, system, users
from densewatch.server.service import Service
from densewatch.server.shield import Shield
from densewatch.server.sign_in import Doorkeeper
from densewatch.server.throttle import BodyLimit, Throttle

ALL_ROUTES: tuple[Routes, ...] = (
    session.routes,
    cameras.routes,
    drawings.routes,
    history.routes,
    users.routes,
    system.routes,
    live_socket.routes,
    pages.routes,
)

_DESCRIPTION = """
Cameras, what is counted in them, and what was.

Sign in by `POST /api/v1/session`, or send an API key as `Authorization: Bearer dwk_…`. With a session,
requests that change something need its `csrf` in the header `X-CSRF-Token`. Failures are `{"detail": …}`, a
sentence.
"""


def create_app(service: Service) -> FastAPI:
    """Return the app of a service. No thread runs before its lifespan begins, which starts the service.

    Raises:
        UndeclaredRouteError: a route does not say who may use it.
        StoreError: the store cannot be read.
    """
    app = FastAPI(
        title="densewatch",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url=None,  # the document has a route of its own, behind the gate
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
    )
    server = service.site.server
    hosts = Hosts(own_names(server), server.public_url, server.allowed_origins)
    doorkeeper = Doorkeeper(service.store, service.limits, server.session_hours)
    app.state.service = service
    app.state.doorkeeper = doorkeeper
    app.state.places = Places(service.limits)
    app.state.hosts = hosts
    table = AccessTable()
    _add_routes(app, table, (declared for routes in ALL_ROUTES for declared in routes.declared))
    table.check(app)
    write_document(app)
    add_handlers(app)
    # The last one is the outermost.
    app.add_middleware(BodyLimit, limits=service.limits)
    app.add_middleware(Gate, table=table, identify=doorkeeper.identify, hosts=hosts)
    app.add_middleware(Throttle, limits=service.limits)
    app.add_middleware(HostCheck, hosts=hosts)
    app.add_middleware(Shield)
    return app


def _add_routes(app: FastAPI, table: AccessTable, all_declared: Iterable[Declared]) -> None:
    """Add routes one by one: the gate sees through no routers within routers."""
    for declared in all_declared:
        if declared.method == "WEBSOCKET":
            app.router.add_api_websocket_route(
                declared.path, declared.endpoint, dependencies=[Depends(confirm)]
            )
        else:
            _add_http_route(app, declared)
        table.declare(app.router.routes[-1], declared.access)


def _add_http_route(app: FastAPI, declared: Declared) -> None:
    documented = responses(declared.access, declared.errors)
    if declared.media_types:
        file = {"schema": {"type": "string", "format": "binary"}}
        documented[declared.status] = {
            "content": dict.fromkeys(declared.media_types, file),
            "description": declared.summary,
        }
    if declared.unwell is not None:
        documented[503] = {"model": declared.unwell, "description": "The same, where it is not well."}
    app.router.add_api_route(
        declared.path,
        declared.endpoint,
        methods=[declared.method],
        status_code=declared.status,
        dependencies=[Depends(confirm)],
        response_class=Response if declared.media_types else JSONResponse,
        responses=documented,
        tags=[declared.tag],
        summary=declared.summary,
        description=declared.description,
        operation_id=declared.endpoint.__name__,
        include_in_schema=declared.in_document,
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    service.hub.open()
    try:
        await asyncio.to_thread(service.start)
        yield
    finally:
        # Viewers first: what the loop hands out at its end is for the store.
        service.hub.close()
        await asyncio.to_thread(service.stop)
