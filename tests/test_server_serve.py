"""The server itself: TLS, certificates, ports, headers that are too long, and how it starts and ends."""

from __future__ import annotations

import signal
import socket
import ssl
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509

from densewatch.server import serve as serve_module
from densewatch.server.serve import ServeError, Server, refuse_plain_http, serve, serving
from densewatch.server.tls import (
    Certificate,
    TlsError,
    fingerprint,
    load,
    names_of,
    own_certificate,
    server_context,
)
from densewatch.site.settings import UNENCRYPTED, ServerSettings, TlsSettings
from fake_service import PASSWORD, fake_service, fake_site
from live_helpers import wait_for

API = "/api/v1"


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("tls")
    site = fake_site(folder, port=0, tls={"self_signed": True, "names": ["watch.example"]})
    with serving(fake_service(folder, site=site)) as server:
        yield server


def trusting(server: Server) -> ssl.SSLContext:
    """Return what trusts the server's own certificate, and no other."""
    assert server.certificate is not None
    return ssl.create_default_context(cafile=str(server.certificate.certificate))


def test_who_trusts_the_own_certificate_signs_in(encrypted: Server) -> None:
    assert encrypted.address.startswith("https://127.0.0.1:")
    with httpx.Client(base_url=encrypted.address, verify=trusting(encrypted)) as client:
        signed_in = client.post(f"{API}/session", json={"name": "viewer", "password": PASSWORD})
        assert "Secure" in signed_in.headers["set-cookie"]
        assert client.get(f"{API}/cameras").status_code == 200
        assert "max-age" in client.get("/healthz").headers["Strict-Transport-Security"]
        assert "server" not in client.get("/healthz").headers


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "watch.example"])
def test_the_certificate_is_good_for_its_names(encrypted: Server, name: str) -> None:
    port = int(encrypted.address.rstrip("/").rpartition(":")[2])
    with (
        socket.create_connection(("127.0.0.1", port)) as line,
        trusting(encrypted).wrap_socket(line, server_hostname=name) as safe,
    ):
        assert safe.version() in ("TLSv1.2", "TLSv1.3")


@pytest.mark.parametrize("how", ["nobody trusts it", "another name", "old TLS", "no TLS"])
def test_what_is_not_safe_is_refused(encrypted: Server, how: str) -> None:
    port = int(encrypted.address.rstrip("/").rpartition(":")[2])
    context = ssl.create_default_context() if how == "nobody trusts it" else trusting(encrypted)
    if how == "old TLS":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion.TLSv1_1
    if how == "no TLS":
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/healthz")
        return
    name = "evil.example" if how == "another name" else "localhost"
    with socket.create_connection(("127.0.0.1", port)) as line, pytest.raises(ssl.SSLError):
        context.wrap_socket(line, server_hostname=name)


def test_a_certificate_is_kept_and_renewed_in_time(tmp_path: Path) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    made = own_certificate(tmp_path / "tls", {"a.example"}, now)
    first = fingerprint(made)
    assert made.key.stat().st_mode & 0o777 == 0o600
    assert made.key.parent.stat().st_mode & 0o077 == 0
    assert fingerprint(own_certificate(tmp_path / "tls", {"a.example"}, now + timedelta(days=360))) == first
    in_time = now + timedelta(days=370)
    second = fingerprint(own_certificate(tmp_path / "tls", {"a.example"}, in_time))
    assert second != first
    assert fingerprint(own_certificate(tmp_path / "tls", {"a.example", "b.example"}, in_time)) != second
    found = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    assert found.not_valid_after_utc - found.not_valid_before_utc < timedelta(days=398)
    assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize("what", ["certificate", "key"])
@pytest.mark.parametrize("content", [b"", b"nonsense", None])
def test_a_broken_certificate_is_made_anew(tmp_path: Path, what: str, content: bytes | None) -> None:
    made = own_certificate(tmp_path, ())
    first = fingerprint(made)
    file: Path = getattr(made, what)
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    assert fingerprint(own_certificate(tmp_path, ())) != first
    server_context(made)


def test_a_key_of_another_certificate_is_noticed(tmp_path: Path) -> None:
    one, other = own_certificate(tmp_path / "one", ()), own_certificate(tmp_path / "other", ())
    mixed = Certificate(one.certificate, other.key)
    with pytest.raises(TlsError, match="cannot be used"):
        server_context(mixed)
    other.key.replace(one.key)
    server_context(own_certificate(tmp_path / "one", ()))


def test_a_certificate_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(TlsError, match=r"nothing\.pem"):
        server_context(Certificate(tmp_path / "nothing.pem", tmp_path / "key.pem"))
    (tmp_path / "file").write_text("")
    with pytest.raises(TlsError, match="no certificate can be kept there"):
        own_certificate(tmp_path / "file", ())


def test_a_new_certificate_is_served_without_a_restart(encrypted: Server, tmp_path: Path) -> None:
    assert encrypted._context is not None
    old, new = trusting(encrypted), own_certificate(tmp_path, ())
    assert encrypted.certificate is not None
    load(encrypted._context, new)
    try:
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{encrypted.address}healthz", verify=old)
        trusted = ssl.create_default_context(cafile=str(new.certificate))
        assert httpx.get(f"{encrypted.address}healthz", verify=trusted).status_code == 200
    finally:
        load(encrypted._context, encrypted.certificate)


def test_given_certificates_are_read_again_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("densewatch.server.serve._RENEW_EVERY_S", 0.05)
    given, newer = own_certificate(tmp_path / "given", ()), own_certificate(tmp_path / "newer", ())
    tls = {"certificate": given.certificate, "key": given.key}
    with serving(fake_service(tmp_path, site=fake_site(tmp_path, port=0, tls=tls))) as server:
        assert httpx.get(f"{server.address}healthz", verify=trusting(server)).status_code == 200
        newer.key.replace(given.key)
        newer.certificate.replace(given.certificate)
        wait_for(lambda: is_trusted(server, trusting(server)), 10)
        assert httpx.get(f"{server.address}healthz", verify=trusting(server)).status_code == 200


def test_the_old_certificate_stays_until_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its key comes later; and the very first look finds no file."""
    monkeypatch.setattr("densewatch.server.serve._RENEW_EVERY_S", 0.05)
    looks = [OSError("no such file")]
    content = serve_module._content

    def look(certificate: Callable[[], Certificate]) -> tuple[bytes, bytes]:
        if looks:
            raise looks.pop()
        return content(certificate)

    monkeypatch.setattr(serve_module, "_content", look)
    given, newer = own_certificate(tmp_path / "given", ()), own_certificate(tmp_path / "newer", ())
    old = ssl.create_default_context(cafile=str(given.certificate))
    new = ssl.create_default_context(cafile=str(newer.certificate))
    tls = {"certificate": given.certificate, "key": given.key}
    with serving(fake_service(tmp_path, site=fake_site(tmp_path, port=0, tls=tls))) as server:
        wait_for(lambda: "the old certificate stays: no such file" in caplog.text, 10)
        newer.certificate.replace(given.certificate)
        wait_for(lambda: "KEY_VALUES_MISMATCH" in caplog.text, 10)
        assert is_trusted(server, old)
        newer.key.replace(given.key)
        wait_for(lambda: is_trusted(server, new), 10)


def is_trusted(server: Server, trust: ssl.SSLContext) -> bool:
    """Tell whether a server is the one whose certificate somebody trusts, who does not ask for a name."""
    port = int(server.address.rstrip("/").rpartition(":")[2])
    trust.check_hostname = False
    with socket.create_connection(("127.0.0.1", port)) as line:
        try:
            trust.wrap_socket(line).close()
        except ssl.SSLCertVerificationError:
            return False
    return True


def test_a_server_goes_by_the_names_of_its_given_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And by those of the next one when it is renewed."""
    monkeypatch.setattr("densewatch.server.serve._RENEW_EVERY_S", 0.05)
    given = own_certificate(tmp_path / "given", {"watch.example", "*.cameras.example"})
    newer = own_certificate(tmp_path / "newer", {"other.example"})
    tls = {"certificate": given.certificate, "key": given.key}
    with serving(fake_service(tmp_path, site=fake_site(tmp_path, port=0, tls=tls))) as server:

        def status(host: str) -> int:
            headers = {"Host": host}
            return httpx.get(f"{server.address}healthz", headers=headers, verify=False).status_code

        assert [status(host) for host in ("watch.example", "a.cameras.example")] == [200, 200]
        assert [status(host) for host in ("other.example", "evil.example")] == [400, 400]
        newer.key.replace(given.key)
        newer.certificate.replace(given.certificate)
        wait_for(lambda: status("other.example") == 200, 10)
        assert status("watch.example") == 400


NAMES = {
    "Watch.Example": "watch.example",
    "watch.example.": "watch.example",
    "wätch.example": "xn--wtch-loa.example",
    "XN--wtch-loa.example": "xn--wtch-loa.example",
    "*.Cameras.Example": "*.cameras.example",
    "vm_1": "vm_1",
    "2001:DB8:0:0:0::1": "2001:db8::1",
    "192.0.2.7": "192.0.2.7",
}


@pytest.mark.parametrize("name", NAMES)
def test_names_are_written_as_a_certificate_has_them(tmp_path: Path, name: str) -> None:
    tls = TlsSettings(self_signed=True, names=(name,))
    assert tls.names == (NAMES[name],)
    first = fingerprint(own_certificate(tmp_path, {name}))
    assert fingerprint(own_certificate(tmp_path, {name})) == first  # not made anew


@pytest.mark.parametrize(
    "name", ["", ".", "a..b", "https://watch.example", "watch.example:443", "[::1]", "-a.example", "a b",
             "192.0.2.300", "*", "*.192.0.2.7", "a.*.example", "straße.example", "fe80::1%eth0", "x" * 64]
)  # fmt: skip
def test_what_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"must be the name|leave out|at least 1"):
        TlsSettings(self_signed=True, names=(name,))
    with pytest.raises(TlsError, match="a certificate's name"):
        own_certificate(tmp_path, {name})


def test_hosts_and_origins_are_written_as_browsers_write_them() -> None:
    settings = ServerSettings(
        host="2001:DB8:0::1", tls="self-signed", public_url="https://wätch.example/",
        allowed_origins=("https://[2001:DB8:0::2]:8443", "https://Intra.Example"),
    )  # fmt: skip
    assert settings.host == "2001:db8::1"
    assert settings.public_url == "https://xn--wtch-loa.example"
    assert settings.allowed_origins == ("https://[2001:db8::2]:8443", "https://intra.example")


def test_a_self_made_certificate_is_for_all_addresses_of_the_dashboard(tmp_path: Path) -> None:
    origins = {"public_url": "https://watch.example", "allowed_origins": ["https://intra.example:8443"]}
    server = Server(fake_service(tmp_path, site=fake_site(tmp_path, port=0, tls="self-signed", **origins)))
    assert server.certificate is not None
    assert {"watch.example", "intra.example"} <= names_of(server.certificate)
    server._socket.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "watch.example"])
def test_nothing_is_served_to_others_in_the_clear(host: str) -> None:
    unchecked = ServerSettings.model_construct(host=host, tls=None, plain_http=None)
    with pytest.raises(ServeError, match="in the clear"):
        refuse_plain_http(unchecked)
    refuse_plain_http(unchecked.model_copy(update={"plain_http": UNENCRYPTED}))


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        site = fake_site(tmp_path, port=taken.getsockname()[1])
        with pytest.raises(ServeError, match="cannot be listened on: Address already in use"):
            Server(fake_service(tmp_path, site=site))


def test_a_service_that_does_not_start(tmp_path: Path) -> None:
    service = fake_service(tmp_path, site=fake_site(tmp_path, port=0))
    before = set(threading.enumerate())

    def fail() -> None:
        raise OSError("no camera today")

    service.watcher.start = fail  # type: ignore[method-assign]
    with pytest.raises(ServeError, match="could not start"), serving(service):
        pass
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not [name for name in left if name.startswith("densewatch")]


def test_no_thread_is_left(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    with serving(fake_service(tmp_path, site=fake_site(tmp_path, port=0))) as server:
        assert httpx.get(f"{server.address}readyz").status_code == 200
    left = [thread.name for thread in set(threading.enumerate()) - before if "asyncio" not in thread.name]
    assert not [name for name in left if name.startswith(("densewatch", "fake"))]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    folder = tmp_path_factory.mktemp("plain")
    with serving(fake_service(folder, site=fake_site(folder, port=0))) as server:
        yield "127.0.0.1", int(server.address.rstrip("/").rpartition(":")[2])


@pytest.mark.parametrize(
    ("request_lines", "status"),
    [
        (["GET /healthz HTTP/1.1", "Host: localhost"], 200),
        (["GET /healthz HTTP/1.1"], 400),
        (["GET /healthz HTTP/1.0"], 400),
        (["GET /healthz HTTP/1.1", "Host: evil.example"], 400),
        (["GET /healthz HTTP/1.1", "Host: localhost", "Host: evil.example"], 400),
        (["GET http://evil.example/healthz HTTP/1.1", "Host: localhost"], 404),
        (["GET /healthz HTTP/1.1", "Host: localhost", "X-Long: " + "x" * 70_000], 431),
        (["GET /" + "x" * 70_000 + " HTTP/1.1", "Host: localhost"], 431),
        (["POST /api/v1/session HTTP/1.1", "Host: localhost", "Content-Length: 99999999"], 413),
        (["POST /api/v1/session HTTP/1.1", "Host: localhost", "Content-Length: -1"], 400),
        (["GET /static/../app.py HTTP/1.1", "Host: localhost"], 404),
        (["GET /static/..%2f..%2fapp.py HTTP/1.1", "Host: localhost"], 404),
        (["GET /%2e%2e/etc/passwd HTTP/1.1", "Host: localhost"], 404),
        (["GET /api/v1/session/../cameras HTTP/1.1", "Host: localhost"], 404),
        (["GET /api/v1/%75sers HTTP/1.1", "Host: localhost"], 401),
        (["\x16\x03\x01"], 400),
    ],
)
def test_requests_by_hand(plain: tuple[str, int], request_lines: list[str], status: int) -> None:
    with socket.create_connection(plain, timeout=10) as line:
        line.sendall(("\r\n".join(request_lines) + "\r\n\r\n").encode("latin-1"))
        answer = line.recv(100).decode("latin-1")
    assert answer.startswith(f"HTTP/1.1 {status} ")


NO_IPV6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs IPv6")


@pytest.mark.parametrize(
    ("host", "direct"),
    [("127.0.0.1", "127.0.0.1"), pytest.param("::", "::ffff:127.0.0.1", marks=NO_IPV6)],
)
def test_a_forwarded_address_is_believed_from_proxies_alone(tmp_path: Path, host: str, direct: str) -> None:
    audit = []
    for number, proxies in enumerate([(), ("127.0.0.0/8",), ("127.0.0.1",), ("10.0.0.0/8",)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        settings = {"host": host, "plain_http": UNENCRYPTED, "trusted_proxies": proxies}
        service = fake_service(folder, site=fake_site(folder, port=0, **settings))
        with serving(service) as server:
            port = int(server.address.rstrip("/").rpartition(":")[2])
            headers = {"X-Forwarded-For": "192.0.2.77", "X-Forwarded-Proto": "https"}
            body = {"name": "viewer", "password": PASSWORD}
            answer = httpx.post(f"http://127.0.0.1:{port}{API}/session", json=body, headers=headers)
            audit.append((service.store.audit_entries()[0].detail, "Secure" in answer.headers["set-cookie"]))
    assert audit == [(direct, False), ("192.0.2.77", True), ("192.0.2.77", True), (direct, False)]


SCRIPT = """
import sys
from pathlib import Path
from fake_service import fake_service, fake_site
from densewatch.server.serve import serve

folder = Path(sys.argv[1])
service = fake_service(folder, site=fake_site(folder, port=0))
stop = service.store.close
service.store.close = lambda: (stop(), print("closed", flush=True))
serve(service, lambda server: print(server.address, flush=True))
"""


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(tmp_path: Path, ending: signal.Signals) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    folder = Path(__file__).parent
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as job:
        assert job.stdout is not None
        address = job.stdout.readline().strip()
        transport = httpx.HTTPTransport(retries=10)
        with httpx.Client(transport=transport, timeout=20) as client:
            assert client.get(f"{address}healthz").status_code == 200
        job.send_signal(ending)
        told, errors = job.communicate(timeout=30)
    assert told == "closed\n", errors
    assert job.returncode == -ending
    assert fake_service(tmp_path).store.event("hall-3") is not None


def test_serve_is_what_a_program_calls(tmp_path: Path) -> None:
    service = fake_service(tmp_path, site=fake_site(tmp_path, port=0))
    told: list[Any] = []

    def ready(server: Server) -> None:
        told.append(server.address)
        threading.Timer(0.5, server.stop).start()

    serve(service, ready)
    assert told[0].startswith("http://127.0.0.1:")
