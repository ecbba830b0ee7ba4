"""Which pictures an epoch goes through, and in which order."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from densewatch.data.dataset import Dataset

Repeats = npt.NDArray[np.float64]
"""How often an epoch goes through each picture, on average; at least 1."""


def repeat_factors(dataset: Dataset, threshold: float) -> Repeats:
    """Return how often each picture is to be seen in an epoch, so that rare classes are not forgotten.

    A class of which a share f of all pictures has an object gets the factor max(1, sqrt(threshold / f)), and
    a picture the largest factor of its classes (LVIS, arXiv 1908.03195, section B.2).

    Args:
        dataset: pictures without objects count, and are seen once.
        threshold: classes in fewer pictures than this share are seen more often; 0 repeats nothing.
    """
    present = [np.unique(sample.labels) for sample in dataset]
    pictures = np.bincount(np.concatenate([*present, np.zeros(0, np.int64)]), minlength=len(dataset.classes))
    shares = np.maximum(pictures, 1) / max(len(dataset), 1)
    factors = np.maximum(1.0, np.sqrt(threshold / shares))
    return np.array([factors[labels].max(initial=1.0) for labels in present], np.float64)


def pictures_per_epoch(repeats: Repeats) -> int:
    """Return how many pictures each epoch goes through: the sum of the factors, rounded up."""
    return math.ceil(float(repeats.sum()) - 1e-6)


def epoch_order(repeats: Repeats, generator: torch.Generator) -> Tensor:
    """Draw the pictures of one epoch, int64 `[pictures_per_epoch]`, in random order.

    A picture with the factor 1.3 comes once or twice, twice in three of ten epochs; none is left out. All
    epochs are equally long: the factors' sum is raised to a whole number, and systematic sampling of the
    shuffled pictures hands it out.
    """
    order = torch.randperm(len(repeats), generator=generator)
    length = pictures_per_epoch(repeats)
    if length == len(repeats):
        return order
    shares = torch.from_numpy(repeats)[order] * (length / repeats.sum())
    ends = shares.cumsum(0)
    ends[-1] = length
    start = torch.rand((), generator=generator, dtype=torch.float64)
    counts = torch.diff((ends + start).floor().long(), prepend=torch.zeros(1, dtype=torch.int64))
    order = order.repeat_interleave(counts)
    return order[torch.randperm(length, generator=generator)]
