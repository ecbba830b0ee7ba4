"""All objects of a data set as aligned arrays: in pixels of their pictures, and as a network sees them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from densewatch.data.dataset import Dataset
from densewatch.imaging.resize import padded_size, resized_size
from densewatch.metadata import ResizePolicy

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of P pictures; ignored regions are not among them.

    Attributes:
        boxes: float32 [N, 4], xyxy, pixels of the upright picture.
        labels: int64 [N].
        pictures: int64 [N], index of the picture, rising.
        sizes: int64 [P, 2], (height, width) of the pictures in pixels.
        num_classes: of the data.
    """

    boxes: Floats
    labels: Ints
    pictures: Ints
    sizes: Ints
    num_classes: int

    @classmethod
    def of(cls, dataset: Dataset) -> Objects:
        """Collect the objects of a data set; picture i is its sample i."""
        counts = [len(sample.boxes) for sample in dataset]
        return cls(
            boxes=np.concatenate([np.zeros((0, 4), np.float32), *(sample.boxes for sample in dataset)]),
            labels=np.concatenate([np.zeros(0, np.int64), *(sample.labels for sample in dataset)]),
            pictures=np.repeat(np.arange(len(dataset)), counts),
            sizes=np.array([sample.size for sample in dataset], np.int64).reshape(-1, 2),
            num_classes=len(dataset.classes),
        )

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def groups(self) -> Ints:
        """Which objects are of one class in one picture: those with the same number, int64 [N]."""
        return self.pictures * self.num_classes + self.labels


@dataclass(frozen=True, eq=False)
class Scaled:
    """Objects as a network sees them, once their pictures are resized and padded.

    Attributes:
        objects: in the pixels of their pictures.
        boxes: float32 [N, 4], xyxy, pixels of the network's input.
        inputs: int64 [P, 2], (height, width) of each picture's padded input in pixels.
    """

    objects: Objects
    boxes: Floats
    inputs: Ints

    @classmethod
    def of(cls, objects: Objects, policy: ResizePolicy) -> Scaled:
        """Scale objects as `policy` scales their pictures."""
        distinct, which = np.unique(objects.sizes, axis=0, return_inverse=True)
        valid = np.array([resized_size((height, width), policy) for height, width in distinct.tolist()])
        padded = np.array([padded_size((height, width), policy.multiple) for height, width in valid.tolist()])
        ratios = valid.reshape(-1, 2) / distinct
        return cls(
            objects=objects,
            boxes=(objects.boxes * ratios[which][objects.pictures][:, [1, 0, 1, 0]]).astype(np.float32),
            inputs=padded.reshape(-1, 2).astype(np.int64)[which],
        )

    @property
    def sides(self) -> Floats:
        """Width and height of each box, float32 [N, 2], pixels of the network's input."""
        return self.boxes[:, 2:] - self.boxes[:, :2]

    def under(self, side_px: float) -> Bools:
        """Return which objects have a side under so many pixels of the network's input, bool [N]."""
        under: Bools = self.sides.min(axis=1, initial=np.inf) < side_px
        return under

    def portions(self, most: int) -> Iterator[tuple[slice, Scaled]]:
        """Give the objects of some pictures at a time, at most `most` unless one picture has more.

        Yields:
            The rows, and the objects in them; their pictures keep their numbers.
        """
        pictures = self.objects.pictures
        start = 0
        while start < len(pictures):
            stop = len(pictures)
            if stop - start > most:
                stop = int(np.searchsorted(pictures, pictures[start + most], "left"))
                if stop == start:
                    stop = int(np.searchsorted(pictures, pictures[start], "right"))
            rows = slice(start, stop)
            objects = self.objects
            some = replace(
                objects, boxes=objects.boxes[rows], labels=objects.labels[rows], pictures=pictures[rows]
            )
            yield rows, Scaled(some, self.boxes[rows], self.inputs)
            start = stop
