"""What `watch` writes to standard output: a table that lives, plain lines, or a line of JSON a frame."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping
from typing import IO, Protocol

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from densewatch.live.results import CameraStatus, FrameResult

_STATE_STYLES = {"live": "green", "connecting": "yellow", "stalled": "yellow", "lost": "red", "ended": "dim"}
_PLAIN_EVERY_S = 1.0


class Output(Protocol):
    """Where results go: `add` is called by the loop's threads, one at a time, the others by the main one."""

    def start(self) -> None:
        """Begin to write."""

    def add(self, result: FrameResult) -> None:
        """Take a frame's result."""

    def show(self, statuses: Mapping[str, CameraStatus], latest: Mapping[str, FrameResult]) -> None:
        """Take how all cameras are, several times a second."""

    def finish(self) -> None:
        """Write what is left."""


class JsonLines:
    """A line a frame, and a line when a camera stops being live."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._states: dict[str, str] = {}

    def start(self) -> None:
        """Nothing to do."""

    def add(self, result: FrameResult) -> None:
        """Write a frame's line."""
        self._write(result.to_dict())

    def show(self, statuses: Mapping[str, CameraStatus], latest: Mapping[str, FrameResult]) -> None:
        """Write a line for each camera that is in another state than before, live ones excepted."""
        del latest  # was written frame by frame
        for status in statuses.values():
            if self._states.get(status.id) != status.state and status.state != "live":
                self._write(
                    {
                        "camera": status.id,
                        "frame": None,
                        "time": round(status.since, 3),
                        "state": status.state,
                        "error": status.error,
                    }
                )
            self._states[status.id] = status.state

    def finish(self) -> None:
        """Nothing to do: every line is written at once."""

    def _write(self, line: Mapping[str, object]) -> None:
        # One call a line: two threads may write, and who reads a pipe wants whole lines at once.
        self._stream.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._stream.flush()


class LiveTable:
    """A table of all cameras on a terminal, over and over at the same place."""

    def __init__(self) -> None:
        self._live = Live(console=Console(markup=False, highlight=False), auto_refresh=False)

    def start(self) -> None:
        """Take the lines of the terminal that the table needs."""
        self._live.start()

    def add(self, result: FrameResult) -> None:
        """Nothing to do: the table shows the newest results."""

    def show(self, statuses: Mapping[str, CameraStatus], latest: Mapping[str, FrameResult]) -> None:
        """Draw the table anew."""
        self._live.update(_table(statuses, latest), refresh=True)

    def finish(self) -> None:
        """Leave the last table on the terminal."""
        self._live.stop()


class PlainLines:
    """A line a second and camera, for standard output that is no terminal."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._next = 0.0

    def start(self) -> None:
        """Nothing to do."""

    def add(self, result: FrameResult) -> None:
        """Nothing to do: a line tells of the newest result."""

    def show(self, statuses: Mapping[str, CameraStatus], latest: Mapping[str, FrameResult]) -> None:
        """Write a line for each camera, if the last ones are a second ago."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _PLAIN_EVERY_S
        self._write(statuses, latest)

    def _write(self, statuses: Mapping[str, CameraStatus], latest: Mapping[str, FrameResult]) -> None:
        for status in statuses.values():
            cells = [status.id, status.state, _age(status), _seen(status, latest.get(status.id))]
            self._stream.write("  ".join(cell for cell in cells if cell) + "\n")
        self._stream.flush()

    def finish(self) -> None:
        """Nothing to do."""


def create_output(name: str) -> Output:
    """Return where results of format `table` or `jsonl` go."""
    if name == "jsonl":
        return JsonLines(sys.stdout)
    return LiveTable() if sys.stdout.isatty() else PlainLines(sys.stdout)


def _table(statuses: Mapping[str, CameraStatus], latest: Mapping[str, FrameResult]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("Camera", "State"):
        table.add_column(name, no_wrap=True)
    for name in ("Age", "Frames/s"):
        table.add_column(name, no_wrap=True, justify="right")
    table.add_column("Sees")
    for status in statuses.values():
        result = latest.get(status.id)
        table.add_row(
            status.id,
            Text(status.state, style=_STATE_STYLES[status.state]),
            _age(status),
            f"{status.fps_out:.1f}",
            _seen(status, result),
        )
        if result is not None and status.state == "live":
            for name, told in _parts(result):
                table.add_row(f"  {name}", "", "", "", told)
    return table


def _parts(result: FrameResult) -> Iterable[tuple[str, str]]:
    """Give a line for each zone and line."""
    for name, zone in result.zones.items():
        if zone.taken is not None:
            yield name, "taken" if zone.taken else "free"
        else:
            yield name, _counted(zone.counts)
    for name, line in result.lines.items():
        yield name, f"in {line.get('in', 0)}, out {line.get('out', 0)}"


def _seen(status: CameraStatus, result: FrameResult | None) -> str:
    """Return what a camera sees, or why nothing is known: no data is never 0."""
    if status.error is not None:
        return f"no data: {status.error}"
    if status.state in ("connecting", "stalled", "lost") or result is None:
        return "no data"
    return _counted(result.counts)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "nothing"


def _age(status: CameraStatus) -> str:
    if status.age_ms is None:
        return ""
    return f"{status.age_ms:.0f} ms" if status.age_ms < 10_000 else f"{status.age_ms / 1000:.0f} s"
