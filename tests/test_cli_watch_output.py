"""What `watch` writes."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from densewatch.cli.watch_output import JsonLines, LiveTable, PlainLines
from densewatch.cli.watch_writer import Writer
from densewatch.detections import Detections
from densewatch.live.results import CameraState, CameraStatus, FrameResult, ZoneCount


def status(state: CameraState, error: str | None = None, id: str = "hall") -> CameraStatus:
    return CameraStatus(
        id=id,
        state=state,
        since=1000.0,
        address="rtsp://hall",
        error=error,
        age_ms=42.4,
        last_time=999.0,
        time_source="pts",
        size=(48, 64),
        fps_in=25.0,
        fps_out=12.5,
        dropped={},
        reconnects={},
    )


def result(counts: Mapping[str, int], camera: str = "hall") -> FrameResult:
    found = Detections(
        np.array([[1, 2, 3, 4]]), np.array([0.9]), np.array([0]), ("person",), (48, 64), np.array([7])
    )
    return FrameResult(
        camera=camera,
        frame=3,
        time=999.0004,
        time_source="pts",
        age_ms=42.43,
        stale=False,
        detections=found,
        counts=counts,
        zones={
            "door": ZoneCount({"person": 2}, dwell_s={7: 1.234}),
            "bay": ZoneCount({}, taken=True),
            "bay-2": ZoneCount({}, taken=False),
        },
        lines={"gate": {"in": 4, "out": 1}},
        crossings=(),
        image=np.zeros((48, 64, 3), np.uint8),
    )


def test_a_line_of_json_has_all_that_is_known_of_a_frame() -> None:
    stream = io.StringIO()
    JsonLines(stream).add(result({"person": 1}))
    assert json.loads(stream.getvalue()) == {
        "camera": "hall",
        "frame": 3,
        "time": 999.0,
        "time_source": "pts",
        "age_ms": 42.4,
        "state": "live",
        "stale": False,
        "detected": True,
        "width": 64,
        "height": 48,
        "saturated": False,
        "detections": [{"label": "person", "score": 0.9, "box": [1.0, 2.0, 3.0, 4.0], "track": 7}],
        "counts": {"person": 1},
        "zones": {
            "door": {"counts": {"person": 2}, "taken": None, "dwell_s": {"7": 1.23}},
            "bay": {"counts": {}, "taken": True, "dwell_s": {}},
            "bay-2": {"counts": {}, "taken": False, "dwell_s": {}},
        },
        "lines": {"gate": {"in": 4, "out": 1}},
    }


def test_a_camera_that_goes_away_is_one_line_and_no_count() -> None:
    stream = io.StringIO()
    lines = JsonLines(stream)
    for state in ("connecting", "live", "lost", "lost", "live"):
        lines.show({"hall": status(state, "refused" if state == "lost" else None)}, {})
    told = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["state"] for line in told] == ["connecting", "lost"]
    assert told[1] == {"camera": "hall", "frame": None, "time": 1000.0, "state": "lost", "error": "refused"}


@pytest.mark.parametrize(
    ("state", "error", "told"),
    [
        ("live", None, "hall  live  42 ms  person 3"),
        ("stalled", None, "hall  stalled  42 ms  no data"),
        ("lost", "it refuses", "hall  lost  42 ms  no data: it refuses"),
    ],
)
def test_plain_lines_never_count_what_was_not_seen(state: CameraState, error: str | None, told: str) -> None:
    stream = io.StringIO()
    PlainLines(stream).show({"hall": status(state, error)}, {"hall": result({"person": 3})})
    assert stream.getvalue() == f"{told}\n"


def test_plain_lines_come_once_a_second() -> None:
    stream = io.StringIO()
    lines = PlainLines(stream)
    for _ in range(5):
        lines.show({"hall": status("live")}, {"hall": result({})})
    assert stream.getvalue() == "hall  live  42 ms  nothing\n"


def test_the_table_shows_zones_and_lines(capsys: pytest.CaptureFixture[str]) -> None:
    table = LiveTable()
    table.start()
    table.show({"hall": status("live")}, {"hall": result({"person": 3, "chair": 1})})
    table.finish()
    shown = capsys.readouterr().out
    for words in ("person 3, chair 1", "door", "person 2", "taken", "free", "in 4, out 1", "12.5"):
        assert words in shown


def test_the_table_shows_no_old_zones_of_a_lost_camera(capsys: pytest.CaptureFixture[str]) -> None:
    table = LiveTable()
    table.start()
    table.show({"hall": status("lost", "it refuses")}, {"hall": result({"person": 3})})
    table.finish()
    shown = capsys.readouterr().out
    assert "no data: it refuses" in shown
    assert "person" not in shown
    assert "taken" not in shown


class Held:
    """An output that stands still until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.frames: list[int] = []

    def start(self) -> None:
        """Nothing to do."""

    def add(self, result: FrameResult) -> None:
        self.go.wait()
        self.frames.append(result.frame)

    def show(self, statuses: Mapping[str, CameraStatus], latest: Mapping[str, FrameResult]) -> None:
        self.go.wait()

    def finish(self) -> None:
        """Nothing to do."""


def test_a_reader_that_is_slow_loses_results_or_is_waited_for() -> None:
    output, failures = Held(), list[OSError]()
    writer = Writer(output, failures.append)
    writer.start()
    for number in range(100):
        writer.add(replace(result({}), frame=number), wait=False)
    output.go.set()
    for number in range(100, 200):
        writer.add(replace(result({}), frame=number), wait=True)
    writer.finish({}, {})
    assert output.frames[:16] == list(range(16))
    assert output.frames[-100:] == list(range(100, 200))
    assert len(output.frames) < 120
    assert not failures


def test_a_reader_that_reads_nothing_is_left() -> None:
    output, failures = Held(), list[OSError]()
    writer = Writer(output, failures.append)
    writer.start()

    def add_many() -> None:
        for _ in range(100):
            writer.add(result({}), wait=True)

    waiting = threading.Thread(target=add_many)
    waiting.start()
    writer.finish({}, {})
    waiting.join(5)
    assert not waiting.is_alive()
    assert [str(failure) for failure in failures] == ["nobody reads it"]
    output.go.set()
