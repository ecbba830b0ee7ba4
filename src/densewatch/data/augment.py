"""Augmentation of one labelled picture with torchvision.transforms.v2; needs torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2

from densewatch.data.augment_settings import AugmentSettings
from densewatch.data.dataset import Sample


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
    """

    image: Tensor
    boxes: Tensor
    labels: Tensor
    ignore_boxes: Tensor
    ignore_labels: Tensor
    unlabelled: Tensor


class Augment:
    """Varies a labelled picture; uses torch's global random numbers, which the caller seeds."""

    def __init__(self, settings: AugmentSettings) -> None:
        self.settings = settings

    def __call__(self, pixels: npt.NDArray[np.uint8], sample: Sample, imgsz: int) -> TrainingSample:
        """Return `sample` at the training size `imgsz`, varied.

        Args:
            pixels: of the upright picture, uint8 `[H, W, 3]` RGB.
            sample: its labels, in the same pixels.
            imgsz: side of the square, or length of the shorter side.
        """
        image = tv_tensors.Image(torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))))
        boxes = tv_tensors.BoundingBoxes(  # one tensor, so that both kinds go the same way
            np.concatenate([sample.boxes, sample.ignore_boxes]),
            format="XYXY",
            canvas_size=pixels.shape[:2],
            clamping_mode=None,  # how much a cut left of a box is only known while the whole box is
        )
        image, boxes = self._pipeline(imgsz)(image, boxes)
        return self._finish(image.as_subclass(Tensor), boxes.as_subclass(Tensor), sample)

    def _pipeline(self, imgsz: int) -> v2.Compose:
        settings = self.settings
        steps: list[v2.Transform] = [v2.RandomHorizontalFlip(settings.flip)]
        if settings.geometry == "square":
            steps += [
                v2.ScaleJitter((imgsz, imgsz), settings.zoom, antialias=True),
                v2.RandomCrop((imgsz, imgsz), pad_if_needed=True, fill=settings.pad_value),
            ]
        else:
            steps.append(v2.RandomShortestSize(imgsz, settings.max_size, antialias=True))
        if settings.photometric:
            steps.append(v2.RandomPhotometricDistort(p=settings.photometric))
        return v2.Compose(steps)

    def _finish(self, image: Tensor, boxes: Tensor, sample: Sample) -> TrainingSample:
        """Clip boxes to the picture; objects of which too little is left become ignored regions."""
        settings = self.settings
        height, width = image.shape[-2:]
        clipped = boxes.clamp(min=0).minimum(boxes.new_tensor([width, height, width, height]))
        sides = clipped[:, 2:] - clipped[:, :2]
        whole_area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
        visible = sides.prod(dim=1) >= settings.min_visible * whole_area
        clear = visible & (sides >= settings.min_side).all(dim=1)
        inside = (sides > 0).all(dim=1)
        is_object = torch.arange(len(boxes)) < len(sample.boxes)
        labels = torch.from_numpy(np.concatenate([sample.labels, sample.ignore_labels]))
        keep, ignore = inside & is_object & clear, inside & ~(is_object & clear)
        return TrainingSample(
            image,
            clipped[keep],
            labels[keep],
            clipped[ignore],
            labels[ignore],
            torch.from_numpy(sample.unlabelled_classes),
        )
