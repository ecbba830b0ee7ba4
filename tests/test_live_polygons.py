from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from densewatch.live.polygons import fault
from densewatch.live.settings import CameraSettings, LineSettings, ZoneSettings

Points = list[tuple[float, float]]


@pytest.mark.parametrize(
    "points",
    [
        [(0, 0), (1, 0), (1, 1)],
        [(0, 0), (1, 0), (1, 1), (0, 1)],
        [(0, 0), (0, 1), (1, 1), (1, 0)],
        [(0, 0), (0, 0), (1, 0), (1, 1), (0, 0)],
        [(0, 0), (0.5, 0), (1, 0), (1, 1)],
        [(0, 0), (1, 0), (1, 1), (0.5, 0.1), (0, 1)],
    ],
)
def test_one_area(points: Points) -> None:
    assert fault(points) is None


@pytest.mark.parametrize(
    ("points", "why"),
    [
        ([(0, 0), (0, 0), (0, 0)], "no area"),
        ([(0, 0), (1, 1), (0, 0), (1, 1)], "no area"),
        ([(0, 0), (0.5, 0.5), (1, 1)], "no area"),
        ([(0, 0), (1, 1), (1, 0), (0, 1)], "sides that cross"),
        ([(0, 0), (1, 0), (0.5, 0), (0.5, 1)], "sides that cross"),
        ([(0, 0), (1, 0), (1, 1), (0.5, 0), (0, 1)], "sides that cross"),
        ([(0, 0), (1, 0), (1, 1), (0, 0), (0, 0.5), (-0.5, 0.5)], "sides that cross"),
    ],
)
def test_no_area_or_more_than_one(points: Points, why: str) -> None:
    assert why in (fault(points) or "")


def around(radii: list[float]) -> Points:
    """Return the corners of an area that can be seen as a whole from its center."""
    angles = [2 * math.pi * number / len(radii) for number in range(len(radii))]
    return [(0.5 + math.cos(a) * r, 0.5 + math.sin(a) * r) for a, r in zip(angles, radii, strict=True)]


@given(radii=st.lists(st.floats(0.1, 0.5), min_size=5, max_size=12))
def test_corners_in_order(radii: list[float]) -> None:
    assert fault(around(radii)) is None
    assert fault(around(radii)[::-1]) is None


@given(corners=st.integers(4, 12), swapped=st.integers(0, 11))
def test_corners_out_of_order(corners: int, swapped: int) -> None:
    points = around([0.4] * corners)
    one, other = swapped % corners, (swapped + 1) % corners
    points[one], points[other] = points[other], points[one]
    assert "cross" in (fault(points) or "")


BOW = [(0.0, 0.0), (1.0, 1.0), (1.0, 0.0), (0.0, 1.0)]


def test_zones_and_masks_are_areas() -> None:
    with pytest.raises(ValidationError, match="has sides that cross"):
        ZoneSettings(points=tuple(BOW))
    with pytest.raises(ValidationError, match="has sides that cross"):
        CameraSettings(source="demo", masks=(tuple(BOW),))


def test_settings_that_count_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="nothing would count"):
        LineSettings(start=(0, 0), end=(1, 1), min_area=0.5, max_area=0.1)


def test_a_zone_and_a_line_have_different_ids() -> None:
    zone = ZoneSettings(points=((0, 0), (1, 0), (1, 1)))
    line = LineSettings(start=(0, 0), end=(1, 1))
    with pytest.raises(ValidationError, match="has the same id"):
        CameraSettings(source="demo", zones={"door": zone}, lines={"door": line})


def test_a_password_is_not_taken_for_a_variable() -> None:
    with pytest.raises(ValidationError) as caught:
        CameraSettings(source="demo", password_env="hunter2")
    assert "hunter2" not in str(caught.value)


def test_no_setting_is_endless() -> None:
    with pytest.raises(ValidationError, match="finite"):
        CameraSettings(source="demo", read_timeout_s=math.inf)
