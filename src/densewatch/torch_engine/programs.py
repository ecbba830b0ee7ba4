"""Networks made for one shape of input: recorded once, then repeated as a whole."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from densewatch.runtime.engine import first_line

Program = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Takes images uint8 [N, H, W, 3], returns boxes [N, K, 4] and scores [N, K, C], on its device."""

_WARM_UP = 3
_log = logging.getLogger(__name__)


class Programs:
    """Runs a network that takes all shapes, and one made for a shape once that shape has come often.

    The first shapes that come often get theirs and keep it: making one stops all work on a GPU, so that
    taking turns would cost more than it saves. Each takes memory for its input and output. Not safe to call
    from several threads at once.
    """

    def __init__(
        self, general: Program, make: Callable[[Tensor], Program], *, after: int = 3, most: int = 64
    ) -> None:
        """Make no network yet.

        Args:
            general: takes all shapes.
            make: returns a network for the shape of an example; a `RuntimeError` says that there is none.
            after: how often a shape comes until a network is made for it.
            most: how many shapes get their own; a size of picture is one for each size of batch.
        """
        self._general = general
        self._make = make
        self._after = after
        self._most = most
        self._seen: Counter[torch.Size] = Counter()
        self._made: dict[torch.Size, Program] = {}

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes and scores of `images`, by the network for their shape where there is one."""
        return self._program_for(images)(images)

    def _program_for(self, images: Tensor) -> Program:
        shape = images.shape
        if shape in self._made:
            return self._made[shape]
        self._seen[shape] += 1
        if self._seen[shape] < self._after or len(self._made) == self._most:
            return self._general
        try:
            self._made[shape] = self._make(images)
        except RuntimeError as error:
            _log.warning("no network for inputs of %s: %s", tuple(shape), first_line(error))
            self._made[shape] = self._general
        return self._made[shape]


class RecordedProgram:
    """A CUDA graph: everything that the network does with one shape of input, started by one call.

    What it returns is its own memory, which the next call overwrites.

    Attributes:
        reads: what the network reads beside its input and its weights: it must live as long as the graph.
    """

    def __init__(self, network: Program, example: Tensor, stream: torch.cuda.Stream, pool: Any) -> None:
        """Record the network.

        Args:
            network: does nothing that waits for the GPU.
            example: an input, on the GPU.
            stream: on which it is recorded and repeated.
            pool: `torch.cuda.graph_pool_handle()`, memory that all graphs of the stream share: they run one
                after the other.

        Raises:
            RuntimeError: it cannot be recorded, or there is not enough memory.
        """
        self.reads: object = None
        self._images = example.clone()
        for _ in range(_WARM_UP):  # libraries choose their algorithms, and set themselves up
            network(self._images)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads may well copy pictures meanwhile.
        with torch.cuda.graph(self._graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            self._outputs = network(self._images)

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes and scores; called on the stream that it was recorded on."""
        self._images.copy_(images)
        self._graph.replay()
        return self._outputs
