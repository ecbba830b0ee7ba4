from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema_rs
import pytest
from ruamel.yaml import YAML

from densewatch import loading
from densewatch.live.address import parse_address
from densewatch.live.frames import SourceError
from densewatch.live.references import SecretError, fill
from densewatch.runtime import engine
from densewatch.site import settings
from densewatch.site.errors import SiteError
from densewatch.site.secrets import read_secret
from densewatch.site.settings import SiteSettings
from densewatch.site.yaml_file import SiteFile, read_site

EXAMPLE = Path(__file__).parent.parent / "docs" / "examples" / "site.yaml"
SMALL = "cameras:\n  hall:\n    source: demo\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copy(EXAMPLE, tmp_path / "site.yaml")
    return tmp_path


def site_of(folder: Path, text: str) -> SiteSettings:
    (folder / "site.yaml").write_text(text)
    return read_site(folder / "site.yaml")


def sentences_of(folder: Path, text: str) -> list[str]:
    """Return what is wrong with a file, without the folder."""
    with pytest.raises(SiteError) as caught:
        site_of(folder, text)
    return [sentence.removeprefix(f"{folder}/") for sentence in caught.value.sentences]


def test_the_example_is_a_site(folder: Path) -> None:
    site = read_site(folder / "site.yaml")
    assert list(site.cameras) == ["hall", "yard", "rehearsal"]
    assert site.cameras["hall"].zones["waiting"].points[0] == (0.05, 0.6)
    assert site.store.retention.max_size == 20_000_000_000
    assert site.server.tls is not None
    assert site.server.tls.self_signed
    assert [user.role for user in site.users] == ["admin", "viewer"]


def test_what_is_kept_has_limits_of_its_own(folder: Path) -> None:
    text = "cameras: {a: {source: demo}}\nstore: {reserve: 5 GB, retention: {audit_days: null}}\n"
    store = site_of(folder, text).store
    assert store.reserve == 5_000_000_000
    assert store.retention.audit_days is None
    [sentence] = sentences_of(folder, "cameras: {a: {source: demo}}\nstore: {reserve: much}\n")
    assert "store.reserve: must be a size such as" in sentence


def test_one_camera_is_enough(folder: Path) -> None:
    site = site_of(folder, SMALL)
    assert site.server.host == "127.0.0.1"
    assert site.store.folder == folder / "densewatch-data"
    assert site.model.model_dump().keys() <= set(loading.load.__annotations__)


def test_paths_begin_at_the_folder_of_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    text = """
model: {model: models/mine.onnx}
cameras:
  a: {source: clips/a.mp4, password_file: secrets/a}
  b: {source: /dev/video0}
  c: {source: "${CLIPS}/a.mp4"}
  d: {source: webcam:1}
sources: {folders: [clips], devices: true}
server: {tls: {certificate: c.pem, key: /etc/key.pem}}
users: [{name: anna, role: admin, password_file: secrets/anna}]
"""
    (folder / "site.yaml").write_text(text)
    site = read_site(Path(folder.name) / "site.yaml")
    assert site.model.model == str(folder / "models/mine.onnx")
    assert site.cameras["a"].source == str(folder / "clips/a.mp4")
    assert site.cameras["a"].password_file == str(folder / "secrets/a")
    assert [site.cameras[id].source for id in "bcd"] == ["/dev/video0", "${CLIPS}/a.mp4", "webcam:1"]
    assert site.sources.folders == (folder / "clips",)
    assert site.server.tls is not None
    assert site.server.tls.certificate == folder / "c.pem"
    assert site.server.tls.key == Path("/etc/key.pem")
    assert site.users[0].password_file == folder / "secrets/anna"


def test_a_models_name_is_no_path(folder: Path) -> None:
    assert site_of(folder, SMALL + "model: {model: everyday-light}").model.model == "everyday-light"


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (
            "max_fps: 10",
            "max_fps: -1",
            "12:14: cameras.hall.max_fps: must be greater than 0, but it is -1 (look at no more frames",
        ),
        (
            "max_fps: 10",
            "max_fsp: 10",
            "12:5: cameras.hall.max_fsp: unknown setting: did you mean 'max_fps'?",
        ),
        ("max_fps: 10", "max_fps: .inf", "12:14: cameras.hall.max_fps: must be a finite number"),
        ("  hall:", "  Hall:", "6:3: cameras.Hall: an id has lower-case letters, digits, - and _ only"),
        (
            "name: Entrance hall",
            "name: 12",
            "7:11: cameras.hall.name: must be text, in quotes, but it is 12",
        ),
        (
            "role: admin",
            "role: amdin",
            "77:11: users[0].role: must be 'viewer', 'operator' or 'admin', but it is 'amdin'",
        ),
        (
            "  - name: frontdesk",
            "  - name: Anna",
            "79:11: users[1].name: another user has this name",
        ),
        (
            "max_size: 20 GB",
            "max_size: lots",
            "67:15: store.retention.max_size: must be a size such as 20 GB",
        ),
        (
            "counts_days: 400",
            "counts_days: 36h",
            "64:18: store.retention.counts_days: must be a valid number, but it is '36h' (number of days",
        ),
        (
            "snapshots_days: 14",
            "snapshots_days: 60",
            "66:21: store.retention.snapshots_days: pictures go with their events, which are kept",
        ),
        ("bin_seconds: 60", "bin_seconds: 61", "62:16: store.bin_seconds: must be 10, 15, 20, 30, 60,"),
        (
            "networks: [192.168.7.0/24]",
            "networks: [192.168.7.1/24]",
            "57:14: sources.networks[0]: must be a network such as 192.168.7.0/24",
        ),
        ("tiles: 2x1 ", "tiles: 2x ", "40:12: cameras.yard.tiles: does not fit, but it is '2x' (look closer"),
        ("door:", "waiting:", "30:9: cameras.hall.lines.waiting: a zone of this camera has the same id"),
        (
            "[[0.10, 0.50], [0.20, 0.50], [0.22, 0.65]",
            "[[0.10, 0.50], [0.22, 0.65], [0.20, 0.50]",
            "45:17: cameras.yard.zones.bay-1.points: has sides that cross",
        ),
        (
            "[0.10, 0.50], [0.20",
            "[0.10, 1.50], [0.20",
            "45:25: cameras.yard.zones.bay-1.points[0][1]: must be",
        ),
        ("[0.10, 0.50], [0.20", "[0.10], [0.20", "45:18: cameras.yard.zones.bay-1.points[0][1] is missing"),
        (
            "source: clips/hour.mp4",
            "surce: clips/hour.mp4",
            "50:3: cameras.rehearsal.source is missing (rtsp",
        ),
        (
            "source: clips/hour.mp4",
            "source: ftp://anna@files.example/hour.mp4",
            "52:13: cameras.rehearsal.source: the source begins with no known scheme",
        ),
        (
            "users: ",
            "users: 3\nuserss: ",
            "75:8: users: must be a list, but it is 3 (who may sign in",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place(folder: Path, before: str, after: str, sentence: str) -> None:
    text = EXAMPLE.read_text()
    assert text.count(before) >= 1
    told = sentences_of(folder, text.replace(before, after, 1))
    assert told[0].startswith(f"site.yaml:{sentence}")


def test_every_mistake_is_named(folder: Path) -> None:
    text = """cameras:
  a: {source: "rtsp://10.0.0.1/", max_fps: 0}
  b: {source: "http://10.0.0.2/"}
  c: {source: "https://10.0.0.3/"}
sources: {schemes: [https]}
extra: 1
"""
    told = sentences_of(folder, text)
    assert [sentence.split(": ")[:2] for sentence in told] == [
        ["site.yaml:2:44", "cameras.a.max_fps"],
        ["site.yaml:3:15", "cameras.b.source"],
        ["site.yaml:4:15", "cameras.c.source"],
        ["site.yaml:6:1", "extra"],
    ]
    assert "sources by http are not allowed" in told[1]
    assert "it is in a private network" in told[2]


def test_so_many_mistakes_are_not_all_told(folder: Path) -> None:
    told = sentences_of(folder, SMALL + "".join(f"unknown{number}: 1\n" for number in range(100)))
    assert len(told) == 21
    assert told[-1] == "site.yaml: and 80 mistakes more"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "site.yaml: is empty; a site needs at least `cameras`"),
        ("- 1", "site.yaml:1:1: the file: must be a mapping of settings"),
        ("cameras:", "site.yaml:1:9: cameras: must be a mapping of names to values, but it is nothing"),
        ("cameras: {}", "site.yaml:1:10: cameras: needs at least 1, and has 0"),
        (SMALL + "    source: x", "site.yaml:4:5: 'source' is given twice, here and in line 3"),
        ("a: 'x", "site.yaml:1:6: this is no YAML: found unexpected end of stream, while scanning a quoted"),
        ("a: b: c", "site.yaml:1:5: this is no YAML: mapping values are not allowed here"),
        ("a:\n\tb: 1", "site.yaml:2:1: this is no YAML: found character '\\t' that cannot start any token"),
        ("a: *b", "site.yaml:1:4: this is no YAML: found undefined alias a name"),
        ("a: 1\n---\nb: 1", "site.yaml:2:1: this is no YAML: "),
        ("a: !!python/name:os.system x", "site.yaml:1:4: a: tags are not allowed here"),
        ("a: &a [*a]", "site.yaml:1:4: is nested too deeply"),
        ("a: &a {<<: *a}", "site.yaml:1:4: is nested too deeply"),
        ("[" * 5000, "site.yaml: is nested too deeply"),
        ("#" * 300_000, "site.yaml: is larger than 256 KiB"),
        ("a: \x00", "site.yaml:1:4: this character is not allowed in YAML"),
        ("? [a]\n: 1", "site.yaml:1:3: a key must be a plain word"),
        ("<<: 3", "site.yaml:1:5: `<<` takes over a mapping"),
        ("a: !!int x", "site.yaml:1:4: a: this is no number"),
    ],
)
def test_bad_yaml_is_refused_in_a_sentence(folder: Path, text: str, sentence: str) -> None:
    told = sentences_of(folder, text)
    assert told[0].startswith(sentence)
    assert "\n" not in told[0]


def test_what_is_quoted_stays_on_one_line_and_is_not_endless(folder: Path) -> None:
    told = sentences_of(folder, f'cameras: {{a: {{source: "a\\nb\\e[31m{"c" * 50_000}"}}}}')
    assert told[0].startswith("site.yaml:1:23: cameras.a.source: ")
    assert told[0].isprintable()
    assert len(told[0]) < 1500


def test_aliases_that_explode_are_refused(folder: Path) -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "has more values than a site can have" in sentences_of(folder, "\n".join(lines))[0]


def test_text_that_is_not_utf8_is_refused(folder: Path) -> None:
    (folder / "site.yaml").write_bytes(b"a: 1\nb: \xff")
    with pytest.raises(SiteError, match=":2:4: this is not UTF-8 text"):
        read_site(folder / "site.yaml")


def test_a_file_that_is_not_there(folder: Path) -> None:
    with pytest.raises(SiteError, match="cannot be read: No such file"):
        read_site(folder / "other.yaml")
    with pytest.raises(SiteError, match="cannot be read: Is a directory"):
        read_site(folder)


def test_anchors_and_merges_are_read(folder: Path) -> None:
    text = """
cameras:
  a: &base
    source: demo
    max_fps: 5
    only: [person]
  b:
    <<: *base
    max_fps: 7
"""
    site = site_of(folder, text)
    assert (site.cameras["b"].max_fps, site.cameras["b"].only) == (7, ("person",))


def test_a_key_is_text_as_it_is_written(folder: Path) -> None:
    site = site_of(folder, "cameras: {1: {source: demo}, 0x1f: {source: demo}, true: {source: demo}}")
    assert list(site.cameras) == ["1", "0x1f", "true"]


@pytest.mark.parametrize(
    ("server", "sentence"),
    [
        ("{}", None),
        ("{host: localhost}", None),
        ("{host: 127.8.8.8}", None),
        ("{host: '::1'}", None),
        ("{host: 0.0.0.0, tls: self-signed}", None),
        ("{host: 0.0.0.0, tls: {self_signed: true, names: [watch.example]}}", None),
        ("{host: 0.0.0.0, tls: {certificate: a, key: b}}", None),
        ("{host: 0.0.0.0, plain_http: I accept unencrypted connections}", None),
        ("{host: 0.0.0.0}", "server.host: other machines would send passwords"),
        ("{host: '::'}", "server.host: other machines would send passwords"),
        ("{host: watch.example}", "write `plain_http: I accept unencrypted connections`"),
        ("{host: 0.0.0.0, plain_http: yes}", "must be 'I accept unencrypted connections', but it is 'yes'"),
        ("{host: 0.0.0.0, plain_http: true}", "must be 'I accept unencrypted connections', but it is true"),
        ("{host: ''}", "server.host: does not fit"),
        ("{tls: {certificate: a}}", "a certificate and its key belong together"),
        ("{tls: {certificate: a, key: b, self_signed: true}}", "and not both"),
        ("{tls: {}}", "give certificate and key, or self_signed: true"),
        ("{tls: true}", "server.tls: must be a mapping of settings, but it is true (encryption"),
        ("{tls: self-signed, plain_http: I accept unencrypted connections}", "leave one out"),
        ("{public_url: https://watch.example/}", None),
        ("{public_url: watch.example}", "server.public_url: must be http:// or https://"),
        ("{allowed_origins: [https://a.example/b]}", "server.allowed_origins[0]: must be http"),
        ("{allowed_origins: ['https://[::1']}", "server.allowed_origins[0]: must be http"),
        ("{trusted_proxies: [10.0.0.1, 10.1.0.0/16]}", None),
        ("{port: 70000}", "must be less than or equal to 65535, but it is 70000"),
    ],
)
def test_no_unencrypted_server_by_accident(folder: Path, server: str, sentence: str | None) -> None:
    text = f"{SMALL}server: {server}\n"
    if sentence is None:
        site_of(folder, text)
    else:
        assert sentence in sentences_of(folder, text)[0]


def test_origins_are_written_alike(folder: Path) -> None:
    site = site_of(folder, SMALL + "server: {public_url: 'HTTPS://Watch.Example:8443/'}")
    assert site.server.public_url == "https://watch.example:8443"


def test_a_passwords_place_is_named(folder: Path) -> None:
    text = EXAMPLE.read_text().replace("password_env: ANNA_PASSWORD", "password: hunter2")
    told = "\n".join(sentences_of(folder, text))
    assert "users[0].password: a password must not stand in this file" in told
    assert "password_env: NAME or password_file: PATH" in told
    assert "hunter2" not in told


def test_rules_make_a_policy(folder: Path) -> None:
    rules = "sources: {schemes: [rtsp], private_networks: true, networks: [127.0.0.1], folders: [clips]}"
    policy = site_of(folder, SMALL + rules).sources.to_policy()
    for source in ("rtsp://10.1.2.3/", "rtsp://127.0.0.1/", str(folder / "clips" / "a.mp4")):
        policy.check(parse_address(source))
    for source in ("http://10.1.2.3/", "rtsp://127.0.0.2/", str(folder / "a.mp4"), "/dev/video0"):
        with pytest.raises(SourceError):
            policy.check(parse_address(source))


def test_class_names_are_checked(folder: Path) -> None:
    file = SiteFile(folder / "site.yaml")
    file.check_labels(["person", "chair", "car", "truck", "bus"])
    with pytest.raises(SiteError) as caught:
        file.check_labels(["person", "armchair", "car", "trucks", "bus"])
    told = [sentence.removeprefix(f"{folder}/site.yaml:") for sentence in caught.value.sentences]
    assert told == [
        "13:20: cameras.hall.only[1]: the model has no class 'chair': did you mean 'armchair'?",
        "15:14: cameras.hall.thresholds.chair: the model has no class 'chair': did you mean 'armchair'?",
        "39:17: cameras.yard.only[1]: the model has no class 'truck': did you mean 'trucks'?",
    ]


def test_missing_secrets_are_all_named(folder: Path) -> None:
    file = SiteFile(folder / "site.yaml")
    with pytest.raises(SiteError) as caught:
        file.check_secrets({"HALL_PASSWORD": "x"})
    told = [sentence.removeprefix(f"{folder}/site.yaml:") for sentence in caught.value.sentences]
    assert told == [
        "38:13: cameras.yard.source: the environment variable YARD_PASSWORD is not set",
        "78:19: users[0].password_env: the environment variable ANNA_PASSWORD is not set",
        f"81:20: users[1].password_file: {folder}/secrets/frontdesk.txt: the password cannot be read: "
        "No such file or directory",
    ]
    (folder / "secrets").mkdir()
    (folder / "secrets" / "frontdesk.txt").write_text("x\n")
    file.check_secrets({"HALL_PASSWORD": "x", "YARD_PASSWORD": "x", "ANNA_PASSWORD": "x"})


def test_references_are_filled_at_use_only(folder: Path) -> None:
    site = read_site(folder / "site.yaml")
    assert site.cameras["yard"].source == "rtsp://densewatch:${YARD_PASSWORD}@192.168.7.21/live"
    filled = fill(site.cameras["yard"].source, {"YARD_PASSWORD": "p@s/s"})
    assert filled == "rtsp://densewatch:p%40s%2Fs@192.168.7.21/live"
    with pytest.raises(SecretError, match="the environment variable YARD_PASSWORD is not set"):
        fill(site.cameras["yard"].source, {})


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("rtsp://${USER}:${WORD}@${HOST}:554/x", "rtsp://anna:a%20b%3A@cam.example:554/x"),
        ("${URL}", "rtsp://u:p@h/"),
        ("rtsp://${HOST}/a@${HOST}", "rtsp://cam.example/a@cam.example"),
        ("/clips/${USER}/${USER}.mp4", "/clips/anna/anna.mp4"),
        ("rtsp://h/$USER/$${USER}{}", "rtsp://h/$USER/$anna{}"),
        ("rtsp://h/cgi/${ODD}", "rtsp://h/cgi/p%23%40s/1?x=%20%23"),
        ("http://h/x?a=${ODD}", "http://h/x?a=p%23%40s/1?x=%20%23"),
        ("${CAM}/${ODD}", "rtsp://u:p@h/live/p%23%40s/1?x=%20%23"),
        ("${SCHEME}://${USER}:${WORD}@h/${ODD}", "rtsp://anna:a%20b%3A@h/p%23%40s/1?x=%20%23"),
        ("rtsp://${CAMERA}/x", "rtsp://anna:x@cam.example:554/x"),
        ("/clips/${ODD}", "/clips/p#@s/1?x= %23"),
        ("${FOLDER}/${ODD}.mp4", "/my clips/p#@s/1?x= %23.mp4"),
        ("sqlite:///${FOLDER}/#.db", "sqlite:////my clips/#.db"),
        ("rtsp://a:b${c}@h/", "rtsp://a:b${c}@h/"),
    ],
)
def test_fill(text: str, filled: str) -> None:
    environment = {
        "USER": "anna",
        "WORD": "a b:",
        "HOST": "cam.example",
        "URL": "rtsp://u:p@h/",
        "ODD": "p#@s/1?x= %23",
        "CAM": "rtsp://u:p@h/live",
        "SCHEME": "rtsp",
        "CAMERA": "anna:x@cam.example:554",
        "FOLDER": "/my clips",
    }
    assert fill(text, environment) == filled


@pytest.mark.parametrize(("content", "password"), [(b"a b \n", "a b "), (b"x\r\n", "x"), (b"x\n\n", "x\n")])
def test_a_password_from_a_file(tmp_path: Path, content: bytes, password: str) -> None:
    (tmp_path / "word").write_bytes(content)
    assert read_secret(None, tmp_path / "word") == password


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff", b"x" * 5000])
def test_a_file_without_a_password_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "word").write_bytes(content)
    with pytest.raises(SecretError):
        read_secret(None, tmp_path / "word")


def test_engines_and_types_are_those_of_load() -> None:
    assert get_args(settings.EngineName) == ("auto", "openvino", "onnxruntime", "tensorrt", "torch")
    assert set(get_args(settings.EngineName)) == set(_flat(loading.EngineName))
    assert settings.Precision == engine.Precision


def _flat(kind: Any) -> Iterator[Any]:
    for item in get_args(kind):
        yield from _flat(item) if get_args(item) else (item,)


def test_the_schema_accepts_the_example_and_refuses_mistakes() -> None:
    validator = jsonschema_rs.validator_for(SiteSettings.model_json_schema())
    document = json.loads(json.dumps(YAML(typ="safe", pure=True).load(EXAMPLE.read_text())))
    assert validator.is_valid(document)
    document["cameras"]["hall"]["max_fsp"] = 3
    assert not validator.is_valid(document)


def test_the_schema_explains_every_setting() -> None:
    schema = SiteSettings.model_json_schema()
    parts = [schema, *schema["$defs"].values()]
    silent = [
        f"{part['title']}.{name}"
        for part in parts
        for name, setting in part.get("properties", {}).items()
        if not setting.get("description")
    ]
    assert silent == []
    assert all(part.get("description") for part in parts if part.get("type") == "object")
    assert all(part["additionalProperties"] is False for part in parts if "properties" in part)


def test_the_guide_names_every_setting() -> None:
    guide = (EXAMPLE.parent.parent / "live.md").read_text()
    schema = SiteSettings.model_json_schema()
    names = {name for part in [schema, *schema["$defs"].values()] for name in part.get("properties", {})}
    assert {name for name in names if not re.search(rf"\b{name}\b", guide)} == set()


def test_the_guides_examples_are_sites(folder: Path) -> None:
    guide = (EXAMPLE.parent.parent / "live.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", guide, flags=re.DOTALL)
    assert len(blocks) >= 7
    for block in blocks:
        begun = "" if "cameras:" in block else SMALL
        site_of(folder, begun + block)
