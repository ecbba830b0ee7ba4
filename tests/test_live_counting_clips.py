"""The same scene at 5, 10 and 30 frames a second gives the same counts within 5 %: drawn, demo and real."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import densewatch
from densewatch.detections import Detections
from densewatch.live.analysis import Analysis
from densewatch.live.recorder import Recorder
from densewatch.live.settings import CameraSettings, LineSettings, ZoneSettings
from densewatch.live.sources.demo import DemoScene
from densewatch.records import Bin
from live_scenes import NAMES, START, Noise, Walker, play, result

Frames = Sequence[tuple[float, Detections]]


@dataclass(frozen=True)
class Counted:
    """What a scene came to; occupancies are means over observed time, by zone, None is the whole picture."""

    tracks: int
    entered: int
    left: int
    occupancy: dict[str | None, float]


def count(
    frames: Iterable[tuple[float, Detections]], settings: CameraSettings, names: Sequence[str]
) -> Counted:
    """Count persons; the settings have one line, `gate`."""
    analysis = Analysis("door", settings, names)
    bins: list[Bin] = []
    recorder = Recorder(
        "door", settings, names, bin_seconds=3600, on_event=lambda _: None, on_bin=bins.append
    )
    numbers: set[int] = set()
    for time, found in frames:
        analysed = analysis.update(found, time)
        recorder.add(result(analysed, time))
        numbers |= analysed.dwell_s.keys()
    recorder.close()
    seconds = sum(bin.observation.observed for bin in bins)
    occupancy: dict[str | None, float] = {}
    for bin in bins:
        for row in bin.counts:
            share = row.mean * row.observed / seconds
            occupancy[row.zone] = occupancy.get(row.zone, 0) + share
    return Counted(len(numbers), analysed.lines["gate"]["in"], analysed.lines["gate"]["out"], occupancy)


def settings(line: LineSettings, **zones: ZoneSettings) -> CameraSettings:
    return CameraSettings(source="x", only=("person",), snapshots=False, zones=zones, lines={"gate": line})


def assert_alike(one: Counted, other: Counted) -> None:
    """Same tracks and crossings; occupancies within 5 %."""
    assert (one.tracks, one.entered, one.left) == (other.tracks, other.entered, other.left)
    assert one.occupancy == pytest.approx(other.occupancy, rel=0.05)


MIDDLE = LineSettings(start=(0.5, 1), end=(0.5, 0))
RIGHT_HALF = ZoneSettings(points=((0.5, 0), (1, 0), (1, 1), (0.5, 1)), anchor="center")
DRAWN = settings(MIDDLE, right=RIGHT_HALF)


def walkers(count: int) -> list[Walker]:
    """Every 2 s somebody walks through, on five lanes, in turn from left and right; 5 to 8 s each."""
    ends = ((-0.04, 1.04), (1.04, -0.04))
    return [
        Walker(
            begins=i * 2,
            seconds=5 + i % 4,
            start=(ends[i % 2][0], 0.1 + 0.2 * (i % 5)),
            end=(ends[i % 2][1], 0.1 + 0.2 * (i % 5)),
        )
        for i in range(count)
    ]


RATES = (5, 10, 30)
PEOPLE = walkers(30)
SECONDS = 30 * 2 + 8
TRUTH = sum(walker.seconds for walker in PEOPLE) / SECONDS


@pytest.mark.parametrize("seed", range(3))
def test_a_drawn_scene_of_known_truth_is_counted_exactly_at_every_rate(seed: int) -> None:
    """30 people, half of them each way; a tenth is missed, a tenth weak, and boxes shake."""
    noise = Noise(miss=0.1, weak=0.1, shake=0.03)
    counted = [count(play(PEOPLE, SECONDS, fps, noise, seed), DRAWN, NAMES) for fps in RATES]
    for one in counted:
        assert (one.tracks, one.entered, one.left) == (30, 15, 15)
        assert_alike(one, counted[-1])
        assert one.occupancy[None] == pytest.approx(TRUTH, rel=0.1)
        assert one.occupancy["right"] == pytest.approx(TRUTH / 2, rel=0.1)


@pytest.mark.parametrize("seed", range(3))
def test_ghosts_cross_no_line_and_hardly_ever_become_people(seed: int) -> None:
    """Every few frames there is a box of nothing, which may lie where somebody was missed."""
    noise = Noise(miss=0.1, weak=0.1, shake=0.03, ghosts=0.2)
    counted = [count(play(PEOPLE, SECONDS, fps, noise, seed), DRAWN, NAMES) for fps in RATES]
    for one in counted:
        assert (one.entered, one.left) == (15, 15)
        assert one.tracks == pytest.approx(30, rel=0.05)
        assert one.occupancy == pytest.approx(counted[-1].occupancy, rel=0.05)


def test_people_who_run_are_counted_at_every_rate() -> None:
    """Through the picture in 2.5 s: at 5 frames a second they move by more than their own width a frame."""
    lanes = [0.1 + 0.2 * (i % 5) for i in range(20)]
    people = [Walker(i * 3, 2.5, (-0.04, lane), (1.04, lane)) for i, lane in enumerate(lanes)]
    for fps in RATES:
        one = count(play(people, 62, fps, Noise(miss=0.1, shake=0.03)), DRAWN, NAMES)
        assert (one.tracks, one.entered, one.left) == (20, 20, 0), fps


def test_two_frames_a_second_still_count_people_who_do_not_run() -> None:
    lanes = [0.2 + 0.3 * (i % 3) for i in range(8)]
    people = [Walker(i * 4, 16, (-0.04, lane), (1.04, lane)) for i, lane in enumerate(lanes)]
    patient = DRAWN.model_copy(update={"track_memory_s": 2.0})
    counted = [count(play(people, 50, fps, Noise(miss=0.05, shake=0.02)), patient, NAMES) for fps in (2, 30)]
    assert (counted[0].tracks, counted[0].entered) == (8, 8)
    assert_alike(counted[0], counted[1])


def test_irregular_times_and_gaps_change_nothing() -> None:
    people = walkers(12)
    frames = list(play(people, 32, 30, Noise(miss=0.05, shake=0.02)))
    random = np.random.default_rng(0)
    some = [frame for frame in frames if random.random() < 0.4]
    assert_alike(count(some, DRAWN, NAMES), count(frames, DRAWN, NAMES))


@pytest.fixture(scope="session")
def detector() -> densewatch.Detector:
    return densewatch.load()


@pytest.fixture(scope="session")
def demo(detector: densewatch.Detector) -> Frames:
    """The demo while its first walker is alone, at 30 frames a second, as the embedded model sees it."""
    scene = DemoScene()
    return [
        (START + frame / 30, detector.detect(scene.at(frame / 30), threshold=0.1)) for frame in range(330)
    ]


def test_the_embedded_model_counts_a_walker_of_the_demo_alike_at_every_rate(
    demo: Frames, detector: densewatch.Detector
) -> None:
    """One person walks in from the left and over the middle, and is in the left half for five seconds."""
    left = ZoneSettings(points=((0, 0), (0.5, 0), (0.5, 1), (0, 1)), anchor="center")
    rules = settings(MIDDLE, left=left)
    full = count(demo, rules, detector.names)
    for step in (1, 3, 6):
        for offset in range(step):
            one = count(demo[offset::step], rules, detector.names)
            assert (one.tracks, one.entered, one.left) == (1, 1, 0)
            assert one.occupancy == pytest.approx(full.occupancy, rel=0.05)


TABLE = settings(
    LineSettings(start=(0.75, 1), end=(0.75, 0)),
    table=ZoneSettings(points=((0.35, 0.5), (0.85, 0.5), (0.85, 1), (0.35, 1))),
)
"""People come from below, stand at the table, and leave to the right, over the line."""


def detect_clip(path: Path, detector: densewatch.Detector, most: int) -> Frames:
    import av

    frames: list[tuple[float, Detections]] = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            if len(frames) == most:
                break
            image = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            found = detector.detect(image, threshold=0.1)
            frames.append((START + float(frame.time or 0), found))
    return frames


def compare_clip(frames: Frames, detector: densewatch.Detector, people: int) -> None:
    """Compare 10, 5 and 2 frames a second with the truth and among each other.

    At 2 frames a second somebody may not be seen any more between the line and the border.
    """
    full = count(frames, TABLE, detector.names)
    for step in (1, 2, 5):
        for offset in range(step):
            one = count(frames[offset::step], TABLE, detector.names)
            assert (one.tracks, one.left) == (people, 0), (step, offset)
            assert people - (step == 5) <= one.entered <= people, (step, offset)
            assert one.occupancy == pytest.approx(full.occupancy, rel=0.05), (step, offset)


def test_a_real_clip_is_counted_alike_at_every_rate(shared: Path, detector: densewatch.Detector) -> None:
    """Its first person."""
    path = shared / "clips" / "intel_one-by-one-person-detection.mp4"
    compare_clip(detect_clip(path, detector, 215), detector, people=1)


@pytest.mark.slow
def test_a_whole_real_clip_is_counted_alike_at_every_rate(
    shared: Path, detector: densewatch.Detector
) -> None:
    """All six."""
    path = shared / "clips" / "intel_one-by-one-person-detection.mp4"
    compare_clip(detect_clip(path, detector, 10_000), detector, people=6)
