"""The same model in another engine, as a contestant."""

from __future__ import annotations

from collections.abc import Mapping

from densewatch.runtime.detector import Detector
from densewatch.runtime.engine import describe_engine


class EnginePeer:
    """Times a second detector from encoded bytes to boxes."""

    def __init__(self, detector: Detector) -> None:
        """Take the detector whose engine is the peer."""
        self.description = f"{detector.info.name}, {describe_engine(detector.engine)}"
        self._detector = detector

    def __call__(self, picture: bytes) -> Mapping[str, float]:
        """Find the objects of one encoded picture; return stage → ms."""
        return self._detector.detect_timed(picture)[1].to_dict()
