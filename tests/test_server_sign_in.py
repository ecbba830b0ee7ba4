"""Signing in and out, and what a client may not ask too often or too long."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from densewatch.server.app import create_app
from densewatch.server.limits import Lately, Limits, Rate
from densewatch.server.service import Service
from fake_service import BOUNDLESS, PASSWORD, fake_service

API = "/api/v1"


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return fake_service(tmp_path)


@pytest.fixture
def app(service: Service) -> Iterator[FastAPI]:
    app = create_app(service)
    with TestClient(app):
        yield app


def client_of(app: Any, url: str = "http://localhost", **arguments: Any) -> TestClient:
    return TestClient(app, base_url=url, **arguments)


def sign_in(client: TestClient, name: str = "viewer", password: str = PASSWORD) -> Any:
    return client.post(f"{API}/session", json={"name": name, "password": password})


def test_signing_in_and_out(app: FastAPI) -> None:
    client = client_of(app)
    signed_in = sign_in(client)
    assert signed_in.status_code == 200
    cookie = signed_in.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    me = client.get(f"{API}/session").json()
    assert me == signed_in.json()
    assert (me["name"], me["role"]) == ("viewer", "viewer")
    token = client.cookies["densewatch_session"]
    signed_out = client.delete(f"{API}/session", headers={"X-CSRF-Token": me["csrf"]})
    assert signed_out.status_code == 204
    assert "densewatch_session" not in client.cookies
    again = client.get(f"{API}/session", headers={"Cookie": f"densewatch_session={token}"})
    assert again.status_code == 401


def test_each_sign_in_has_a_token_of_its_own(app: FastAPI) -> None:
    first, second = client_of(app), client_of(app)
    first.cookies.set("densewatch_session", "chosen-by-somebody-else")
    tokens = set()
    for client in (first, second, second):
        client.cookies.clear()
        sign_in(client)
        tokens.add(client.cookies["densewatch_session"])
    assert len(tokens) == 3
    assert "chosen-by-somebody-else" not in tokens


def test_the_cookie_is_for_tls_alone_where_there_is_tls(app: FastAPI) -> None:
    assert "Secure" in sign_in(client_of(app, "https://localhost")).headers["set-cookie"]


@pytest.mark.parametrize("change", ["address", "User-Agent"])
def test_a_session_is_of_its_client_alone(app: FastAPI, change: str) -> None:
    client = client_of(app)
    sign_in(client)
    cookie = {"Cookie": f"densewatch_session={client.cookies['densewatch_session']}"}
    other = client_of(app, client=("192.0.2.9", 1)) if change == "address" else client_of(app)
    headers = cookie | ({"User-Agent": "another"} if change == "User-Agent" else {})
    assert client_of(app).get(f"{API}/session", headers=cookie).status_code == 200
    assert other.get(f"{API}/session", headers=headers).status_code == 401


@pytest.mark.parametrize(("name", "password"), [("viewer", "wrong horse 7"), ("stranger", PASSWORD)])
def test_a_wrong_name_and_a_wrong_password_are_told_alike(app: FastAPI, name: str, password: str) -> None:
    response = sign_in(client_of(app), name, password)
    assert response.status_code == 401
    assert response.json() == {"detail": "the name or the password is wrong"}


def test_what_was_sent_is_not_in_the_answer(app: FastAPI) -> None:
    sent = {"name": "viewer", "password": ["secret horse"], "extra horse": 1}
    response = client_of(app).post(f"{API}/session", json=sent)
    assert response.status_code == 422
    assert "secret" not in response.text
    assert "password" in response.json()["detail"]


@pytest.mark.parametrize("name", ["\x00", "a\ud800", "é" * 64, "' OR 1=1 --"])
def test_strange_names(app: FastAPI, name: str) -> None:
    content = json.dumps({"name": name, "password": "x"})
    response = client_of(app).post(
        f"{API}/session", content=content, headers={"Content-Type": "application/json"}
    )
    assert response.status_code in (401, 422)


def test_changing_ones_password_ends_the_other_sessions(app: FastAPI) -> None:
    mine, other = client_of(app), client_of(app)
    csrf = sign_in(mine).json()["csrf"]
    sign_in(other)
    url, headers = f"{API}/session/password", {"X-CSRF-Token": csrf}
    wrong = mine.put(url, json={"old": "wrong horse 7", "new": "a new horse 8"}, headers=headers)
    assert wrong.status_code == 403
    short = mine.put(url, json={"old": PASSWORD, "new": "short"}, headers=headers)
    assert short.status_code == 422
    assert "10 characters" in short.json()["detail"]
    assert mine.put(url, json={"old": PASSWORD, "new": "a new horse 8"}, headers=headers).status_code == 204
    assert mine.get(f"{API}/session").status_code == 200
    assert other.get(f"{API}/session").status_code == 401
    assert sign_in(client_of(app)).status_code == 401
    assert sign_in(client_of(app), password="a new horse 8").status_code == 200


def test_sign_ins_are_written_down(app: FastAPI, service: Service) -> None:
    client = client_of(app)
    sign_in(client, password="wrong horse 7")
    sign_in(client)
    entries = [(entry.who, entry.what) for entry in service.store.audit_entries()]
    assert entries[:2] == [("viewer", "signed in"), ("viewer", "sign-in failed")]
    assert all("horse" not in entry.detail for entry in service.store.audit_entries())


def limited(tmp_path: Path, **limits: Any) -> TestClient:
    return client_of(create_app(fake_service(tmp_path, Limits(**{**vars(BOUNDLESS), **limits}))))


def test_attempts_of_an_address_are_limited(tmp_path: Path) -> None:
    client = limited(tmp_path, sign_ins_by_address=Rate(3, 1e-6))
    assert [sign_in(client).status_code for _ in range(5)] == [200] * 5  # right ones do not count
    wrong = [sign_in(client, f"name{number}", "wrong").status_code for number in range(4)]
    assert wrong == [401, 401, 401, 429]
    refused = sign_in(client)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 1000
    assert sign_in(client_of(client.app, client=("192.0.2.9", 1))).status_code == 200


def test_attempts_at_a_name_are_limited_from_all_addresses_together(tmp_path: Path) -> None:
    client = limited(tmp_path, sign_ins_by_name=Rate(3, 1e-6))
    for number in range(3):
        attacker = client_of(client.app, client=(f"192.0.2.{number}", 1))
        assert sign_in(attacker, "Viewer", "wrong").status_code == 401
    assert sign_in(client, "viewer", "wrong").status_code == 429
    assert sign_in(client, "operator").status_code == 200


def test_strangers_do_not_keep_out_who_signed_in_lately(tmp_path: Path) -> None:
    app = limited(tmp_path, sign_ins_by_name=Rate(3, 1e-6)).app
    home = client_of(app, client=("198.51.100.1", 1))
    csrf = sign_in(home).json()["csrf"]
    for number in range(4):
        attacker = client_of(app, client=(f"192.0.2.{number}", 1))
        assert sign_in(attacker, "viewer", "wrong").status_code == (401 if number < 3 else 429)
    assert sign_in(client_of(app, client=("198.51.100.2", 1))).status_code == 429  # from elsewhere
    change = {"old": PASSWORD, "new": "a new horse 8"}
    headers = {"X-CSRF-Token": csrf}
    assert home.put(f"{API}/session/password", json=change, headers=headers).status_code == 204
    assert sign_in(home, password="a new horse 8").status_code == 200
    wrong = [sign_in(home, password="wrong").status_code for _ in range(4)]
    assert wrong == [401, 401, 401, 429]  # an address that is known has no more attempts than others


@pytest.mark.parametrize(("days", "status"), [(0, 200), (29, 200), (31, 429)])
def test_who_signed_in_lately_is_known_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: float, status: int
) -> None:
    limits = {"sign_ins_by_name": Rate(3, 1e-6)}
    home = ("2001:db8:1::1", 1)
    assert sign_in(client_of(limited(tmp_path, **limits).app, client=home)).status_code == 200
    now = time.time() + days * 86_400
    monkeypatch.setattr(time, "time", lambda: now)
    app = limited(tmp_path, **limits).app
    for number in range(4):
        attacker = client_of(app, client=(f"192.0.2.{number}", 1))
        assert sign_in(attacker, password="wrong").status_code == (401 if number < 3 else 429)
    assert sign_in(client_of(app, client=("192.0.2.0", 1))).status_code == 429  # who failed is not known
    assert sign_in(client_of(app, client=("2001:db8:1::2", 1))).status_code == status  # the same customer's


def test_what_was_lately_is_bounded_and_forgotten() -> None:
    now = 0.0
    lately = Lately(10, most=2, clock=lambda: now)
    for key in "abc":
        lately.add(key)
    assert [key in lately for key in "abc"] == [False, True, True]
    assert len(lately) == 2
    now = 11.0
    assert "c" not in lately
    lately.add("d", ago_s=8)
    assert "d" in lately
    now = 13.5
    assert "d" not in lately


def test_few_passwords_are_checked_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes a core and much memory; who would have to wait too long is sent away."""
    service = fake_service(
        tmp_path, Limits(**{**vars(BOUNDLESS), "sign_ins_at_once": 2, "sign_ins_waiting": 1})
    )
    inside, most, lock, go_on = 0, 0, threading.Lock(), threading.Event()

    def slow(name: str, password: str) -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        go_on.wait(10)
        with lock:
            inside -= 1

    monkeypatch.setattr(service.store.accounts, "verify_password", slow)
    app = create_app(service)

    async def crowd() -> list[int]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            body = {"name": "viewer", "password": "x"}
            tasks = [asyncio.ensure_future(client.post(f"{API}/session", json=body)) for _ in range(6)]
            began = time.monotonic()
            while (sum(task.done() for task in tasks) < 3 or most < 2) and time.monotonic() - began < 10:
                await asyncio.sleep(0.01)
            go_on.set()
            return sorted([(await task).status_code for task in tasks])

    assert asyncio.run(crowd()) == [401, 401, 401, 503, 503, 503]
    assert most == 2


def test_requests_of_a_client_are_limited(tmp_path: Path) -> None:
    client = limited(tmp_path, requests=Rate(3, 1e-6))
    answers = [client.get(path) for path in ("/healthz", f"{API}/cameras", "/", "/healthz", "/nothing")]
    assert [answer.status_code for answer in answers[-2:]] == [429, 429]
    assert answers[-1].json() == {"detail": "too many requests; ask more slowly"}
    assert "Retry-After" in answers[-1].headers
    assert client_of(client.app, client=("192.0.2.9", 1)).get("/healthz").status_code == 200


@pytest.mark.parametrize("how", ["as told", "in chunks", "more than told"])
def test_a_body_that_is_too_long(tmp_path: Path, how: str) -> None:
    client = limited(tmp_path, body_bytes=1000)
    body = b'{"name": "viewer", "password": "' + b"x" * 1000 + b'"}'
    headers = {"Content-Type": "application/json"}
    content: Any = body
    if how != "as told":
        content = (body[start : start + 100] for start in range(0, len(body), 100))
    if how == "more than told":
        headers["Content-Length"] = "10"
    response = client.post(f"{API}/session", content=content, headers=headers)
    assert response.status_code == 413
    assert response.json() == {"detail": "the body is longer than 1000 bytes"}


def test_a_body_is_not_read_for_those_who_may_not_send_it(tmp_path: Path) -> None:
    app = create_app(fake_service(tmp_path))

    async def receive() -> Any:
        raise AssertionError("the body was read")

    sent = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": f"{API}/users",
        "raw_path": b"",
        "query_string": b"",
        "scheme": "http",
        "headers": [(b"host", b"localhost")],
        "client": ("192.0.2.9", 1),
        "server": ("localhost", 80),
        "http_version": "1.1",
    }
    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 401


def answer_to(tmp_path: Path, body: AsyncIterator[bytes], seconds: float) -> httpx.Response:
    app = create_app(fake_service(tmp_path, Limits(**{**vars(BOUNDLESS), "body_seconds": seconds})))

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.post(
                f"{API}/session", content=body, headers={"Content-Type": "application/json"}
            )

    return asyncio.run(ask())


async def slowly(parts: Iterable[bytes], pause_s: float) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
        await asyncio.sleep(pause_s)


@pytest.mark.parametrize("pause_s", [30, 0.02])
def test_a_body_that_does_not_come(tmp_path: Path, pause_s: float) -> None:
    """Whether it stops, or goes on byte by byte."""
    response = answer_to(tmp_path, slowly([b" "] * 500, pause_s), seconds=0.2)
    assert response.status_code == 408
    assert response.json() == {"detail": "the body did not come in time"}


def test_a_long_body_may_take_longer(tmp_path: Path) -> None:
    """10 kB a second are enough."""
    body = b'{"name": "viewer", "password": "wrong"}'
    assert answer_to(tmp_path, slowly([b" " * 50_000, body], 0.5), seconds=0.2).status_code == 401


POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)


@pytest.mark.parametrize("path", ["/", "/healthz", f"{API}/cameras", "/nothing", "/static/nothing.js"])
@pytest.mark.parametrize(
    "address", ["http://localhost", "http://192.0.2.7", "https://localhost", "https://192.0.2.7"]
)
def test_headers_of_every_answer(app: FastAPI, path: str, address: str) -> None:
    headers = client_of(app, address).get(path, headers={"Origin": "https://evil.example"}).headers
    assert headers["Content-Security-Policy"] == POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "camera=()" in headers["Permissions-Policy"]
    assert ("Strict-Transport-Security" in headers) is (address == "https://192.0.2.7")
    assert headers["Cache-Control"] == ("no-cache" if path.startswith("/static/") else "no-store")
    assert not any(name.lower().startswith("access-control") for name in headers)


def test_an_error_that_nobody_expected(
    app: FastAPI, service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise RuntimeError("rtsp://user:secret@camera.example")

    monkeypatch.setattr(service.watcher, "statuses", fail)
    response = client_of(app).get("/readyz")
    assert response.status_code == 500
    assert response.json() == {"detail": "something went wrong; the server's log says what"}
    assert response.headers["Content-Security-Policy"] == POLICY
    assert "GET /readyz failed" in caplog.text
