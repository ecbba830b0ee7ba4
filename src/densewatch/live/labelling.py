"""Under which class a detection is looked for among tracks: a label that flickers is still one object."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_TWIN_IOU = 0.85
"""Boxes of two classes that overlap more than this are one object that the detector names twice."""

_TAKEOVER_IOU = 0.6
"""A track whose class is not seen goes on with a box of another class that overlaps it this much."""

_OWN_IOU = 0.2
"""A track and a detection of one class that overlap this much may belong together, and are left alone."""

_CONTINUES_IOU = 0.5
"""A box with a low score goes on with a track only where it overlaps what the track should be this much."""

Boxes = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def twins(boxes: Boxes, labels: Labels, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return bool [N]: boxes that repeat a better one of another class.

    Args:
        boxes: [N, 4], xyxy.
        labels: [N].
        scores: [N], comparable between classes.
    """
    same_place = (_overlaps(boxes, boxes) > _TWIN_IOU) & (labels[:, None] != labels[None, :])
    repeats = np.zeros(len(boxes), bool)
    for index in np.argsort(-scores, kind="stable"):
        if not repeats[index]:
            repeats |= same_place[index]
            repeats[index] = False
    return repeats


def taken_over(boxes: Boxes, labels: Labels, track_boxes: Boxes, track_labels: Labels) -> Labels:
    """Return [N]: the class under which each detection is looked for among tracks.

    It is its own, but for a detection that no track of its class is near, and that lies where a track of
    another class should be which has nothing of its own.

    Args:
        boxes: detections [N, 4], xyxy.
        labels: of the detections, [N].
        track_boxes: where tracks should be now, [M, 4], xyxy.
        track_labels: the classes under which the tracks are followed, [M].
    """
    result = labels.copy()
    if not len(boxes) or not len(track_boxes):
        return result
    overlaps = _overlaps(track_boxes, boxes)
    own = (track_labels[:, None] == labels[None, :]) & (overlaps > _OWN_IOU)
    overlaps[own.any(axis=1), :] = 0
    overlaps[:, own.any(axis=0)] = 0
    while overlaps.size and overlaps.max() >= _TAKEOVER_IOU:
        track, detection = np.unravel_index(int(overlaps.argmax()), overlaps.shape)
        result[detection] = track_labels[track]
        overlaps[track, :] = 0
        overlaps[:, detection] = 0
    return result


def continues(boxes: Boxes, track_boxes: Boxes) -> npt.NDArray[np.bool_]:
    """Return bool [N]: boxes that lie where a track should be.

    Args:
        boxes: detections [N, 4], xyxy.
        track_boxes: where tracks should be now, [M, 4], xyxy.
    """
    near = _overlaps(boxes, track_boxes) >= _CONTINUES_IOU
    return np.asarray(near.any(axis=1))


def _overlaps(one: Boxes, other: Boxes) -> npt.NDArray[np.float64]:
    """Return the IoU of every pair, [N, M]."""
    import supervision

    return np.array(supervision.box_iou_batch(one, other), np.float64).reshape(len(one), len(other))
