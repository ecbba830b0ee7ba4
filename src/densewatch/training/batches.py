"""Batches: which pictures each step sees, and how they become tensors.

What a step sees depends on the seed and the step's number alone: not on the number of workers, and not on
whether the run was stopped and resumed in between.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from densewatch.data.augment import Augment, TrainingSample
from densewatch.data.augment_settings import AugmentSettings
from densewatch.data.coco import add_teacher, read_coco
from densewatch.data.dataset import DataError, Dataset, merge
from densewatch.evaluation.run import select
from densewatch.imaging.read import ImageError, read_image
from densewatch.metadata import ClassInfo
from densewatch.models.criterion import Target
from densewatch.training.settings import DataSource

STRIDE = 32
MIN_SIDE_PX = 96
"""Batches are padded to at least this, so that P6 has two pixels a side.

Of a single pixel, oneDNN's bf16 depthwise convolution with stride 2 leaves parts of the weight gradient
unwritten (PyTorch 2.14 on a CPU: what memory held before comes out, up to NaN).
"""


class Draw(NamedTuple):
    """One picture of one step.

    Attributes:
        picture: its index in the data set.
        imgsz: training size, pixels.
        seed: of its augmentation.
    """

    picture: int
    imgsz: int
    seed: int


class Batch(NamedTuple):
    """Pictures uint8 `[N, 3, H, W]`, padded on the right and at the bottom, and one target each."""

    images: Tensor
    targets: list[Target]


def read_source(source: DataSource, classes: tuple[ClassInfo, ...] | None = None) -> Dataset:
    """Read one data source, with its teacher's boxes where it has some.

    Args:
        source: where the data lies.
        classes: what decides the labels; None takes the classes of the data.

    Raises:
        DataError: the data cannot be used, or `where` leaves no picture.
    """
    dataset = read_coco(source.annotations, source.images, classes=classes, unlabelled=not source.labelled)
    if source.teacher is not None:
        dataset = add_teacher(
            dataset, source.teacher, min_score=source.teacher_score, ignore_score=source.ignore_score
        )
    if not len(dataset):
        raise DataError(f"{source.annotations}: there is no picture")
    for key, value in source.where.items():
        try:
            dataset = replace(dataset, samples=tuple(select(dataset, key, value)))
        except DataError as error:
            raise DataError(f"{source.annotations}: {error}") from error
    return dataset


def read_sources(sources: Sequence[DataSource]) -> Dataset:
    """Read and join the data of a run; the first source decides the classes.

    Raises:
        DataError: a source cannot be used, or has other classes than the first.
    """
    first = read_source(sources[0])
    others = [read_source(source, first.classes) for source in sources[1:]]
    repeated: list[Dataset] = []
    for source, dataset in zip(sources, [first, *others], strict=True):
        repeated += [dataset] * source.repeat
    return merge(repeated)


class StepSampler(Sampler[list[Draw]]):
    """Draws the batches of the steps from `start` to before `total`, counted from 0.

    Every epoch goes through all pictures in a new order; its last batch may be smaller.
    """

    def __init__(
        self, num_samples: int, batch: int, imgsz: Sequence[int], seed: int, start: int, total: int
    ) -> None:
        self.num_samples = num_samples
        self.batch = batch
        self.imgsz = imgsz
        self.seed = seed
        self.start = start
        self.total = total
        self.steps_per_epoch = math.ceil(num_samples / batch)

    def __len__(self) -> int:
        return self.total - self.start

    def __iter__(self) -> Iterator[list[Draw]]:
        order, order_epoch = torch.empty(0), -1
        for step in range(self.start, self.total):
            epoch, position = divmod(step, self.steps_per_epoch)
            if epoch != order_epoch:
                order, order_epoch = torch.randperm(self.num_samples, generator=self._generator(epoch)), epoch
            chosen = order[position * self.batch : (position + 1) * self.batch].tolist()
            generator = self._generator(step, salt=1)
            side = self.imgsz[int(torch.randint(len(self.imgsz), (), generator=generator))]
            seeds = torch.randint(2**62, (len(chosen),), generator=generator).tolist()
            yield [Draw(index, side, seed) for index, seed in zip(chosen, seeds, strict=True)]

    def _generator(self, number: int, salt: int = 0) -> torch.Generator:
        mixed = np.random.SeedSequence([self.seed, number, salt]).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(mixed[0] >> np.uint64(1)))


class AugmentedDataset(TorchDataset[TrainingSample]):
    """Reads and varies the picture of a draw."""

    def __init__(self, dataset: Dataset, settings: AugmentSettings) -> None:
        self.dataset = dataset
        self.augment = Augment(settings)

    def __getitem__(self, draw: Draw) -> TrainingSample:
        sample = self.dataset[draw.picture]
        try:
            pixels = read_image(sample.path)
        except ImageError as error:  # a plain message comes out of a worker process whole
            raise DataError(str(error)) from error
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(draw.seed)
            return self.augment(pixels, sample, draw.imgsz)


def collate(samples: Sequence[TrainingSample], pad_value: tuple[int, int, int]) -> Batch:
    """Pad pictures to a common size that the strides divide, and make targets."""
    sides = [max(MIN_SIDE_PX, *(sample.image.shape[axis] for sample in samples)) for axis in (1, 2)]
    height, width = (math.ceil(side / STRIDE) * STRIDE for side in sides)
    images = torch.tensor(pad_value, dtype=torch.uint8).view(3, 1, 1).repeat(len(samples), 1, height, width)
    for image, sample in zip(images, samples, strict=True):
        image[:, : sample.image.shape[1], : sample.image.shape[2]] = sample.image
    targets = [
        Target(sample.boxes, sample.labels, sample.ignore_boxes, sample.ignore_labels, sample.unlabelled)
        for sample in samples
    ]
    return Batch(images, targets)


def _leave_ctrl_c_to_the_run(worker: int) -> None:
    """Keep a worker alive through Ctrl-C, which the terminal sends to all: the run ends its step first."""
    del worker  # the loader passes its number
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def make_loader(
    dataset: Dataset, sampler: StepSampler, augment: AugmentSettings, workers: int
) -> DataLoader[TrainingSample]:
    """Return a loader that gives the `Batch` of each step of `sampler`.

    Args:
        dataset: what the sampler draws from.
        sampler: which pictures each step sees.
        augment: how they are varied.
        workers: processes that read pictures; 0 reads them in this one.
    """
    return DataLoader(
        AugmentedDataset(dataset, augment),
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=partial(collate, pad_value=augment.pad_value),
        worker_init_fn=_leave_ctrl_c_to_the_run,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # its own: the loader must not draw from the run's random numbers
    )
