"""Numbers that objects keep: one object one number, whatever the frame rate, the label or the clock does."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pytest

from densewatch.detections import Detections
from densewatch.live.clock import Clock
from densewatch.live.filters import camera_filter
from densewatch.live.labelling import taken_over
from densewatch.live.settings import CameraSettings
from densewatch.live.track import Track
from densewatch.live.tracking import Tracking
from live_scenes import NAMES, SIZE, START, Noise, Row, Walker, around, detections, play


def tracking(memory_s: float = 1.0, threshold: float = 0.5) -> Tracking:
    return Tracking(camera_filter(CameraSettings(source="x", threshold=threshold), NAMES), memory_s)


class Run:
    """Feeds frames and remembers every sure number, with the label it had last."""

    def __init__(self, memory_s: float = 1.0) -> None:
        self.tracking = tracking(memory_s)
        self.clock = Clock()
        self.numbers: dict[int, str] = {}
        self.tracks: Sequence[Track] = ()

    def at(self, time: float, found: Detections) -> list[Track]:
        self.clock.advance(time)
        self.tracks = self.tracking.update(found, self.clock)
        sure = [track for track in self.tracks if track.sure]
        self.numbers |= {track.number: NAMES[track.label] for track in sure}
        return sure

    def rows(self, time: float, *rows: Row) -> list[Track]:
        return self.at(START + time, detections(*rows))


@pytest.mark.parametrize("fps", [2, 5, 10, 30])
def test_an_object_that_walks_through_has_one_number(fps: float) -> None:
    run = Run()
    for time, found in play([Walker(1, 6, (0.1, 0.5), (0.9, 0.5))], 8, fps):
        run.at(time, found)
    assert run.numbers == {1: "person"}


@pytest.mark.parametrize("fps", [2, 5, 10, 30])
def test_an_object_that_stops_at_once_keeps_its_number(fps: float) -> None:
    """The tracker's own motion model overshoots at few frames a second, and loses people who stop."""
    run = Run()
    walk, stand = Walker(0, 2, (0.1, 0.5), (0.5, 0.5)), Walker(2, 4, (0.5, 0.5), (0.5, 0.5))
    for time, found in play([walk, stand], 6, fps):
        run.at(time, found)
    assert list(run.numbers) == [1]


def test_an_object_is_sure_after_a_time_not_after_some_frames() -> None:
    for fps, expected in [(2, 0.5), (5, 0.4), (10, 0.4), (30, 0.4)]:
        run = Run()
        for frame in range(60):
            if run.rows(frame / fps, ("person", 0.8, around(0.5, 0.5))):
                break
        assert frame / fps == pytest.approx(expected)
        assert run.tracks[0].first_s == 0


def test_boxes_come_back_in_any_order() -> None:
    """The tracker gives them back in an order of its own; each must get its own track."""
    run = Run()
    places = {"left": around(0.2, 0.5), "right": around(0.8, 0.5)}
    for frame in range(20):
        strong, weak = ("left", "right") if frame % 2 else ("right", "left")
        found = detections(("person", 0.9, places[strong]), ("person", 0.45 + frame % 3 / 10, places[weak]))
        for track in run.at(START + frame / 10, found):
            assert track.index is not None
            np.testing.assert_allclose(track.box, found.boxes[track.index] / (640, 480, 640, 480), atol=1e-6)


def test_a_chair_never_takes_a_persons_number() -> None:
    run = Run()
    seat = around(0.5, 0.5)
    for frame in range(10):
        run.rows(frame / 10, ("person", 0.8, around(0.3 + frame * 0.02, 0.5)))
    for frame in range(10, 40):
        run.rows(frame / 10, ("person", 0.8, seat), ("chair", 0.7, around(0.5, 0.55, 0.08, 0.16)))
    for frame in range(40, 60):
        run.rows(frame / 10, ("chair", 0.7, around(0.5, 0.55, 0.08, 0.16)))
    assert run.numbers == {1: "person", 2: "chair"}


@pytest.mark.parametrize("fps", [5, 10, 30])
def test_a_label_that_flickers_is_one_object(fps: float) -> None:
    run = Run()
    random = np.random.default_rng(1)
    for frame in range(round(6 * fps)):
        name = "truck" if random.random() < 0.3 else "car"
        run.rows(frame / fps, (name, 0.7, around(0.1 + 0.8 * frame / (6 * fps), 0.5, 0.2, 0.2)))
    assert run.numbers == {1: "car"}


def test_an_object_that_has_two_names_at_a_time_is_one_object() -> None:
    run = Run()
    for frame in range(30):
        better = 0.05 * (-1) ** frame
        place = around(0.3 + frame * 0.01, 0.5)
        run.rows(frame / 10, ("car", 0.7 + better, place), ("truck", 0.68 - better, place))
    assert len(run.numbers) == 1


def test_a_weak_score_goes_on_but_begins_nothing() -> None:
    run = Run()
    for frame in range(30):
        run.rows(frame / 10, ("person", 0.45, around(0.2, 0.5)))
    assert run.numbers == {}
    for frame in range(30, 40):
        run.rows(frame / 10, ("person", 0.8, around(0.7, 0.5)))
    for frame in range(40, 80):
        run.rows(frame / 10, ("person", 0.45, around(0.7, 0.5)))
    assert [track.number for track in run.tracks if track.index is not None and track.sure] == [1]


def test_a_flash_is_no_object_at_any_rate() -> None:
    """The mean of the scores decides, not the best: more frames give no more chances."""
    for fps in (5, 10, 30):
        run = Run()
        random = np.random.default_rng(2)
        for frame in range(round(20 * fps)):
            run.rows(
                frame / fps, ("person", float(np.clip(random.normal(0.35, 0.08), 0, 1)), around(0.5, 0.5))
            )
        assert run.numbers == {}, fps


@pytest.mark.parametrize(("low", "numbers"), [(0.42, []), (0.48, [1])])
def test_the_mean_score_must_pass_not_every_other_score(low: float, numbers: list[int]) -> None:
    run = Run()
    for frame in range(120):
        run.rows(frame / 30, ("person", low if frame % 2 else 0.55, around(0.5, 0.5)))
    assert list(run.numbers) == numbers


@pytest.mark.parametrize(("every", "numbers"), [(2, [1]), (4, [])])
@pytest.mark.parametrize("fps", [15, 30])
def test_half_of_the_frames_must_show_it(fps: float, every: int, numbers: list[int]) -> None:
    run = Run()
    for frame in range(round(6 * fps)):
        rows: list[Row] = [("person", 0.8, around(0.5, 0.5))] if frame == 1 or frame % every == 0 else []
        run.rows(frame / fps, *rows)
    assert list(run.numbers) == numbers


def test_a_weak_second_box_of_a_neighbour_does_not_keep_who_is_gone() -> None:
    run = Run()
    one, other = ("person", 0.8, around(0.4, 0.5, 0.1, 0.4)), ("person", 0.8, around(0.52, 0.5, 0.1, 0.4))
    for frame in range(10):
        run.rows(frame / 10, one, other)
    for frame in range(10, 40):
        sure = run.rows(frame / 10, other, ("person", 0.45, around(0.46, 0.5, 0.1, 0.4)))
    assert [track.box[0] for track in sure] == [pytest.approx(0.47)]


PLACE = np.array([[0.2, 0.2, 0.4, 0.6]])


@pytest.mark.parametrize(
    ("tracks", "found", "expected"),
    [
        ([0], [1], [0]),  # somebody is called a chair for a frame
        ([0], [0, 1], [0, 1]),  # somebody sits on a chair: both are seen
        ([0, 1], [1], [1]),  # only the chair is seen, which has a track
        ([0, 1], [2], [0]),  # a third class goes to one of two
        ([], [1], [1]),
    ],
)
def test_a_box_goes_to_a_track_of_another_class_only_if_both_are_alone(
    tracks: list[int], found: list[int], expected: list[int]
) -> None:
    boxes, track_boxes = PLACE.repeat(len(found), 0), PLACE.repeat(len(tracks), 0)
    planes = taken_over(boxes, np.array(found), track_boxes, np.array(tracks, np.int64))
    assert planes.tolist() == expected
    apart = taken_over(boxes + 0.1, np.array(found), track_boxes, np.array(tracks, np.int64))
    assert apart.tolist() == found


@pytest.mark.parametrize(("hidden_s", "numbers"), [(0.8, [1]), (3.0, [1, 2])])
@pytest.mark.parametrize("fps", [5, 10, 30])
def test_the_memory_is_in_seconds(fps: float, hidden_s: float, numbers: list[int]) -> None:
    run = Run(memory_s=1.0)
    for frame in range(round(8 * fps)):
        time = frame / fps
        hidden = 2 < time <= 2 + hidden_s
        run.rows(time, *([] if hidden else [("person", 0.8, around(0.5, 0.5))]))
    assert list(run.numbers) == numbers


def test_a_long_gap_ends_all_tracks() -> None:
    run = Run()
    for time in [0, 0.1, 0.2, 0.3, 0.4, 60.0, 60.1, 60.2, 60.3, 60.4]:
        run.rows(time, ("person", 0.8, around(0.5, 0.5)))
    assert list(run.numbers) == [1, 2]


def test_a_memory_below_the_interval_of_frames_still_follows() -> None:
    run = Run(memory_s=0.2)
    for frame in range(20):
        run.rows(frame / 2, ("person", 0.8, around(0.5, 0.5)))
    assert list(run.numbers) == [1]


def test_times_that_stand_still_or_go_back_break_nothing() -> None:
    run = Run()
    times = [0, 0.1, 0.2, 0.2, 0.2, 0.3, 0.4, 0.35, 0.5, -3600, -3599.9, -3599.8, -3599.7]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for time in times:
            run.rows(time, ("person", 0.8, around(0.5, 0.5)))
    assert list(run.numbers) == [1]


def test_a_change_of_resolution_keeps_the_numbers() -> None:
    run = Run()
    for frame in range(20):
        size = (480, 640) if frame < 10 else (960, 1280)
        row: Row = ("person", 0.8, around(0.3 + frame * 0.01, 0.5))
        run.at(START + frame / 10, detections(row, size=size))
    assert list(run.numbers) == [1]


def test_the_first_sight_is_remembered() -> None:
    run = Run()
    run.rows(0, ("chair", 0.8, around(0.3, 0.5)))
    run.rows(0.1, ("chair", 0.8, around(0.32, 0.5)))
    (track,) = run.tracks
    assert track.first_s == 0
    np.testing.assert_allclose(track.first_box, around(0.3, 0.5), atol=1e-5)


def test_two_that_meet_keep_their_numbers() -> None:
    run = Run()
    walkers = [Walker(0, 4, (0.1, 0.4), (0.9, 0.4)), Walker(0, 4, (0.9, 0.6), (0.1, 0.6))]
    ends = {}
    for time, found in play(walkers, 4, 10):
        for track in run.at(time, found):
            ends[track.number] = track.box[1]
    assert len(run.numbers) == 2
    assert len({round(top, 2) for top in ends.values()}) == 2


def test_state_is_bounded_by_what_is_live() -> None:
    """An hour of boxes that come and go: what is remembered does not grow (C13)."""
    run = Run()
    random = np.random.default_rng(0)
    most = 0
    for frame in range(1200):
        boxes = random.uniform(0.05, 0.9, (8, 2))
        rows: list[Row] = [
            (NAMES[random.integers(4)], random.uniform(0.2, 0.9), (x, y, x + 0.05, y + 0.1)) for x, y in boxes
        ]
        run.rows(frame * 3.0, *rows)
        inner = run.tracking
        most = max(most, len(inner._tracks) + len(inner._firsts) + len(inner._tracker.tracks))
    assert most < 200
    for second in range(10):
        run.rows(3600.0 + 3 * second)
    assert not run.tracks
    assert not run.tracking._firsts


def test_many_with_noise_are_counted_exactly() -> None:
    walkers = [
        Walker(i * 0.7, 6, (0.05, 0.1 + 0.16 * (i % 5)), (0.95, 0.1 + 0.16 * (i % 5))) for i in range(20)
    ]
    for fps in (5, 10, 30):
        run = Run()
        for time, found in play(walkers, 22, fps, Noise(miss=0.1, weak=0.1, shake=0.03), seed=3):
            run.at(time, found)
        assert len(run.numbers) == 20, fps


def test_nothing_at_all() -> None:
    run = Run()
    assert run.at(START, Detections.empty(NAMES, SIZE)) == []
    assert run.at(START + 1, Detections.empty(NAMES, SIZE)) == []


@pytest.mark.parametrize("fps", [5, 10, 30])
def test_who_comes_in_where_another_went_out_gets_a_number_of_its_own(fps: float) -> None:
    run = Run(memory_s=2.0)
    out, back = Walker(0, 3, (0.5, 0.5), (1.04, 0.5)), Walker(3.6, 3, (1.04, 0.5), (0.5, 0.5))
    for time, found in play([out, back], 6, fps):
        run.at(time, clipped(found))
    assert list(run.numbers) == [1, 2]


def clipped(found: Detections) -> Detections:
    """Return boxes as a detector gives them: cut at the picture's border."""
    height, width = found.size
    boxes = np.clip(found.boxes, 0, (width, height, width, height))
    return Detections(boxes, found.scores, found.labels, found.names, found.size)
