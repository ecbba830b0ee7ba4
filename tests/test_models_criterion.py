"""The criterion: what counts, what is left out, what the sums are divided by, and torchvision's losses."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import box_iou

from densewatch.models.config import LossConfig
from densewatch.models.criterion import Criterion, Losses, Target, overlap_share
from densewatch.models.losses import sigmoid_focal_loss

CLASSES = 3
# Squares of 10 px in a row, 20 px apart; each object of a test sits on one of them.
ANCHORS = torch.tensor([[x, 0.0, x + 10.0, 10.0] for x in (0.0, 20.0, 40.0, 60.0)])


def target(
    objects: list[tuple[Any, int]] | None = None,
    ignored: list[tuple[Any, int]] | None = None,
    unlabelled: list[int] | None = None,
) -> Target:
    """Return a target of (box, label) pairs; a box may be given as a row of `ANCHORS`."""

    def boxes_and_labels(pairs: list[tuple[Any, int]] | None) -> tuple[Tensor, Tensor]:
        boxes = [torch.as_tensor(box, dtype=torch.float32) for box, _ in pairs or []]
        labels = torch.tensor([label for _, label in pairs or []], dtype=torch.int64)
        return torch.stack(boxes) if boxes else torch.zeros(0, 4), labels

    return Target(
        *boxes_and_labels(objects),
        *boxes_and_labels(ignored),
        unlabelled=torch.tensor(unlabelled or [], dtype=torch.int64),
        weights=torch.ones(len(objects or [])),
    )


def outputs(pictures: int = 1) -> tuple[Tensor, Tensor]:
    """Return random logits `[N, 4, 3]` and deltas `[N, 4, 4]` that ask for gradients."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(pictures, len(ANCHORS), CLASSES, generator=generator)
    deltas = torch.randn(pictures, len(ANCHORS), 4, generator=generator) * 0.1
    return logits.requires_grad_(), deltas.requires_grad_()


def gradients(*targets: Target, **options: Any) -> tuple[Tensor, Tensor]:
    """Return where logits `[N, 4, 3]` and deltas `[N, 4]` get a gradient, as booleans."""
    logits, deltas = outputs(len(targets))
    Criterion(LossConfig(**options))(logits, deltas, ANCHORS, targets).total.backward()
    assert logits.grad is not None
    assert deltas.grad is not None
    return logits.grad != 0, (deltas.grad != 0).any(dim=-1)


def test_every_logit_is_trained_and_only_the_matched_boxes() -> None:
    logits, deltas = gradients(target([(ANCHORS[1], 2)]))
    assert logits.all()
    assert deltas.tolist() == [[False, True, False, False]]


def test_between_the_thresholds_nothing_is_learned() -> None:
    shifted = ANCHORS[1] + torch.tensor([0.0, 0.0, 12.0, 0.0])  # IoU 10 / 22 = 0.45
    logits, deltas = gradients(target([(shifted, 2)]))
    assert logits[0].all(dim=1).tolist() == [True, False, True, True]
    assert not logits[0, 1].any()
    assert not deltas.any()
    _, deltas = gradients(target([(shifted, 2)]), low_quality_matches=True)
    assert deltas.tolist() == [[False, True, False, False]]


def test_a_picture_without_objects_teaches_background() -> None:
    logits, deltas = outputs()
    losses = Criterion(LossConfig())(logits, deltas, ANCHORS, [target()])
    expected = sigmoid_focal_loss(logits, torch.zeros_like(logits)).sum()
    torch.testing.assert_close(losses.classification, expected)
    assert losses.box_regression.item() == 0
    losses.total.backward()
    assert deltas.grad is None or not deltas.grad.any()


def test_an_ignored_region_gives_its_class_no_loss() -> None:
    crowd = [15.0, 0.0, 55.0, 10.0]  # covers the second and third anchor
    logits, _ = gradients(target(ignored=[(crowd, 1)]))
    assert logits[0, :, 1].tolist() == [True, False, False, True]
    assert logits[0, :, [0, 2]].all()


def test_an_object_in_an_ignored_region_is_still_learned() -> None:
    crowd = [15.0, 0.0, 55.0, 10.0]
    logits, deltas = gradients(target([(ANCHORS[1], 1), (ANCHORS[2], 0)], ignored=[(crowd, 1)]))
    assert logits[0, 1].all()
    assert logits[0, 2].tolist() == [
        True,
        False,
        True,
    ]  # learned as class 0; whether class 1 is there, nobody knows
    assert deltas.tolist() == [[False, True, True, False]]


@pytest.mark.parametrize(("share", "ignored"), [(0.3, True), (0.5, True), (0.51, False), (1.0, False)])
def test_how_much_of_an_anchor_must_lie_in_an_ignored_region(share: float, ignored: bool) -> None:
    logits, _ = gradients(target(ignored=[([25.0, 0.0, 35.0, 10.0], 1)]), ignore_overlap=share)
    assert bool(logits[0, 1, 1]) is not ignored


def test_an_unlabelled_class_gives_no_background_loss() -> None:
    logits, _ = gradients(target([(ANCHORS[0], 2)], unlabelled=[1, 2]))
    assert logits[0, :, 0].all()
    assert not logits[0, :, 1].any()
    assert logits[0, :, 2].tolist() == [True, False, False, False]  # the one that was labelled


@pytest.mark.parametrize("kind", ["smooth_l1", "l1", "giou"])
def test_an_object_counts_as_much_as_its_weight(kind: str) -> None:
    """In both losses, at its own logit and deltas; background and the other object stay as they are."""
    objects = [(ANCHORS[1] + 1, 2), (ANCHORS[2] + 1, 0)]
    found = []
    for weights in (torch.ones(2), torch.tensor([0.25, 1.0])):
        logits, deltas = outputs()
        weighted = replace(target(objects), weights=weights)
        Criterion(LossConfig(box_loss=kind))(logits, deltas, ANCHORS, [weighted]).total.backward()
        assert logits.grad is not None
        assert deltas.grad is not None
        found.append((logits.grad[0], deltas.grad[0]))
    (whole_logits, whole_deltas), (logits_grad, deltas_grad) = found
    expected_logits, expected_deltas = whole_logits.clone(), whole_deltas.clone()
    expected_logits[1, 2] *= 0.25
    expected_deltas[1] *= 0.25
    assert whole_logits[1, 2] != 0
    torch.testing.assert_close(logits_grad, expected_logits)
    torch.testing.assert_close(deltas_grad, expected_deltas)


def test_a_soft_label_is_to_be_found_with_its_own_score() -> None:
    """The object's logit is pulled to the score, from both sides; nothing else learns in another way."""
    soft = replace(target([(ANCHORS[1], 2)]), weights=torch.tensor([0.4]))
    pulls = []
    for score in (0.1, 0.4, 0.9):
        logits = torch.full((1, len(ANCHORS), CLASSES), -2.0)
        logits[0, 1, 2] = math.log(score / (1 - score))
        logits.requires_grad_()
        deltas = torch.zeros(1, len(ANCHORS), 4)
        Criterion(LossConfig(soft_labels=True))(logits, deltas, ANCHORS, [soft]).classification.backward()
        assert logits.grad is not None
        pulls.append(float(logits.grad[0, 1, 2]))
        assert (logits.grad[0, 0] > 0).all(), "background is pushed down"
    assert pulls[0] < 0 < pulls[2]
    assert pulls[1] == pytest.approx(0, abs=1e-7)


def test_ignoring_in_one_picture_leaves_the_other_alone() -> None:
    logits, _ = gradients(target(unlabelled=[0]), target())
    assert not logits[0, :, 0].any()
    assert logits[1].all()


def sums(targets: list[Target], logits: Tensor, deltas: Tensor) -> list[Losses]:
    """Return each picture's losses before any division: its own foreground count undoes the division."""
    criterion = Criterion(LossConfig())
    found = []
    for index, one in enumerate(targets):
        losses = criterion(logits[index : index + 1], deltas[index : index + 1], ANCHORS, [one])
        count = max(len(one.boxes), 1)
        found.append(Losses(losses.classification * count, losses.box_regression * count))
    return found


@pytest.mark.parametrize(
    ("options", "divisors"),
    [
        ({"normaliser": "image"}, (3 * 3, 1 * 3, 1 * 3)),  # 3, 1 and 0 objects; a count is at least 1
        ({"normaliser": "batch"}, (4, 4, 4)),
        ({"normaliser": "ema"}, (90.4, 90.4, 90.4)),  # 0.9 × 100 + 0.1 × 4
    ],
)
def test_normalisers(options: dict[str, Any], divisors: tuple[float, ...]) -> None:
    targets = [target([(ANCHORS[i], i) for i in range(3)]), target([(ANCHORS[3], 0)]), target()]
    logits, deltas = outputs(3)
    losses = Criterion(LossConfig(**options))(logits, deltas, ANCHORS, targets)
    raw = sums(targets, logits, deltas)
    expected = [
        sum(getattr(one, term) / divisor for one, divisor in zip(raw, divisors, strict=True))
        for term in ("classification", "box_regression")
    ]
    torch.testing.assert_close([losses.classification, losses.box_regression], expected)


def test_the_smoothed_count_follows_training_only_and_is_kept() -> None:
    criterion = Criterion(LossConfig(normaliser="ema"))
    logits, deltas = outputs()
    picture = target([(ANCHORS[0], 0), (ANCHORS[1], 1)])
    for expected in (90.2, 0.9 * 90.2 + 0.2):
        criterion(logits, deltas, ANCHORS, [picture])
        assert criterion.smoothed_foreground.item() == pytest.approx(expected, rel=1e-6)
    criterion.eval()(logits, deltas, ANCHORS, [picture])
    assert criterion.smoothed_foreground.item() == pytest.approx(0.9 * 90.2 + 0.2, rel=1e-6)
    resumed = Criterion(LossConfig(normaliser="ema"))
    resumed.load_state_dict(criterion.state_dict())
    assert resumed.smoothed_foreground == criterion.smoothed_foreground


def test_box_weight_scales_the_box_loss_alone() -> None:
    logits, deltas = outputs()
    once, thrice = (
        Criterion(LossConfig(box_weight=weight))(logits, deltas, ANCHORS, [target([(ANCHORS[0], 0)])])
        for weight in (1.0, 3.0)
    )
    torch.testing.assert_close(thrice.classification, once.classification)
    torch.testing.assert_close(thrice.box_regression, 3 * once.box_regression)
    torch.testing.assert_close(thrice.total, once.classification + 3 * once.box_regression)


def random_pictures(anchors: Tensor) -> list[Target]:
    """Return a crowded, a sparse and an empty picture; the objects lie near anchors."""
    generator = torch.Generator().manual_seed(3)
    pictures = []
    for count in (25, 2, 0):
        chosen = torch.randperm(len(anchors), generator=generator)[:count]
        boxes = anchors[chosen] + torch.randn(count, 4, generator=generator) * 3
        labels = torch.randint(7, (count,), generator=generator)
        pictures.append(target(list(zip(boxes, labels.tolist(), strict=True))))
    return pictures


@pytest.mark.parametrize("kind", ["l1", "giou"])
def test_losses_are_torchvisions(kind: str) -> None:
    generator = torch.Generator().manual_seed(2)
    corners, sides = torch.rand(2, 600, 2, generator=generator) * torch.tensor([300.0, 60.0])[:, None, None]
    anchors = torch.cat([corners, corners + sides + 20], dim=1)
    pictures = random_pictures(anchors)
    logits = torch.randn(3, 600, 7, generator=generator) * 2 - 3
    deltas = torch.randn(3, 600, 4, generator=generator) * 0.3

    head = RetinaNetHead(8, 9, 7)
    head.regression_head._loss_type = kind
    matcher = Matcher(0.5, 0.4, allow_low_quality_matches=True)
    matched_idxs = [
        matcher(box_iou(one.boxes, anchors)) if len(one.boxes) else torch.full((600,), -1) for one in pictures
    ]
    theirs = head.compute_loss(
        [{"boxes": one.boxes, "labels": one.labels} for one in pictures],
        {"cls_logits": logits, "bbox_regression": deltas},
        [anchors] * 3,
        matched_idxs,
    )
    config = LossConfig.model_validate({"box_loss": kind, "low_quality_matches": True})
    ours = Criterion(config)(logits, deltas, anchors, pictures)
    torch.testing.assert_close(ours.classification, theirs["classification"], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.box_regression, theirs["bbox_regression"], rtol=1e-5, atol=1e-6)


def test_overlap_share() -> None:
    boxes = torch.tensor([[0, 0, 10, 10], [5, 5, 15, 15], [20, 0, 30, 10], [2, 2, 4, 4]], dtype=torch.float32)
    assert overlap_share(boxes, torch.tensor([0.0, 0.0, 10.0, 10.0])).tolist() == [1, 0.25, 0, 1]


def test_target_moves_as_a_whole() -> None:
    moved = target([(ANCHORS[0], 1)], ignored=[(ANCHORS[1], 0)], unlabelled=[2]).to(torch.device("meta"))
    assert all(value.device.type == "meta" for value in vars(moved).values())
