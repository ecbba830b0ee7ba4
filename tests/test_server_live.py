"""The WebSocket and the hub behind it: newest first, bounded, and over when the session is over."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from densewatch.server.serve import Server, serving
from densewatch.server.service import Service
from fake_service import fake_service, fake_site, parts
from fake_watcher import frame_result, hall_and_yard


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, Server]]:
    folder = tmp_path_factory.mktemp("live")
    service = fake_service(folder, site=fake_site(folder, port=0))
    with serving(service) as server:
        yield service, server


def url_of(server: Server, query: str = "") -> str:
    return server.address.replace("http", "ws", 1) + "api/v1/live" + query


@contextmanager
def live(running: tuple[Service, Server], query: str = "") -> Iterator[ClientConnection]:
    """Open a live view by an API key of a viewer."""
    service, server = running
    key, made = service.store.accounts.add_api_key(f"key {time.monotonic_ns()}", "viewer")
    headers = {"Authorization": f"Bearer {key}"}
    with connect(url_of(server, query), additional_headers=headers, close_timeout=1) as websocket:
        yield websocket
    service.store.accounts.delete_api_key(made.id)


def next_message(websocket: ClientConnection, kind: type) -> Any:
    for _ in range(200):
        message = websocket.recv(timeout=10)
        if isinstance(message, kind):
            return message
    raise AssertionError(f"no {kind} came")


def test_how_the_cameras_are_comes_first(running: tuple[Service, Server]) -> None:
    with live(running) as websocket:
        first = json.loads(websocket.recv(timeout=10))
        assert first["type"] == "status"
        assert [(camera["id"], camera["state"]) for camera in first["cameras"]] == [
            ("hall", "live"),
            ("yard", "lost"),
        ]
        assert "secret" not in json.dumps(first)
        next_message(websocket, str)  # and every second


def test_a_picture_and_its_boxes_come_together(running: tuple[Service, Server]) -> None:
    with live(running, "?cameras=hall") as websocket:
        header, picture = parts(next_message(websocket, bytes))
    assert picture.shape == (240, 320, 3)
    expected = frame_result("hall", header["frame"], hall_and_yard()["hall"]).to_dict()
    for name in ("camera", "frame", "width", "height", "detections", "counts", "zones", "state"):
        assert header[name] == expected[name], name
    assert 50 <= header["age_ms"] < 2000
    assert abs(header["sent"] - time.time()) < 5
    left, top, right, bottom = (int(value) for value in header["detections"][0]["box"])
    blue, _, red = picture[(top + bottom) // 2, (left + right) // 2].astype(int)
    assert blue > red + 50  # the person of this very frame, not of another


@pytest.mark.parametrize("query", ["?cameras=yard", "?cameras=", "?cameras=nothing,%00,HALL"])
def test_only_wanted_cameras_are_sent(running: tuple[Service, Server], query: str) -> None:
    with live(running, query) as websocket:
        for _ in range(2):
            assert isinstance(websocket.recv(timeout=10), str)
        websocket.send(json.dumps({"type": "want", "cameras": ["hall"]}))
        next_message(websocket, bytes)


def test_a_viewer_sets_how_often_and_how_wide(running: tuple[Service, Server]) -> None:
    with live(running, "?cameras=") as websocket:
        websocket.send(json.dumps({"type": "want", "cameras": ["hall"], "max_width": 100, "max_fps": 4}))
        next_message(websocket, bytes)
        started = time.monotonic()
        frames = [parts(next_message(websocket, bytes))[0]["frame"] for _ in range(4)]
        assert 0.7 < time.monotonic() - started < 3
    assert frames == sorted(set(frames))
    assert frames[-1] - frames[0] >= 9  # 20 a second come, newest ones are sent


NONSENSE = [
    "",
    "{",
    "[]",
    "null",
    '{"type": "want"}',
    '{"type": "shout", "cameras": []}',
    '{"type": "want", "cameras": ["hall"], "max_fps": 0}',
    '{"type": "want", "cameras": ["hall"], "max_fps": NaN}',
    '{"type": "want", "cameras": ["hall"], "max_width": -1}',
    '{"type": "want", "cameras": ["hall"], "more": 1}',
    '{"type": "want", "cameras": [["hall"]]}',
    "[" * 5000,
    b"\x00\x01",
]


@pytest.mark.parametrize("message", NONSENSE, ids=range(len(NONSENSE)))
def test_nonsense_ends_the_view_with_a_reason(running: tuple[Service, Server], message: Any) -> None:
    with live(running, "?cameras=") as websocket:
        websocket.send(message)
        assert "closed with" not in last_reason(websocket)


def last_reason(websocket: ClientConnection) -> str:
    """Read to the end; return the reason of the `bye`."""
    reason = ""
    for _ in range(200):
        try:
            message = websocket.recv(timeout=10)
        except ConnectionClosed:
            return reason if websocket.close_code == 1008 else f"closed with {websocket.close_code}"
        told = json.loads(message) if isinstance(message, str) else {}
        if told.get("type") == "bye":
            reason = told["reason"]
    raise AssertionError("it goes on")


def test_a_message_that_is_too_long_ends_the_view(running: tuple[Service, Server]) -> None:
    with live(running, "?cameras=") as websocket:
        websocket.send("x" * 17_000)
        assert last_reason(websocket) == "closed with 1009"


def test_too_many_messages_end_the_view(running: tuple[Service, Server]) -> None:
    with live(running, "?cameras=") as websocket:
        with suppress(ConnectionClosed):
            for _ in range(500):
                websocket.send('{"type": "want", "cameras": []}')
        assert last_reason(websocket) == "too many messages"


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
WANTS = st.fixed_dictionaries(
    {"type": st.sampled_from(["want", "bye"])},
    optional={
        "cameras": st.lists(st.sampled_from(["hall", "yard", "x"]) | st.text(max_size=5), max_size=5) | JSON,
        "max_width": st.integers(-5, 200_000) | JSON,
        "max_fps": st.floats() | JSON,
    },
)
MESSAGES = st.one_of(
    st.text(max_size=200), st.binary(max_size=200), JSON.map(json.dumps), WANTS.map(json.dumps)
)


@settings(max_examples=60)
@given(messages=st.lists(MESSAGES, min_size=1, max_size=4))
def test_any_messages_are_taken_or_end_the_view(
    running: tuple[Service, Server], messages: list[str | bytes]
) -> None:
    with live(running, "?cameras=") as websocket:
        try:
            for message in messages:
                websocket.send(message)
            websocket.send('{"type": "want", "cameras": ["hall"]}')
            header, _ = parts(next_message(websocket, bytes))
            assert header["camera"] == "hall"
        except ConnectionClosed:
            assert websocket.close_code == 1008, "the server must end it in order, and not fail"


def viewer_session(service: Service, server: Server, lifetime_s: float = 3600) -> tuple[str, dict[str, str]]:
    token, session = service.store.accounts.open_session("viewer", "127.0.0.1\ntest", lifetime_s)
    origin = server.address.rstrip("/")
    return session.id, {"Cookie": f"densewatch_session={token}", "User-Agent": "test", "Origin": origin}


@pytest.mark.parametrize("how", ["signed out", "expired", "deleted key"])
def test_a_view_ends_with_its_session(running: tuple[Service, Server], how: str) -> None:
    service, server = running
    accounts = service.store.accounts
    session, headers = viewer_session(service, server, 1.5 if how == "expired" else 3600)
    key, made = accounts.add_api_key(f"ending {how}", "viewer")
    if how == "deleted key":
        headers = {"Authorization": f"Bearer {key}"}
    with connect(url_of(server), additional_headers=headers, user_agent_header=None) as websocket:
        wait_for(lambda: service.hub.viewers == 1)
        accounts.delete_api_key(made.id)
        if how == "signed out":
            accounts.close_session(session)
        started = time.monotonic()
        assert "session is over" in last_reason(websocket)
        wait_for(lambda: service.hub.viewers == 0)
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("credentials", [{}, {"Authorization": "Bearer dwk_wrong"}])
def test_a_stranger_is_told_why(running: tuple[Service, Server], credentials: dict[str, str]) -> None:
    with pytest.raises(InvalidStatus) as refused, connect(url_of(running[1]), additional_headers=credentials):
        pass
    response = refused.value.response
    assert response.status_code == 401
    assert json.loads(response.body)["detail"].startswith("sign in")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "server" not in response.headers


def test_the_number_of_views_is_limited(running: tuple[Service, Server]) -> None:
    service, server = running
    most = service.limits.live_views
    key, made = service.store.accounts.add_api_key("many views", "viewer")
    headers = {"Authorization": f"Bearer {key}"}
    wait_for(lambda: service.hub.viewers == 0)
    with ExitStack() as views:
        for _ in range(most):
            views.enter_context(connect(url_of(server, "?cameras="), additional_headers=headers))
        with pytest.raises(InvalidStatus) as refused, connect(url_of(server), additional_headers=headers):
            pass
        assert refused.value.response.status_code == 429
    wait_for(lambda: service.hub.viewers == 0)
    with connect(url_of(server), additional_headers=headers):
        pass
    service.store.accounts.delete_api_key(made.id)


def test_a_viewer_that_never_reads_holds_nobody_up(tmp_path: Path) -> None:
    """It fills its own line and no more: the others get every frame soon, and memory does not grow."""
    service = fake_service(tmp_path, site=fake_site(tmp_path, port=0), fps=0.01)
    noise = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)  # makes large JPEGs
    settings = hall_and_yard()["hall"]
    with serving(service) as server:
        key, _ = service.store.accounts.add_api_key("good", "viewer")
        headers = {"Authorization": f"Bearer {key}"}
        deaf_key, made = service.store.accounts.add_api_key("deaf", "viewer")
        deaf = deaf_viewer(server, deaf_key)
        with connect(url_of(server, "?cameras=hall"), additional_headers=headers) as good:
            wait_for(lambda: service.hub.viewers == 2)
            ages = []
            for number in range(40):
                service.hub.publish(replace(frame_result("hall", number, settings), image=noise))
                header, _ = parts(next_message(good, bytes))
                assert header["frame"] == number
                ages.append(header["age_ms"])
            behind = min(viewer.seen.get("hall", -1) for viewer in service.hub._viewers)
            assert behind < 30, "the line of the deaf one should be full"
        assert sorted(ages)[35] < 500
        assert len(service.hub._newest) == 1
        assert len(service.hub._encoded) == 1
        service.store.accounts.delete_api_key(made.id)  # its end is not held up either
        wait_for(lambda: service.hub.viewers == 0, 5)
        assert not service.hub._encoded
        deaf.close()


def deaf_viewer(server: Server, key: str) -> socket.socket:
    """Open a view by hand, and read nothing of it."""
    host, port = server.address.removeprefix("http://").rstrip("/").split(":")
    line = socket.create_connection((host, int(port)))
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    request = [
        "GET /api/v1/live?cameras=hall HTTP/1.1",
        f"Host: {host}:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        f"Authorization: Bearer {key}",
    ]
    line.sendall(("\r\n".join(request) + "\r\n\r\n").encode())
    assert line.recv(12) == b"HTTP/1.1 101"
    return line
