"""Boxes become deltas from anchors and come back, and a wild delta stays finite."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.models.detection._utils import BoxCoder

from densewatch.models.box_coding import decode_boxes, encode_boxes

ANCHOR = [10.0, 20.0, 30.0, 60.0]  # 20 px wide, 40 px high, centre (20, 40)

corners = st.floats(-1000, 1000, width=32)
sides = st.floats(1, 1000, width=32)


@st.composite
def boxes(draw: st.DrawFn) -> torch.Tensor:
    x, y, width, height = draw(corners), draw(corners), draw(sides), draw(sides)
    return torch.tensor([x, y, x + width, y + height], dtype=torch.float64)


@pytest.mark.parametrize(
    ("box", "deltas"),
    [
        ([10, 20, 30, 60], [0, 0, 0, 0]),
        ([20, 20, 40, 60], [0.5, 0, 0, 0]),  # half a width to the right
        ([10, 0, 30, 40], [0, -0.5, 0, 0]),  # half a height up
        ([0, 20, 40, 60], [0, 0, math.log(2), 0]),  # twice as wide
        ([10, 30, 30, 50], [0, 0, 0, -math.log(2)]),  # half as high
    ],
)
def test_exact_values(box: list[float], deltas: list[float]) -> None:
    anchor = torch.tensor(ANCHOR)
    torch.testing.assert_close(encode_boxes(torch.tensor(box).float(), anchor), torch.tensor(deltas).float())
    torch.testing.assert_close(decode_boxes(torch.tensor(deltas).float(), anchor), torch.tensor(box).float())


@given(box=boxes(), anchor=boxes())
def test_decoding_undoes_encoding(box: torch.Tensor, anchor: torch.Tensor) -> None:
    # The clamp lets no side through that is more than 62.5 times the anchor's.
    smallest = (box[2:] - box[:2]) / 62.5
    anchor[2:] = torch.maximum(anchor[2:], anchor[:2] + smallest * 1.001)
    torch.testing.assert_close(decode_boxes(encode_boxes(box, anchor), anchor), box, rtol=0, atol=1e-6)


@given(deltas=st.lists(st.floats(-3, 3, width=32), min_size=4, max_size=4), anchor=boxes())
def test_encoding_undoes_decoding(deltas: list[float], anchor: torch.Tensor) -> None:
    wanted = torch.tensor(deltas, dtype=torch.float64)
    torch.testing.assert_close(encode_boxes(decode_boxes(wanted, anchor), anchor), wanted, rtol=0, atol=1e-6)


def test_sides_are_clamped_at_62_5_times_the_anchors() -> None:
    box = decode_boxes(torch.tensor([0.0, 0.0, 100.0, math.inf]), torch.tensor(ANCHOR))
    torch.testing.assert_close(box[2:] - box[:2], torch.tensor([20 * 62.5, 40 * 62.5]))


def test_wild_logits_give_finite_boxes_and_gradients() -> None:
    deltas = torch.tensor([[0.0, 0.0, 1e4, -1e4]], requires_grad=True)
    decoded = decode_boxes(deltas, torch.tensor([ANCHOR]))
    (gradient,) = torch.autograd.grad(decoded.sum(), deltas)
    assert decoded.isfinite().all()
    assert gradient.isfinite().all()


def test_is_torchvisions_coding() -> None:
    generator = torch.Generator().manual_seed(0)
    corner, size = torch.rand(2, 500, 2, generator=generator) * torch.tensor([900.0, 300.0])[:, None, None]
    anchors = torch.cat([corner, corner + size + 1], dim=1)
    moved = anchors + torch.rand(500, 4, generator=generator) * torch.tensor([-20.0, -20.0, 20.0, 20.0])
    deltas = torch.randn(500, 4, generator=generator) * torch.tensor([1.0, 1.0, 3.0, 3.0])
    coder = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
    torch.testing.assert_close(encode_boxes(moved, anchors), coder.encode_single(moved, anchors))
    torch.testing.assert_close(decode_boxes(deltas, anchors), coder.decode_single(deltas, anchors))
