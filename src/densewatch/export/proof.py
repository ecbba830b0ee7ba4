"""The proof of equality: an exported graph gives the candidates of the network it was made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from densewatch.imaging.read import read_image
from densewatch.imaging.resize import batch, prepare
from densewatch.metadata import EqualityProof, ModelInfo, ResizePolicy
from densewatch.models.candidates import CandidateNet
from densewatch.runtime.engine import Engine, Output
from densewatch.runtime.engines import create_engine

MAX_BOX_ERROR_PX = 0.1
MAX_SCORE_ERROR = 1e-3
_MIN_SCORE = 0.05
_MIN_CANDIDATES = 100
# Of the longer side, beside the model's own: multiples of 32 that are not multiples of 128.
_SIDES_PX = (352, 608, 480)
_NUM_SIZES = 3
_BATCH = 2


class ExportError(ValueError):
    """A model file that must not be written; the message says what was wrong with it."""


_Floats = npt.NDArray[np.float32]
Nearest = Callable[[_Floats, _Floats, _Floats, _Floats], tuple[float, float]]
"""Compares a candidate with all of a picture, see `candidate_errors`."""


@dataclass(frozen=True)
class Difference:
    """How far two outputs are apart.

    Attributes:
        candidates: how many were compared.
        min_score: of those.
        box_error_px: largest difference of a coordinate.
        score_error: largest difference of a score.
    """

    candidates: int
    min_score: float
    box_error_px: float
    score_error: float


def shipped_pictures() -> list[Path]:
    """Return the photos inside the package, for a proof where the user names none."""
    return sorted(Path(str(files("densewatch") / "assets")).glob("*.jpg"))


def check_pictures(pictures: Sequence[Path]) -> Sequence[Path]:
    """Return `pictures` if they are enough for a proof.

    Raises:
        ValueError: there are fewer than two.
    """
    if len(pictures) < _BATCH:
        raise ValueError(f"a proof takes at least {_BATCH} pictures, not {len(pictures)}")
    return pictures


def prove(net: CandidateNet, model_file: Path, info: ModelInfo, pictures: Sequence[Path]) -> EqualityProof:
    """Compare an exported graph with its network on real pictures, at three sizes and two batch sizes.

    Each picture goes through alone, and the first two go through together. Both engines run the graph, in
    float32.

    Args:
        net: the network.
        model_file: its graph.
        info: its description, complete but for the proof.
        pictures: at least two.

    Raises:
        ExportError: a box differs by more than 0.1 px, or a score by more than 0.001.
    """
    engines = [
        create_engine(model_file, name, precision="float32", device="cpu")
        for name in ("openvino", "onnxruntime")
    ]
    shapes: list[tuple[int, int, int]] = []
    differences: list[Difference] = []
    for images in proof_inputs(info.resize, pictures):
        shapes.append((images.shape[0], images.shape[1], images.shape[2]))
        expected = _run(net, images)
        for engine in engines:
            differences.append(compare(expected, engine(images)))
            _check(differences[-1], engine, shapes[-1])
    return EqualityProof(
        shapes=sorted(set(shapes)),
        pictures=[path.name for path in pictures],
        candidates=sum(difference.candidates for difference in differences),
        min_score=min(difference.min_score for difference in differences),
        max_box_error_px=max(difference.box_error_px for difference in differences),
        max_score_error=max(difference.score_error for difference in differences),
        engine=", ".join(f"{engine_title(engine)} {engine.numeric_type}" for engine in engines),
    )


def compare(expected: Output, actual: Output) -> Difference:
    """Compare the better candidates of two outputs, whatever their order.

    Which candidates make the last places of a level's top-k may hang on the last bit of a score. So those
    with a score of at least 0.05 are looked up in the other output, and at least the best 100 of the batch.
    """
    min_score = lowest_score(expected)
    errors = candidate_errors(expected, actual, min_score, _nearest)
    box_error, score_error = np.max(errors, axis=0).tolist()  # unlike Python's `max`, it lets NaN through
    return Difference(len(errors), min_score, box_error, score_error)


def candidate_errors(
    expected: Output, actual: Output, min_score: float, nearest: Nearest
) -> list[tuple[float, float]]:
    """Return the (box, score) error of each candidate of `expected` with at least `min_score`.

    Args:
        expected: candidates of a batch.
        actual: what they are compared with; the order may differ.
        min_score: of a candidate's best class.
        nearest: given box [4] and scores [C] of a candidate, and all boxes [K, 4] and scores [K, C] of the
            same picture in `actual`, returns its error.
    """
    return [
        nearest(box, candidate_scores, other_boxes, other_scores)
        for boxes, scores, other_boxes, other_scores in zip(*expected, *actual, strict=True)
        for box, candidate_scores in zip(boxes, scores, strict=True)
        if candidate_scores.max() >= min_score
    ]


def lowest_score(output: Output) -> float:
    """Return from which score on candidates are compared: 0.05, or less so that they are a hundred."""
    best = np.sort(output[1].max(axis=2), axis=None)
    return min(_MIN_SCORE, float(best[-_MIN_CANDIDATES:][0]))


def _nearest(
    box: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    boxes: npt.NDArray[np.float32],
    all_scores: npt.NDArray[np.float32],
) -> tuple[float, float]:
    """Return the (box, score) differences of the nearest candidate, measured in what is allowed of each."""
    box_errors = np.abs(boxes - box).max(axis=1)
    score_errors = np.abs(all_scores - scores).max(axis=1)
    nearest = np.argmin(np.maximum(box_errors / MAX_BOX_ERROR_PX, score_errors / MAX_SCORE_ERROR))
    return float(box_errors[nearest]), float(score_errors[nearest])


def engine_title(engine: Engine) -> str:
    """Return name and version of an engine."""
    return f"{engine.name} {engine.version}"


def _check(difference: Difference, engine: Engine, shape: tuple[int, int, int]) -> None:
    within = difference.box_error_px <= MAX_BOX_ERROR_PX and difference.score_error <= MAX_SCORE_ERROR
    if not within:  # written so that NaN fails
        raise ExportError(
            f"the exported graph differs from its network: on {engine_title(engine)} with input "
            f"{shape}, a box by {difference.box_error_px:.3g} px and a score by {difference.score_error:.3g} "
            f"(allowed {MAX_BOX_ERROR_PX} px and {MAX_SCORE_ERROR}); no model file was written"
        )


def proof_inputs(policy: ResizePolicy, pictures: Sequence[Path]) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield batches uint8 [N, H, W, 3] of the pictures: at the model's own size, and at two others."""
    sides = [side for side in _SIDES_PX if (policy.mode, policy.size) != ("longer", side)]
    others = [policy.model_copy(update={"mode": "longer", "size": side}) for side in sides[: _NUM_SIZES - 1]]
    images = [read_image(path) for path in pictures]
    for size_policy in [policy, *others]:
        prepared = [prepare(image, size_policy) for image in images]
        for chosen in [prepared[:_BATCH], *([item] for item in prepared)]:
            yield batch(chosen, size_policy.pad_value)


def _run(net: CandidateNet, images: npt.NDArray[np.uint8]) -> Output:
    with torch.inference_mode():
        boxes, scores = net(torch.from_numpy(images))
    return boxes.numpy(), scores.numpy()
