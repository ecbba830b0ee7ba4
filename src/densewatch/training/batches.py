"""Batches: which pictures each step sees, and how they become tensors.

What a step sees depends on the seed and the step's number alone: not on the number of workers, and not on
whether the run was stopped and resumed in between.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from densewatch.data.augment import Augment, ReadPicture, TrainingSample
from densewatch.data.augment_settings import AugmentSettings
from densewatch.data.dataset import DataError, Dataset, Sample
from densewatch.data.mosaic import QUARTERS
from densewatch.data.scene import Size
from densewatch.imaging.read import ImageError, read_reduced
from densewatch.models.criterion import Target
from densewatch.training.sampling import Repeats, epoch_order, pictures_per_epoch

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
        mosaic: indices of the three pictures that make a mosaic with it; empty where it stands alone.
        donor: index of the picture whose objects are pasted in, if any.
    """

    picture: int
    imgsz: int
    seed: int
    mosaic: tuple[int, ...] = ()
    donor: int | None = None


class Batch(NamedTuple):
    """Pictures uint8 `[N, 3, H, W]`, padded on the right and at the bottom, and one target each."""

    images: Tensor
    targets: list[Target]


class StepSampler(Sampler[list[Draw]]):
    """Draws the batches of the steps from `start` to before `total`, counted from 0.

    Every epoch goes through all pictures in a new order; its last batch may be smaller.
    """

    def __init__(
        self,
        num_samples: int,
        batch: int,
        imgsz: Sequence[int],
        seed: int,
        start: int,
        total: int,
        *,
        repeats: Repeats | None = None,
        augment: AugmentSettings | None = None,
        process: tuple[int, int] = (0, 1),
    ) -> None:
        """Set up the draws.

        Args:
            num_samples: pictures of the data set.
            batch: pictures a step.
            imgsz: training sizes; each step takes one.
            seed: of everything random.
            start: first step.
            total: steps of the whole run.
            repeats: float64 [num_samples], how often an epoch goes through each picture; default: once.
            augment: how often there are mosaics and pasted objects; default: never.
            process: number of this process and how many there are: of a step's pictures, each takes
                one in so many.
        """
        self.repeats = np.ones(num_samples) if repeats is None else repeats
        self.batch = batch
        self.imgsz = imgsz
        self.seed = seed
        self.start = start
        self.total = total
        self.augment = augment or AugmentSettings()
        self.process = process
        self.steps_per_epoch = math.ceil(pictures_per_epoch(self.repeats) / batch)

    def __len__(self) -> int:
        return self.total - self.start

    def __iter__(self) -> Iterator[list[Draw]]:
        order, order_epoch = torch.empty(0), -1
        for step in range(self.start, self.total):
            epoch, position = divmod(step, self.steps_per_epoch)
            if epoch != order_epoch:
                order, order_epoch = epoch_order(self.repeats, self._generator(epoch)), epoch
            chosen = order[position * self.batch : (position + 1) * self.batch].tolist()
            generator = self._generator(step, salt=1)
            side = self.imgsz[int(torch.randint(len(self.imgsz), (), generator=generator))]
            seeds = torch.randint(2**62, (len(chosen),), generator=generator).tolist()
            draws = [Draw(index, side, seed) for index, seed in zip(chosen, seeds, strict=True)]
            first, processes = self.process
            yield self._mixed(draws, order, step)[first::processes]

    def _mixed(self, draws: list[Draw], order: Tensor, step: int) -> list[Draw]:
        """Draw which pictures become mosaics or get objects pasted in, and the other pictures for that.

        Those come from the epoch's own pictures, so that what is repeated there is found here as often.
        """
        settings = self.augment
        closed = step >= self.total - settings.close_mosaic * self.steps_per_epoch
        if closed or not (settings.mosaic or settings.copy_paste):
            return draws
        generator = self._generator(step, salt=2)
        chances = torch.rand(len(draws), 2, generator=generator).tolist()
        others = order[torch.randint(len(order), (len(draws), QUARTERS), generator=generator)].tolist()
        return [
            draw._replace(
                mosaic=tuple(partners) if mosaic < settings.mosaic else (),
                donor=donor if pasted < settings.copy_paste else None,
            )
            for draw, (mosaic, pasted), (*partners, donor) in zip(draws, chances, others, strict=True)
        ]

    def _generator(self, number: int, salt: int = 0) -> torch.Generator:
        mixed = np.random.SeedSequence([self.seed, number, salt]).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(mixed[0] >> np.uint64(1)))


def read_scaled(sample: Sample, needed: Size) -> npt.NDArray[np.uint8]:
    """Read the picture of a sample, a large JPEG at a reduced size that is no less than what is needed.

    Raises:
        DataError: the picture cannot be read, or is not as large as recorded.
    """
    try:
        pixels, size = read_reduced(sample.path, lambda _: needed)
    except ImageError as error:  # a plain message comes out of a worker process whole
        raise DataError(str(error)) from error
    if size != sample.size:
        recorded = f"{sample.size[1]}x{sample.size[0]}"
        raise DataError(f"{sample.path} is {size[1]}x{size[0]} when upright, but is recorded as {recorded}")
    return pixels


class AugmentedDataset(TorchDataset[TrainingSample]):
    """Reads and varies the picture of a draw."""

    def __init__(self, dataset: Dataset, settings: AugmentSettings, read: ReadPicture = read_scaled) -> None:
        self.dataset = dataset
        self.augment = Augment(settings, read)

    def __getitem__(self, draw: Draw) -> TrainingSample:
        samples = [self.dataset[index] for index in (draw.picture, *draw.mosaic)]
        donor = None if draw.donor is None else self.dataset[draw.donor]
        return self.augment(samples, draw.imgsz, draw.seed, donor)


def collate(samples: Sequence[TrainingSample], pad_value: tuple[int, int, int]) -> Batch:
    """Pad pictures to a common size that the strides divide, and make targets."""
    sides = [max(MIN_SIDE_PX, *(sample.image.shape[axis] for sample in samples)) for axis in (1, 2)]
    height, width = (math.ceil(side / STRIDE) * STRIDE for side in sides)
    images = torch.tensor(pad_value, dtype=torch.uint8).view(3, 1, 1).repeat(len(samples), 1, height, width)
    for image, sample in zip(images, samples, strict=True):
        image[:, : sample.image.shape[1], : sample.image.shape[2]] = sample.image
    targets = [
        Target(
            sample.boxes,
            sample.labels,
            sample.ignore_boxes,
            sample.ignore_labels,
            sample.unlabelled,
            sample.weights,
        )
        for sample in samples
    ]
    return Batch(images, targets)


def _begin_worker(worker: int) -> None:
    """Make a process a good worker.

    It outlives Ctrl-C, which the terminal sends to all: the run ends its step first. And it computes in one
    thread: workers are what cores are shared by.
    """
    del worker  # the loader passes its number
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)  # 1 would wait for threads that a forked process does not have (OpenCV 5.0)


def make_loader(
    dataset: Dataset,
    sampler: StepSampler,
    augment: AugmentSettings,
    workers: int,
    read: ReadPicture = read_scaled,
) -> DataLoader[TrainingSample]:
    """Return a loader that gives the `Batch` of each step of `sampler`.

    Args:
        dataset: what the sampler draws from.
        sampler: which pictures each step sees.
        augment: how they are varied.
        workers: processes that read pictures; 0 reads them in this one.
        read: where pictures come from: their files, or a cache.
    """
    return DataLoader(
        AugmentedDataset(dataset, augment, read),
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=partial(collate, pad_value=augment.pad_value),
        worker_init_fn=_begin_worker,
        prefetch_factor=4 if workers else None,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # its own: the loader must not draw from the run's random numbers
    )
