"""No secret of a site's file gets out of it, wherever it stands."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from unittest.mock import patch
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from densewatch.live.address import address_of
from densewatch.live.frames import SourceError
from densewatch.live.settings import CameraSettings
from densewatch.site.errors import SiteError
from densewatch.site.redaction import redacted
from densewatch.site.yaml_file import SiteFile

PLACES = {
    "password in an address": "cameras: {a: {source: 'rtsp://anna:SECRET@192.0.2.1/x'}}",
    "user in an address": "cameras: {a: {source: 'rtsp://SECRET@192.0.2.1/x'}}",
    "query of an address": "cameras: {a: {source: 'http://cam.example/x?channel=1&token=SECRET'}}",
    "query of any name": "cameras: {a: {source: 'http://cam.example/x?x=SECRET'}}",
    "path of an address": "cameras: {a: {source: 'rtsp://cam.example/user=admin_password=SECRET&channel=1'}}",
    "address without a scheme": "cameras: {a: {source: 'anna:SECRET@192.0.2.1/x'}}",
    "address of an unknown scheme": "cameras: {a: {source: 'ftp://anna:SECRET@192.0.2.1/x'}}",
    "address in no list": "cameras: {a: {source: ['rtsp://anna:SECRET@192.0.2.1/x']}}",
    "address as a mapping": "cameras: {a: {source: {url: SECRET}}}",
    "address without quotes": "cameras:\n  a:\n    source: rtsp://anna:SECRET@192.0.2.1:x/x",
    "password in clear": "cameras: {a: {source: demo, password: 'SECRET'}}",
    "password without quotes": "cameras:\n  a:\n    source: demo\n    password: SECRET",
    "password of a user": "cameras: {a: {source: demo}}\nusers: [{name: b, role: admin, password: 'SECRET'}]",
    "password for a variable": "cameras: {a: {source: demo, password_env: 'SECRET'}}",
    "password for a user's variable": "cameras: {a: {source: demo}}\n"
    "users: [{name: b, role: admin, password_env: 'SECRET'}]",
    "password as a reference": "cameras: {a: {source: 'rtsp://a:${SECRET}@192.0.2.1/'}}",
    "database": "cameras: {a: {source: demo}}\nstore: {url: 'postgresql+psycopg://a:SECRET@db.example/x'}",
    "database's query": "cameras: {a: {source: demo}}\nstore: {url: 'postgresql+psycopg://db/x?password=SECRET'}",
    "unknown database": "cameras: {a: {source: demo}}\nstore: {url: 'mysql://a:SECRET@db.example/x'}",
    "database as a list": "cameras: {a: {source: demo}}\nstore: {url: [SECRET]}",
    "origin": "cameras: {a: {source: demo}}\nserver: {public_url: 'https://a:SECRET@watch.example'}",
    "origins": "cameras: {a: {source: demo}}\nserver: {allowed_origins: ['https://a:SECRET@watch.example']}",
    "a mistake beside an address": "cameras: {a: {source: 'rtsp://anna:SECRET@192.0.2.1/x', max_fps: -1}}",
    "refused address": "cameras: {a: {source: 'rtsp://anna:SECRET@10.0.0.1/x?token=SECRET'}}",
    "an alias by mistake": "cameras:\n  a:\n    source: demo\n    password: *SECRET",
    "a tag by mistake": "cameras:\n  a:\n    source: demo\n    password: !SECRET",
    "a handle by mistake": "cameras:\n  a:\n    source: demo\n    password: !SECRET!x y",
    "broken quotes": "cameras:\n  a:\n    source: demo\n    password: 'SECRET",
    "broken brackets": "cameras:\n  a:\n    source: demo\n    password: [SECRET",
    "twice": "cameras: {a: {source: 'rtsp://a:SECRET@192.0.2.1/', source: 'rtsp://a:SECRET@192.0.2.1/'}}",
}


def everything_told(path: Path) -> str:
    """Return all texts that a site's file gives away."""
    try:
        file = SiteFile(path)
    except SiteError as error:
        return f"{error} {error!r} {error.__cause__!r} {error.sentences!r}"
    told = [repr(file), repr(file.settings), str(file.settings), repr(file.settings.cameras["a"])]
    told += [repr(file.settings.store), str(file.settings.store), str(file.settings.cameras["a"])]
    told.append(json.dumps(redacted(file.settings)))
    file.check_labels(["person"])
    try:
        file.check_secrets({})
    except SiteError as error:
        told.append(str(error))
    return "\n".join(told)


@pytest.mark.parametrize("place", PLACES)
def test_a_secret_is_told_nowhere(tmp_path: Path, place: str) -> None:
    for secret in (
        f"hunter{secrets.token_hex(4)}",
        f"p{secrets.token_hex(3)}%2F%40",
        f"Aa1-{secrets.token_hex(3)}",
    ):
        (tmp_path / "site.yaml").write_text(PLACES[place].replace("SECRET", secret))
        assert secret not in everything_told(tmp_path / "site.yaml")


signs = st.text("abcXYZ019@/?%!$&*+=-_.~^()<>:#;|\\é日", max_size=8).map(lambda text: f"zQx7{text}zQx8")


@given(place=st.sampled_from([place for place in PLACES if place != "path of an address"]), secret=signs)
def test_no_secret_whatever_its_signs_are(
    tmp_path_factory: pytest.TempPathFactory, place: str, secret: str
) -> None:
    path = tmp_path_factory.mktemp("site") / "site.yaml"
    path.write_bytes(PLACES[place].replace("SECRET", secret).encode())
    told = everything_told(path)
    assert "zQx7" not in told
    assert "zQx8" not in told


@given(
    secret=signs,
    source=st.sampled_from(
        [
            "rtsp://a:${WORD}@h/x", "http://${WORD}:81/x", "rtsp://h:${WORD}/x", "http://h/${WORD}/x?a=${WORD}",
            "${WORD}", "${WORD}/x", "/clips/${WORD}", "${WORD}://h/x", "rtsp:${WORD}", "webcam:${WORD}",
        ]
    ),
)  # fmt: skip
def test_the_value_of_a_variable_is_not_shown(secret: str, source: str) -> None:
    for value in (secret, f"rtsp://a:{quote(secret, safe='')}@192.0.2.1/x"):
        with patch.dict(os.environ, WORD=value):
            try:
                address = address_of(CameraSettings(source=source))
            except SourceError as error:
                told = f"{error} {error!r}"
            else:
                told = f"{address} {address!r}"
        assert "zQx7" not in told
        assert "zQx8" not in told


def test_what_is_no_secret_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(
        "cameras:\n"
        "  a: {source: 'rtsp://anna:${CAM}@192.0.2.1:8554/live/1?channel=2', password_env: CAM}\n"
        "  b: {source: '${WHOLE}'}\n"
        "  c: {source: demo, password_file: word}\n"
        "  d: {source: 'rtsp://192.0.2.1:${PORT}/x'}\n"
        "store: {url: 'postgresql+psycopg://a:${WORD}@db.example:5433/watch?sslmode=require'}\n"
    )
    shown = redacted(SiteFile(path).settings)
    assert shown["cameras"]["a"]["source"] == "rtsp://192.0.2.1:8554/live/1?channel=2"
    assert shown["cameras"]["a"]["password_env"] == "CAM"
    assert shown["cameras"]["b"]["source"] == "${WHOLE}"
    assert shown["cameras"]["c"]["password_file"] == str(tmp_path / "word")
    assert shown["cameras"]["d"]["source"] == "rtsp://192.0.2.1:${PORT}/x"
    assert shown["store"]["url"] == "postgresql+psycopg://db.example:5433/watch"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://a:pa/ss@db.example/x",
        "postgresql+psycopg://a:pa?ss@db.example/x",
        "postgresql+psycopg://a:pa#ss@db.example/x",
        "postgresql+psycopg://a:[ss@db.example/x",
    ],
)
def test_a_database_whose_password_is_not_quoted_is_not_shown(tmp_path: Path, url: str) -> None:
    (tmp_path / "site.yaml").write_text(f"cameras: {{a: {{source: demo}}}}\nstore: {{url: '{url}'}}")
    shown = redacted(SiteFile(tmp_path / "site.yaml").settings)
    assert shown["store"]["url"] == "postgresql+psycopg://***"


def test_errors_of_the_settings_themselves_hold_no_input() -> None:
    with pytest.raises(ValueError, match="max_fps") as caught:
        CameraSettings(source="rtsp://a:hunter2@h/", max_fps=-1)
    assert "hunter2" not in str(caught.value)
