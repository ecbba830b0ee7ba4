"""One benchmark run: the figures, and beside each what, where and how it was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from densewatch import __version__
from densewatch.benchmarking.clock import Comparison, Contestant, Recording, compare, take_turns
from densewatch.benchmarking.machine import Machine, describe_machine
from densewatch.commit import code_commit
from densewatch.runtime.engine import describe_engine

if TYPE_CHECKING:
    from densewatch.benchmarking.torchvision_peer import TorchvisionPeer
    from densewatch.runtime.detector import Detector


@dataclass(frozen=True, eq=False)
class BenchmarkReport:
    """What a run measured.

    Attributes:
        machine: where.
        code: version and commit of this package.
        model: name, engine with version, numeric type and threads.
        pictures: how many.
        runs: how many times each was done.
        ours: our times.
        peer: what the peer is; None without one.
        peers: the peer's times.
        comparison: the two against each other.
    """

    machine: Machine
    code: str
    model: str
    pictures: int
    runs: int
    ours: Recording
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
            "timing_ms": self.ours.summary(),
        }
        if self.peers is not None and self.comparison is not None:
            document["peer"] = {
                "model": self.peer,
                "timing_ms": self.peers.summary(),
                **asdict(self.comparison),
            }
        return document


def run_benchmark(
    detector: Detector,
    pictures: Sequence[bytes],
    *,
    runs: int,
    peer: TorchvisionPeer | None = None,
    on_turn: Callable[[], None] | None = None,
) -> BenchmarkReport:
    """Measure a detector, in turns with a peer where there is one.

    Args:
        detector: ours.
        pictures: encoded pictures, as read from files.
        runs: how many times each picture is done and counted.
        peer: who takes turns with ours.
        on_turn: told after each turn.
    """
    contestants: dict[str, Contestant] = {"ours": lambda picture: detector.detect_timed(picture)[1].to_dict()}
    if peer is not None:
        contestants["peer"] = peer
    recordings = take_turns(contestants, pictures, runs=runs, on_turn=on_turn)
    ours, peers = recordings["ours"], recordings.get("peer")
    return BenchmarkReport(
        machine=describe_machine(),
        code=f"densewatch {__version__}, commit {code_commit() or 'unknown'}",
        model=f"{detector.info.name}, {describe_engine(detector.engine)}",
        pictures=len(pictures),
        runs=runs,
        ours=ours,
        peer=None if peer is None else peer.description,
        peers=peers,
        comparison=None if peers is None else compare(ours, peers),
    )
