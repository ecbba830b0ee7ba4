"""The recorder: events and bins of one camera, in order, and nothing invented while it is away."""

from __future__ import annotations

from densewatch.live.analysis import Analysis
from densewatch.live.recorder import Recorder
from densewatch.live.settings import CameraSettings
from densewatch.records import Bin, Event, Place, share_of
from live_scenes import NAMES, START, Walker, around, detections, play, result

SETTINGS = CameraSettings.model_validate(
    {
        "source": "x",
        "zones": {"right": {"points": [[0.5, 0], [1, 0], [1, 1], [0.5, 1]]}},
        "lines": {"middle": {"start": [0.5, 1], "end": [0.5, 0]}},
    }
)


class Desk:
    """A recorder and what it hands out."""

    def __init__(self, settings: CameraSettings = SETTINGS) -> None:
        self.events: list[Event] = []
        self.bins: list[Bin] = []
        self.analysis = Analysis("door", settings, NAMES)
        self.recorder = Recorder(
            "door", settings, NAMES, bin_seconds=10, on_event=self.events.append, on_bin=self.bins.append
        )

    def play(self, walkers: list[Walker], seconds: float, fps: float = 10, start: float = 0) -> None:
        for time, found in play(walkers, seconds, fps):
            self.recorder.add(result(self.analysis.update(found, time + start), time + start))


def test_a_walk_becomes_events_and_bins() -> None:
    desk = Desk()
    desk.play([Walker(2, 10, (0.1, 0.5), (0.9, 0.5))], 20)
    desk.recorder.close()
    assert [bin.observation.start_time for bin in desk.bins] == [int(START), int(START) + 10]
    rows = {(row.zone, row.label): row for bin in desk.bins[:1] for row in bin.counts}
    assert set(rows) == {(None, "person"), ("right", "person")}
    assert 0.7 < rows[None, "person"].mean < 0.85
    assert rows[None, "person"].minimum == 0
    assert [(line.line, line.entered, line.left) for bin in desk.bins for line in bin.lines] == [
        ("middle", 1, 0)
    ]
    ended = [event for event in desk.events if event.end_time is not None]
    assert {(event.kind, event.zone) for event in ended} == {
        ("presence", None),
        ("presence", "right"),
        ("crossing", "middle"),
    }
    assert all(event.camera == "door" and event.label == "person" for event in desk.events)


def test_a_camera_that_is_lost_leaves_no_counts_and_no_open_events() -> None:
    desk = Desk()
    desk.play([Walker(0, 100, (0.3, 0.5), (0.7, 0.5))], 15)
    for second in range(15, 60):
        desk.recorder.tick(START + second)
    assert [round(bin.observation.observed, 1) for bin in desk.bins] == [1, 0.5, 0, 0, 0]
    assert [len(bin.counts) > 0 for bin in desk.bins] == [True, True, False, False, False]
    begun = {event.id for event in desk.events}
    ended = {event.id: event.end_time for event in desk.events if event.end_time is not None}
    assert begun == set(ended)
    assert all(end is not None and end <= START + 15 for end in ended.values())


def test_a_camera_that_comes_back_begins_new_events() -> None:
    desk = Desk()
    desk.play([Walker(0, 100, (0.3, 0.5), (0.7, 0.5))], 15)
    for second in range(15, 40):
        desk.recorder.tick(START + second)
    desk.play([Walker(0, 100, (0.3, 0.5), (0.7, 0.5))], 15, start=40)
    desk.recorder.close()
    tracks = {event.track for event in desk.events if event.zone is None}
    assert tracks == {1, 2}
    assert [round(bin.observation.observed, 1) for bin in desk.bins] == [1, 0.5, 0, 0, 1, 0.5]


def test_new_settings_end_the_events_of_zones_that_are_gone() -> None:
    desk = Desk()
    desk.play([Walker(0, 100, (0.6, 0.5), (0.9, 0.5))], 5)
    bare = CameraSettings(source="x", snapshots=False)
    desk.analysis.replace(bare)
    desk.recorder.replace(bare)
    found = detections(("person", 0.8, around(0.615, 0.5)), ("chair", 0.8, around(0.2, 0.5)))
    for frame in range(5):
        time = START + 5 + frame / 10
        desk.recorder.add(result(desk.analysis.update(found, time), time))
    assert [event.zone for event in desk.events if event.end_time is not None] == ["right"]
    assert desk.events[-1].label == "chair"
    assert desk.events[-1].snapshot is None


def test_what_is_drawn_later_was_not_watched_before() -> None:
    bare = CameraSettings(source="x")
    desk = Desk(bare)
    desk.play([Walker(0, 100, (0.6, 0.5), (0.9, 0.5))], 14)
    desk.analysis.replace(SETTINGS)
    desk.recorder.replace(SETTINGS)
    desk.play([Walker(0, 100, (0.6, 0.5), (0.9, 0.5))], 10, start=14)
    desk.recorder.close()
    places: list[Place] = [("zone", None), ("zone", "right"), ("line", "middle")]
    shares = [
        [round(share_of(bin.observation.watched, place, "person"), 1) for place in places]
        for bin in desk.bins
    ]
    assert shares == [[1, 0, 0], [1, 0.6, 0.6], [1, 1, 1]]


def test_closing_twice_is_closing_once() -> None:
    desk = Desk()
    desk.play([Walker(0, 5, (0.3, 0.5), (0.7, 0.5))], 3)
    desk.recorder.close()
    handed_out = len(desk.events), len(desk.bins)
    desk.recorder.close()
    assert (len(desk.events), len(desk.bins)) == handed_out
