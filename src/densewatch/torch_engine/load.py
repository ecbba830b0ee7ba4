"""From a model file or a checkpoint to a PyTorch engine."""

from __future__ import annotations

from pathlib import Path

import torch

from densewatch.metadata import ModelInfo
from densewatch.models.candidates import levels_of
from densewatch.models.checkpoint import CheckpointError, load_network
from densewatch.models.model_file_weights import load_model_file_network
from densewatch.runtime.cores import available_cores
from densewatch.runtime.device import gpu_index
from densewatch.runtime.engine import Engine, EngineError, Precision
from densewatch.torch_engine.cuda_engine import CudaEngine
from densewatch.torch_engine.engine import TorchEngine
from densewatch.torch_engine.network import make_ready

_TOPK = 1000  # of a checkpoint, which does not say; as `densewatch export` has it
_HAS_BFLOAT16 = (8, 0)  # compute capability: from Ampere on


def load_torch_engine(
    path: Path, *, device: str = "auto", threads: int | None = None, precision: Precision = "auto"
) -> tuple[ModelInfo, Engine]:
    """Read a network with its description, and prepare it for a device.

    Args:
        path: model file (`.onnx`) or checkpoint (`.safetensors`) of a RetinaNet.
        device: `cpu`, `cuda`, `cuda:N`; `auto` is the first GPU where there is one, else the CPU.
        threads: of PyTorch in this process, where the CPU computes; None is one a physical core.
        precision: `auto` is bfloat16 on GPUs that compute it in hardware, else float32. CPUs take bfloat16
            too, and are slow with it where the hardware does not compute it.

    Raises:
        EngineError: the file holds no network that PyTorch can run, there is no such device, or it does not
            compute in `precision`.
        ValueError: no device has this name.
    """
    place = _device(device)
    numeric_type = _numeric_type(place, precision)
    try:
        network, info = (load_network if path.suffix == ".safetensors" else load_model_file_network)(path)
    except (CheckpointError, ModuleNotFoundError) as error:
        raise EngineError(str(error)) from error
    topk = info.levels[0].topk if info.levels else _TOPK
    info = info.model_copy(update={"levels": levels_of(network, topk)})
    if place.type == "cuda":
        return info, CudaEngine(network, place, numeric_type=numeric_type, topk=topk)
    torch.set_num_threads(threads or available_cores())
    name = str(numeric_type).removeprefix("torch.")
    return info, TorchEngine(make_ready(network, place, numeric_type), place, numeric_type=name, topk=topk)


def finds_gpu() -> bool:
    """Return whether this PyTorch can compute on an NVIDIA GPU here."""
    return torch.cuda.is_available()


def _device(device: str) -> torch.device:
    index = gpu_index(device)
    if index is None:
        return torch.device("cuda:0" if device == "auto" and torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        reason = (
            f"PyTorch {torch.__version__} is built for the CPU only"
            if torch.version.cuda is None
            else "PyTorch finds no NVIDIA GPU, or no driver for it"
        )
        raise EngineError(f"--device {device}: {reason}")
    if index >= torch.cuda.device_count():
        raise EngineError(f"--device {device}: there are {torch.cuda.device_count()} GPUs, counted from 0")
    return torch.device("cuda", index)


def _numeric_type(device: torch.device, precision: Precision) -> torch.dtype:
    if precision == "float32":
        return torch.float32
    fast = device.type == "cuda" and torch.cuda.get_device_capability(device) >= _HAS_BFLOAT16
    if precision == "bfloat16" and device.type == "cuda" and not fast:
        raise EngineError(
            f"{torch.cuda.get_device_name(device)} does not compute bfloat16 in hardware; use --precision "
            "float32 or auto"
        )
    return torch.bfloat16 if fast or precision == "bfloat16" else torch.float32
