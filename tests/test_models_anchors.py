"""Anchors: exact values of one cell, and torchvision's anchors in its own mode."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList

from densewatch.models.anchors import Anchors, cell_anchors
from densewatch.models.config import AnchorConfig, preset

STRIDES = (8, 16, 32, 64, 128)
ONE_RATIO: dict[str, Any] = {"scales": (1.0,), "ratios": (1.0,)}


def grids_of(height: int, width: int) -> list[tuple[int, int]]:
    """Return the grid of each level: stride-2 convolutions round up."""
    return [(-(-height // stride), -(-width // stride)) for stride in STRIDES]


def test_one_cell_of_the_paper() -> None:
    anchors = cell_anchors(32, AnchorConfig())
    third = 2 ** (1 / 3)
    expected = [
        [-half_width, -half_height, half_width, half_height]
        for ratio in (0.5, 1.0, 2.0)
        for side in (32, 32 * third, 32 * third**2)
        for half_width, half_height in [(side / ratio**0.5 / 2, side * ratio**0.5 / 2)]
    ]
    torch.testing.assert_close(anchors, torch.tensor(expected))


def test_anchors_of_one_scale_have_one_area() -> None:
    anchors = cell_anchors(64, AnchorConfig()).view(3, 3, 4)
    areas = (anchors[..., 2:] - anchors[..., :2]).prod(dim=-1)
    torch.testing.assert_close(areas, (64 * torch.tensor(AnchorConfig().scales)).square().expand(3, 3))


def test_one_cell_with_whole_pixels() -> None:
    anchors = cell_anchors(32, AnchorConfig(rounding="integer", ratios=(0.5, 1.0)))
    # Sides are cut to 32, 40 and 50; then 32 px and ratio 0.5 is 45.25 × 22.63 px, and so on.
    expected = [
        [-23, -11, 23, 11],
        [-28, -14, 28, 14],
        [-35, -18, 35, 18],
        [-16, -16, 16, 16],
        [-20, -20, 20, 20],
        [-25, -25, 25, 25],
    ]
    assert anchors.tolist() == expected


@pytest.mark.parametrize(
    ("options", "input_size", "level", "second_row_second_column"),
    [
        ({}, (256, 256), 0, [8 - 16, 8 - 16, 8 + 16, 8 + 16]),
        ({"center": "half"}, (256, 256), 0, [12 - 16, 12 - 16, 12 + 16, 12 + 16]),
        # 160 × 224 px: P7 is 2 × 2 cells, so the grid rule has strides 80 and 112 where 128 is fixed.
        ({}, (160, 224), 4, [128 - 256, 128 - 256, 128 + 256, 128 + 256]),
        ({"stride_rule": "grid"}, (160, 224), 4, [112 - 256, 80 - 256, 112 + 256, 80 + 256]),
        (
            {"stride_rule": "grid", "center": "half"},
            (160, 224),
            4,
            [168 - 256, 120 - 256, 168 + 256, 120 + 256],
        ),
    ],
)
def test_where_anchors_lie(
    options: dict[str, Any], input_size: tuple[int, int], level: int, second_row_second_column: list[float]
) -> None:
    grids = grids_of(*input_size)
    anchors = Anchors(AnchorConfig(**ONE_RATIO, **options), STRIDES)(input_size, grids)[level]
    columns = grids[level][1]
    assert anchors[columns + 1].tolist() == second_row_second_column


def test_order_is_rows_then_columns_then_the_cell() -> None:
    config = AnchorConfig()
    anchors = Anchors(config, STRIDES)((64, 96), grids_of(64, 96))[0].view(8, 12, config.per_cell, 4)
    torch.testing.assert_close(
        anchors[3, 5], cell_anchors(32, config) + torch.tensor([40.0, 24.0, 40.0, 24.0])
    )


def torchvision_anchors(input_size: tuple[int, int], grids: list[tuple[int, int]]) -> list[Tensor]:
    """Return the anchors of torchvision's RetinaNet, level by level."""
    sizes = tuple(
        (side, int(side * 2 ** (1 / 3)), int(side * 2 ** (2 / 3))) for side in (32, 64, 128, 256, 512)
    )
    generator = AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes))
    images = ImageList(torch.zeros(1, 3, *input_size), [input_size])
    anchors: Tensor = generator(images, [torch.zeros(1, 1, *grid) for grid in grids])[0]
    return list(torch.split(anchors, [rows * columns * 9 for rows, columns in grids]))


@pytest.mark.parametrize(
    "input_size", [(256, 384), (160, 224), (224, 160), (800, 1088), (800, 1344), (32, 32)]
)
@pytest.mark.parametrize("name", ["torchvision-v1", "torchvision-v2"])
def test_are_torchvisions(name: str, input_size: tuple[int, int]) -> None:
    grids = grids_of(*input_size)
    ours = Anchors(preset(name).anchors, STRIDES)(input_size, grids)
    for level, theirs in enumerate(torchvision_anchors(input_size, grids)):
        assert torch.equal(ours[level], theirs), f"P{level + 3}"


def test_fixed_strides_are_torchvisions_only_where_128_divides_the_sides() -> None:
    config = preset("torchvision-v1", anchors={"stride_rule": "fixed"}).anchors
    for input_size, same in [((256, 384), True), ((800, 1088), False)]:
        ours = Anchors(config, STRIDES)(input_size, grids_of(*input_size))
        theirs = torchvision_anchors(input_size, grids_of(*input_size))
        assert torch.equal(ours[4], theirs[4]) is same
        assert torch.equal(ours[0], theirs[0])


def test_weigh_nothing() -> None:
    anchors = Anchors(AnchorConfig(), STRIDES)
    assert not anchors.state_dict()
    assert not list(anchors.parameters())
