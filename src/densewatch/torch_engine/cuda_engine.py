"""PyTorch on an NVIDIA GPU: copies, network and NMS of several batches at the same time."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from densewatch.detections import Detections
from densewatch.imaging.resize import Prepared
from densewatch.metadata import ModelInfo
from densewatch.models.candidates import CandidateNet
from densewatch.models.retinanet import RetinaNet
from densewatch.runtime.candidates import Filter
from densewatch.runtime.engine import Output, failed_at
from densewatch.torch_engine.boxes import find_objects
from densewatch.torch_engine.engine import as_tensor
from densewatch.torch_engine.network import kept_anchors, make_ready
from densewatch.torch_engine.programs import Program, Programs, RecordedProgram

_STREAMS = 2  # while one batch is computed, the next is copied and the objects of the last are sorted out


class CudaEngine:
    """Runs a network on one GPU; see `densewatch.runtime.engine.FindingEngine`.

    Pictures go to the GPU as bytes, from memory that it reads without the CPU. Candidates stay there: what
    comes back is objects. Shapes of input that come often are recorded as CUDA graphs.

    Attributes:
        place: the GPU.
    """

    name = "torch"
    version = str(torch.__version__)
    streams = _STREAMS

    def __init__(
        self,
        network: RetinaNet,
        device: torch.device,
        *,
        numeric_type: torch.dtype = torch.bfloat16,
        topk: int = 1000,
        record: bool = True,
        compiled: bool = False,
    ) -> None:
        """Prepare the network, in place.

        Args:
            network: with its weights; it cannot be trained afterwards.
            device: a GPU.
            numeric_type: `torch.float32`, without the GPU's own rounding of it, or `torch.bfloat16`.
            topk: how many candidates each pyramid level passes on.
            record: make CUDA graphs of shapes that come often.
            compiled: let `torch.compile` make a network for each of those, which takes about a minute each.
        """
        self.threads = torch.get_num_threads()
        self.numeric_type = str(numeric_type).removeprefix("torch.")
        self.device = f"{device} ({torch.cuda.get_device_name(device)})"
        self.place = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._turn = threading.Lock()
        self._lanes: queue.SimpleQueue[_Lane] = queue.SimpleQueue()
        for _ in range(_STREAMS):
            self._lanes.put(_Lane(device))
        self._candidates = CandidateNet(make_ready(network, device, numeric_type), topk)
        self._anchors = kept_anchors(network)
        self._special: Program = self._candidates
        if compiled:
            self._special = torch.compile(self._candidates, dynamic=False)
        self._record_graphs = record
        self._pool = torch.cuda.graph_pool_handle()
        self._programs = Programs(self._candidates, self._make_program)
        torch.cuda.synchronize(device)  # weights are copied on another stream than the network's

    def __call__(self, images: npt.NDArray[np.uint8]) -> Output:
        """See `Engine`."""
        with self._on_gpu(images) as (boxes, scores):
            return boxes.cpu().numpy(), scores.cpu().numpy()

    def find(
        self, images: npt.NDArray[np.uint8], members: Sequence[Prepared], info: ModelInfo, wanted: Filter
    ) -> list[Detections]:
        """See `FindingEngine`."""
        with self._on_gpu(images) as (boxes, scores):
            return find_objects(boxes, scores, members, info, wanted)

    @contextlib.contextmanager
    def _on_gpu(self, images: npt.NDArray[np.uint8]) -> Iterator[tuple[Tensor, Tensor]]:
        """Give boxes and scores of pictures on the GPU, with a stream of their own to work on them."""
        lane = self._lanes.get()
        try:
            with torch.inference_mode(), torch.cuda.device(self.place), torch.cuda.stream(lane.stream):
                yield self.compute(lane.upload(images))
        except RuntimeError as error:
            raise failed_at(images, "PyTorch", error) from error
        finally:
            self._lanes.put(lane)

    def compute(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Let the network compute pictures when their turn comes, and wait until it has.

        Args:
            images: uint8 [N, H, W, 3] on the GPU, whose copy is already queued on the current stream.

        Returns:
            boxes float32 [N, K, 4] and scores float32 [N, K, C], on the GPU.
        """
        uploaded = torch.cuda.current_stream().record_event()
        # Waiting for it leaves the core to those that read pictures.
        done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        with self._turn, torch.cuda.stream(self._stream), _cudnn(benchmark=False):
            self._stream.wait_event(uploaded)
            boxes, scores = self._programs(images)
            # The next pictures of this shape overwrite a recorded network's output.
            boxes, scores = boxes.clone(), scores.clone()
            done.record()
        done.synchronize()
        return boxes, scores

    def _make_program(self, example: Tensor) -> Program:
        """Return a network for the shape of an example: photos come in few, so this pays."""
        if not self._record_graphs:
            return self._special
        with _cudnn(benchmark=True):
            recorded = RecordedProgram(self._special, example, self._stream, self._pool)
        recorded.reads = next(reversed(self._anchors.kept.values()))  # those of this size, used last
        return recorded


class _Lane:
    """The way of one batch: a stream for its copies and its objects, and memory that the GPU can read."""

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._device = device
        self._pinned = _pinned_memory(0)

    def upload(self, images: npt.NDArray[np.uint8]) -> Tensor:
        """Begin to copy pictures to the GPU, and return them there."""
        if images.size > self._pinned.numel():
            self._pinned = _pinned_memory(images.size)
        pinned = self._pinned[: images.size].view(images.shape)
        pinned.copy_(as_tensor(images))
        return pinned.to(self._device, non_blocking=True)


def _pinned_memory(size: int) -> Tensor:
    """Return uint8 [size] that the system never moves, so that the GPU can read it by itself."""
    return torch.empty(size, dtype=torch.uint8, pin_memory=True)


@contextlib.contextmanager
def _cudnn(benchmark: bool) -> Iterator[None]:
    """Keep cuDNN from rounding float32 to tensorfloat32.

    Args:
        benchmark: let it measure which algorithm is fastest for each shape, which takes a second or more.
    """
    with torch.backends.cudnn.flags(enabled=True, benchmark=benchmark, allow_tf32=False):
        yield
