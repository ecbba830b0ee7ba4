"""What a user types after `watch`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from densewatch.cli.watch_sources import Flags, cameras, site_file


@pytest.mark.parametrize(
    ("source", "id"),
    [
        ("demo", "demo"),
        ("rtsp://user:s3cret@gate.example:554/stream?token=x", "gate-example"),
        ("rtsp://user:p@ss@10.0.0.7/a", "10-0-0-7"),
        ("/dev/video0", "video0"),
        ("clips/Main Hall.mp4", "main-hall"),
        ("pictures/", "pictures"),
        ("厅.mp4", "camera"),
    ],
)
def test_ids_are_short_and_hold_no_secret(source: str, id: str) -> None:
    assert list(cameras([source], Flags())) == [id]


def test_ids_differ() -> None:
    assert list(cameras(["a/x.mp4", "b/x.mp4", "x-2.mp4"], Flags())) == ["x", "x-2", "x-2-2"]


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_every_source_gets_a_valid_id(sources: list[str]) -> None:
    made = cameras(sources, Flags())
    assert [camera.source for camera in made.values()] == sources
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,63}", id) for id in made)


def test_flags_reach_every_camera() -> None:
    made = cameras(["a", "b"], Flags(0.3, ("person",), 5, "auto", True))
    for camera in made.values():
        assert (camera.threshold, camera.only, camera.max_fps, camera.tiles, camera.loop) == (
            0.3,
            ("person",),
            5,
            "auto",
            True,
        )


def test_a_site_is_known_by_its_suffix() -> None:
    assert site_file(["site.yaml"]) == Path("site.yaml")
    assert site_file(["http://example.org/a.yaml"]) is None
    assert site_file(["demo"]) is None


def test_a_site_stands_alone() -> None:
    with pytest.raises(ValueError, match=r"site\.yml is a site of its own"):
        site_file(["demo", "site.yml"])
