"""What the dashboard draws is written back, and nothing else changes."""

from __future__ import annotations

import math
import os
import re
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from densewatch.live.settings import CameraSettings
from densewatch.site.errors import SiteError
from densewatch.site.yaml_file import SiteFile, read_site

EXAMPLE = Path(__file__).parent.parent / "docs" / "examples" / "site.yaml"
BOX = [[0.1, 0.1], [0.5, 0.1], [0.5, 0.5]]


@pytest.fixture
def file(tmp_path: Path) -> SiteFile:
    shutil.copy(EXAMPLE, tmp_path / "site.yaml")
    return SiteFile(tmp_path / "site.yaml")


def drawn(camera: CameraSettings, **changes: Any) -> CameraSettings:
    """Return a camera with other zones, lines or masks."""
    return CameraSettings.model_validate(camera.model_dump() | changes)


def zones_of(camera: CameraSettings, **changes: Any) -> dict[str, Any]:
    zones: dict[str, Any] = camera.model_dump()["zones"]
    return {id: zone for id, zone in (zones | changes).items() if zone is not None}


def save(file: SiteFile, id: str, **changes: Any) -> tuple[list[str], list[str]]:
    """Save what is drawn, and return the lines that went from the file, and those that came."""
    before = file.path.read_text().splitlines()
    camera = drawn(file.settings.cameras[id], **changes)
    saved = file.save_camera(id, camera)
    assert saved.cameras[id] == camera
    assert file.settings == saved == read_site(file.path)
    after = file.path.read_text().splitlines()
    return [line for line in before if line not in after], [line for line in after if line not in before]


def test_a_new_zone_is_added_after_the_others(file: SiteFile) -> None:
    zones = zones_of(
        file.settings.cameras["hall"], seats={"points": BOX, "anchor": "center", "only": ["person"]}
    )
    assert save(file, "hall", zones=zones) == (
        [],
        [
            "      seats:",
            "        points: [[0.1, 0.1], [0.5, 0.1], [0.5, 0.5]]",
            "        anchor: center",
        ],
    )
    lines = file.path.read_text().splitlines()
    assert lines.index("      seats:") == lines.index("    lines:") - 4


def test_a_moved_zone_changes_its_points_alone(file: SiteFile) -> None:
    zone = file.settings.cameras["hall"].zones["waiting"].model_dump() | {"points": BOX}
    gone, come = save(file, "hall", zones={"waiting": zone})
    assert come == ["        points: [[0.1, 0.1], [0.5, 0.1], [0.5, 0.5]]"]
    assert gone[0] == "        points: ["
    assert len(gone) == 6


def test_a_zone_goes_and_its_neighbour_stays(file: SiteFile) -> None:
    gone, come = save(file, "yard", zones=zones_of(file.settings.cameras["yard"], **{"bay-2": None}))
    assert (gone[0], come) == ("      bay-2:", [])


def test_all_go(file: SiteFile) -> None:
    gone, come = save(file, "hall", zones={}, lines={}, masks=[])
    assert come == []
    assert "    masks:" in gone
    assert "    only: [person, chair]" not in gone


def test_all_are_replaced(file: SiteFile) -> None:
    gone, come = save(file, "yard", zones={"a": {"points": BOX}, "b": {"points": BOX}})
    points = "        points: [[0.1, 0.1], [0.5, 0.1], [0.5, 0.5]]"
    assert come == ["      a:", points, "      b:", points]
    assert [line for line in gone if line.endswith(":")] == ["      bay-1:", "      bay-2:"]


def test_the_first_zone_line_and_mask(file: SiteFile) -> None:
    line = {"start": [0, 0], "end": [1, 1]}
    gone, come = save(file, "rehearsal", zones={"a": {"points": BOX}}, lines={"b": line}, masks=[BOX])
    assert gone == []
    text = file.path.read_text()
    assert "    snapshots: false\n    masks: [[[0.1, 0.1], " in text
    assert come[1:] == [
        "      a:",
        "        points: [[0.1, 0.1], [0.5, 0.1], [0.5, 0.5]]",
        "      b:",
        "        start: [0.0, 0.0]",
        "        end: [1.0, 1.0]",
    ]


def test_nothing_changes_where_nothing_is_drawn(file: SiteFile) -> None:
    before = file.path.read_bytes()
    file.save_camera("hall", file.settings.cameras["hall"].model_copy(update={"max_fps": 99}))
    assert file.path.read_bytes() == before


def test_a_default_that_is_written_out_may_change_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "site.yaml"
    camera = f"{{source: demo, zones: {{z: {{points: {BOX},\n        anchor: bottom, # feet\n}}}}}}"
    path.write_text(f"cameras: {{a: {camera}}}\n")
    file = SiteFile(path)
    zone = {"points": BOX, "anchor": "center"}
    save(file, "a", zones={"z": zone})
    assert "        anchor: center, # feet\n" in path.read_text()
    save(file, "a", zones={"z": {"points": BOX, "bay": True, "anchor": "center"}})
    assert "        anchor: center, bay: true, # feet\n" in path.read_text()
    save(file, "a", zones={"z": {"points": BOX}})
    assert "anchor" not in path.read_text()
    assert "# feet" in path.read_text()


BLOCK = """cameras:
  a:
    zones:
      z:
        points: P
    source: demo
  b: {source: demo}
"""
STYLES = {
    "a flow mapping": "cameras: {a: {source: demo, zones: {z: {points: P}}}, b: {source: demo}} # end",
    "a trailing comma": "cameras: {a: {source: demo, zones: {z: {points: P,},},}, b: {source: demo,},}",
    "JSON": '{"cameras": {"a": {"source": "demo", "zones": {"z": {"points": P}}}, "b": {"source": "demo"}}}',
    "an empty mapping": "cameras:\n  a:\n    source: demo\n    zones: {}  # none yet\n  b: {source: demo}\n",
    "blocks": BLOCK,
    "no break at the end": "cameras:\n  b: {source: demo}\n  a:\n    source: demo\n    zones: {}",
    "Windows": BLOCK.replace("\n", "\r\n"),
    "deep": re.sub("^ +", lambda spaces: spaces[0] * 4, BLOCK, flags=re.MULTILINE),
    "lists over several lines": BLOCK.replace(
        "points: P",
        "points:\n        - - 0.1\n          - 0.1\n        - [0.5,\n           0.1] # x\n        - [1, 1]",
    ).replace("    source", "    # z\n    source"),
    "quoted keys": BLOCK.replace("a:", '"a":').replace("zones:", "'zones':").replace("z:", '"z":'),
    "odd ids": BLOCK.replace("z:", "0x1: {points: P}\n      true:"),
    "a byte order mark": f"\ufeff{BLOCK}",
    "a document's marks": f"---\n{BLOCK}...\n",
    "merged": "cameras:\n  b: &b {source: demo, zones: {z: {points: P}}}\n  a:\n    <<: *b\n    max_fps: 3\n",
}


@pytest.mark.parametrize("style", STYLES)
def test_yaml_of_every_style(tmp_path: Path, style: str) -> None:
    (tmp_path / "site.yaml").write_bytes(STYLES[style].replace("P", str(BOX)).encode())
    file = SiteFile(tmp_path / "site.yaml")
    a, b = file.settings.cameras["a"], file.settings.cameras["b"]
    moved = {"points": [[0, 0], *BOX[1:]], "only": ["person"]}
    save(file, "a", zones=zones_of(a, new={"points": BOX, "bay": True}), masks=[BOX])
    save(file, "a", zones=zones_of(a, new=moved), lines={"l": {"start": [0, 0], "end": [1, 0]}})
    save(file, "a", zones={"new": moved}, masks=[])
    save(file, "a", zones={}, lines={})
    save(file, "a", zones={"z": {"points": BOX}})
    assert file.settings.cameras["b"] == b
    for comment in ("# end", "# z"):
        assert (comment in STYLES[style]) == (comment in file.path.read_text())
    text = file.path.read_bytes().decode()
    assert ("\r\n" in text) == (style == "Windows")
    assert text.count("\n") == text.count("\r\n") or style != "Windows"


@pytest.mark.parametrize(
    "text",
    [
        "cameras:\n  a: &a {source: demo}\n  b: *a\n",
        "cameras:\n  a: {source: demo, zones: &z {z: {points: P}}}\n  b: {source: demo, zones: *z}\n",
        "cameras:\n  b: {source: demo, zones: &z {z: {points: P}}}\n  a: {source: demo, zones: *z}\n",
        "cameras:\n  b: {source: demo, masks: &m [P]}\n  a: {source: demo, masks: *m}\n",
    ],
)
def test_yaml_that_is_shared_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(text.replace("P", str(BOX)))
    before = path.read_bytes()
    file = SiteFile(path)
    triangle = [[0, 0], [1, 0], [0, 1]]
    camera = drawn(file.settings.cameras["a"], zones={"z": {"points": triangle}}, masks=[triangle])
    with pytest.raises(SiteError, match="cannot be written here by a program"):
        file.save_camera("a", camera)
    assert path.read_bytes() == before


def test_a_file_that_was_changed_meanwhile_is_not_overwritten(file: SiteFile) -> None:
    text = file.path.read_text().replace("max_fps: 10", "max_fps: 11")
    file.path.write_text(text)
    with pytest.raises(SiteError, match="was changed since it was read"):
        file.save_camera("hall", drawn(file.settings.cameras["hall"], zones={}))
    assert file.path.read_text() == text


def test_an_unknown_camera(file: SiteFile) -> None:
    with pytest.raises(KeyError):
        file.save_camera("attic", file.settings.cameras["hall"])


def test_a_file_keeps_its_mode_and_its_link(file: SiteFile, tmp_path: Path) -> None:
    file.path.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(file.path)
    linked = SiteFile(link)
    linked.save_camera("hall", drawn(linked.settings.cameras["hall"], zones={}))
    assert link.is_symlink()
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o640
    assert read_site(file.path).cameras["hall"].zones == {}


def test_a_save_that_fails_leaves_the_file_and_nothing_else(
    file: SiteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    before = file.path.read_bytes()
    settings = file.settings
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(SiteError, match="cannot be written: No space left on device"):
            file.save_camera("hall", drawn(settings.cameras["hall"], zones={}))
    assert file.path.read_bytes() == before
    assert [path.name for path in file.path.parent.iterdir()] == ["site.yaml"]
    assert file.settings == settings
    file.save_camera("hall", drawn(settings.cameras["hall"], zones={}))  # and there is room again


def _round(center: tuple[float, float], radii: list[float]) -> list[list[float]]:
    """Return the corners of an area that can be seen as a whole from its center."""
    angles = [2 * math.pi * number / len(radii) for number in range(len(radii))]
    corners = zip(angles, radii, strict=True)
    return [[center[0] + math.cos(a) * r, center[1] + math.sin(a) * r] for a, r in corners]


share = st.floats(0, 1)
ids = st.from_regex(r"[a-z0-9_-]{0,5}", fullmatch=True)
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
polygons = st.builds(
    _round,
    st.tuples(st.floats(0.3, 0.7), st.floats(0.3, 0.7)),
    st.lists(st.floats(0.01, 0.3), min_size=3, max_size=8),
)
filters = {
    "only": st.lists(words, min_size=1, max_size=3),
    "thresholds": st.dictionaries(words, st.floats(0.001, 1), max_size=2),
    "min_area": st.floats(0, 0.1),
}
zones = st.fixed_dictionaries(
    {"points": polygons},
    optional=filters | {"bay": st.booleans(), "anchor": st.sampled_from(["bottom", "center"])},
)
lines = st.fixed_dictionaries(
    {"start": st.tuples(st.just(0.0), share), "end": st.tuples(st.just(1.0), share)},
    optional=filters | {"margin": share},
)
drawings: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "zones": st.dictionaries(ids.map("z{}".format), zones, max_size=3),
        "lines": st.dictionaries(ids.map("l{}".format), lines, max_size=2),
        "masks": st.lists(polygons, max_size=2),
    }
)


@settings(max_examples=40)
@given(
    saves=st.lists(
        st.tuples(st.sampled_from(["hall", "yard", "rehearsal"]), drawings), min_size=1, max_size=4
    )
)
def test_what_is_saved_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, saves: list[tuple[str, dict[str, Any]]]
) -> None:
    path = tmp_path_factory.mktemp("site") / "site.yaml"
    shutil.copy(EXAMPLE, path)
    file = SiteFile(path)
    expected = file.settings
    for id, drawing in saves:
        camera = drawn(expected.cameras[id], **drawing)
        file.save_camera(id, camera)
        expected = expected.model_copy(update={"cameras": {**expected.cameras, id: camera}})
        assert read_site(path) == file.settings == expected
    text, before = path.read_text(), EXAMPLE.read_text()
    for part in (
        "# A site: three",
        "# Passwords stand",
        "# chairs are",
        "# spare",
        "# look closer",
        "# from the",
    ):
        assert part in text
    assert text.partition("\nsources:")[2] == before.partition("\nsources:")[2]
    assert text.partition("    masks:")[0].startswith(before.partition("    masks:")[0])
