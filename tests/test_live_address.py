"""What users type as sources, and that no text shows what is secret in it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from densewatch.live.address import Credentials, address_of, credentials_for, parse_address, shown_source
from densewatch.live.frames import SourceError
from densewatch.live.settings import CameraSettings


@pytest.mark.parametrize(
    ("text", "kind", "shown"),
    [
        ("rtsp://cam/one", "network", "rtsp://cam/one"),
        ("RTSP://Cam:8554/One", "network", "rtsp://cam:8554/One"),
        ("rtsp://bob:s3cret@cam:554/one", "network", "rtsp://cam/one"),
        ("rtsps://cam:322/", "network", "rtsps://cam/"),
        ("http://[fe80::1]:81/a", "network", "http://[fe80::1]:81/a"),
        ("rtsp://cam/x?channel=1&subtype=0", "network", "rtsp://cam/x?channel=1&subtype=0"),
        (
            "http://cam/x?usr=bob&pwd=1234&size=640x480",
            "network",
            "http://cam/x?usr=***&pwd=***&size=640x480",
        ),
        ("http://cam/x?token=abc&z=Zm9v", "network", "http://cam/x?token=***&z=***"),
        ("https://cam/live.m3u8?justone", "network", "https://cam/live.m3u8?***"),
        ("rtsp://cam/user=bob_password=tl1X_channel=1", "network", "rtsp://cam/user=***"),
        ("rtsps://cam:7441/aBcD1234efGH5678", "network", "rtsps://cam:7441/***"),
        ("rtsp://192.168.7.9/0/admin:hunter22/main", "network", "rtsp://192.168.7.9/0/***/main"),
        ("rtsp://cam/0/admin%3Ahunter22/main", "network", "rtsp://cam/0/***/main"),
        ("rtsp://cam/0/admin%40hunter22/main", "network", "rtsp://cam/0/***/main"),
        ("rtsp://192.168.7.9/live/admin/hunter2/ch1", "network", "rtsp://192.168.7.9/live/admin/***/ch1"),
        ("rtsp://cam/Root/hunter2", "network", "rtsp://cam/Root/***"),
        ("rtsp://cam/user/admin/hunter2", "network", "rtsp://cam/user/***/***"),
        ("rtsp://bob:s3cret@cam/bob/s3cret/ch1", "network", "rtsp://cam/***/***/ch1"),
        ("rtsp://cam/live/user/", "network", "rtsp://cam/live/user/"),
        ("rtsp://cam/Streaming/Channels/101", "network", "rtsp://cam/Streaming/Channels/101"),
        ("rtsp://cam/one#part", "network", "rtsp://cam/one"),
        ("/dev/video2", "device", "webcam:2"),
        ("webcam:0", "device", "webcam:0"),
        ("0", "device", "webcam:0"),
        ("demo", "demo", "demo"),
        (" clip.mp4 ", "file", "clip.mp4"),
        (str(Path(__file__).parent), "folder", str(Path(__file__).parent)),
    ],
)
def test_an_address_is_taken_apart_and_shown(text: str, kind: str, shown: str) -> None:
    address = parse_address(text)
    assert (address.kind, str(address)) == (kind, shown)
    assert repr(address) == f"Address({shown!r})"


@pytest.mark.parametrize(
    "text",
    [
        "", "  ", "exec:reboot", "concat:a|b", "file:///etc/passwd", "ftp://cam/x", "webcam:x", "rtsp:cam",
        "rtsp://", "rtsp://cam:0/", "rtsp://cam:99999/", "rtsp://bob:pa/ss@cam/one", "bob:s3cret@cam/one",
        "s3cret@cam/one", "rtsp://cam/a b", "rtsp://cam/\n", "rtsp://[::1/", "exec:s3cret@x",
        "data:video/mp4,x",
    ],
)  # fmt: skip
def test_what_is_no_source_is_refused_without_its_secrets(text: str) -> None:
    if text == "rtsp://cam/\n":
        assert parse_address(text).location == "/"  # white space around is let go
        return
    with pytest.raises(SourceError) as caught:
        parse_address(text)
    assert caught.value.reason == "address"
    for secret in ("s3cret", "pa/ss", "bob"):
        assert secret not in str(caught.value)


def test_a_wrong_scheme_is_answered_with_the_right_one() -> None:
    with pytest.raises(SourceError, match="did you mean rtsp"):
        parse_address("rstp://cam/one")


@pytest.mark.parametrize(
    ("source", "location", "shown"),
    [
        ("rtsp://cam.example/${WORD}/stream", "/hunter2/stream", "rtsp://cam.example/${WORD}/stream"),
        ("rtsp://cam/x?z=${PIN}#${PIN}", "/x?z=4711", "rtsp://cam/x?z=${PIN}"),
        ("rtsp://cam/x?token=${WORD}&z=s3cret", "/x?token=hunter2&z=s3cret", "rtsp://cam/x?token=***&z=***"),
        (" rtsp://bob:${WORD}@${HOST}:${PIN}/1 ", "/1", "rtsp://${HOST}:${PIN}/1"),
        ("rtsp://bob:s3cret@cam/bob/s3cret/${PIN}", "/bob/s3cret/4711", "rtsp://cam/***/***/${PIN}"),
        ("rtsp://cam/${USER}/s3cret/1", "/admin/s3cret/1", "rtsp://cam/${USER}/***/1"),
        ("rtsp://cam/aBcD1234efGH5678${PIN}", "/aBcD1234efGH56784711", "rtsp://cam/***"),
        ("${WORD}", "hunter2", "${WORD}"),
        ("${PIN}", "4711", "${PIN}"),
        ("${BASE}", "/live", "${BASE}"),
        ("${BASE}/user=bob_password=s3cret", "/live/user=bob_password=s3cret", "${BASE}/user=***"),
        ("webcam:${NUMBER}", "7", "webcam:${NUMBER}"),
        ("/clips/${WORD}.mp4", "/clips/hunter2.mp4", "/clips/${WORD}.mp4"),
    ],
)  # fmt: skip
def test_variables_are_shown_by_their_names(
    source: str, location: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"WORD": "hunter2", "PIN": "4711", "NUMBER": "7", "HOST": "cam.example", "USER": "admin"}
    for name, value in (variables | {"BASE": "rtsp://bob:hunter2@cam/live"}).items():
        monkeypatch.setenv(name, value)
    address = address_of(CameraSettings(source=source))
    assert (address.location, str(address), repr(address)) == (location, shown, f"Address({shown!r})")
    assert shown_source(source) == shown


def test_the_value_of_a_password_is_hidden_where_it_also_stands_in_clear(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORD", "hunter2")
    assert str(address_of(CameraSettings(source="rtsp://${WORD}@cam/hunter2/1"))) == "rtsp://cam/***/1"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("rtsp://bob:s3cret@cam/${ABSENT}", "the environment variable ABSENT is not set"),
        ("rtsp://bob:s3cret@cam:${WORD}/x", "rtsp://cam:${WORD}/x: with its variables filled in, it is no "),
        ("${WORD}://bob:s3cret@cam/x", "${WORD}://cam/x: with its variables filled in, it is no address"),
        ("rtsp://bob:s3cret/${WORD}@cam/x", "rtsp://***: with its variables filled in, it is no address"),
        ("bob:s3cret@cam/${WORD}", "***/${WORD}: with its variables filled in, it is no address"),
    ],
)
def test_variables_that_make_no_source_are_not_shown(
    source: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORD", "hunter2")
    with pytest.raises(SourceError) as caught:
        address_of(CameraSettings(source=source))
    assert str(caught.value).startswith(told)
    assert (caught.value.reason, caught.value.__context__) == ("address", None)


@given(user=st.text(min_size=1), password=st.text(min_size=1))
def test_credentials_survive_a_url(user: str, password: str) -> None:
    given_ = Credentials(user, password)
    try:
        url = parse_address("rtsp://cam/one").url_at("10.0.0.1", 8554, given_)
    except UnicodeEncodeError:  # half a surrogate pair is no text
        return
    address = parse_address(url)
    assert address.credentials == given_
    assert str(address) == "rtsp://10.0.0.1:8554/one"


@given(st.text())
def test_any_text_is_an_address_or_a_source_error(text: str) -> None:
    with contextlib.suppress(SourceError):
        assert str(parse_address(text))


def test_credentials_come_from_settings_before_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = parse_address("rtsp://bob:old@cam/one")
    (tmp_path / "password").write_text("from file\n")
    monkeypatch.setenv("CAM_PASSWORD", "from env")

    def found(**fields: str) -> Credentials | None:
        return credentials_for(CameraSettings.model_validate({"source": "x", **fields}), address)

    assert found() == Credentials("bob", "old")
    assert found(username="eve") == Credentials("eve", "old")
    assert found(password_env="CAM_PASSWORD") == Credentials("bob", "from env")
    assert found(username="eve", password_file=str(tmp_path / "password")) == Credentials("eve", "from file")
    nobody = credentials_for(CameraSettings(source="x"), parse_address("rtsp://cam/one"))
    assert nobody is None
    assert repr(Credentials("bob", "old")) == "Credentials()"


def test_a_password_that_is_not_there_is_a_source_error(tmp_path: Path) -> None:
    address = parse_address("rtsp://cam/one")
    (tmp_path / "binary").write_bytes(b"\xff\xfes3cret\xff")
    for fields, says in [
        ({"password_env": "NOT_THERE_AT_ALL"}, "NOT_THERE_AT_ALL is not set"),
        ({"password_file": str(tmp_path / "absent")}, "No such file"),
        ({"password_file": str(tmp_path / "binary")}, "not text"),
    ]:
        with pytest.raises(SourceError, match=says) as caught:
            credentials_for(CameraSettings.model_validate({"source": "x", **fields}), address)
        assert caught.value.__context__ is None
