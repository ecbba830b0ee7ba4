"""Which anchor learns which object, by tables and against torchvision's matcher."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.models.detection._utils import Matcher

from densewatch.models.matching import BACKGROUND, BETWEEN, match_anchors


@pytest.mark.parametrize(
    ("iou", "low_quality", "expected"),
    [
        pytest.param([[0.5, 0.49, 0.4, 0.39, 0.0]], False, [0, -2, -2, -1, -1], id="thresholds"),
        pytest.param([[0.6, 0.7], [0.8, 0.5]], False, [1, 0], id="an anchor learns its best object"),
        pytest.param([[0.6], [0.6]], False, [0], id="of equal objects the first"),
        pytest.param([[0.3, 0.2]], False, [-1, -1], id="an object may stay without an anchor"),
        pytest.param([[0.3, 0.2]], True, [0, -1], id="low quality: the object's best anchor"),
        pytest.param([[0.3, 0.2, 0.3]], True, [0, -1, 0], id="low quality: all that tie"),
        pytest.param([[0.45, 0.2]], True, [0, -1], id="low quality: between becomes foreground"),
        pytest.param([[0.3, 0.1], [0.1, 0.2]], True, [0, 1], id="low quality: each object its own"),
        pytest.param([[0.3, 0.1], [0.6, 0.1]], True, [1, -1], id="low quality: the anchor's own best object"),
        pytest.param([[0.7, 0.1], [0.0, 0.0]], True, [0, -1], id="low quality: an object no anchor touches"),
    ],
)
def test_table(iou: list[list[float]], low_quality: bool, expected: list[int]) -> None:
    assert match_anchors(torch.tensor(iou), 0.5, 0.4, low_quality).tolist() == expected


def test_named_results_are_not_objects() -> None:
    assert BACKGROUND < 0
    assert BETWEEN < 0
    assert BACKGROUND != BETWEEN


@pytest.mark.parametrize("low_quality", [False, True])
def test_without_objects_all_is_background(low_quality: bool) -> None:
    matched_idxs = match_anchors(torch.zeros(0, 7), 0.5, 0.4, low_quality)
    assert matched_idxs.dtype == torch.int64
    assert matched_idxs.tolist() == [BACKGROUND] * 7


@pytest.mark.parametrize("low_quality", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_is_torchvisions_matcher(seed: int, low_quality: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    # Rounded, so that many values tie; one object is worse than the background threshold everywhere.
    iou = (torch.rand(12, 400, generator=generator) * 20).round() / 20 * 0.9 + 0.01
    iou[3] *= 0.3
    expected = Matcher(0.5, 0.4, allow_low_quality_matches=low_quality)(iou)
    assert torch.equal(match_anchors(iou, 0.5, 0.4, low_quality), expected)


@given(st.integers(1, 6), st.integers(1, 30), st.integers(0, 2**31), st.booleans())
def test_foreground_is_what_reaches_the_threshold(objects: int, anchors: int, seed: int, low: bool) -> None:
    iou = torch.rand(objects, anchors, generator=torch.Generator().manual_seed(seed))
    matched_idxs = match_anchors(iou, 0.5, 0.4, low)
    best_iou, best_object = iou.max(dim=0)
    foreground = matched_idxs >= 0
    assert torch.equal(matched_idxs[foreground], best_object[foreground])
    assert foreground[best_iou >= 0.5].all()
    if low:
        assert foreground[iou.argmax(dim=1)].all()
    else:
        assert not foreground[best_iou < 0.5].any()
