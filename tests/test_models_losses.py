"""The focal loss and the box losses, by hand and against torchvision."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.models.detection._utils import BoxCoder, _box_loss
from torchvision.ops import sigmoid_focal_loss as torchvision_focal_loss

from densewatch.models import losses
from densewatch.models.config import BoxLoss
from densewatch.models.losses import (
    box_loss,
    quality_focal_loss,
    sigmoid_focal_loss,
    sum_background_focal_loss,
)


def logit(probability: float) -> Tensor:
    return torch.tensor(math.log(probability / (1 - probability)), dtype=torch.float64)


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.9])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_focal_loss_is_torchvisions(alpha: float, gamma: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(500, 20, generator=generator) * 5
    targets = (torch.rand(500, 20, generator=generator) < 0.2).float()
    ours = sigmoid_focal_loss(logits, targets, alpha, gamma)
    theirs = torchvision_focal_loss(logits, targets, alpha, gamma)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("target", [0.0, 1.0])
@pytest.mark.parametrize(
    ("p_t", "times_lower"),
    [(0.9, 100), (1 - 1 / math.sqrt(1000), 1000), (0.5, 4)],  # paper, section 3.2; 1 - 1/√1000 ≈ 0.968
)
def test_focusing_turns_easy_examples_down(p_t: float, times_lower: float, target: float) -> None:
    logits, targets = logit(p_t if target else 1 - p_t), torch.tensor(target, dtype=torch.float64)
    cross_entropy = sigmoid_focal_loss(logits, targets, alpha=0.5, gamma=0)
    focal = sigmoid_focal_loss(logits, targets, alpha=0.5, gamma=2)
    assert float(cross_entropy / focal) == pytest.approx(times_lower, rel=1e-6)


@pytest.mark.parametrize(
    ("p", "target", "expected"),
    [
        (0.9, 1.0, 0.25 * 0.1**2 * -math.log(0.9)),
        (0.9, 0.0, 0.75 * 0.9**2 * -math.log(0.1)),
        (0.01, 0.0, 0.75 * 0.01**2 * -math.log(0.99)),  # what an anchor costs at the start, with prior 0.01
        (0.01, 1.0, 0.25 * 0.99**2 * -math.log(0.01)),
    ],
)
def test_focal_loss_by_hand(p: float, target: float, expected: float) -> None:
    assert float(sigmoid_focal_loss(logit(p), torch.tensor(target))) == pytest.approx(expected, rel=1e-6)


def test_gamma_0_is_alpha_balanced_cross_entropy() -> None:
    logits = torch.linspace(-8, 8, 33)
    for target, weight in [(0.0, 0.7), (1.0, 0.3)]:
        targets = torch.full_like(logits, target)
        expected = weight * F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        torch.testing.assert_close(sigmoid_focal_loss(logits, targets, alpha=0.3, gamma=0), expected)


@pytest.mark.parametrize("target", [0.0, 1.0])
def test_focal_loss_of_extreme_logits_is_finite(target: float) -> None:
    logits = torch.tensor([-1e4, -100.0, 0.0, 100.0, 1e4], requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.full((5,), target))
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert loss.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 3.5])
@pytest.mark.parametrize("part", [7, 1 << 16])
def test_the_sum_over_the_background_is_that_of_single_losses(
    gamma: float, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses._SumBackgroundFocalLoss, "CPU_PART", part)
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(40, 9, generator=generator, dtype=torch.float64) * 6).requires_grad_()
    counts = torch.rand(40, 9, generator=generator) < 0.8
    each = sigmoid_focal_loss(logits, torch.zeros_like(logits), 0.3, gamma)
    (expected,) = torch.autograd.grad(3 * (each * counts).sum(), logits)
    summed = sum_background_focal_loss(logits, counts, 0.3, gamma)
    (gradient,) = torch.autograd.grad(3 * summed, logits)
    torch.testing.assert_close(summed, (each * counts).sum())
    torch.testing.assert_close(gradient, expected)
    assert not gradient[~counts].any()


def test_the_sum_over_the_background_of_bfloat16_is_computed_in_float32() -> None:
    logits = torch.linspace(-9, 9, 200, dtype=torch.bfloat16).requires_grad_()
    counts = torch.ones(200, dtype=torch.bool)
    summed = sum_background_focal_loss(logits, counts, 0.25, 2.0)
    (gradient,) = torch.autograd.grad(summed, logits)
    wide = logits.detach().float().requires_grad_()
    expected = sum_background_focal_loss(wide, counts, 0.25, 2.0)
    (wide_gradient,) = torch.autograd.grad(expected, wide)
    assert summed.dtype == torch.float32
    assert gradient.dtype == torch.bfloat16
    assert summed == expected
    torch.testing.assert_close(gradient, wide_gradient.bfloat16(), rtol=0, atol=0)


def test_a_gradient_scaler_saves_the_small_gradients_of_float16() -> None:
    logits = torch.full((4,), -7.0, dtype=torch.float16, requires_grad=True)  # p = 0.0009: a gradient of 2e-9
    summed = sum_background_focal_loss(logits, torch.ones(4, dtype=torch.bool), 0.25, 2.0)
    (gradient,) = torch.autograd.grad(summed * 65536, logits)
    assert (gradient > 0).all()
    assert gradient.isfinite().all()


def test_the_sum_over_the_background_of_extreme_logits_is_finite() -> None:
    logits = torch.tensor([[-1e4, -100.0, 0.0, 100.0, 1e4]], requires_grad=True)
    summed = sum_background_focal_loss(logits, torch.ones(1, 5, dtype=torch.bool), 0.25, 2.0)
    (gradient,) = torch.autograd.grad(summed, logits)
    assert summed.isfinite()
    assert gradient.isfinite().all()


def test_no_background_costs_nothing() -> None:
    logits = torch.zeros(0, 3, requires_grad=True)
    summed = sum_background_focal_loss(logits, torch.zeros(0, 3, dtype=torch.bool), 0.25, 2.0)
    assert summed == 0
    assert torch.autograd.grad(summed, logits)[0].shape == (0, 3)


@pytest.mark.parametrize("wanted", [0.2, 0.5, 0.85])
def test_the_quality_focal_loss_is_lowest_where_the_probability_is_the_wanted_one(wanted: float) -> None:
    values = torch.linspace(-6, 6, 401, dtype=torch.float64)
    curve = quality_focal_loss(values, torch.full_like(values, wanted))
    assert float(values[curve.argmin()].sigmoid()) == pytest.approx(wanted, abs=0.01)


def test_the_quality_focal_loss_by_hand() -> None:
    cross_entropy = -(0.6 * math.log(0.9) + 0.4 * math.log(0.1))
    loss = quality_focal_loss(logit(0.9), torch.tensor(0.6, dtype=torch.float64), alpha=0.25, gamma=2)
    assert float(loss) == pytest.approx(0.25 * 0.3**2 * cross_entropy, rel=1e-6)


def test_the_quality_focal_loss_of_a_sure_object_is_the_focal_loss() -> None:
    values = torch.linspace(-8, 8, 33)
    ones = torch.ones_like(values)
    torch.testing.assert_close(quality_focal_loss(values, ones), sigmoid_focal_loss(values, ones))


def random_matches(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return deltas, boxes and anchors, each [M, 4]."""
    generator = torch.Generator().manual_seed(1)
    corners, sides = torch.rand(2, count, 2, generator=generator) * 100
    anchors = torch.cat([corners, corners + sides + 5], dim=1)
    boxes = anchors + torch.rand(count, 4, generator=generator) * torch.tensor([-9.0, -9.0, 9.0, 9.0])
    return torch.randn(count, 4, generator=generator) * 0.3, boxes, anchors


@pytest.mark.parametrize("kind", ["l1", "giou"])
def test_box_losses_are_torchvisions(kind: BoxLoss) -> None:
    deltas, boxes, anchors = random_matches(200)
    coder = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
    theirs = _box_loss(kind, coder, anchors, boxes, deltas)
    torch.testing.assert_close(box_loss(deltas, boxes, anchors, kind).sum(), theirs, rtol=1e-5, atol=1e-6)


def test_smooth_l1_by_hand() -> None:
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    boxes = torch.tensor([[2.0, 0.0, 12.0, 10.0]])  # dx is 0.2, the others 0
    # |0.2 - 0.25| is below β: square; |0.3 - 0| is above: line.
    deltas = torch.tensor([[0.25, 0.3, 0.0, 0.0]])
    expected = 0.5 * 0.05**2 / 0.1 + (0.3 - 0.05)
    assert float(box_loss(deltas, boxes, anchors, "smooth_l1", beta=0.1)) == pytest.approx(expected, rel=1e-5)


def test_beta_turns_smooth_l1_into_l1() -> None:
    deltas, boxes, anchors = random_matches(50)
    smooth = box_loss(deltas, boxes, anchors, "smooth_l1", beta=1e-6)
    torch.testing.assert_close(smooth, box_loss(deltas, boxes, anchors, "l1"), rtol=1e-5, atol=0)


def test_giou_by_hand() -> None:
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    boxes = torch.tensor([[20.0, 0.0, 30.0, 10.0]])  # apart: IoU 0, and a third of the hull lies between
    assert float(box_loss(torch.zeros(1, 4), boxes, anchors, "giou")) == pytest.approx(1 + 1 / 3, rel=1e-5)
    assert float(box_loss(torch.zeros(1, 4), anchors, anchors, "giou")) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", get_args(BoxLoss))
def test_box_loss_of_nothing_is_zero(kind: BoxLoss) -> None:
    deltas = torch.zeros(0, 4, requires_grad=True)
    loss = box_loss(deltas, torch.zeros(0, 4), torch.zeros(0, 4), kind).sum()
    (gradient,) = torch.autograd.grad(loss, deltas)
    assert loss.item() == 0
    assert gradient.shape == (0, 4)


@pytest.mark.parametrize("kind", get_args(BoxLoss))
def test_box_loss_falls_as_boxes_come_closer(kind: BoxLoss) -> None:
    anchors = torch.tensor([[0.0, 0.0, 50.0, 50.0]])
    losses = [
        float(box_loss(torch.tensor([[shift, 0.0, 0.0, 0.0]]), anchors, anchors, kind))
        for shift in (1.5, 0.8, 0.3, 0.05, 0.0)
    ]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == pytest.approx(0, abs=1e-6)
