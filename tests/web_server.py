"""A web server on this machine that serves MJPEG and files, redirects, asks for a password, speaks TLS."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import mimetypes
import re
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

mimetypes.add_type("application/vnd.apple.mpegurl", ".m3u8")
mimetypes.add_type("video/mp2t", ".ts")


class WebServer(ThreadingHTTPServer):
    """Serves what its attributes say.

    Attributes:
        mjpeg: JPEG files that `/mjpeg` sends, ten a second; then it says nothing more.
        files: content by path.
        redirects: where a path leads.
        login: `Basic` or `Digest`, user and password.
        hosts: the `Host` headers that came.
        authorizations: the `Authorization` headers that came.
    """

    daemon_threads = True

    def __init__(self, tls: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.port = self.server_port
        self.mjpeg: list[bytes] = []
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.login: tuple[str, str, str] | None = None
        self.hosts: set[str] = set()
        self.authorizations: list[str] = []
        self.over = threading.Event()
        self.tls = tls
        if tls:
            self.socket = _self_signed().wrap_socket(self.socket, server_side=True)

    def url(self, path: str) -> str:
        """Return the address of a path, which begins with a slash."""
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}{path}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep the test output quiet: visitors leave when they like."""

    @classmethod
    @contextmanager
    def running(cls, tls: bool = False) -> Iterator[WebServer]:
        """Run a server while the block runs."""
        with cls(tls) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="web-server")
            thread.start()
            try:
                yield server
            finally:
                server.over.set()
                server.shutdown()
                thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: WebServer

    def do_GET(self) -> None:
        server = self.server
        server.hosts.add(self.headers["Host"])
        path = self.path.partition("?")[0]
        if not self._may():
            return
        if path in server.redirects:
            self.send_response(302)
            self.send_header("Location", server.redirects[path])
            self.end_headers()
        elif path == "/mjpeg":
            self._send_mjpeg()
        elif path in server.files:
            self.send_response(200)
            self.send_header("Content-Type", mimetypes.guess_type(path)[0] or "application/octet-stream")
            self.send_header("Content-Length", str(len(server.files[path])))
            self.end_headers()
            self.wfile.write(server.files[path])
        else:
            self.send_error(404)

    def _may(self) -> bool:
        given = self.headers.get("Authorization")
        if given is not None:
            self.server.authorizations.append(given)
        if self.server.login is None:
            return True
        how, user, password = self.server.login
        basic = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        right = given == basic if how == "Basic" else _right_digest(given or "", user, password)
        if not right:
            self.send_response(401)
            self.send_header("WWW-Authenticate", f'{how} realm="camera", nonce="a1", qop="auth"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        return right

    def _send_mjpeg(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        with contextlib.suppress(OSError):
            for data in self.server.mjpeg:
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                self.wfile.write(head.encode() + data + b"\r\n")
                time.sleep(0.1)
            self.server.over.wait(20)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test output quiet."""


def _right_digest(given: str, user: str, password: str) -> bool:
    parts = dict(re.findall(r'(\w+)="?([^",]*)"?', given.removeprefix("Digest ")))

    def md5(*texts: str) -> str:
        return hashlib.md5(":".join(texts).encode(), usedforsecurity=False).hexdigest()

    if not parts or parts.get("username") != user:
        return False
    secret, asked = md5(user, "camera", password), md5("GET", parts["uri"])
    between = [parts[name] for name in ("nonce", "nc", "cnonce", "qop")]
    return bool(parts["response"] == md5(secret, *between, asked))


def _self_signed() -> ssl.SSLContext:
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "camera")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    valid = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    certificate = valid.sign(key, hashes.SHA256())
    with tempfile.TemporaryDirectory() as folder:
        both = Path(folder) / "both.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        both.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(both)
    return context
