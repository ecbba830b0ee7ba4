"""Events: who was in view and in zones, and who crossed, from when to when, with pictures."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from densewatch.live.analysis import Analysis
from densewatch.live.clock import Clock
from densewatch.live.events import Events, new_id
from densewatch.live.settings import CameraSettings
from densewatch.records import Event
from live_scenes import NAMES, START, Row, around, detections, result

RIGHT = ((0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0))
PICTURE = np.full((720, 1280, 3), (200, 100, 50), np.uint8)


class Watch:
    """A camera with its events."""

    def __init__(self, **settings: object) -> None:
        self.settings = CameraSettings.model_validate({"source": "x", **settings})
        self.analysis = Analysis("door", self.settings, NAMES)
        self.clock = Clock()
        self.out: list[Event] = []
        self.events = Events("door", self.settings, self.clock, self.out.append)

    def at(
        self, time: float, *rows: Row, image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] = PICTURE
    ) -> None:
        self.clock.advance(START + time)
        self.events.add(
            result(self.analysis.update(detections(*rows), START + time), START + time, image=image)
        )

    def ended(self) -> list[Event]:
        return [event for event in self.out if event.end_time is not None]


def test_an_event_begins_when_it_is_sure_and_ends_at_the_last_sight() -> None:
    watch = Watch()
    for frame in range(50):
        rows = [("person", 0.8, around(0.5, 0.5))] if 10 <= frame <= 30 else []
        watch.at(frame / 10, *rows)
    begin, end = watch.out
    assert begin.end_time is None
    assert begin.id == end.id
    assert (begin.kind, begin.label, begin.track, begin.zone, begin.direction) == (
        "presence",
        "person",
        1,
        None,
        None,
    )
    assert begin.start_time == end.start_time == pytest.approx(START + 1)
    assert end.end_time == pytest.approx(START + 3)
    assert begin.box == pytest.approx(around(0.5, 0.5), abs=1e-4)


def test_zones_have_events_of_their_own() -> None:
    watch = Watch(zones={"right": {"points": RIGHT}})
    for frame in range(80):
        watch.at(frame / 10, ("person", 0.8, around(0.3 + 0.4 * min(frame, 40) / 40, 0.5)))
    watch.events.close()
    whole, zone = sorted(watch.ended(), key=lambda event: event.start_time)
    assert (whole.zone, zone.zone) == (None, "right")
    assert whole.start_time == pytest.approx(START)
    assert zone.start_time == pytest.approx(START + 2.0, abs=0.11)
    assert whole.track == zone.track
    assert whole.id != zone.id


def test_what_is_not_sure_has_no_event() -> None:
    watch = Watch()
    for frame in range(40):
        rows = [("person", 0.9, around(0.1 + frame % 5 / 5, 0.5))] if frame % 3 == 0 else []
        watch.at(frame / 10, *rows)
    assert watch.out == []


def test_a_crossing_is_a_moment() -> None:
    watch = Watch(lines={"gate": {"start": (0.5, 1), "end": (0.5, 0)}})
    for frame in range(30):
        watch.at(frame / 10, ("person", 0.8, around(0.2 + 0.02 * frame, 0.5)))
    (crossing,) = [event for event in watch.out if event.kind == "crossing"]
    assert (crossing.zone, crossing.direction, crossing.track) == ("gate", "in", 1)
    assert crossing.start_time == crossing.end_time
    assert crossing.start_time == pytest.approx(START + 1.6, abs=0.11)
    assert crossing.snapshot is not None


def test_when_data_ends_so_do_events() -> None:
    watch = Watch(track_memory_s=1.0)
    for frame in range(20):
        watch.at(frame / 10, ("person", 0.8, around(0.5, 0.5)))
    watch.events.tick(START + 3)
    assert watch.ended() == []
    watch.events.tick(START + 5)
    assert [event.end_time for event in watch.ended()] == [pytest.approx(START + 1.9)]
    watch.events.tick(START + 60)
    assert len(watch.out) == 2


def test_a_slow_camera_does_not_end_events_between_frames() -> None:
    watch = Watch()
    for frame in range(10):
        watch.at(frame * 5, ("person", 0.8, around(0.5, 0.5)))
        for second in range(5):
            watch.events.tick(START + frame * 5 + second)
    assert watch.ended() == []
    assert len(watch.out) == 1


def test_the_snapshot_is_that_of_the_best_score() -> None:
    watch = Watch()
    shades = {}
    for frame, score in enumerate([0.6] * 5 + [0.62, 0.7, 0.72, 0.9, 0.8, 0.3]):
        shades[score] = frame * 20
        image = np.full((90, 160, 3), frame * 20, np.uint8)
        watch.at(frame / 10, ("person", score, around(0.4 + frame / 100, 0.5)), image=image)
    watch.events.close()
    (end,) = watch.ended()
    assert end.top_score == pytest.approx(0.9)
    assert end.box == pytest.approx(around(0.48, 0.5), abs=1e-4)
    assert end.snapshot is not None
    picture = cv2.imdecode(np.frombuffer(end.snapshot, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert abs(float(picture.mean()) - shades[0.9]) < 2


def test_snapshots_are_small_and_have_the_right_colours() -> None:
    watch = Watch()
    for frame in range(5):
        watch.at(frame / 10, ("person", 0.8, around(0.5, 0.5)))
    snapshot = watch.out[0].snapshot
    assert snapshot is not None
    picture = cv2.imdecode(np.frombuffer(snapshot, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (360, 640, 3)
    np.testing.assert_allclose(picture[100, 100], (50, 100, 200), atol=4)


def test_snapshots_may_be_switched_off() -> None:
    watch = Watch(snapshots=False)
    for frame in range(5):
        watch.at(frame / 10, ("person", 0.8, around(0.5, 0.5)))
    assert watch.out[0].snapshot is None
    watch.events.replace(watch.settings.model_copy(update={"snapshots": True}))
    for frame in range(5, 20):
        watch.at(frame / 10, ("person", 0.8, around(0.5, 0.5)), ("chair", 0.8, around(0.2, 0.5)))
    assert [event.snapshot is not None for event in watch.out] == [False, True]


def test_a_crowd_costs_one_jpeg_a_frame_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def counted(image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], **options: object) -> bytes:
        made.append(1)
        return b"a picture"

    monkeypatch.setattr("densewatch.live.snapshots.encode_jpeg", counted)
    watch = Watch(zones={"right": {"points": RIGHT}})
    random = np.random.default_rng(0)
    crowd = [around(0.04 + 0.048 * (i % 20), 0.08 + 0.09 * (i // 20), 0.03, 0.06) for i in range(200)]
    per_frame = []
    for frame in range(30):
        before = len(made)
        rows: list[Row] = [("person", random.uniform(0.6, 0.95), box) for box in crowd]
        watch.at(frame / 10, *rows)
        per_frame.append(len(made) - before)
    assert len([event for event in watch.out if event.zone is None]) == 200
    assert max(per_frame) == 1
    pictures = {id(event.picture) for event in watch.events._open.values()}
    assert len(pictures) <= sum(per_frame)


def test_only_what_is_in_view_is_remembered() -> None:
    watch = Watch()
    for frame in range(600):
        place = around(0.1 + 0.8 * (frame // 6 % 9) / 8, 0.2 + 0.6 * (frame // 54 % 3) / 2)
        watch.at(frame / 10, ("person", 0.8, place))
        assert len(watch.events._open) < 15
    assert len(watch.out) > 100


def test_ids_differ_and_sort_by_time() -> None:
    ids = [new_id(START + second) for second in range(100)]
    assert ids == sorted(ids)
    assert len({new_id(START) for _ in range(1000)}) == 1000
    assert all(len(id) == 32 for id in ids)
