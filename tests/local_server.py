"""An HTTP server on this machine that behaves well, badly, or not at all."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from densewatch.hub import RemoteFile


class LocalServer(ThreadingHTTPServer):
    """Serves the same content under any path; how well is set by the attributes.

    Attributes:
        content: what is served.
        ranges: whether a part can be asked for.
        status: 200, or the error that every request is answered with.
        cut_after: how many bytes of an answer arrive before the connection ends; None is all.
        asked: the `Range` header of each request.
    """

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = content
        self.ranges = True
        self.status = 200
        self.cut_after: int | None = None
        self.asked: list[str | None] = []

    def url(self, path: str) -> str:
        """Return the address of a path, which begins with a slash."""
        return f"http://127.0.0.1:{self.server_port}{path}"

    def file(self, prefix: str | None = None) -> RemoteFile:
        """Return the content as a published file, whose name carries its hash.

        Args:
            prefix: of the SHA-256 that the content is said to have; None is the right one.
        """
        right = hashlib.sha256(self.content).hexdigest()[:8]
        return RemoteFile(self.url(f"/net-{right}.pth"), prefix or right)


class _Handler(BaseHTTPRequestHandler):
    server: LocalServer

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        if self.server.status != 200:
            self.send_error(self.server.status)
            return
        content = self.server.content
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.server.ranges else 0
        if start >= len(content):
            self.send_error(416)
            return
        body = content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cut_after])

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output quiet."""


@contextmanager
def serving(content: bytes) -> Iterator[LocalServer]:
    """Run a server while the block runs."""
    with LocalServer(content) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield running
        finally:
            running.shutdown()
            thread.join()


def closed_port() -> int:
    """Return a port that nobody listens at: what being offline looks like."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port: int = closed.getsockname()[1]
    return port
