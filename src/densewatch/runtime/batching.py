"""Pictures of several threads that go through the network together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from densewatch.imaging.resize import Prepared
from densewatch.runtime.candidates import Filter
from densewatch.runtime.engine import EngineError

Answer = TypeVar("Answer")
Compute = Callable[[npt.NDArray[np.uint8], Sequence[Prepared], Filter], Sequence[Answer]]
"""Given images [N, H, W, 3], the pictures in them and what is wanted, returns an answer a picture."""


class Batcher(Generic[Answer]):
    """Lets pictures of one size, which several threads hand in one by one, share a batch.

    Nobody waits for a batch to fill up: as soon as the network is free, those that wait by then go. Where
    the network is what takes the time, many wait and batches are full; where it is not, they are small, and
    nobody loses any time. A batch of single pictures is full or has a power of two of them: so a network sees
    few sizes of batches, and can be made ready for each.
    """

    def __init__(self, compute: Compute[Answer], most: int, streams: int) -> None:
        """Put batches in front of a network.

        Args:
            compute: the network; safe to call from several threads.
            most: pictures in a batch, at least 1.
            streams: how many batches are computed at the same time, at least 1.
        """
        self._compute = compute
        self._most = most
        self._free = streams
        self._waiting: list[_Ticket[Answer]] = []
        self._changed = threading.Condition()

    def __call__(
        self, images: npt.NDArray[np.uint8], members: Sequence[Prepared], wanted: Filter
    ) -> Sequence[Answer]:
        """Return an answer for each picture in `images`, which others may share a batch with.

        Args:
            images: uint8 [N, H, W, 3] RGB; more than fit into a batch are one of their own.
            members: the N pictures in `images`.
            wanted: pictures share a batch only with those of which the same is wanted.

        Raises:
            EngineError: the network failed at these pictures, alone too.
        """
        ticket: _Ticket[Answer] = _Ticket(images, members, wanted)
        with self._changed:
            self._waiting.append(ticket)
            while not ticket.done:
                if self._free and ticket in self._waiting:
                    self._run(self._take())
                else:
                    self._changed.wait()
        if ticket.error is not None:
            raise ticket.error
        return ticket.answers

    def _take(self) -> list[_Ticket[Answer]]:
        """Return the one that has waited longest and those that go with it, which wait no more."""
        first = self._waiting[0]
        alike = [ticket for ticket in self._waiting if ticket.goes_with(first)]
        count = sum(len(ticket.members) for ticket in alike)
        room = self._most if count >= self._most else 1 << (count.bit_length() - 1)
        chosen = [first]
        room -= len(first.members)
        for ticket in alike[1:]:
            if len(ticket.members) > room:
                break
            chosen.append(ticket)
            room -= len(ticket.members)
        self._waiting = [ticket for ticket in self._waiting if ticket not in chosen]
        return chosen

    def _run(self, tickets: list[_Ticket[Answer]]) -> None:
        """Answer tickets; called with the lock, which is let go of meanwhile."""
        self._free -= 1
        self._changed.release()
        try:
            self._answer(tickets)
        finally:
            self._changed.acquire()
            self._free += 1
            for ticket in tickets:
                ticket.done = True
            self._changed.notify_all()

    def _answer(self, tickets: list[_Ticket[Answer]]) -> None:
        """Answer tickets together, or one by one where together they are too large."""
        if self._answer_together(tickets):
            return
        # Out here the error is gone, and with it what its traceback held: the batch's memory on a GPU.
        for ticket in tickets:
            self._answer_together([ticket])

    def _answer_together(self, tickets: list[_Ticket[Answer]]) -> bool:
        """Answer tickets in one batch; return whether they all have an answer or an error now."""
        images = [ticket.images for ticket in tickets]
        members = [member for ticket in tickets for member in ticket.members]
        try:
            together = images[0] if len(images) == 1 else np.concatenate(images)
            answers = self._compute(together, members, tickets[0].wanted)
        except BaseException as error:
            if isinstance(error, EngineError | MemoryError) and len(tickets) > 1:
                return False
            for ticket in tickets:
                ticket.error = error
            return True
        start = 0
        for ticket in tickets:
            end = start + len(ticket.members)
            ticket.answers = answers[start:end]
            start = end
        return True


class _Ticket(Generic[Answer]):
    """Pictures that one thread waits for: `answers` or `error` are there once it is `done`."""

    def __init__(self, images: npt.NDArray[np.uint8], members: Sequence[Prepared], wanted: Filter) -> None:
        self.images = images
        self.members = members
        self.wanted = wanted
        self.done = False
        self.answers: Sequence[Answer] = ()
        self.error: BaseException | None = None

    def goes_with(self, other: _Ticket[Answer]) -> bool:
        """Return whether the pictures of both fit into one batch, and the same is wanted of them."""
        return self.images.shape[1:] == other.images.shape[1:] and self.wanted == other.wanted
