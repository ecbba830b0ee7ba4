"""The demo: the embedded model finds the people in it, and they move."""

from __future__ import annotations

import itertools
import time
from contextlib import closing

import numpy as np

import densewatch
from densewatch.live.sources.demo import CYCLE_S, DemoScene, DemoSource


def test_people_come_walk_meet_and_leave() -> None:
    scene, detector = DemoScene(), densewatch.load()
    found = [detector.detect(scene.at(moment), threshold=0.5) for moment in np.arange(0, CYCLE_S, 0.5)]
    counts = [len(one.only("person")) for one in found]
    assert {0, 1, 2, 3} <= set(counts)
    assert counts[0] == counts[-1] == 0
    assert sum(one.counts().get("person", 0) != len(one) for one in found) <= 2, "what is found are people"
    alone = [one.boxes[0] for one, moment in zip(found, np.arange(0, CYCLE_S, 0.5), strict=True)
             if len(one) == 1 and 6 <= moment <= 10]  # fmt: skip
    centres = [float(box[0] + box[2]) / 2 for box in alone]
    assert all(later > earlier for earlier, later in itertools.pairwise(centres)), (
        "the first one walks to the right"
    )
    assert centres[-1] - centres[0] > 100


def test_a_moment_always_looks_the_same() -> None:
    first, second = DemoScene(), DemoScene()
    for moment in (0.0, 7.3, 18.0):
        image = first.at(moment)
        assert image.shape == (480, 640, 3)
        assert (image == second.at(moment)).all()
        assert (image == first.at(moment + CYCLE_S)).all()


def test_the_source_keeps_time() -> None:
    source = DemoSource()
    with closing(source.frames()) as frames:
        taken = list(itertools.islice(frames, 13))
        assert abs(taken[-1].time - time.time()) < 0.2
        assert np.diff([frame.time for frame in taken]).mean() < 0.1
        time.sleep(0.3)  # somebody who is slow gets the frame of now, not the one after the last
        assert abs(next(frames).time - time.time()) < 0.1
        source.close()
        assert next(frames, None) is None
