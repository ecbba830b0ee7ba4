"""The WebSocket and the hub behind it: newest first, bounded, and over when the session is over."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from densewatch.server.hub import WIDTHS, Hub, Viewer, step
from densewatch.server.limits import Limits
from densewatch.server.serve import Server, serving
from densewatch.server.service import Service
from fake_service import BOUNDLESS, fake_service, fake_site
from fake_watcher import FakeWatcher, frame_result, hall_and_yard


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


def parts(message: bytes) -> tuple[dict[str, Any], Any]:
    """Return the header and the picture of a binary message."""
    length = int.from_bytes(message[:4], "big")
    picture = cv2.imdecode(np.frombuffer(message[4 + length :], np.uint8), cv2.IMREAD_COLOR)
    return json.loads(message[4 : 4 + length]), picture


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
    assert red > blue + 50  # the person of this very frame, not of another


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
        assert last_reason(websocket)


def last_reason(websocket: ClientConnection) -> str:
    """Read to the end; return the reason of the `bye`."""
    reason = ""
    for _ in range(200):
        try:
            message = websocket.recv(timeout=10)
        except ConnectionClosed as closed:
            assert closed.rcvd is not None
            assert closed.rcvd.code == 1008
            return reason
        told = json.loads(message) if isinstance(message, str) else {}
        if told.get("type") == "bye":
            reason = told["reason"]
    raise AssertionError("it goes on")


def test_a_message_that_is_too_long_ends_the_view(running: tuple[Service, Server]) -> None:
    with live(running, "?cameras=") as websocket, pytest.raises(ConnectionClosed) as closed:
        websocket.send("x" * 17_000)
        while True:
            websocket.recv(timeout=10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


def test_too_many_messages_end_the_view(running: tuple[Service, Server]) -> None:
    with live(running, "?cameras=") as websocket, pytest.raises(ConnectionClosed):
        for _ in range(5000):
            websocket.send('{"type": "want", "cameras": []}')
            time.sleep(0)
        last_reason(websocket)
        websocket.send("x")


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
        except ConnectionClosed as closed:
            assert closed.rcvd is not None
            assert closed.rcvd.code == 1008, "the server must say why, and not fail"


def viewer_session(service: Service, server: Server, lifetime_s: float = 3600) -> tuple[str, dict[str, str]]:
    token, session = service.store.accounts.open_session("viewer", "127.0.0.1\ntest", lifetime_s)
    origin = server.address.rstrip("/")
    return session.id, {"Cookie": f"densewatch_session={token}", "User-Agent": "test", "Origin": origin}


@pytest.mark.parametrize("how", ["signed out", "expired", "deleted key", "never reads"])
def test_a_view_ends_with_its_session(running: tuple[Service, Server], how: str) -> None:
    service, server = running
    accounts = service.store.accounts
    session, headers = viewer_session(service, server, 1.5 if how == "expired" else 3600)
    key, made = accounts.add_api_key(f"ending {how}", "viewer")
    if how == "deleted key":
        headers = {"Authorization": f"Bearer {key}"}
    arguments: dict[str, Any] = {"user_agent_header": None, "close_timeout": 0.1}
    arguments |= {"max_queue": 1} if how == "never reads" else {}
    with connect(url_of(server), additional_headers=headers, **arguments) as websocket:
        wait_for(lambda: service.hub.viewers == 1)
        accounts.delete_api_key(made.id)
        if how in ("signed out", "never reads"):
            accounts.close_session(session)
        started = time.monotonic()
        if how != "never reads":
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
    key, _ = service.store.accounts.add_api_key("many views", "viewer")
    headers = {"Authorization": f"Bearer {key}"}
    wait_for(lambda: service.hub.viewers == 0)
    views = [connect(url_of(server, "?cameras="), additional_headers=headers) for _ in range(most)]
    with pytest.raises(InvalidStatus) as refused:
        connect(url_of(server), additional_headers=headers)
    assert refused.value.response.status_code == 429
    for view in views:
        view.close()
    wait_for(lambda: service.hub.viewers == 0)
    with connect(url_of(server), additional_headers=headers):
        pass
    service.store.accounts.delete_api_key(
        next(k.id for k in service.store.accounts.api_keys() if k.name == "many views")
    )


def test_a_viewer_that_never_reads_holds_nobody_up(tmp_path: Path) -> None:
    """It fills its own line and no more: the others get every frame soon, and memory does not grow."""
    service = fake_service(tmp_path, site=fake_site(tmp_path, port=0), fps=0.01)
    watcher = service.watcher
    assert isinstance(watcher, FakeWatcher)
    watcher._size = (720, 1280)
    with serving(service) as server:
        key, _ = service.store.accounts.add_api_key("two", "viewer")
        headers = {"Authorization": f"Bearer {key}"}
        deaf = deaf_viewer(server, key)
        with connect(url_of(server, "?cameras=hall"), additional_headers=headers) as good:
            wait_for(lambda: service.hub.viewers == 2)
            ages = []
            for _ in range(150):
                shown = watcher.show("hall")
                header, _ = parts(next_message(good, bytes))
                assert header["frame"] == shown.frame
                ages.append(header["age_ms"])
        assert sorted(ages)[140] < 500
        assert len(service.hub._newest) == 1
        assert len(service.hub._encoded) == 1  # of the one that still looks
        deaf.close()
        wait_for(lambda: service.hub.viewers == 0)
        assert not service.hub._encoded


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


def with_hub(job: Callable[[Hub], Any]) -> Any:
    async def run() -> Any:
        hub = Hub()
        hub.open()
        try:
            return await asyncio.wait_for(job(hub), 20)
        finally:
            hub.close()

    return asyncio.run(run())


def test_a_frame_is_encoded_once_for_all_viewers_of_a_width(monkeypatch: pytest.MonkeyPatch) -> None:
    from densewatch.server import hub as module

    encoded: list[int] = []
    old = module._encode

    def counted(result: Any, width: int) -> tuple[bytes, bytes]:
        encoded.append(width)
        return old(result, width)

    monkeypatch.setattr(module, "_encode", counted)

    async def job(hub: Hub) -> None:
        widths = (1280, 1280, 1000, 640, 700)
        viewers = [Viewer(frozenset({"hall"}), width, 1000) for width in widths]
        for viewer in viewers:
            hub.join(viewer)
        for number in range(3):
            hub.publish(frame_result("hall", number, hall_and_yard()["hall"], (720, 1280)))
            messages = await asyncio.gather(*(hub.next(viewer) for viewer in viewers))
            assert {parts(message)[0]["frame"] for message in messages} == {number}
            assert [parts(message)[1].shape[1] for message in messages] == [1280, 1280, 960, 640, 640]

    with_hub(job)
    assert sorted(encoded) == sorted([1280, 960, 640] * 3)


def test_nothing_is_encoded_when_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    from densewatch.server import hub as module

    monkeypatch.setattr(module, "encode_jpeg", lambda *_, **__: pytest.fail("somebody encodes"))

    async def job(hub: Hub) -> None:
        viewer = Viewer(frozenset({"yard"}))
        hub.join(viewer)
        for number in range(5):
            hub.publish(frame_result("hall", number, hall_and_yard()["hall"]))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(hub.next(viewer), 0.1)

    with_hub(job)


def test_cameras_take_turns_and_a_late_viewer_gets_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    async def job(hub: Hub) -> list[tuple[str, int]]:
        cameras = ("a", "b", "c")
        settings = hall_and_yard()["hall"]
        viewer = Viewer(frozenset(cameras), max_fps=1000)
        hub.join(viewer)
        got = []
        for number in range(12):
            for camera in cameras:  # all three are new again before each message
                hub.publish(frame_result(camera, number, settings))
            header, _ = parts(await hub.next(viewer))
            got.append((header["camera"], header["frame"]))
        return got

    got = with_hub(job)
    assert [frame for _, frame in got] == list(range(12))
    assert all(len({camera for camera, _ in got[start : start + 3]}) == 3 for start in range(0, 12, 3))


def test_the_age_grows_until_a_message_is_sent() -> None:
    async def job(hub: Hub) -> None:
        hub.publish(frame_result("hall", 0, hall_and_yard()["hall"]))
        await asyncio.sleep(0.2)
        for _ in range(2):  # the second one gets what was encoded for the first
            viewer = Viewer(frozenset({"hall"}))
            hub.join(viewer)
            header, _ = parts(await hub.next(viewer))
            assert 250 <= header["age_ms"] < 5000
            assert header["age_ms"] == pytest.approx((header["sent"] - header["time"]) * 1000, abs=20)

    with_hub(job)


def test_a_viewer_that_leaves_does_not_take_a_picture_from_the_others() -> None:
    async def job(hub: Hub) -> None:
        first, second = Viewer(frozenset({"hall"})), Viewer(frozenset({"hall"}))
        hub.join(first)
        hub.join(second)
        hub.publish(frame_result("hall", 0, hall_and_yard()["hall"], (1080, 1920)))
        leaving, staying = asyncio.ensure_future(hub.next(first)), asyncio.ensure_future(hub.next(second))
        await asyncio.sleep(0)
        leaving.cancel()
        hub.leave(first)
        assert parts(await staying)[0]["frame"] == 0

    with_hub(job)


@given(st.integers(1, 4000), st.integers(1, 4000))
def test_widths(width: int, wanted: int) -> None:
    sent = step(width, wanted)
    assert sent <= width
    assert sent <= max(wanted, WIDTHS[0])
    assert sent == width or sent in WIDTHS


def test_results_come_before_and_after_anybody_serves() -> None:
    hub = Hub()
    hub.publish(frame_result("hall", 0, hall_and_yard()["hall"]))
    with_hub(lambda hub: asyncio.sleep(0))
    hub.close()
    hub.publish(frame_result("hall", 1, hall_and_yard()["hall"]))
    newest = hub.newest("hall")
    assert newest is not None
    assert newest.result.frame == 1


def test_limits_of_a_site_are_those_of_its_server(tmp_path: Path) -> None:
    site = fake_site(tmp_path, limits={"live_views": 3, "requests_at_once": 7})
    limits = Limits.of(site.server.limits)
    assert (limits.live_views, limits.requests.burst) == (3, 7)
    assert BOUNDLESS.live_views == 8
