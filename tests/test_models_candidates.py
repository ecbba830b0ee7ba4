"""The best anchors of each level: what they must contain, and that they are the network's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from densewatch.models.box_coding import decode_boxes
from densewatch.models.candidates import CandidateNet, select_candidates
from densewatch.models.config import preset
from densewatch.models.retinanet import DenseOutput, RetinaNet

CLASSES = 5
COUNTS = (300, 80, 20, 7, 2)  # anchors of P3 … P7


@pytest.fixture(scope="module")
def output() -> DenseOutput:
    """Return random logits and deltas of two pictures."""
    generator = torch.Generator().manual_seed(0)
    corners = [torch.rand(count, 2, generator=generator) * 100 for count in COUNTS]
    return DenseOutput(
        cls_logits=[torch.randn(2, count, CLASSES, generator=generator) * 2 for count in COUNTS],
        bbox_deltas=[torch.randn(2, count, 4, generator=generator) * 0.2 for count in COUNTS],
        anchors=[torch.cat([corner, corner + 20], dim=1) for corner in corners],
    )


def per_level(values: Tensor, topk: int) -> tuple[Tensor, ...]:
    """Split candidates `[N, K, D]` into those of each level."""
    return torch.split(values, [min(topk, count) for count in COUNTS], dim=1)


def test_without_a_cut_candidates_are_all_decoded_anchors(output: DenseOutput) -> None:
    boxes, scores = select_candidates(output, topk=1000)
    decoded = [decode_boxes(deltas, anchors) for _, deltas, anchors in zip(*output, strict=True)]
    for index in range(2):
        expected = torch.cat([level[index] for level in decoded])
        logits = torch.cat([level[index] for level in output.cls_logits])
        place, found = (values[:, 0].argsort() for values in (expected, boxes[index]))
        torch.testing.assert_close(boxes[index, found], expected[place])
        torch.testing.assert_close(scores[index, found], logits[place].sigmoid())


@pytest.mark.parametrize("topk", [1, 2, 10, 50])
def test_shapes(output: DenseOutput, topk: int) -> None:
    boxes, scores = select_candidates(output, topk)
    kept = sum(min(topk, count) for count in COUNTS)
    assert boxes.shape == (2, kept, 4)
    assert scores.shape == (2, kept, CLASSES)


@pytest.mark.parametrize("topk", [1, 2, 10, 50])
def test_the_best_pairs_of_a_level_are_among_its_candidates(output: DenseOutput, topk: int) -> None:
    _, scores = select_candidates(output, topk)
    for level, logits in zip(per_level(scores, topk), output.cls_logits, strict=True):
        for index in range(2):
            count = min(topk, logits[index].numel())
            best = logits[index].sigmoid().flatten().topk(count).values
            torch.testing.assert_close(level[index].flatten().topk(count).values, best)


def test_a_level_is_sorted_by_its_best_class(output: DenseOutput) -> None:
    _, scores = select_candidates(output, topk=50)
    for level in per_level(scores, 50):
        best = level.amax(dim=2)
        assert torch.equal(best, best.sort(dim=1, descending=True).values)


def test_boxes_and_scores_belong_together(output: DenseOutput) -> None:
    topk = 3
    boxes, scores = (per_level(values, topk) for values in select_candidates(output, topk))
    for level, (logits, deltas, anchors) in enumerate(zip(*output, strict=True)):
        for index in range(2):
            every = decode_boxes(deltas[index], anchors)
            distances, anchor = (boxes[level][index][:, None] - every).abs().amax(dim=2).min(dim=1)
            assert distances.max() < 1e-3
            torch.testing.assert_close(scores[level][index], logits[index, anchor].sigmoid())


def tiny_network(**sections: Any) -> RetinaNet:
    torch.manual_seed(0)
    options = {
        "backbone": {"name": "resnet18", "norm": "batch"},
        "head": {"width": 16, "depth": 1},
        **sections,
    }
    return RetinaNet(preset("paper", num_classes=CLASSES, pyramid={"width": 16}, **options)).eval()


def test_pictures_are_uint8_rgb_with_channels_last() -> None:
    network = tiny_network()
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(256, (2, 96, 160, 3), dtype=torch.uint8, generator=generator)
    with torch.inference_mode():
        boxes, scores = CandidateNet(network, topk=20)(image)
        expected = select_candidates(network(image.permute(0, 3, 1, 2) / 255), 20)
    assert torch.equal(boxes, expected[0])
    assert torch.equal(scores, expected[1])


def test_a_picture_does_not_depend_on_its_batch() -> None:
    network = tiny_network(head={"width": 16, "depth": 1, "prior": 0.3})
    image = torch.randint(256, (3, 64, 96, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    net = CandidateNet(network, topk=1000)
    with torch.inference_mode():
        together, alone = net(image), net(image[1:2])
    for batched, single in zip(together, alone, strict=True):
        # Equal but for the order of candidates that tie.
        torch.testing.assert_close(batched[1].sum(dim=0), single[0].sum(dim=0), rtol=1e-4, atol=1e-3)
