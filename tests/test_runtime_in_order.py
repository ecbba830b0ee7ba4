"""Several at a time, results in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from densewatch.runtime.in_order import map_in_order


def test_results_are_in_order_whichever_is_done_first() -> None:
    def slow_first(item: int) -> int:
        time.sleep(0.02 if item % 4 == 0 else 0)
        return item * item

    assert list(map_in_order(slow_first, range(20), 4)) == [item * item for item in range(20)]
    assert list(map_in_order(slow_first, [], 4)) == []


def test_as_many_at_a_time_as_there_are_workers() -> None:
    meeting = threading.Barrier(3, timeout=10)
    assert list(map_in_order(lambda _: meeting.wait() >= 0, range(6), 3)) == [True] * 6


def test_items_may_be_endless_and_are_taken_as_results_are() -> None:
    taken: list[int] = []

    def endless() -> Iterator[int]:
        while True:
            taken.append(len(taken))
            yield taken[-1]

    results = map_in_order(str, endless(), 2)
    assert [next(results) for _ in range(3)] == ["0", "1", "2"]
    assert len(taken) <= 3 + 2 * 2
    results.close()  # type: ignore[attr-defined]


def test_an_error_comes_in_its_turn_and_ends_it() -> None:
    done = []

    def work(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        done.append(item)
        return item

    results = map_in_order(work, range(1000), 2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
    assert max(done) < 10
