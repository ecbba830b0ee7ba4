"""What the routes answer; schemathesis asks the rest."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from densewatch.server.app import create_app
from densewatch.server.service import Service
from densewatch.site.yaml_file import SiteFile
from densewatch.store.errors import StoreError
from fake_service import PASSWORD, fake_service
from fake_watcher import FakeWatcher

API = "/api/v1"
SQUARE = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]
SITE = """\
# The site of a test.
cameras:
  hall:
    source: demo
  yard:
    source: rtsp://camera.example/stream
"""


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return fake_service(tmp_path)


@pytest.fixture
def app(service: Service) -> Iterator[FastAPI]:
    app = create_app(service)
    with TestClient(app):
        wait_for(lambda: service.hub.newest("hall") is not None)
        assert service.writer.flush()
        yield app


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return signed_in(app, "admin")


def signed_in(app: FastAPI, name: str) -> TestClient:
    client = TestClient(app, base_url="http://localhost")
    csrf = client.post(f"{API}/session", json={"name": name, "password": PASSWORD}).json()["csrf"]
    client.headers["X-CSRF-Token"] = csrf
    return client


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.01)


def test_cameras(client: TestClient) -> None:
    hall, yard = client.get(f"{API}/cameras").json()
    assert client.get(f"{API}/cameras/hall").json().keys() == hall.keys()
    assert (hall["id"], hall["name"], hall["state"], hall["error"]) == ("hall", "Great hall", "live", None)
    assert hall["age_ms"] < 1000
    assert hall["size"] == [240, 320]
    assert hall["labels"] == ["person", "chair", "car"]
    assert hall["zones"]["door"]["points"] == [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]
    assert (yard["name"], yard["state"], yard["age_ms"]) == ("yard", "lost", None)
    assert yard["error"] == "no route to the camera"
    missing = client.get(f"{API}/cameras/garden")
    assert missing.status_code == 404
    assert missing.json() == {"detail": "there is no camera garden"}


def test_nobody_is_told_the_password_of_a_camera(app: FastAPI, client: TestClient) -> None:
    for path in ("cameras", "cameras/yard", "cameras/yard/health", "config", "system", "openapi.json"):
        response = client.get(f"{API}/{path}")
        assert "secret" not in response.text, path
    assert "camera.example" not in client.get("/metrics").text
    for path in ("/readyz", "/healthz"):
        assert "camera.example" not in client.get(path).text


def test_health(client: TestClient) -> None:
    well, unwell = client.get(f"{API}/cameras/hall/health"), client.get(f"{API}/cameras/yard/health")
    assert (well.status_code, well.json()["state"]) == (200, "live")
    assert (unwell.status_code, unwell.json()["error"]) == (503, "no route to the camera")


def test_the_newest_picture(client: TestClient) -> None:
    response = client.get(f"{API}/cameras/hall/picture.jpg")
    assert response.headers["Content-Type"] == "image/jpeg"
    assert 50 <= int(response.headers["X-Age-Ms"]) < 2000
    assert response.content[:2] == b"\xff\xd8"
    assert client.get(f"{API}/cameras/yard/picture.jpg").status_code == 404


def test_drawing_a_zone_and_deleting_it(client: TestClient, service: Service) -> None:
    drawn = client.put(f"{API}/cameras/hall/zones/table", json={"points": SQUARE, "only": ["person"]})
    assert drawn.status_code == 200, drawn.text
    assert set(drawn.json()["zones"]) == {"door", "table"}
    assert service.watcher.settings("hall").zones["table"].only == ("person",)
    entry = service.store.audit_entries()[0]
    assert (entry.who, entry.what, entry.detail) == ("admin", "zone table drawn", "hall")
    assert client.delete(f"{API}/cameras/hall/zones/table").status_code == 200
    assert set(service.watcher.settings("hall").zones) == {"door"}
    assert client.delete(f"{API}/cameras/hall/zones/table").status_code == 404


def test_drawing_a_line_and_deleting_it(client: TestClient, service: Service) -> None:
    drawn = client.put(f"{API}/cameras/hall/lines/gate", json={"start": [0, 0.5], "end": [1, 0.5]})
    assert drawn.json()["lines"]["gate"]["end"] == [1, 0.5]
    assert "gate" in service.watcher.settings("hall").lines
    assert client.delete(f"{API}/cameras/hall/lines/gate").json()["lines"] == {}


def test_drawing_masks_hides_what_was_seen_before(app: FastAPI, client: TestClient, service: Service) -> None:
    service.watcher.stop()
    assert client.get(f"{API}/cameras/hall/picture.jpg").status_code == 200
    drawn = client.put(f"{API}/cameras/hall/masks", json=[SQUARE])
    assert drawn.json()["masks"] == [SQUARE]
    assert client.get(f"{API}/cameras/hall/picture.jpg").status_code == 404
    assert signed_in(app, "operator").put(f"{API}/cameras/hall/masks", json=[]).status_code == 403


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("zones/a", {"points": SQUARE[:2]}, "points"),
        ("zones/a", {"points": [[0, 0], [1, 1], [1, 0], [0, 1]]}, "points"),
        ("zones/a", {"points": [[0, 0], [2, 0], [0, 2]]}, "points.1.0"),
        ("zones/a", {"points": SQUARE, "colour": "red"}, "colour"),
        ("zones/a", {"points": SQUARE, "only": ["persom"]}, "persom"),
        ("zones/A%20B", {"points": SQUARE}, "zone"),
        ("zones/a", None, "required"),
        ("lines/a", {"start": [0, 0], "end": [0, 0]}, "same point"),
        ("lines/door", {"start": [0, 0], "end": [1, 1]}, "same id"),
    ],
)
def test_drawings_that_make_no_sense(
    client: TestClient, service: Service, path: str, body: Any, told: str
) -> None:
    before = service.watcher.settings("hall")
    response = client.put(f"{API}/cameras/hall/{path}", json=body)
    assert response.status_code == 422
    assert told in response.json()["detail"]
    assert service.watcher.settings("hall") == before


def test_too_many_zones(client: TestClient) -> None:
    statuses = [
        client.put(f"{API}/cameras/yard/zones/z{number}", json={"points": SQUARE}).status_code
        for number in range(65)
    ]
    assert statuses == [200] * 64 + [409]


def test_drawings_are_saved_in_the_site_file(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(SITE)
    site_file = SiteFile(path)
    app = create_app(fake_service(tmp_path, site=site_file.settings, site_file=site_file))
    with TestClient(app):
        client = signed_in(app, "operator")
        assert client.put(f"{API}/cameras/hall/zones/table", json={"points": SQUARE}).status_code == 200
        assert path.read_text().startswith("# The site of a test.")
        assert "table" in SiteFile(path).settings.cameras["hall"].zones
        path.write_text(SITE + "# changed by hand\n")
        conflict = client.put(f"{API}/cameras/hall/zones/chair", json={"points": SQUARE})
        assert conflict.status_code == 409
        assert "changed since" in conflict.json()["detail"]
        assert set(client.get(f"{API}/cameras/hall").json()["zones"]) == {"table"}  # nothing has changed
        assert "changed by hand" in path.read_text()


class Changing:
    """An operator at a site whose zones are saved in a file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "site.yaml"
        self.path.write_text(SITE)
        site_file = SiteFile(self.path)
        self.service = fake_service(folder, site=site_file.settings, site_file=site_file)
        self.app = create_app(self.service)

    def draw(self, client: TestClient, **settings: Any) -> int:
        body = {"points": SQUARE, **settings}
        return int(client.put(f"{API}/cameras/hall/zones/table", json=body).status_code)

    def outcome(self) -> tuple[bool, bool, list[str]]:
        """Return whether the loop has the zone, whether the file has it, and what the audit has of it."""
        in_loop = "table" in self.service.watcher.settings("hall").zones
        told = [entry.what for entry in self.service.store.audit_entries() if "zone" in entry.what]
        return in_loop, "table" in SiteFile(self.path).settings.cameras["hall"].zones, told


NOTHING: tuple[bool, bool, list[str]] = (False, False, [])


def test_a_change_is_made_and_written_down(tmp_path: Path) -> None:
    changing = Changing(tmp_path)
    with TestClient(changing.app):
        assert changing.draw(signed_in(changing.app, "operator")) == 200
        assert changing.outcome() == (True, True, ["zone table drawn"])


@pytest.mark.parametrize("settings", [{"only": ["persom"]}, {"thresholds": {"persom": 0.5}}])
def test_a_change_that_makes_no_sense_leaves_no_trace(tmp_path: Path, settings: Any) -> None:
    changing = Changing(tmp_path)
    with TestClient(changing.app):
        assert changing.draw(signed_in(changing.app, "operator"), **settings) == 422
        assert changing.outcome() == NOTHING
        assert changing.path.read_text() == SITE


def test_a_change_that_the_file_refuses_leaves_no_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing = Changing(tmp_path)
    with TestClient(changing.app):
        client = signed_in(changing.app, "operator")
        changing.path.write_text(SITE + "# changed by hand\n")
        monkeypatch.setattr(changing.service.watcher, "replace", lambda *_: pytest.fail("it was replaced"))
        assert changing.draw(client) == 409
        assert changing.outcome() == NOTHING


def test_a_change_that_cannot_be_written_down_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise StoreError("the disk is full")

    changing = Changing(tmp_path)
    with TestClient(changing.app):
        client = signed_in(changing.app, "operator")
        monkeypatch.setattr(changing.service.store, "audit", full)
        monkeypatch.setattr(changing.service.watcher, "replace", lambda *_: pytest.fail("it was replaced"))
        assert changing.draw(client) == 503
        assert changing.outcome() == NOTHING


def test_a_change_that_the_loop_refuses_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise ValueError("not now")

    changing = Changing(tmp_path)
    with TestClient(changing.app):
        client = signed_in(changing.app, "operator")
        monkeypatch.setattr(changing.service.watcher, "replace", refuse)
        assert changing.draw(client) == 422
        assert changing.outcome() == (False, False, ["refused: zone table drawn", "zone table drawn"])


def test_counts(client: TestClient) -> None:
    end = int(time.time()) // 60 * 60
    asked: dict[str, Any] = {"camera": "hall", "zone": "door", "start": end - 3600, "end": end, "seconds": 60}
    found = client.get(f"{API}/counts", params=asked).json()
    assert (found["camera"], found["zone"], found["seconds"]) == ("hall", "door", 60)
    (person,) = found["series"]
    assert person["label"] == "person"
    bins = person["bins"]
    assert len(bins) == len(found["observed"]) == 60
    gaps = [bin for bin in bins if bin["observed"] == 0]
    assert len(gaps) == 10
    assert all(bin["minimum"] is bin["mean"] is bin["maximum"] is None for bin in gaps)
    assert all(bin["maximum"] >= 1 for bin in bins if bin["observed"])
    whole = client.get(f"{API}/counts", params={"camera": "hall", "seconds": 3600}).json()
    assert whole["zone"] is None
    assert {series["label"] for series in whole["series"]} == {"chair", "person"}


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("camera=garden", 404),
        ("", 422),
        ("camera=hall&start=5&end=4", 422),
        ("camera=hall&start=0&seconds=1", 422),
        ("camera=hall&start=nan", 422),
        ("camera=hall&seconds=0", 422),
        ("camera=hall&zone=A", 422),
    ],
)
def test_counts_that_cannot_be_given(client: TestClient, query: str, status: int) -> None:
    response = client.get(f"{API}/counts?{query}")
    assert response.status_code == status
    assert isinstance(response.json()["detail"], str)


def test_events_page_by_page(client: TestClient) -> None:
    seen: list[Any] = []
    before: str | None = None
    while True:
        asked: dict[str, Any] = {"limit": 5} | ({} if before is None else {"before": before})
        page = client.get(f"{API}/events", params=asked).json()
        seen += page["events"]
        before = page["next"]
        if before is None:
            break
    assert [event["id"] for event in seen] == [f"hall-{number}" for number in range(12)]
    assert seen[0]["end_time"] is None
    assert [event["has_snapshot"] for event in seen].count(False) == 1
    assert client.get(f"{API}/events/hall-3").json() == seen[3]
    picture = client.get(f"{API}/events/hall-3/snapshot.jpg")
    assert picture.headers["Content-Type"] == "image/jpeg"
    assert client.get(f"{API}/events/hall-5/snapshot.jpg").status_code == 404
    assert client.get(f"{API}/events/hall-99").status_code == 404
    assert client.get(f"{API}/events", params={"before": "nonsense"}).status_code == 422
    chairs = client.get(f"{API}/events", params={"label": "chair", "camera": "hall"}).json()["events"]
    assert {event["label"] for event in chairs} == {"chair"}


@pytest.mark.parametrize(
    "what", ["counts?camera=hall", "crossings?camera=hall&line=gate", "events?camera=hall"]
)
@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_exports(client: TestClient, what: str, format: str) -> None:
    name, query = what.split("?")
    response = client.get(f"{API}/exports/{name}.{format}?{query}")
    assert response.status_code == 200
    assert f'.{format}"' in response.headers["Content-Disposition"]
    if format == "csv":
        columns = response.text.splitlines()[0].split(",")
    else:
        columns = pq.read_table(io.BytesIO(response.content)).column_names
    assert {"camera", "label"} <= set(columns)
    assert client.get(f"{API}/exports/{name}.xlsx?{query}").status_code == 422


def test_users(app: FastAPI, client: TestClient) -> None:
    new = {"name": "guard", "role": "viewer", "password": "guard horse 5"}
    assert client.post(f"{API}/users", json=new).json() == {"name": "guard", "role": "viewer"}
    assert client.post(f"{API}/users", json=new).status_code == 409
    assert {"name": "guard", "role": "viewer"} in client.get(f"{API}/users").json()
    guard = TestClient(app, base_url="http://localhost")
    assert (
        guard.post(f"{API}/session", json={"name": "guard", "password": "guard horse 5"}).status_code == 200
    )
    changed = client.patch(f"{API}/users/guard", json={"role": "operator", "password": "other horse 6"})
    assert changed.json() == {"name": "guard", "role": "operator"}
    assert guard.get(f"{API}/session").status_code == 401
    assert client.patch(f"{API}/users/guard", json={}).status_code == 422
    assert client.patch(f"{API}/users/nobody", json={"role": "admin"}).status_code == 404
    assert client.delete(f"{API}/users/guard").status_code == 204
    assert client.delete(f"{API}/users/guard").status_code == 404
    for response in (
        client.delete(f"{API}/users/admin"),
        client.patch(f"{API}/users/admin", json={"role": "viewer"}),
    ):
        assert response.status_code == 409
        assert "only admin" in response.json()["detail"]


def test_api_keys(app: FastAPI, client: TestClient) -> None:
    made = client.post(f"{API}/api-keys", json={"name": "Prometheus", "role": "viewer"})
    assert made.status_code == 201
    key = made.json()["key"]
    assert key.startswith("dwk_")
    machine = TestClient(app, base_url="http://localhost", headers={"Authorization": f"Bearer {key}"})
    assert machine.get("/metrics").status_code == 200
    assert machine.get(f"{API}/session").json() == {
        "name": "Prometheus",
        "role": "viewer",
        "csrf": None,
        "expires": None,
    }
    assert (
        machine.put(f"{API}/session/password", json={"old": "x", "new": "a new horse 8"}).status_code == 403
    )
    (listed,) = client.get(f"{API}/api-keys").json()
    assert "key" not in listed
    assert key not in client.get(f"{API}/api-keys").text
    assert client.post(f"{API}/api-keys", json={"name": "Prometheus", "role": "viewer"}).status_code == 409
    old = {"name": "old", "role": "viewer", "expires": 5}
    assert client.post(f"{API}/api-keys", json=old).status_code == 422
    assert client.delete(f"{API}/api-keys/{listed['id']}").status_code == 204
    assert client.delete(f"{API}/api-keys/{listed['id']}").status_code == 404
    assert machine.get("/metrics").status_code == 401


def test_the_system_and_its_settings(app: FastAPI, client: TestClient) -> None:
    told = client.get(f"{API}/system").json()
    assert (told["model"], told["labels"], told["cameras"]) == ("fake", ["person", "chair", "car"], 2)
    assert told["writer"]["state"] == "ok"
    assert told["disk"]["free_bytes"] > 0
    client.put(f"{API}/cameras/hall/zones/table", json={"points": SQUARE})
    config = client.get(f"{API}/config").json()
    assert set(config["cameras"]["hall"]["zones"]) == {"door", "table"}
    assert config["cameras"]["yard"]["source"].endswith("camera.example/stream")


def test_the_settings_name_variables_and_have_no_values_of_them(
    app: FastAPI, client: TestClient, service: Service
) -> None:
    source = "rtsp://anna:hunter2@camera.example/${WORD}/1"
    service.watcher.replace("yard", service.site.cameras["yard"].model_copy(update={"source": source}))
    config = client.get(f"{API}/config")
    assert config.json()["cameras"]["yard"]["source"] == "rtsp://camera.example/${WORD}/1"
    assert "hunter2" not in config.text


def test_ready(client: TestClient, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = client.get("/readyz")
    assert ready.status_code == 200
    cameras = {"hall": "live", "yard": "lost"}
    assert ready.json() == {"ready": True, "model": True, "store": True, "cameras": cameras}

    def away() -> None:
        raise StoreError("postgresql://user@db.example is away")

    monkeypatch.setattr(service.store, "check", away)
    unready = client.get("/readyz")
    assert unready.status_code == 503
    assert unready.json() == {"ready": False, "model": True, "store": False, "cameras": cameras}


def test_it_is_not_ready_before_it_is_started(tmp_path: Path) -> None:
    client = TestClient(create_app(fake_service(tmp_path)), base_url="http://localhost")
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").json() == {"status": "ok"}


def test_a_store_that_is_away(
    app: FastAPI,
    client: TestClient,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Which host the database is on is for admins and the log."""

    def away(*_: Any, **__: Any) -> None:
        raise StoreError("db.internal is away")

    viewer = signed_in(app, "viewer")
    monkeypatch.setattr(service.store, "counts", away)
    response = client.get(f"{API}/counts?camera=hall")
    assert response.status_code == 503
    assert response.json() == {"detail": "what is kept cannot be used now: db.internal is away"}
    response = viewer.get(f"{API}/counts?camera=hall")
    assert response.status_code == 503
    assert response.json() == {"detail": "what is kept cannot be used now"}
    monkeypatch.setattr(service.store.accounts, "find_session", away)
    monkeypatch.setattr(service.store.accounts, "verify_password", away)
    caplog.clear()
    body = {"name": "viewer", "password": PASSWORD}
    for response in (client.get(f"{API}/cameras"), client.post(f"{API}/session", json=body)):
        assert response.status_code == 503
        assert "db.internal" not in response.text
    assert caplog.text.count("db.internal is away") == 2
    monkeypatch.undo()
    assert client.get(f"{API}/cameras").status_code == 200


def test_the_pages(client: TestClient) -> None:
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd"):
        response = client.get(path)
        assert response.status_code == 404, path
        assert "densewatch.server" not in response.text


def test_the_document_is_fit_for_people(client: TestClient) -> None:
    document = client.get(f"{API}/openapi.json").json()
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            where = f"{method} {path}"
            assert told["summary"].endswith("."), where
            assert told["tags"], where
            failures = {code for code in told["responses"] if code >= "400"}
            assert {"429"} <= failures, where
            public = path in ("/healthz", "/readyz") or (method, path) == ("post", f"{API}/session")
            assert public or {"401", "403"} <= failures, where
            for code in failures - {"503"}:
                content = told["responses"][code]["content"]["application/json"]
                assert content["schema"] == {"$ref": "#/components/schemas/Problem"}, where
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_start_and_stop_keep_what_the_loop_hands_out_at_its_end(tmp_path: Path) -> None:
    service = fake_service(tmp_path)
    order: list[str] = []
    watcher = service.watcher
    assert isinstance(watcher, FakeWatcher)
    for owner, name in ((watcher, "stop"), (service.writer, "close"), (service.store, "close")):
        note(owner, name, order)
    with TestClient(create_app(service)):
        assert service.since is not None
    assert order == ["FakeWatcher.stop", "Writer.close", "Store.close"]
    assert fake_service(tmp_path).store.event("hall-3") is not None


def note(owner: Any, name: str, order: list[str]) -> None:
    old = getattr(owner, name)

    def noted(*arguments: Any, **named: Any) -> Any:
        order.append(f"{type(owner).__name__}.{name}")
        return old(*arguments, **named)

    setattr(owner, name, noted)
