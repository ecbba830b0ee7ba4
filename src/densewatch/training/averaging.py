"""One network from several: the average of their weights, as good as an ensemble and as fast as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from densewatch.commit import code_commit
from densewatch.metadata import ModelInfo
from densewatch.models.checkpoint import CheckpointError, write_checkpoint
from densewatch.training.initial import read_trained


@dataclass(frozen=True)
class Part:
    """A network of several.

    Attributes:
        source: a checkpoint, a float model file, or a model's name.
        share: of its weights in the average, relative to the shares of the others; more than 0.
    """

    source: Path
    share: float = 1.0


def average(parts: Sequence[Part], out: Path) -> ModelInfo:
    """Write a checkpoint whose weights are the average of several networks' weights, and describe it.

    Where one was trained on from another, or all from the same start, their average is often better than any
    of them (Wortsman et al. 2022, arXiv 2203.05482; for a network and what became of it in other data, arXiv
    2109.01903). Networks that began at random have nothing in common, and their average is useless.

    Args:
        parts: at least two, of the same network and the same classes; what else is said of them, such as how
            pictures are prepared, is what the last one says.
        out: the checkpoint, `.safetensors`.

    Raises:
        CheckpointError: a file cannot be read, or they are not of the same network.
        ValueError: there are fewer than two, a share is not positive, or `out` has another suffix or exists.
    """
    if len(parts) < 2:
        raise ValueError("an average is of at least two networks")
    if any(not 0 < part.share < float("inf") for part in parts):
        raise ValueError("a share must be positive")
    if out.suffix != ".safetensors" or out.exists():
        raise ValueError(f"{out}: must be a new file whose name ends in .safetensors")
    total = sum(part.share for part in parts)
    joined: dict[str, Tensor] = {}
    infos: list[ModelInfo] = []
    for part in parts:
        tensors, info = read_trained(part.source)
        if infos:
            _check_alike(part.source, tensors, info, joined, infos[0])
        infos.append(info)
        for name, value in tensors.items():
            weighted = value.double() * (part.share / total)
            joined[name] = joined[name] + weighted if name in joined else weighted
    origin = [
        {"model": info.name, "share": round(part.share / total, 6), "commit": info.commit}
        for part, info in zip(parts, infos, strict=True)
    ]
    last = infos[-1]
    described = last.model_copy(
        update={
            "training": {**last.training, "average": origin},
            "metrics": {},
            "proof": None,
            "commit": code_commit() or "unknown",
        }
    )
    like = tensors  # counters stay whole numbers
    write_checkpoint(
        out, {name: _in_type(value, like[name].dtype) for name, value in joined.items()}, described
    )
    return described


def _check_alike(
    source: Path, tensors: dict[str, Tensor], info: ModelInfo, joined: dict[str, Tensor], first: ModelInfo
) -> None:
    if info.classes != first.classes:
        raise CheckpointError(f"{source}: has other classes than {first.name}, the first of them")
    shapes, expected = ({name: value.shape for name, value in some.items()} for some in (tensors, joined))
    if shapes != expected:
        differing = sorted(
            name for name in shapes.keys() | expected.keys() if shapes.get(name) != expected.get(name)
        )
        raise CheckpointError(
            f"{source}: is another network than {first.name}, the first of them; {differing[0]} differs"
        )


def _in_type(value: Tensor, dtype: torch.dtype) -> Tensor:
    return (value if dtype.is_floating_point else value.round()).to(dtype)
