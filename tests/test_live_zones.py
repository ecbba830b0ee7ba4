"""Zones: who is inside, since when; parking bays."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from densewatch.live.analysis import Analysed, Analysis
from densewatch.live.results import ZoneCount
from densewatch.live.settings import CameraSettings, ZoneSettings
from live_scenes import NAMES, START, Noise, Row, Walker, around, detections, play

RIGHT = ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0))


class Room:
    """A camera with one zone, `a`."""

    def __init__(self, zone: ZoneSettings, **camera: object) -> None:
        settings = {"source": "x", **camera, "zones": {"a": zone.model_dump()}}
        self.analysis = Analysis("door", CameraSettings.model_validate(settings), NAMES)

    def at(self, time: float, *rows: Row, size: tuple[int, int] = (480, 640)) -> ZoneCount:
        return self.analysis.update(detections(*rows, size=size), START + time).zones["a"]

    def play(
        self, fps: float, seconds: float, where: Callable[[float], tuple[float, float]]
    ) -> list[ZoneCount]:
        return [
            self.at(frame / fps, ("person", 0.8, around(*where(frame / fps))))
            for frame in range(round(seconds * fps))
        ]


def test_an_object_inside_is_counted_and_timed() -> None:
    counts = Room(ZoneSettings(points=RIGHT)).play(10, 3, lambda _: (0.7, 0.5))
    assert counts[0] == ZoneCount({}, None, {})
    assert counts[-1].counts == {"person": 1}
    assert counts[-1].taken is None
    assert counts[-1].dwell_s == {1: pytest.approx(2.9)}


@pytest.mark.parametrize(("anchor", "inside"), [("bottom", {"person": 1}), ("center", {})])
def test_the_anchor_decides(anchor: str, inside: dict[str, int]) -> None:
    """The feet are in the lower half, the middle of the box is not."""
    lower = ((0.0, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0))
    room = Room(ZoneSettings.model_validate({"points": lower, "anchor": anchor}))
    assert room.play(10, 1, lambda _: (0.5, 0.45))[-1].counts == inside


@pytest.mark.parametrize("fps", [5, 10, 30])
def test_who_walks_through_stays_as_long_at_every_rate(fps: float) -> None:
    """The middle of the box is between 0.5 and 0.9 of the width for 3 seconds."""
    zone = ZoneSettings(points=((0.5, 0.0), (0.9, 0.0), (0.9, 1.0), (0.5, 1.0)), anchor="center")
    room = Room(zone)
    dwell = [0.0]
    for time, found in play([Walker(0, 7.5, (-0.05, 0.5), (0.95, 0.5))], 9, fps):
        dwell += room.analysis.update(found, time).zones["a"].dwell_s.values()
    assert max(dwell) == pytest.approx(3, abs=1.01 / fps)


@pytest.mark.parametrize("fps", [5, 10, 30])
def test_to_and_fro_on_the_border_is_one_stay(fps: float) -> None:
    counts = Room(ZoneSettings(points=RIGHT)).play(
        fps, 10, lambda time: (0.52 if time % 0.5 < 0.3 else 0.48, 0.5)
    )
    inside = [count.counts.get("person", 0) for count in counts]
    assert inside == sorted(inside)
    assert counts[-1].dwell_s == {1: pytest.approx(9.9, abs=0.25)}


def test_who_leaves_is_out_after_half_a_second() -> None:
    room = Room(ZoneSettings(points=RIGHT))
    counts = room.play(10, 4, lambda time: (0.52 if time < 2 else 0.48, 0.5))
    assert counts[24].counts == {"person": 1}
    assert counts[24].dwell_s == {1: pytest.approx(2.0)}  # until it was first seen outside
    assert counts[26].counts == {}


def test_a_missed_object_stays_inside() -> None:
    room = Room(ZoneSettings(points=RIGHT))
    for frame in range(20):
        room.at(frame / 10, ("person", 0.8, around(0.7, 0.5)))
    hidden = [room.at(2 + frame / 10).counts for frame in range(15)]
    assert hidden[:9] == [{"person": 1}] * 9
    assert hidden[10:] == [{}] * 5


def test_a_zone_may_be_looser_and_stricter_than_its_camera() -> None:
    strict = Room(ZoneSettings(points=RIGHT, threshold=0.9)).play(10, 1, lambda _: (0.7, 0.5))
    assert strict[-1].counts == {}
    room = Room(ZoneSettings(points=RIGHT, threshold=0.2))
    assert room.analysis.lowest_threshold <= 0.2
    for frame in range(10):
        analysed = room.analysis.update(
            detections(("person", 0.3, around(0.7, 0.5)), ("person", 0.3, around(0.2, 0.5))),
            START + frame / 10,
        )
    assert analysed.zones["a"].counts == {"person": 1}
    assert analysed.counts == {}
    assert analysed.detections.boxes[:, 0].tolist() == [
        pytest.approx(0.66 * 640)
    ]  # the one in the zone shows


def test_a_zone_outlives_a_change_of_resolution() -> None:
    room = Room(ZoneSettings(points=RIGHT))
    for frame in range(40):
        count = room.at(
            frame / 10, ("person", 0.8, around(0.7, 0.5)), size=(480, 640) if frame < 20 else (1080, 1440)
        )
    assert count.dwell_s == {1: pytest.approx(3.9)}


def test_a_zone_that_is_moved_keeps_who_is_in_both() -> None:
    room = Room(ZoneSettings(points=RIGHT))
    for frame in range(20):
        room.at(frame / 10, ("person", 0.8, around(0.7, 0.5)))
    settings = CameraSettings(
        source="x", zones={"a": ZoneSettings(points=((0.4, 0), (1, 0), (1, 1), (0.4, 1)))}
    )
    room.analysis.replace(settings)
    assert room.at(2.0, ("person", 0.8, around(0.7, 0.5))).dwell_s == {1: pytest.approx(2.0)}


BAY = ZoneSettings(points=((0.4, 0.4), (0.6, 0.4), (0.6, 0.6), (0.4, 0.6)), bay=True, only=("car", "truck"))
CAR: Row = ("car", 0.8, around(0.5, 0.5, 0.2, 0.3))


def test_a_bay_is_taken_and_free() -> None:
    room = Room(BAY)
    taken = [room.at(frame / 10, CAR) for frame in range(20)]
    assert [count.taken for count in taken[:10]] == [False] * 10
    assert [count.taken for count in taken[11:]] == [True] * 9
    assert taken[-1].counts == {"car": 1}
    assert taken[-1].dwell_s == {1: pytest.approx(1.9)}
    free = [room.at(2 + frame / 10) for frame in range(40)]
    assert [count.taken for count in free[:18]] == [True] * 18
    assert [count.taken for count in free[20:]] == [False] * 20
    assert free[-1].counts == {}


@pytest.mark.parametrize("fps", [0.3, 2, 10])
def test_a_missed_frame_does_not_free_a_bay(fps: float) -> None:
    room = Room(BAY)
    counts = [room.at(frame / fps, *([] if frame % 7 == 6 else [CAR])) for frame in range(60)]
    assert all(count.taken for count in counts[round(2 * fps) + 2 :])


def test_what_drives_through_does_not_take_a_bay() -> None:
    room = Room(BAY)
    counts = [room.at(frame / 10, *([CAR] if 5 <= frame < 12 else [])) for frame in range(40)]
    assert not any(count.taken for count in counts)


def test_what_drives_through_again_and_again_does_not_take_a_bay() -> None:
    room = Room(BAY)
    counts = [room.at(frame / 10, *([CAR] if frame % 60 < 7 else [])) for frame in range(300)]
    assert not any(count.taken for count in counts)


def test_two_that_drive_through_around_a_gap_do_not_take_a_bay() -> None:
    """The camera saw nothing for ten minutes: who stood there before says nothing of who is there now."""
    room = Room(BAY)
    before = [room.at(frame / 10, CAR) for frame in range(3)]
    after = [room.at(600 + frame / 10, *([CAR] if frame < 3 else [])) for frame in range(40)]
    assert not any(count.taken for count in before + after)


def test_a_person_does_not_take_a_bay_for_cars() -> None:
    room = Room(BAY)
    assert not room.play(10, 3, lambda _: (0.5, 0.5))[-1].taken


def test_two_boxes_of_one_car_are_one_car() -> None:
    room = Room(BAY)
    for frame in range(20):
        count = room.at(frame / 10, CAR, ("truck", 0.7, CAR[2]))
    assert count.taken
    assert count.counts == {"car": 1}


@settings(max_examples=30)
@given(st.integers(0, 2**32), st.sampled_from([2.0, 5.0, 10.0, 30.0]))
def test_never_more_inside_than_in_view(seed: int, fps: float) -> None:
    zones = {
        "left": ZoneSettings(points=((0, 0), (0.5, 0), (0.5, 1), (0, 1))),
        "all": ZoneSettings(points=((0, 0), (1, 0), (1, 1), (0, 1))),
    }
    analysis = Analysis("door", CameraSettings(source="x", zones=zones), NAMES)
    walkers = [Walker(i * 0.4, 3, (0.1, 0.2 * i), (0.9, 0.9 - 0.2 * i)) for i in range(4)]
    seen: list[Analysed] = []
    for time, found in play(walkers, 4, fps, Noise(miss=0.2, weak=0.2, shake=0.05, ghosts=0.3), seed=seed):
        seen.append(analysis.update(found, time))
    for analysed in seen:
        for zone in analysed.zones.values():
            assert sum(zone.counts.values()) == len(zone.dwell_s)
            assert zone.dwell_s.keys() <= analysed.dwell_s.keys()
            assert all(dwell <= analysed.dwell_s[track] + 1e-6 for track, dwell in zone.dwell_s.items())
            assert all(zone.counts[name] <= analysed.counts.get(name, 0) for name in zone.counts)
