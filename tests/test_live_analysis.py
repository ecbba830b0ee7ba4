"""What one frame means, put together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from densewatch.detections import Detections, UnknownNameError
from densewatch.live.analysis import Analysis
from densewatch.live.settings import CameraSettings, LineSettings, ZoneSettings
from live_scenes import NAMES, SIZE, START, Noise, Walker, around, detections, play

SQUARE = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0))
PERSON = ("person", 0.8, around(0.5, 0.5))


def analysis(**settings: object) -> Analysis:
    return Analysis("door", CameraSettings.model_validate({"source": "x", **settings}), NAMES)


def test_a_box_has_no_number_until_it_is_sure() -> None:
    watched = analysis()
    tracks = []
    for frame in range(6):
        analysed = watched.update(detections(PERSON), START + frame / 10)
        assert analysed.detections.track_ids is not None
        tracks.append(analysed.detections.track_ids.tolist())
        assert sum(analysed.counts.values()) == sum(track >= 0 for track in tracks[-1])  # C21: -1 is no track
    assert tracks == [[-1], [-1], [-1], [-1], [1], [1]]  # from 0.4 s on
    assert analysed.dwell_s == {1: pytest.approx(0.5)}


def test_counts_bridge_a_miss_and_detections_do_not() -> None:
    watched = analysis()
    for frame in range(10):
        watched.update(detections(PERSON), START + frame / 10)
    missed = watched.update(Detections.empty(NAMES, SIZE), START + 1.0)
    assert missed.counts == {"person": 1}
    assert len(missed.detections) == 0
    assert missed.dwell_s == {1: pytest.approx(0.9)}  # until it was last seen
    gone = watched.update(Detections.empty(NAMES, SIZE), START + 2.5)
    assert gone.counts == {}
    assert gone.dwell_s == {}


def test_who_walks_out_does_not_linger() -> None:
    watched = analysis(track_memory_s=3.0)
    for frame in range(31):
        x = 0.7 + frame / 100
        box = (x - 0.05, 0.4, min(x + 0.05, 1.0), 0.6)
        watched.update(detections(("person", 0.8, box)), START + frame / 10)
    assert watched.update(detections(), START + 3.2).counts == {"person": 1}
    assert watched.update(detections(), START + 3.5).counts == {}


def test_weak_boxes_keep_an_object_but_are_not_shown() -> None:
    watched = analysis(threshold=0.6)
    for frame in range(10):
        watched.update(detections(PERSON), START + frame / 10)
    for frame in range(10, 20):
        analysed = watched.update(detections(("person", 0.5, PERSON[2])), START + frame / 10)
    assert analysed.counts == {"person": 1}
    assert len(analysed.detections) == 0


def test_the_detector_is_asked_for_all_that_is_needed() -> None:
    assert analysis().lowest_threshold == pytest.approx(0.4)
    assert analysis(threshold=0.7, thresholds={"car": 0.6}).lowest_threshold == pytest.approx(0.48)
    zone = ZoneSettings(points=SQUARE, threshold=0.3)
    assert analysis(zones={"a": zone.model_dump()}).lowest_threshold == pytest.approx(0.24)
    line = LineSettings(start=(0, 0), end=(1, 1), thresholds={"person": 0.1})
    assert analysis(lines={"a": line.model_dump()}).lowest_threshold == pytest.approx(0.08)


@pytest.mark.parametrize("part", ["zones", "lines"])
def test_an_unknown_class_is_an_error_at_once_and_changes_nothing(part: str) -> None:
    place = {"points": SQUARE} if part == "zones" else {"start": (0, 0), "end": (1, 1)}
    wrong = {part: {"a": {**place, "only": ["chiar"]}}}
    with pytest.raises(UnknownNameError, match="did you mean 'chair'"):
        analysis(**wrong)
    watched = analysis()
    with pytest.raises(UnknownNameError):
        watched.replace(CameraSettings.model_validate({"source": "x", "threshold": 0.9, **wrong}))
    assert watched.lowest_threshold == pytest.approx(0.4)
    assert watched.update(detections(), START).zones == {}


def test_new_settings_keep_the_numbers() -> None:
    watched = analysis()
    for frame in range(10):
        watched.update(detections(PERSON, ("chair", 0.7, around(0.2, 0.5))), START + frame / 10)
    watched.replace(
        CameraSettings(
            source="x", only=("person",), zones={"all": ZoneSettings(points=SQUARE, anchor="center")}
        )
    )
    for frame in range(10, 20):
        analysed = watched.update(detections(PERSON, ("chair", 0.7, around(0.2, 0.5))), START + frame / 10)
    assert analysed.counts == {"person": 1}
    assert list(analysed.dwell_s) == [1]
    assert analysed.zones["all"].counts == {"person": 1}
    watched.replace(CameraSettings(source="x"))
    assert watched.update(detections(PERSON), START + 2).zones == {}


def test_a_track_has_one_class_in_the_result() -> None:
    watched = analysis()
    shown = set()
    for frame in range(40):
        name = "truck" if frame % 4 == 3 else "car"
        analysed = watched.update(detections((name, 0.8, around(0.5, 0.5))), START + frame / 10)
        tracks = analysed.detections.track_ids
        assert tracks is not None
        shown |= {
            (track, NAMES[label]) for track, label in zip(tracks, analysed.detections.labels, strict=True)
        }
        assert analysed.counts in ({}, {"car": 1})
    assert {label for track, label in shown if track >= 0} == {"car"}


@given(st.integers(0, 2**32), st.sampled_from([2.0, 7.5, 10.0, 30.0]))
def test_results_are_whole(seed: int, fps: float) -> None:
    """Sorted by score, numbers once a frame, none is reused, every one shown is counted or in a zone."""
    watched = analysis(zones={"all": {"points": SQUARE, "threshold": 0.3}})
    walkers = [Walker(i * 0.5, 2, (0.1, 0.2 * i), (0.9, 0.9 - 0.2 * i), NAMES[i]) for i in range(4)]
    first: dict[int, float] = {}
    for time, found in play(walkers, 5, fps, Noise(miss=0.2, weak=0.2, shake=0.05, ghosts=0.5), seed=seed):
        analysed = watched.update(found, time)
        shown = analysed.detections
        assert shown.track_ids is not None
        assert (np.diff(shown.scores) <= 0).all()
        numbers = shown.track_ids[shown.track_ids >= 0].tolist()
        assert len(numbers) == len(set(numbers))
        for number, dwell_s in analysed.dwell_s.items():
            began = first.setdefault(number, time - dwell_s)
            assert time - dwell_s >= began - 1e-6
        assert sum(analysed.counts.values()) == len(analysed.dwell_s)
