"""One benchmark run: the figures, and beside each what, where and how it was measured."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from densewatch import __version__
from densewatch.benchmarking.clock import (
    Comparison,
    Contestant,
    Recording,
    compare,
    pictures_per_second,
    take_turns,
)
from densewatch.benchmarking.machine import Machine, describe_machine, peak_memory_mb
from densewatch.commit import code_commit
from densewatch.runtime.engine import describe_engine

if TYPE_CHECKING:
    from densewatch.runtime.detector import Detector


_SETTLE_RUNS, _SETTLE_S = 20, 5.0


@dataclass(frozen=True, eq=False)
class BenchmarkReport:
    """What a run measured.

    Attributes:
        machine: where.
        code: version and commit of this package.
        model: name, engine with version, numeric type and threads.
        pictures: how many.
        runs: how many times each was done.
        load_ms: from nothing to a loaded network, compiled or out of the cache.
        first_ms: the first picture, for which the engine prepares itself.
        ours: our times, warm.
        throughput: pictures a second when many are given at once, several under way at a time.
        peak_memory_mb: of the whole process up to the end of our throughput, peers included.
        peer: what the peer is; None without one.
        peers: the peer's times.
        comparison: the two against each other.
    """

    machine: Machine
    code: str
    model: str
    pictures: int
    runs: int
    load_ms: float
    first_ms: float
    ours: Recording
    throughput: float
    peak_memory_mb: float
    peer: str | None = None
    peers: Recording | None = None
    comparison: Comparison | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON; times in milliseconds."""
        document: dict[str, Any] = {
            "machine": self.machine.to_dict(),
            "code": self.code,
            "model": self.model,
            "pictures": self.pictures,
            "runs": self.runs,
            "cold_ms": {"load": round(self.load_ms, 1), "first_picture": round(self.first_ms, 1)},
            "timing_ms": self.ours.summary(),
            "pictures_per_second": round(self.throughput, 2),
            "peak_memory_mb": round(self.peak_memory_mb, 1),
        }
        if self.peers is not None and self.comparison is not None:
            document["peer"] = {
                "model": self.peer,
                "timing_ms": self.peers.summary(),
                **asdict(self.comparison),
            }
        return document


class Peer(Protocol):
    """A contestant that says what it is.

    Attributes:
        description: what, with versions, numeric type and threads.
    """

    description: str

    def __call__(self, picture: bytes) -> Mapping[str, float]:
        """Find the objects of one encoded picture; return stage → ms."""
        ...


def run_benchmark(
    load: Callable[[int], Detector],
    pictures: Sequence[bytes],
    *,
    runs: int,
    make_peer: Callable[[Detector], Peer] | None = None,
    on_turn: Callable[[], None] | None = None,
) -> BenchmarkReport:
    """Measure a detector, in turns with a peer where there is one.

    Args:
        load: loads it, for so many pictures at a time.
        pictures: encoded pictures, as read from files.
        runs: how many times each picture is done and counted.
        make_peer: given ours, makes who takes turns with it.
        on_turn: told after each turn.
    """
    start = perf_counter()
    detector = load(1)
    loaded = perf_counter()
    detector.detect(pictures[0])
    first = perf_counter()
    _settle(detector, pictures)
    peer = None if make_peer is None else make_peer(detector)
    contestants: dict[str, Contestant] = {"ours": lambda picture: detector.detect_timed(picture)[1].to_dict()}
    if peer is not None:
        contestants["peer"] = peer
    recordings = take_turns(contestants, pictures, runs=runs, on_turn=on_turn)
    ours, peers = recordings["ours"], recordings.get("peer")
    many = load(detector.engine.threads)
    _settle_many(many, pictures)
    throughput = pictures_per_second(lambda batch: deque(many.detect_many(batch), maxlen=0), pictures)
    return BenchmarkReport(
        machine=describe_machine(),
        code=f"densewatch {__version__}, commit {code_commit() or 'unknown'}",
        model=f"{detector.info.name}, {describe_engine(detector.engine)}",
        pictures=len(pictures),
        runs=runs,
        load_ms=(loaded - start) * 1000,
        first_ms=(first - loaded) * 1000,
        ours=ours,
        throughput=throughput,
        peak_memory_mb=peak_memory_mb(),
        peer=None if peer is None else peer.description,
        peers=peers,
        comparison=None if peers is None else compare(ours, peers),
    )


def _settle(detector: Detector, pictures: Sequence[bytes]) -> None:
    """Let the engine get used to the pictures: small networks are compiled anew for sizes that come often."""
    end = perf_counter() + _SETTLE_S
    for picture in (picture for picture in pictures for _ in range(_SETTLE_RUNS)):
        detector.detect(picture)
        if perf_counter() > end:
            return


def _settle_many(detector: Detector, pictures: Sequence[bytes]) -> None:
    """Do as `_settle` does, with several pictures under way: each size of batch is compiled for itself."""
    batch_sizes = detector.batch.bit_length()  # 1, 2, 4, … up to a full batch
    end = perf_counter() + _SETTLE_S * batch_sizes
    endless = cycle(pictures)
    for _ in range(_SETTLE_RUNS):
        for _ in detector.detect_many(islice(endless, 4 * detector.workers)):
            if perf_counter() > end:
                return
