"""What tests put into stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import text

from densewatch.records import Bin, CountBin, Event, LineBin, Observation
from densewatch.store.store import Store

NOON = 1_767_268_800
"""2026-01-01 12:00 UTC."""

JPEG = b"\xff\xd8 a picture \xff\xd9"
OpenStore = Callable[[], Store]


class Clock:
    """Stands still until somebody moves it."""

    def __init__(self) -> None:
        self.now = float(NOON)

    def __call__(self) -> float:
        return self.now


def make_event(id: str = "one", **changes: Any) -> Event:
    """Return an event that lasts; `changes` are its attributes."""
    values: dict[str, Any] = {
        "camera": "door",
        "kind": "presence",
        "label": "person",
        "track": 7,
        "zone": None,
        "direction": None,
        "start_time": NOON + 0.25,
        "end_time": None,
        "top_score": 0.75,
        "box": (0.1, 0.2, 0.3, 0.4),
    }
    return Event(id=id, **{**values, **changes})


Counts = dict[str, tuple[int, float, int]]


def make_bin(
    start_time: int = NOON,
    observed: float = 1.0,
    counts: Counts | None = None,
    *,
    zone: str | None = None,
    lines: dict[str, tuple[int, int]] | None = None,
    camera: str = "door",
    seconds: int = 60,
) -> Bin:
    """Return a bin with counts (minimum, mean, maximum) and crossings (entered, left) by label."""
    return Bin(
        Observation(camera, start_time, seconds, observed),
        tuple(
            CountBin(camera, zone, label, start_time, seconds, minimum, mean, maximum, observed)
            for label, (minimum, mean, maximum) in (counts or {}).items()
        ),
        tuple(
            LineBin(camera, "gate", label, start_time, seconds, entered, left, observed)
            for label, (entered, left) in (lines or {}).items()
        ),
    )


def rows(store: Store, table: str) -> int:
    """Return how many rows a table has."""
    with store._database.reading() as connection:
        return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())
