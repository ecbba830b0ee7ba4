"""The one result type: what a detector found in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from densewatch.suggest import suggest

if TYPE_CHECKING:
    import supervision


_ALIGNED = ("boxes", "scores", "labels", "track_ids")


class UnknownNameError(ValueError):
    """A class name that the model does not know; the message suggests the nearest known one."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(f"unknown class {name!r}: {suggest(name, known)}")


@dataclass(frozen=True, eq=False)
class Detections:
    """Objects found in one picture, as aligned arrays sorted by falling score.

    Attributes:
        boxes: float32 [N, 4], xyxy, pixels of the original, upright picture.
        scores: float32 [N], 0 to 1.
        labels: int64 [N], index into `names`.
        names: class names of the model, in label order.
        size: (height, width) of the original, upright picture in pixels.
        track_ids: int64 [N] when a tracker has seen the boxes, else None.
        saturated: True when some limit cut objects that passed the threshold.
    """

    boxes: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    names: tuple[str, ...]
    size: tuple[int, int]
    track_ids: npt.NDArray[np.int64] | None = None
    saturated: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "boxes", np.asarray(self.boxes, np.float32).reshape(-1, 4))
        object.__setattr__(self, "scores", np.asarray(self.scores, np.float32))
        object.__setattr__(self, "labels", np.asarray(self.labels, np.int64))
        object.__setattr__(self, "names", tuple(self.names))
        if self.track_ids is not None:
            object.__setattr__(self, "track_ids", np.asarray(self.track_ids, np.int64))
        self._check()
        order = np.argsort(-self.scores, kind="stable")
        if not np.array_equal(order, np.arange(len(order))):
            for name, values in self._arrays().items():
                object.__setattr__(self, name, values[order])

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        return {name: getattr(self, name) for name in _ALIGNED if getattr(self, name) is not None}

    def _check(self) -> None:
        count = len(self.boxes)
        for name, values in self._arrays().items():
            if len(values) != count or (name != "boxes" and values.ndim != 1):
                raise ValueError(f"{name} has shape {values.shape}, but there are {count} boxes")
        if count and not (np.isfinite(self.boxes).all() and np.isfinite(self.scores).all()):
            raise ValueError("boxes and scores must be finite")
        if count and (self.labels.min() < 0 or self.labels.max() >= len(self.names)):
            low, high = self.labels.min(), self.labels.max()
            raise ValueError(f"labels run from {low} to {high}, but there are {len(self.names)} names")

    @classmethod
    def empty(cls, names: Sequence[str], size: tuple[int, int]) -> Detections:
        """Return a picture without objects."""
        nothing = np.zeros(0, np.float32)
        return cls(nothing.reshape(0, 4), nothing, nothing.astype(np.int64), tuple(names), size)

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: npt.NDArray[Any] | slice | list[int]) -> Detections:
        """Select by boolean mask, integer indices or slice; everything else is kept."""
        picked = {name: values[index] for name, values in self._arrays().items()}
        return Detections(
            picked["boxes"],
            picked["scores"],
            picked["labels"],
            self.names,
            self.size,
            picked.get("track_ids"),
            self.saturated,
        )

    def above(self, threshold: float) -> Detections:
        """Keep objects with a score of at least `threshold`."""
        return self[self.scores >= threshold]

    def only(self, *names: str) -> Detections:
        """Keep objects of the named classes.

        Raises:
            UnknownNameError: a name is not a class of this model.
        """
        return self[np.isin(self.labels, [class_index(name, self.names) for name in names])]

    def counts(self) -> dict[str, int]:
        """Count objects by class name, most frequent first; classes without objects are left out."""
        labels, counts = np.unique(self.labels, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return {self.names[labels[i]]: int(counts[i]) for i in order}

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one `{"label", "score", "box"}` (and `"track"` where tracked) an object, ready for JSON."""
        rows: list[dict[str, Any]] = [
            {
                "label": self.names[label],
                "score": round(float(score), 4),
                "box": [round(float(value), 2) for value in box],
            }
            for box, score, label in zip(self.boxes, self.scores, self.labels, strict=True)
        ]
        if self.track_ids is not None:
            for row, track in zip(rows, self.track_ids, strict=True):
                row["track"] = int(track)
        return rows

    def to_coco(self, image_id: int | str, category_ids: Sequence[int]) -> list[dict[str, Any]]:
        """Return COCO results: `{"image_id", "category_id", "bbox" xywh, "score"}`.

        Args:
            image_id: the picture's id in its data set.
            category_ids: original category id of each label, in label order (`ModelInfo.category_ids`).
        """
        xywh = np.concatenate([self.boxes[:, :2], self.boxes[:, 2:] - self.boxes[:, :2]], axis=1)
        rounded = np.round(xywh.astype(np.float64), 3).tolist()  # in one go: there may be thousands
        scores = np.round(self.scores.astype(np.float64), 6).tolist()
        ids = [int(category_ids[label]) for label in self.labels.tolist()]
        return [
            {"image_id": image_id, "category_id": category_id, "bbox": box, "score": score}
            for category_id, box, score in zip(ids, rounded, scores, strict=True)
        ]

    def to_supervision(self) -> supervision.Detections:
        """Return the same objects as `supervision.Detections`, for its annotators, zones and sinks.

        Raises:
            ModuleNotFoundError: supervision is not installed; a plain install does without.
        """
        try:
            import supervision
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("to_supervision needs supervision: pip install supervision") from error

        return supervision.Detections(
            xyxy=self.boxes,
            confidence=self.scores,
            class_id=self.labels,
            tracker_id=self.track_ids,
            data={"class_name": np.array(self.names, dtype=str)[self.labels]},
        )


def class_index(name: str, names: Sequence[str]) -> int:
    """Return the label of class `name`.

    Raises:
        UnknownNameError: `name` is not in `names`.
    """
    try:
        return list(names).index(name)
    except ValueError:
        raise UnknownNameError(name, names) from None
