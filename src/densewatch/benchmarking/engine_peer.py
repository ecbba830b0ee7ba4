"""A model in an engine, as a contestant: whole, or its network alone."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter

import numpy as np

from densewatch.benchmarking.clock import TOTAL, Contestant
from densewatch.runtime.detector import Detector
from densewatch.runtime.engine import Engine, describe_engine


class EnginePeer:
    """Times a second detector from encoded bytes to boxes."""

    def __init__(self, detector: Detector) -> None:
        """Take the detector whose engine is the peer."""
        self.description = f"{detector.info.name}, {describe_engine(detector.engine)}"
        self._detector = detector

    def __call__(self, picture: bytes) -> Mapping[str, float]:
        """Find the objects of one encoded picture; return stage → ms."""
        return self._detector.detect_timed(picture)[1].to_dict()


def network_alone(engine: Engine, width: int) -> Contestant:
    """Return what times a network on the bytes of its input: uint8 [H, `width`, 3], any height."""

    def run(pixels: bytes) -> Mapping[str, float]:
        image = np.frombuffer(pixels, np.uint8).reshape(1, -1, width, 3)
        start = perf_counter()
        engine(image)
        return {TOTAL: (perf_counter() - start) * 1000}

    return run
