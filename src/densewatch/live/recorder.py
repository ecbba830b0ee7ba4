"""What is kept of one camera's results: events and time bins."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from densewatch.live.bins import Bins
from densewatch.live.clock import Clock
from densewatch.live.events import Events
from densewatch.live.results import FrameResult
from densewatch.live.settings import CameraSettings
from densewatch.records import Bin, Event


class Recorder:
    """Turns a camera's results, in the order of their times, into events and time bins."""

    def __init__(
        self,
        camera: str,
        settings: CameraSettings,
        names: Sequence[str],
        *,
        bin_seconds: int,
        on_event: Callable[[Event], None],
        on_bin: Callable[[Bin], None],
    ) -> None:
        """Begin with nothing in view.

        Args:
            camera: the camera's id.
            settings: the camera's.
            names: class names of the detector.
            bin_seconds: length of a time bin.
            on_event: gets each event when it begins and when it ends.
            on_bin: gets each bin once it is over.
        """
        self._clock = Clock()
        self._events = Events(camera, settings, self._clock, on_event)
        self._bins = Bins(camera, settings, names, bin_seconds, self._clock)
        self._on_bin = on_bin

    def replace(self, settings: CameraSettings) -> None:
        """Take over new settings."""
        self._events.replace(settings)
        self._bins.replace(settings)

    def add(self, result: FrameResult) -> None:
        """Go on to a frame."""
        self._clock.advance(result.time)
        self._events.add(result)
        self._hand_out(self._bins.add(result))

    def tick(self, now: float) -> None:
        """Let time go on without a frame, in Unix seconds.

        Bins for which no frame can come any more are over, with nothing observed where nothing was; objects
        that were in view when data ended are gone.
        """
        self._events.tick(now)
        self._hand_out(self._bins.tick(now))

    def close(self) -> None:
        """End: hand out the bin that is open, and all events."""
        self._events.close()
        self._hand_out(self._bins.close())

    def _hand_out(self, bins: list[Bin]) -> None:
        for bin in bins:
            self._on_bin(bin)
