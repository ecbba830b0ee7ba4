"""Which sources may be opened: a table of what is refused and what is not."""

from __future__ import annotations

import ipaddress
import socket
from pathlib import Path
from typing import Any

import pytest

from densewatch.live.address import parse_address
from densewatch.live.frames import SourceError
from densewatch.live.policy import SourcePolicy

STRICT = SourcePolicy()
PUBLIC, PUBLIC_6 = "93.184.216.34", "2606:2800:220:1::1"


def resolving(monkeypatch: pytest.MonkeyPatch, *ips: str) -> None:
    def answer(host: str, port: int, **_: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in ips]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


def refused(policy: SourcePolicy, text: str) -> bool:
    try:
        address = parse_address(text)
        if address.kind == "network":
            policy.resolve(address)
        else:
            policy.check(address)
    except SourceError as error:
        return error.reason == "policy"
    return False


@pytest.mark.parametrize(
    "ip",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.2", "169.254.169.254",
        "100.64.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1",
        "ff02::1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::",
    ],
)  # fmt: skip
def test_the_default_refuses_what_is_not_public(ip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(STRICT, f"rtsp://[{ip}]/x" if ":" in ip else f"rtsp://{ip}/x")
    resolving(monkeypatch, ip)
    assert refused(STRICT, "rtsp://innocent.example/x")
    resolving(monkeypatch, PUBLIC, ip)
    assert refused(STRICT, "rtsp://mixed.example/x"), "one address that is not allowed spoils all"


@pytest.mark.parametrize("number", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost"])
def test_other_spellings_of_this_computer_are_refused_too(number: str) -> None:
    assert refused(STRICT, f"http://{number}/x")


@pytest.mark.parametrize("ip", [PUBLIC, PUBLIC_6])
def test_the_default_allows_public_addresses(ip: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, ip)
    assert STRICT.resolve(parse_address("https://camera.example/x")) == [ip]


def test_each_kind_of_network_is_allowed_on_its_own() -> None:
    allowing = {
        "192.168.1.2": SourcePolicy(private=True),
        "127.0.0.1": SourcePolicy(loopback=True),
        "169.254.1.1": SourcePolicy(link_local=True),
    }
    for allowed, policy in allowing.items():
        for ip in allowing:
            assert refused(policy, f"rtsp://{ip}/x") == (ip != allowed)


def test_a_network_is_allowed_by_its_number() -> None:
    policy = SourcePolicy(networks=(ipaddress.ip_network("192.168.7.0/24"),))
    assert not refused(policy, "rtsp://192.168.7.9/x")
    assert refused(policy, "rtsp://192.168.8.9/x")


def test_an_unknown_host_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object, **__: object) -> Any:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    with pytest.raises(SourceError) as caught:
        STRICT.resolve(parse_address("rtsp://nowhere.example/x"))
    assert caught.value.reason == "unknown_host"


def test_schemes_are_limited() -> None:
    assert refused(SourcePolicy(schemes=frozenset({"rtsps"}), loopback=True), "rtsp://127.0.0.1/x")


def test_files_lie_in_allowed_folders_only(tmp_path: Path) -> None:
    inside, outside = tmp_path / "clips", tmp_path / "clips-secret"
    inside.mkdir()
    outside.mkdir()
    (outside / "a.mp4").touch()
    (inside / "link.mp4").symlink_to(outside / "a.mp4")
    (inside / "b.mp4").touch()
    policy = SourcePolicy(folders=(inside,))
    assert not refused(policy, str(inside / "b.mp4"))
    assert not refused(policy, str(inside))
    for path in (outside / "a.mp4", inside / "link.mp4", inside / ".." / "clips-secret" / "a.mp4", Path("/")):
        assert refused(policy, str(path))
    assert refused(STRICT, str(inside / "b.mp4"))


def test_devices_are_allowed_by_number() -> None:
    assert refused(STRICT, "/dev/video0")
    assert not refused(SourcePolicy(devices=frozenset({0})), "/dev/video0")
    assert refused(SourcePolicy(devices=frozenset({0})), "webcam:1")


def test_the_demo_is_always_allowed() -> None:
    assert not refused(STRICT, "demo")


def test_a_user_may_open_what_he_types() -> None:
    policy = SourcePolicy.permissive()
    for text in ("rtsp://127.0.0.1/x", "http://192.168.1.1/", "webcam:3", "/etc/hostname", "/tmp"):
        assert not refused(policy, text)
