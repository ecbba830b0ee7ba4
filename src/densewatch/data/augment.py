"""From samples to a training picture, varied; needs torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from densewatch.data.augment_settings import AugmentSettings
from densewatch.data.copy_paste import paste
from densewatch.data.dataset import Sample
from densewatch.data.mosaic import QUARTERS, draw_quarters, join
from densewatch.data.photometric import distort
from densewatch.data.scene import Scene, Size
from densewatch.data.view import View, draw_view, draw_window

ReadPicture = Callable[[Sample, Size], npt.NDArray[np.uint8]]
"""Gives the upright picture of a sample, uint8 [H, W, 3] RGB, whole or scaled down to no less than a size."""


@dataclass(frozen=True)
class TrainingSample:
    """A picture as training sees it; the fields are those of `Sample`, as tensors.

    Attributes:
        image: uint8 `[3, H, W]` RGB.
        boxes: float32 `[G, 4]` xyxy, pixels of `image`.
        labels: int64 `[G]`.
        ignore_boxes: float32 `[M, 4]`.
        ignore_labels: int64 `[M]`.
        unlabelled: int64 `[U]`.
        weights: float32 `[G]`.
    """

    image: Tensor
    boxes: Tensor
    labels: Tensor
    ignore_boxes: Tensor
    ignore_labels: Tensor
    unlabelled: Tensor
    weights: Tensor


class Augment:
    """Makes varied training pictures; what it draws depends on the given seed alone.

    Labels depend on the sizes that the samples record, not on how large a picture was decoded.
    """

    def __init__(self, settings: AugmentSettings, read: ReadPicture) -> None:
        self.settings = settings
        self.read = read

    def __call__(
        self, samples: Sequence[Sample], imgsz: int, seed: int, donor: Sample | None = None
    ) -> TrainingSample:
        """Return a training picture.

        Args:
            samples: one, or four for a mosaic.
            imgsz: side of the square, or length of the shorter side.
            seed: of everything random.
            donor: whose objects are pasted in, if any.
        """
        random = np.random.default_rng(seed)
        scene = (
            self._one(samples[0], imgsz, random) if len(samples) == 1 else self._four(samples, imgsz, random)
        )
        if donor is not None:
            scene = paste(scene, self._one(donor, imgsz, random), self.settings, random)
        if self.settings.photometric:
            return _to_tensors(scene, distort(scene.pixels, self.settings.photometric, random))
        return _to_tensors(scene, scene.pixels)

    def _one(self, sample: Sample, imgsz: int, random: np.random.Generator) -> Scene:
        return self._look(sample, draw_view(sample.size, imgsz, self.settings, random))

    def _four(self, samples: Sequence[Sample], imgsz: int, random: np.random.Generator) -> Scene:
        if len(samples) != QUARTERS:
            raise ValueError(f"a mosaic has {QUARTERS} pictures, not {len(samples)}")
        zoom, flip = self.settings.mosaic_zoom, self.settings.flip
        quarters = draw_quarters(imgsz, random)
        return join(
            [
                self._look(sample, draw_window(sample.size, imgsz, zoom, window, flip, random))
                for sample, window in zip(samples, quarters, strict=True)
            ]
        )

    def _look(self, sample: Sample, view: View) -> Scene:
        return view.of(self.read(sample, view.scaled), sample, self.settings)


def _to_tensors(scene: Scene, pixels: npt.NDArray[np.uint8]) -> TrainingSample:
    return TrainingSample(
        torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))),
        *(
            torch.from_numpy(known)
            for known in (
                scene.boxes,
                scene.labels,
                scene.ignore_boxes,
                scene.ignore_labels,
                scene.unlabelled,
                scene.weights,
            )
        ),
    )
