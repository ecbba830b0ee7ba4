"""PyTorch as an engine of the runtime, so that a network is measured as its model file will be."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from densewatch.models.candidates import CandidateNet
from densewatch.models.retinanet import RetinaNet
from densewatch.runtime.engine import Output


class TorchEngine:
    """Runs a network that is not exported; see `densewatch.runtime.engines.Engine`."""

    name = "torch"
    version = str(torch.__version__)
    numeric_type = "float32"
    streams = 1

    def __init__(self, network: RetinaNet, device: torch.device) -> None:
        """Wrap a network.

        Args:
            network: on `device`, in evaluation mode.
            device: where it runs.
        """
        self.threads = torch.get_num_threads()
        self._candidates = CandidateNet(network)
        self._device = device

    @torch.inference_mode()
    def __call__(self, images: npt.NDArray[np.uint8]) -> Output:
        """See `Engine`."""
        boxes, scores = self._candidates(torch.from_numpy(images).to(self._device))
        return boxes.cpu().numpy(), scores.cpu().numpy()
