"""Several at a time, results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_order(function: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    """Give `function` of one item after another, with up to `workers` items under way in as many threads.

    Unlike `ThreadPoolExecutor.map`, it takes items as it goes, so that they may be many or endless, and stops
    taking them while nobody asks for results: at most `workers` results wait.

    Args:
        function: safe to call from several threads.
        items: taken in the caller's thread.
        workers: at least 1.

    Raises:
        Exception: what `function` raised, when the turn of that item comes; nothing more is begun then.
    """
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(workers, "densewatch") as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) == 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
