"""PyTorch as an engine of the runtime, on any device, one step after the other."""

from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from densewatch.models.candidates import CandidateNet
from densewatch.models.retinanet import RetinaNet
from densewatch.runtime.engine import Output, failed_at


class TorchEngine:
    """Runs a network as it is, also one that is being trained; see `densewatch.runtime.engine.Engine`."""

    name = "torch"
    version = str(torch.__version__)
    streams = 1

    def __init__(
        self, network: RetinaNet, device: torch.device, *, numeric_type: str = "float32", topk: int = 1000
    ) -> None:
        """Wrap a network.

        Args:
            network: on `device`, in evaluation mode.
            device: where it runs.
            numeric_type: in which it computes.
            topk: how many candidates each pyramid level passes on.
        """
        self.threads = torch.get_num_threads()
        self.device = str(device)
        self.numeric_type = numeric_type
        self._candidates = CandidateNet(network, topk)
        self._device = device
        self._busy = threading.Lock()

    @torch.inference_mode()
    def __call__(self, images: npt.NDArray[np.uint8]) -> Output:
        """See `Engine`."""
        try:
            with self._busy:
                boxes, scores = self._candidates(as_tensor(images).to(self._device))
                return boxes.cpu().numpy(), scores.cpu().numpy()
        except RuntimeError as error:
            raise failed_at(images, "PyTorch", error) from error


def as_tensor(images: npt.NDArray[np.uint8]) -> Tensor:
    """Return pictures as a tensor that shares their memory, or has a copy where they are read-only."""
    return torch.from_numpy(images if images.flags.writeable else images.copy())
