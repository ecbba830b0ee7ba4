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
from densewatch.runtime.model_file import ModelNotFoundError
from densewatch.training.initial import read_trained

_Trained = tuple[dict[str, Tensor], ModelInfo]


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
        OSError: the folder of `out` cannot be made.
        ValueError: there are fewer than two, a share is not positive, or `out` has another suffix or exists.
    """
    if len(parts) < 2:
        raise ValueError("an average is of at least two networks")
    if any(not 0 < part.share < float("inf") for part in parts):
        raise ValueError("a share must be positive")
    if out.suffix != ".safetensors" or out.exists():
        raise ValueError(f"{out}: must be a new file whose name ends in .safetensors")
    out.parent.mkdir(parents=True, exist_ok=True)
    read = [_read(part.source) for part in parts]
    first = read[0]
    for part, one in zip(parts, read, strict=True):
        _check_alike(part.source, one, first)
    total = sum(part.share for part in parts)
    shares = [part.share / total for part in parts]
    weights = {name: _mean([tensors[name] for tensors, _ in read], shares) for name in first[0]}
    last = read[-1][1]
    origin = [
        {"model": info.name, "share": round(share, 6), "commit": info.commit}
        for share, (_, info) in zip(shares, read, strict=True)
    ]
    described = last.model_copy(
        update={
            "training": {**last.training, "average": origin},
            "metrics": {},
            "proof": None,
            "commit": code_commit() or "unknown",
        }
    )
    write_checkpoint(out, weights, described)
    return described


def _read(source: Path) -> _Trained:
    try:
        return read_trained(source)
    except ModelNotFoundError as error:
        raise CheckpointError(str(error)) from error


def _check_alike(source: Path, one: _Trained, first: _Trained) -> None:
    """Raise a CheckpointError unless both have the same classes, and tensors of the same names and shapes."""
    if one[1].classes != first[1].classes:
        raise CheckpointError(f"{source}: has other classes than {first[1].name}, the first of them")
    shapes, expected = ({name: value.shape for name, value in tensors.items()} for tensors, _ in (one, first))
    differing = [
        name for name in sorted(shapes.keys() | expected.keys()) if shapes.get(name) != expected.get(name)
    ]
    if differing:
        raise CheckpointError(
            f"{source}: is another network than {first[1].name}, the first of them; {differing[0]} differs"
        )


def _mean(values: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    """Return the weighted mean of tensors of one shape, in the type of the last; counters stay whole."""
    mean = sum((value.double() * share for value, share in zip(values, shares, strict=True)), torch.zeros(()))
    dtype = values[-1].dtype
    return (mean if dtype.is_floating_point else mean.round()).to(dtype)
