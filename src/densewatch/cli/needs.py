"""What a verb needs beyond a plain install, asked for before it begins."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from densewatch.cli.console import stop
from densewatch.extras import how_to_install

TRAINING = ("torch", "torchvision", "lightning_fabric", "safetensors", "tensorboard", "yaml")
EXPORTING = ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "safetensors")

_MISFIT = "operator torchvision::"


def need(packages: Sequence[str], what: str, extra: str) -> None:
    """End the program with one sentence where packages are not installed.

    Args:
        packages: names to import.
        what: what needs them, as the beginning of a sentence.
        extra: the optional dependency that has them.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        stop(f"{what} needs {' and '.join(missing)}: {how_to_install(extra)}")


def is_misfit(error: BaseException) -> bool:
    """Tell whether torchvision's import failed because it was built for another PyTorch."""
    return isinstance(error, RuntimeError) and str(error).startswith(_MISFIT)
