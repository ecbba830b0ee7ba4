"""Who may do what: every route × role × method, against a table that is written here once more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.routing import Mount, Route
from starlette.testclient import TestClient, WebSocketDenialResponse

from densewatch.server.app import create_app
from densewatch.server.gate import AccessTable, Gate, UndeclaredRouteError
from densewatch.server.hosts import Hosts
from densewatch.server.service import Service
from fake_service import PASSWORD, ROLES, fake_service

API = "/api/v1"
TABLE = {
    ("POST", f"{API}/session"): "public",
    ("GET", f"{API}/session"): "viewer",
    ("DELETE", f"{API}/session"): "viewer",
    ("PUT", f"{API}/session/password"): "viewer",
    ("GET", f"{API}/cameras"): "viewer",
    ("GET", f"{API}/cameras/{{camera}}"): "viewer",
    ("GET", f"{API}/cameras/{{camera}}/health"): "viewer",
    ("GET", f"{API}/cameras/{{camera}}/picture.jpg"): "viewer",
    ("PUT", f"{API}/cameras/{{camera}}/zones/{{zone}}"): "operator",
    ("DELETE", f"{API}/cameras/{{camera}}/zones/{{zone}}"): "operator",
    ("PUT", f"{API}/cameras/{{camera}}/lines/{{line}}"): "operator",
    ("DELETE", f"{API}/cameras/{{camera}}/lines/{{line}}"): "operator",
    ("PUT", f"{API}/cameras/{{camera}}/masks"): "admin",
    ("GET", f"{API}/counts"): "viewer",
    ("GET", f"{API}/crossings"): "viewer",
    ("GET", f"{API}/events"): "viewer",
    ("GET", f"{API}/events/{{event}}"): "viewer",
    ("GET", f"{API}/events/{{event}}/snapshot.jpg"): "viewer",
    ("GET", f"{API}/exports/counts.{{format}}"): "viewer",
    ("GET", f"{API}/exports/crossings.{{format}}"): "viewer",
    ("GET", f"{API}/exports/events.{{format}}"): "viewer",
    ("GET", f"{API}/users"): "admin",
    ("POST", f"{API}/users"): "admin",
    ("PATCH", f"{API}/users/{{name}}"): "admin",
    ("DELETE", f"{API}/users/{{name}}"): "admin",
    ("GET", f"{API}/api-keys"): "admin",
    ("POST", f"{API}/api-keys"): "admin",
    ("DELETE", f"{API}/api-keys/{{id}}"): "admin",
    ("GET", f"{API}/config"): "admin",
    ("GET", f"{API}/system"): "viewer",
    ("GET", f"{API}/openapi.json"): "viewer",
    ("WEBSOCKET", f"{API}/live"): "viewer",
    ("GET", "/healthz"): "public",
    ("GET", "/readyz"): "public",
    ("GET", "/metrics"): "viewer",
    ("GET", "/"): "public",
    ("GET", "/static/{path:path}"): "public",
}
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "WEBSOCKET", "BREW")
RANKS = {"public": 0, "nobody": 0, "viewer": 1, "operator": 2, "admin": 3}
NOBODY = ("nobody", "ended session", "foreign client", "made-up key", "deleted key")
CALLERS = {
    **dict.fromkeys(NOBODY, "nobody"),
    **{f"{role} session": role for role in ROLES},
    **{f"{role} key": role for role in ROLES},
}
"""Who calls, and what they may be at most."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    return fake_service(tmp_path_factory.mktemp("service"))


@pytest.fixture(scope="module")
def app(service: Service) -> Iterator[FastAPI]:
    app = create_app(service)
    with TestClient(app, base_url="http://localhost"):
        yield app


@pytest.fixture(scope="module")
def callers(app: FastAPI, service: Service) -> dict[str, dict[str, str]]:
    """Return the headers that each caller sends."""
    accounts = service.store.accounts
    headers = {"nobody": {}, "made-up key": {"Authorization": "Bearer dwk_" + "a" * 43}}
    for role in ROLES:
        headers[f"{role} session"] = session_headers(service, role)
        headers[f"{role} key"] = {"Authorization": f"Bearer {accounts.add_api_key(f'{role} key', role)[0]}"}
    headers["foreign client"] = {**session_headers(service, "admin"), "User-Agent": "another browser"}
    headers["ended session"] = session_headers(service, "admin", lifetime_s=-1)
    key, made = accounts.add_api_key("to be deleted", "admin")
    accounts.delete_api_key(made.id)
    headers["deleted key"] = {"Authorization": f"Bearer {key}"}
    return headers


def session_headers(service: Service, role: str, lifetime_s: float = 3600) -> dict[str, str]:
    token, session = service.store.accounts.open_session(role, "testclient\ntestclient", lifetime_s)
    return {
        "Cookie": f"densewatch_session={token}",
        "X-CSRF-Token": session.csrf,
        "Origin": "http://localhost",
    }


def real_routes(app: FastAPI) -> set[tuple[str, str]]:
    found = set()
    for route in app.routes:
        assert isinstance(route, (APIRoute, APIWebSocketRoute))
        methods = route.methods if isinstance(route, APIRoute) else {"WEBSOCKET"}
        found |= {(method, route.path) for method in methods or ()}
    return found


def test_the_table_has_every_route_and_no_other(app: FastAPI) -> None:
    assert real_routes(app) == set(TABLE)


def call(app: FastAPI, method: str, path: str, headers: dict[str, str]) -> int:
    """Return the status; of a WebSocket that opens, 101. Ids are of nothing that there is."""
    path = re.sub(r"\{path(:path)?\}", "nothing.css", path)
    path = re.sub(r"\{format\}", "csv", path)
    path = re.sub(r"\{\w+\}", "nothing", path)
    client = TestClient(app, base_url="http://localhost", raise_server_exceptions=False)
    if method != "WEBSOCKET":
        return int(client.request(method, path, headers=headers).status_code)
    try:
        with client.websocket_connect(f"ws://localhost{path}", headers=dict(headers)):
            return 101
    except WebSocketDenialResponse as refusal:
        return int(refusal.status_code)


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("path", sorted({path for _, path in TABLE}))
def test_every_method_of_every_route(
    app: FastAPI, callers: dict[str, dict[str, str]], caller: str, path: str
) -> None:
    for method in METHODS:
        if (method, path) == ("DELETE", f"{API}/session"):
            continue  # it ends the session; see below
        access = TABLE.get((method, path))
        status = call(app, method, path, callers[caller])
        where = f"{caller}: {method} {path} -> {status}"
        if access is None:
            assert status == (404 if method == "WEBSOCKET" or path_is_websocket(path) else 405), where
        elif RANKS[CALLERS[caller]] >= RANKS[access]:
            assert status not in (401, 403, 405, 500), where
        else:
            assert status == (401 if caller in NOBODY else 403), where


def path_is_websocket(path: str) -> bool:
    return ("WEBSOCKET", path) in TABLE


@pytest.mark.parametrize("caller", CALLERS)
def test_signing_out(app: FastAPI, service: Service, callers: dict[str, dict[str, str]], caller: str) -> None:
    headers = callers[caller]
    if caller.endswith("session") and caller not in NOBODY:
        headers = session_headers(service, CALLERS[caller])  # one to lose
    expected = 401 if caller in NOBODY else 204
    assert call(app, "DELETE", f"{API}/session", headers) == expected
    if caller.endswith("session"):
        assert call(app, "GET", f"{API}/session", headers) == 401


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/api", f"{API}/", "/HEALTHZ"])
def test_what_nobody_declared_is_not_there(
    app: FastAPI, callers: dict[str, dict[str, str]], path: str
) -> None:
    assert call(app, "GET", path, callers["admin session"]) == 404


def test_an_app_with_an_undeclared_route_is_refused(service: Service) -> None:
    app = create_app(service)
    table = AccessTable()
    with pytest.raises(UndeclaredRouteError, match="session does not say who may use it"):
        table.check(app)


@pytest.mark.parametrize("kind", ["route", "mount", "included"])
def test_a_route_that_was_added_later_is_closed(
    service: Service, callers: dict[str, dict[str, str]], kind: str
) -> None:
    """Past the check at the start, the gate itself lets nothing undeclared pass."""
    from fastapi import APIRouter

    async def secret(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("nobody should come here")

    app = create_app(service)
    if kind == "route":
        app.router.routes.append(Route("/secret", lambda request: None))
    elif kind == "mount":
        app.router.routes.append(Mount("/secret", app=secret))
    else:
        router = APIRouter()
        router.add_api_route("/secret", lambda: "secret")
        app.include_router(router)
    assert call(app, "GET", "/secret", callers["admin session"]) in (403, 404)


def test_an_endpoint_is_closed_to_what_came_around_the_gate(service: Service) -> None:
    app = create_app(service)
    app.user_middleware = [layer for layer in app.user_middleware if str(layer.cls) != str(Gate)]
    for path in ("/healthz", f"{API}/cameras", f"{API}/users"):
        response = TestClient(app, base_url="http://localhost").get(path)
        assert response.status_code == 403
        assert response.json() == {"detail": "this did not come through the gate"}


def test_a_viewer_that_becomes_an_operator_is_one_at_once(app: FastAPI, service: Service) -> None:
    accounts = service.store.accounts
    accounts.add_user("riser", PASSWORD, "viewer")
    headers = session_headers(service, "riser")
    path = f"{API}/cameras/hall/zones/nothing"
    assert call(app, "DELETE", path, headers) == 403
    accounts.set_role("riser", "operator")
    assert call(app, "DELETE", path, headers) == 404
    accounts.delete_user("riser")
    assert call(app, "DELETE", path, headers) == 401


CSRF_FAILURES: dict[str, tuple[dict[str, str | bytes | None], str]] = {
    "no token": ({"X-CSRF-Token": None}, "X-CSRF-Token"),
    "another token": ({"X-CSRF-Token": "a" * 43}, "X-CSRF-Token"),
    "not ASCII": ({"X-CSRF-Token": b"\xe9"}, "X-CSRF-Token"),
    "another site": ({"Origin": "https://evil.example"}, "another site"),
    "another port": ({"Origin": "http://localhost:81"}, "another site"),
    "another scheme": ({"Origin": "https://localhost"}, "another site"),
    "no origin at all": ({"Origin": "null"}, "another site"),
    "nonsense": ({"Origin": "http://[localhost"}, "another site"),
}


@pytest.mark.parametrize("failure", CSRF_FAILURES)
def test_a_session_alone_changes_nothing(
    app: FastAPI, callers: dict[str, dict[str, str]], failure: str
) -> None:
    changes, told = CSRF_FAILURES[failure]
    sent: dict[str, Any] = {**callers["admin session"], **changes}
    headers = {name: value for name, value in sent.items() if value is not None}
    client = TestClient(app, base_url="http://localhost")
    for method, path in TABLE:
        if method in ("POST", "PUT", "PATCH", "DELETE") and (TABLE[method, path] != "public"):
            response = client.request(method, path.replace("{", "").replace("}", ""), headers=headers)
            assert response.status_code == 403, path
            assert told in response.json()["detail"]


@pytest.mark.parametrize("origin", [None, "null", "https://evil.example", "http://localhost:81"])
def test_a_websocket_of_another_site_is_not_opened(
    app: FastAPI, callers: dict[str, dict[str, str]], origin: str | None
) -> None:
    headers = {name: value for name, value in callers["viewer session"].items() if name != "Origin"}
    headers |= {} if origin is None else {"Origin": origin}
    assert call(app, "WEBSOCKET", f"{API}/live", headers) == 403
    assert call(app, "WEBSOCKET", f"{API}/live", callers["viewer key"]) == 101


def test_an_api_key_goes_before_a_cookie(app: FastAPI, callers: dict[str, dict[str, str]]) -> None:
    both = callers["admin session"] | callers["made-up key"]
    assert call(app, "GET", f"{API}/users", both) == 401
    assert call(app, "GET", f"{API}/users", callers["admin session"] | callers["viewer key"]) == 403


HOSTS = {
    "localhost": True,
    "localhost:8000": True,
    "LOCALHOST.": True,
    "127.0.0.1:8000": True,
    "[::1]:8000": True,
    "192.0.2.7": True,  # an address cannot be made to point elsewhere
    "watch.example": True,
    "cam.example:443": True,
    "evil.example": False,
    "localhost.evil.example": False,
    "localhost@evil.example": False,
    "evil.example#localhost": False,
    "": False,
    "localhost:99999": False,
    "[::1": False,
}


@pytest.mark.parametrize("host", HOSTS)
def test_names_of_the_server(host: str) -> None:
    hosts = Hosts({"cam.example"}, "https://watch.example")
    assert hosts.knows(host) is HOSTS[host]


CERTIFIED = {
    "watch.example": True,
    "WATCH.example.:8443": True,
    "hall.cameras.example": True,
    "a.hall.cameras.example": False,
    "cameras.example": False,
    "evil.example": False,
    "evilcameras.example": False,
}


@pytest.mark.parametrize("host", CERTIFIED)
def test_names_of_the_certificate(host: str) -> None:
    hosts = Hosts(())
    assert not hosts.knows(host)
    hosts.certify({"watch.example", "*.cameras.example"})
    assert hosts.knows(host) is CERTIFIED[host]
    hosts.certify({"other.example"})  # the next one
    assert not hosts.knows(host)


def test_a_name_of_another_server_is_refused_before_all_else(
    app: FastAPI, callers: dict[str, dict[str, str]]
) -> None:
    client = TestClient(app, base_url="http://evil.example")
    for path in ("/healthz", f"{API}/cameras", "/nothing"):
        response = client.get(path, headers=callers["admin session"])
        assert response.status_code == 400
        assert "does not go by that name" in response.json()["detail"]
        assert "server.public_url" in response.json()["detail"]


def test_origins_of_a_proxy_and_further_ones() -> None:
    hosts = Hosts((), "https://watch.example", ["https://intra.example:8443"])
    assert hosts.knows("intra.example:8443")
    scope = {"type": "http", "scheme": "http", "headers": [(b"host", b"watch.example")]}
    assert hosts.is_own("https://watch.example", scope)
    assert hosts.is_own("http://watch.example", scope)
    assert hosts.is_own("https://intra.example:8443", scope)
    assert not hosts.is_own("https://intra.example", scope)
    assert not hosts.is_own("https://watch.example.evil.example", scope)


def test_there_is_a_folder_for_pages() -> None:
    from densewatch.server.routes import pages

    assert Path(pages.__file__).parents[1] / "static" == pages.FOLDER
