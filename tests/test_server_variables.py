"""The values of variables in cameras' addresses are told nowhere, whatever becomes of the camera."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from densewatch.live.address import address_of
from densewatch.live.watcher import Listeners, Watcher
from densewatch.records import Bin, Event
from densewatch.runtime.detector import load
from densewatch.server.serve import serving
from densewatch.server.service import Service
from densewatch.site.settings import SiteSettings
from densewatch.store.store import Store
from live_helpers import wait_for
from local_server import closed_port
from tiny_model import write_tiny_model
from web_server import WebServer

MARK = "zqx7"
WORD = f"{MARK}#2 é"
QUOTED = f"{MARK}%232%20%C3%A9"
HOST = f"{MARK}.example"
PLACES = {
    "user": "http://${WORD}:x@127.0.0.1:${PORT}/END",
    "password": "http://bob:${WORD}@127.0.0.1:${PORT}/END",
    "host": "http://${HOST}:${PORT}/END",
    "path": "http://127.0.0.1:${PORT}/${WORD}/END",
    "query": "http://127.0.0.1:${PORT}/END?channel=${WORD}",
    "rest": "http://127.0.0.1:${PORT}/${REST}/END",
}
ENDS = {"none": "not_found", "to": "policy", "list.m3u8": "policy"}


@pytest.fixture
def web() -> Iterator[WebServer]:
    """A server that knows no stream, and leads to networks that are not allowed."""
    with WebServer.running() as server:
        away = f"http://10.99.0.1/{QUOTED}/{HOST}/{server.port}/?channel={QUOTED}"
        for folder in ("", f"/{QUOTED}", f"/live/{QUOTED}"):
            server.redirects[f"{folder}/to"] = away
            server.files[f"{folder}/list.m3u8"] = (
                f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{away}\n#EXT-X-ENDLIST\n".encode()
            )
        yield server


@pytest.fixture
def site(tmp_path: Path, web: WebServer, monkeypatch: pytest.MonkeyPatch) -> SiteSettings:
    """A site with a camera for each place that a value may stand in, and each end that it may come to."""
    closed = closed_port()
    variables = {"WORD": WORD, "HOST": HOST, "REST": f"live/{WORD}", "PORT": web.port, "CLOSED": closed}
    sources = {"rtsp-refused": "rtsp://${HOST}:${CLOSED}/${WORD}/x"}
    for place, text in PLACES.items():
        sources[f"{place}-refused"] = text.replace("PORT", "CLOSED")
        sources |= {f"{place}-{end.partition('.')[0]}": text.replace("END", end) for end in ENDS}
    for end in ENDS:
        name = f"WHOLE_{end.partition('.')[0].upper()}"
        variables[name] = f"http://bob:{QUOTED}@127.0.0.1:{web.port}/{QUOTED}/{end}"
        sources[f"whole-{end.partition('.')[0]}"] = f"${{{name}}}"
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))
    real = socket.getaddrinfo

    def resolved(host: str, *args: Any, **more: Any) -> Any:
        return real("127.0.0.1" if host == HOST else host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    return SiteSettings.model_validate(
        {
            "sources": {"networks": ["127.0.0.1"], "folders": [tmp_path]},
            "cameras": {id: {"source": source} for id, source in sources.items()},
            "store": {"folder": tmp_path},
            "server": {"port": 0},
        }
    )


def service_of(site: SiteSettings, folder: Path) -> Service:
    detector = load(write_tiny_model(folder / "tiny.onnx"))

    def create_watcher(
        *,
        on_result: Callable[[Any], None],
        on_event: Callable[[Event], None],
        on_bin: Callable[[Bin], None],
    ) -> Watcher:
        listeners = Listeners(on_result, on_event, on_bin)
        return Watcher(detector, site.cameras, policy=site.sources.to_policy(), listeners=listeners)

    store = Store.open(f"sqlite:///{folder / 'densewatch.db'}", folder / "media")
    return Service(site, store, create_watcher, model="tiny")


def test_no_value_of_a_variable_is_told(
    site: SiteSettings, web: WebServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    service = service_of(site, tmp_path)
    key = service.store.accounts.add_api_key("test", "admin")[0]
    headers = {"Authorization": f"Bearer {key}"}
    with serving(service) as server:
        statuses = service.watcher.statuses
        wait_for(lambda: all(one.state == "lost" for one in statuses().values()), 30, "the end of all")
        told = {"statuses": str(statuses())}
        for path in ("api/v1/cameras", "api/v1/config", "api/v1/system", "metrics", "readyz"):
            answer = httpx.get(server.address + path, headers=headers)
            assert answer.status_code == 200
            told[path] = answer.text
        live = server.address.replace("http", "ws", 1) + "api/v1/live"
        with connect(live, additional_headers=headers, close_timeout=1) as websocket:
            told["websocket"] = str(websocket.recv(timeout=10))
        ended = {id: dict(one.reconnects) for id, one in statuses().items()}
    told["log"] = caplog.text
    told["settings"] = f"{site!r} {site} {site.cameras!r}"
    told["addresses"] = " ".join(f"{address_of(one)!r} {address_of(one)}" for one in site.cameras.values())

    reasons = {end.partition(".")[0]: reason for end, reason in ENDS.items()} | {"refused": "refused"}
    assert {id: set(counts) for id, counts in ended.items()} == {
        id: {reasons[id.rpartition("-")[2]]} for id in site.cameras
    }
    assert json.loads(told["websocket"])["type"] == "status"
    assert (
        "camera path-none is lost: http://127.0.0.1:${PORT}/${WORD}/none: the server answers 404"
        in caplog.text
    )
    for where, text in told.items():
        shown = [line for line in text.splitlines() if MARK in line or f":{web.port}/" in line]
        assert not shown, where
