"""Two engines on one int8 file: how near their boxes are, and when that is not near enough."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from densewatch.export.proof import ExportError, candidate_errors, engine_title, lowest_score, proof_inputs
from densewatch.metadata import EngineAgreement, ResizePolicy
from densewatch.runtime.cores import available_cores
from densewatch.runtime.onnxruntime_engine import OnnxRuntimeEngine
from densewatch.runtime.openvino_engine import OpenVinoEngine

MAX_ERRORS = (0.1, 0.05)
"""What may always be: 1 - IoU, and score."""

_SHARE = 99  # percent of the candidates that must be within what is allowed


def check_agreement(
    int8_file: Path, float_file: Path, policy: ResizePolicy, pictures: Sequence[Path]
) -> EngineAgreement:
    """Compare the boxes of OpenVINO and ONNX Runtime, both running the same int8 file, on real pictures.

    Each engine rounds where it likes, and a step of eight bits more or less goes on through the network. They
    may differ by as much as int8 differs from float, and by a 1 - IoU of 0.1 and a score of 0.05 in any case.
    In the embedded model, 99 of 100 candidates differ by less than 0.04 and 0.01.

    Args:
        int8_file: the file that both run.
        float_file: that it was made from.
        policy: how pictures are prepared.
        pictures: at least two.

    Raises:
        ExportError: more than 1 of 100 candidates differs by more.
    """
    threads = available_cores()
    first = OpenVinoEngine(int8_file, threads=threads, precision="float32", cache_dir=None)
    second = OnnxRuntimeEngine(int8_file, threads=threads, precision="float32")
    exact = OpenVinoEngine(float_file, threads=threads, precision="float32", cache_dir=None)
    min_score, errors, int8_errors = 1.0, [], []
    for images in proof_inputs(policy, pictures):
        output = first(images)
        lowest = lowest_score(output)
        min_score = min(min_score, lowest)
        errors += candidate_errors(output, second(images), lowest, _nearest)
        int8_errors += candidate_errors(output, exact(images), lowest, _nearest)
    box_error, score_error = _most(errors)
    allowed = np.maximum(MAX_ERRORS, _most(int8_errors))
    engines = (engine_title(first), engine_title(second))
    if not (box_error <= allowed[0] and score_error <= allowed[1]):  # written so that NaN fails
        raise ExportError(
            f"{' and '.join(engines)} disagree on the int8 file: of {len(errors)} candidates, 1 in 100 "
            f"differs by a 1 - IoU of {box_error:.2g} or a score of {score_error:.2g} or more "
            f"(allowed {allowed[0]:.2g} and {allowed[1]:.2g}); no model file was written"
        )
    return EngineAgreement(
        engines=engines,
        candidates=len(errors),
        min_score=min_score,
        box_error=box_error,
        score_error=score_error,
        worst_box_error=max(box for box, _ in errors),
        worst_score_error=max(score for _, score in errors),
    )


def _most(errors: list[tuple[float, float]]) -> tuple[float, float]:
    """Return the (1 - IoU, score) differences that 99 of 100 candidates keep."""
    boxes, scores = np.percentile(errors, _SHARE, axis=0)
    return float(boxes), float(scores)


def _nearest(
    box: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    boxes: npt.NDArray[np.float32],
    all_scores: npt.NDArray[np.float32],
) -> tuple[float, float]:
    """Return the (1 - IoU, score) differences of the candidate for which their sum is smallest."""
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    shared = sides.clip(min=0).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) - shared
    box_errors = 1 - shared / np.maximum(union, np.finfo(np.float32).tiny)
    score_errors = np.abs(all_scores - scores).max(axis=1)
    nearest = np.argmin(box_errors + score_errors)
    return float(box_errors[nearest]), float(score_errors[nearest])
