"""torchvision's own RetinaNet as a contestant: eager PyTorch with its own transform and post-processing."""

from __future__ import annotations

import io
from collections.abc import Mapping
from time import perf_counter
from typing import Any

from densewatch.metadata import ModelInfo


class TorchvisionPeer:
    """Times torchvision's model from encoded bytes to boxes.

    Weights are random: the clock does not mind, except that hardly any box passes the threshold, so that the
    peer's last stage is cheaper than it would be on real work.
    """

    def __init__(self, architecture: str, threads: int) -> None:
        """Build the model.

        Args:
            architecture: torchvision's name of it.
            threads: CPU threads, the same as the other contestants have.
        """
        import torch
        import torchvision
        from PIL import Image
        from torchvision.transforms.functional import pil_to_tensor

        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.description = (
            f"torchvision {torchvision.__version__} {architecture}, random weights, "
            f"PyTorch {torch.__version__} eager, float32, {threads} threads"
        )
        self._torch = torch
        self._open = Image.open
        self._to_tensor = pil_to_tensor
        self._model = torchvision.models.get_model(architecture, weights=None, weights_backbone=None).eval()
        self._finished_at: dict[str, float] = {}
        self._model.transform.register_forward_hook(self._clock_hook("prepare"))
        self._model.head.register_forward_hook(self._clock_hook("network"))

    def __call__(self, picture: bytes) -> Mapping[str, float]:
        """Find the objects of one encoded picture; return stage → ms."""
        start = perf_counter()
        image = self._to_tensor(self._open(io.BytesIO(picture)).convert("RGB"))
        read = perf_counter()
        with self._torch.inference_mode():
            self._model([image.float().div(255)])
        end = perf_counter()
        prepared, inferred = self._finished_at["prepare"], self._finished_at["network"]
        return {
            "read": (read - start) * 1000,
            "prepare": (prepared - read) * 1000,
            "network": (inferred - prepared) * 1000,
            "boxes": (end - inferred) * 1000,
            "total": (end - start) * 1000,
        }

    def _clock_hook(self, stage: str) -> Any:
        def note_time(*_: object) -> None:
            self._finished_at[stage] = perf_counter()

        return note_time


def architecture_like(info: ModelInfo) -> str:
    """Return which of torchvision's RetinaNets is nearest to a model: V1 where P6 comes from P5, else V2."""
    pyramid = info.architecture.get("pyramid", {})
    return "retinanet_resnet50_fpn" if pyramid.get("p6_from") == "P5" else "retinanet_resnet50_fpn_v2"
