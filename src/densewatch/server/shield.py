"""The outermost layer: headers that keep browsers careful, and the last net for errors."""

from __future__ import annotations

import logging

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from densewatch.server.refusal import refuse

_log = logging.getLogger(__name__)

_CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
)
_HEADERS = {
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_HTTPS_ONLY = "max-age=31536000"
_MAY_BE_KEPT = "/static/"


class Shield:
    """ASGI layer around everything else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; add headers to its answer; answer 500 where nobody else did."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                _add_headers(MutableHeaders(scope=message), scope)
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        except Exception:
            _log.exception("%s %s failed", scope.get("method", "WEBSOCKET"), scope["path"])
            if started:
                raise  # the connection must break: half an answer must not look like a whole one
            await refuse(
                scope, receive, send_with_headers, 500, "something went wrong; the server's log says what"
            )


def _add_headers(headers: MutableHeaders, scope: Scope) -> None:
    for name, value in _HEADERS.items():
        headers[name] = value
    # Browsers would ask all other servers on this machine for TLS too, if `localhost` said so.
    if scope["scheme"] in ("https", "wss") and not _is_localhost(scope):
        headers["Strict-Transport-Security"] = _HTTPS_ONLY
    if not scope["path"].startswith(_MAY_BE_KEPT):
        headers["Cache-Control"] = "no-store"
    else:
        headers.setdefault(
            "Cache-Control", "no-cache"
        )  # kept, but asked for again: pages and API are of one version


def _is_localhost(scope: Scope) -> bool:
    return Headers(scope=scope).get("host", "").lower().partition(":")[0] == "localhost"
