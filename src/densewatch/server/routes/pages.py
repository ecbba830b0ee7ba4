"""The pages; they hold no data, so everybody may have them."""

from __future__ import annotations

from pathlib import Path

from fastapi import Request, Response
from starlette.staticfiles import StaticFiles

from densewatch.server.access import Routes

routes = Routes("pages")

FOLDER = Path(__file__).parents[1] / "static"
_FILES = StaticFiles(directory=FOLDER, check_dir=False)


@routes.add("GET", "/", access="public", in_document=False)
async def index(request: Request) -> Response:
    """The dashboard."""
    return await _FILES.get_response("index.html", request.scope)


@routes.add("GET", "/static/{path:path}", access="public", in_document=False)
async def static(request: Request, path: str) -> Response:
    """A file of the dashboard."""
    return await _FILES.get_response(path, request.scope)
