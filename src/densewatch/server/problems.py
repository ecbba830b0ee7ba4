"""Failures as answers: one shape, one sentence, and never what was sent."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from densewatch.server.access import Access
from densewatch.server.answers import Problem
from densewatch.server.gate import is_admin
from densewatch.server.refusal import later
from densewatch.store.errors import StoreError

_log = logging.getLogger(__name__)
_MOST_FAULTS = 5
_TEXTS = {
    400: "The request makes no sense, or names another host.",
    401: "Nobody is signed in.",
    403: "The role does not suffice, or the request may come from a foreign page.",
    404: "There is no such thing.",
    405: "The method is another.",
    408: "The body did not come in time.",
    409: "Something else is in the way.",
    413: "The body is too long.",
    422: "What was sent makes no sense.",
    429: "Too many requests.",
    503: "It cannot be done now.",
}
_ALL = (400, 429)
_BEHIND_THE_GATE = (401, 403)


def responses(access: Access, errors: Iterable[int]) -> dict[int | str, dict[str, Any]]:
    """Return the failures of a route for the OpenAPI document."""
    codes = {*errors, *_ALL, *(_BEHIND_THE_GATE if access != "public" else ())}
    return {code: {"model": Problem, "description": _TEXTS[code]} for code in sorted(codes)}


def sentence(faults: Iterable[Mapping[str, Any]]) -> str:
    """Return what pydantic found as one sentence: where, and why."""
    told = [_fault(fault) for fault in faults]
    more = f"; and {len(told) - _MOST_FAULTS} more" if len(told) > _MOST_FAULTS else ""
    return "; ".join(told[:_MOST_FAULTS]) + more


def _fault(fault: Mapping[str, Any]) -> str:
    place = ".".join(str(part)[:64] for part in fault["loc"] if part != "body")
    why = str(fault["msg"]).removeprefix("Value error, ")
    return f"{place}: {why}" if place else why


def add_handlers(app: FastAPI) -> None:
    """Make all failures of endpoints answers of the one shape."""

    @app.exception_handler(HTTPException)
    async def known(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"detail": error.detail}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def senseless(_: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"detail": sentence(error.errors())}, 422)

    @app.exception_handler(StoreError)
    async def not_kept(request: Request, error: StoreError) -> JSONResponse:
        _log.error("%s %s: %s", request.method, request.url.path, error)
        why = f": {error}" if is_admin(request) else ""  # may name hosts and paths
        return JSONResponse({"detail": f"what is kept cannot be used now{why}"}, 503, later(5))
