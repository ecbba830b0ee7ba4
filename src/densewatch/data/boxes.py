"""The boxes of many records as aligned arrays, clipped to their pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from densewatch.data.checks import Findings, clip_boxes
from densewatch.data.coco_schema import AnnotationRecord, ResultRecord
from densewatch.data.dataset import DataError, Sample
from densewatch.data.labels import describe_record


@dataclass(frozen=True)
class BoxTable:
    """The usable boxes of a file, as aligned arrays.

    Attributes:
        boxes: float32 [N, 4], xyxy, inside their pictures.
        labels: int64 [N].
        images: int64 [N], index of the sample.
        records: int64 [N], index of the record that a box came from.
    """

    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    images: npt.NDArray[np.int64]
    records: npt.NDArray[np.int64]

    @classmethod
    def of(
        cls,
        records: Sequence[AnnotationRecord | ResultRecord],
        samples: Sequence[Sample],
        label_of: Mapping[int, int],
        findings: Findings,
    ) -> BoxTable:
        """Resolve ids, clip boxes, and leave out those that are none.

        Args:
            records: of objects, or of what a detector found.
            samples: the pictures that they are on.
            label_of: category id → label.
            findings: takes what is odd about the boxes.

        Raises:
            DataError: a record names an image or category that there is not, two samples have the same id, or
                a box is odd and `findings.strict` is on.
        """
        index_of = {sample.image_id: index for index, sample in enumerate(samples)}
        if len(index_of) < len(samples):
            twice = Counter(sample.image_id for sample in samples).most_common(1)[0][0]
            raise DataError(
                f"{findings.file}: image id {twice!r} occurs twice in the data set; ids must be unique"
            )
        for row, record in enumerate(records):
            if record.image_id not in index_of:
                raise DataError(f"{findings.file}: {describe_record(row, record)}: there is no such image")
            if record.category_id not in label_of:
                name = describe_record(row, record)
                raise DataError(f"{findings.file}: {name}: there is no category {record.category_id}")
        images = np.array([index_of[record.image_id] for record in records], np.int64)
        labels = np.array([label_of[record.category_id] for record in records], np.int64)
        xywh = np.array([record.bbox for record in records], np.float64).reshape(-1, 4)
        sizes = np.array([sample.size for sample in samples], np.float64).reshape(-1, 2)[images]
        boxes, kept = clip_boxes(xywh, sizes, findings, lambda row: describe_record(row, records[row]))
        return cls(boxes[kept], labels[kept], images[kept], np.flatnonzero(kept))

    def rows_by_image(self, num_images: int) -> list[npt.NDArray[np.int64]]:
        """Return the rows of each image, in file order."""
        order = np.argsort(self.images, kind="stable")
        starts = np.searchsorted(self.images[order], np.arange(num_images + 1))
        return [order[start:end] for start, end in pairwise(starts)]
