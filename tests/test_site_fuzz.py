"""Whatever a file holds: it is a site, or it is refused in sentences, in bounded time."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from densewatch.site.errors import SiteError
from densewatch.site.redaction import redacted
from densewatch.site.settings import SiteSettings
from densewatch.site.yaml_file import SiteFile

EXAMPLE = (Path(__file__).parent.parent / "docs" / "examples" / "site.yaml").read_bytes()
VALUES = YAML(typ="safe", pure=True).load(EXAMPLE.decode())
KEYS = [
    *SiteSettings.model_fields,
    *(
        "source",
        "zones",
        "lines",
        "masks",
        "points",
        "start",
        "end",
        "only",
        "thresholds",
        "tls",
        "url",
        "host",
    ),
    *("max_size", "retention", "name", "role", "password_env", "networks", "folders", "<<", "a"),
]
MOST_SECONDS = 10


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "site.yaml"


def try_to_read(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    started = time.process_time()
    try:
        site = SiteFile(path).settings
    except SiteError as error:
        told = error.sentences
    else:
        told = (f"{path}: fine",)
        json.dumps(redacted(site), allow_nan=False)
    assert time.process_time() - started < MOST_SECONDS
    assert told
    assert all(sentence.startswith(str(path)) and len(sentence) < 4000 for sentence in told)
    assert all(sentence.isprintable() for sentence in told)


@given(data=st.binary(max_size=300))
def test_bytes(path: Path, data: bytes) -> None:
    try_to_read(path, data)


@given(text=st.text(st.sampled_from("ab:-?[]{},#&*!|>'\"%@`\n\t <~=./0123\\\r\ufeff\u2028é"), max_size=120))
def test_texts_of_yamls_own_signs(path: Path, text: str) -> None:
    try_to_read(path, text.encode())


odd = [
    "demo",
    "rtsp://10.0.0.1/",
    "1e999",
    "0x",
    "${A}",
    "20 GB",
    "self-signed",
    "\x00",
    "//",
    "rtsp://[",
    "~a/b",
]
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), st.sampled_from(odd)
)
structures = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner)
    ),
    max_leaves=20,
)


@given(value=structures)
def test_structures(path: Path, value: Any) -> None:
    stream = io.StringIO()
    YAML(typ="safe", pure=True).dump(value, stream)
    try_to_read(path, stream.getvalue().encode("utf-8", "surrogatepass"))


@given(value=structures, choice=st.data())
def test_the_example_with_another_value_somewhere(path: Path, value: Any, choice: st.DataObject) -> None:
    document = json.loads(json.dumps(VALUES))
    part: Any = document
    while True:
        key = choice.draw(st.sampled_from(sorted(part) if isinstance(part, dict) else range(len(part))))
        if not part[key] or not isinstance(part[key], dict | list) or choice.draw(st.booleans()):
            break
        part = part[key]
    part[key] = value
    try_to_read(path, json.dumps(document).encode())


new_bytes = st.binary(max_size=8) | st.sampled_from([b": ", b"\n", b"- "])
cuts = st.lists(
    st.tuples(st.integers(0, len(EXAMPLE)), st.integers(0, 40), new_bytes), min_size=1, max_size=4
)


@given(cuts=cuts)
def test_the_example_with_other_bytes(path: Path, cuts: list[tuple[int, int, bytes]]) -> None:
    data = EXAMPLE
    for start, length, new in cuts:
        data = data[:start] + new + data[start + length :]
    try_to_read(path, data)


HARD = {
    "brackets": b"[",
    "braces": b"{a: ",
    "dashes": b"- ",
    "questions": b"? ",
    "entries": b"a,",
    "blanks": b" ",
    "breaks": b"\n",
    "tags": b"!",
    "tabs": b"\t",
    "dots": b"...\n",
    "anchors": b"&a ",
    "points": b"[0.1, 0.2], ",
    "digits": b"9",
    "keys": b"a: 1\n",
    "percents": b"%A ",
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize(
    "begin", [b"", b"[", b"{", b"cameras: ", b"cameras:\n  a: {source: ", b"model: {model: "]
)
def test_the_longest_files_take_bounded_time(path: Path, name: str, begin: bytes) -> None:
    size = 64 * 1024
    try_to_read(path, (begin + HARD[name] * size)[:size])


def test_many_cameras_are_read_in_time(path: Path) -> None:
    zones = "".join(
        f"      z{n}:\n        points: [[0.1, 0.1], [0.9, 0.1], [0.9, 0.{n}9]]\n" for n in range(1, 9)
    )
    cameras = "".join(f"  c{n}:\n    source: demo\n    zones:\n{zones}" for n in range(64))
    path.write_text(f"cameras:\n{cameras}")
    started = time.process_time()
    assert len(SiteFile(path).settings.cameras) == 64
    assert time.process_time() - started < MOST_SECONDS


@settings(max_examples=20)
@given(name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3000))
def test_long_names_are_not_repeated_whole(path: Path, name: str) -> None:
    document = {"cameras": {"a": {"source": "demo", name: 1}}, name: name}
    try_to_read(path, json.dumps(document, ensure_ascii=False).encode())
