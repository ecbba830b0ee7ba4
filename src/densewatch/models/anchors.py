"""Anchors: the boxes that a dense detector's outputs are measured from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from densewatch.models.config import AnchorConfig


def cell_anchors(size: float, config: AnchorConfig) -> Tensor:
    """Return the anchors of one cell around the origin, `[A, 4]` xyxy, ratio by ratio, scale by scale.

    All anchors of one scale have the same area (paper, section 4, "Anchors").
    """
    sides = torch.tensor([size * scale for scale in config.scales])
    if config.rounding == "integer":
        sides = sides.floor()
    stretch = torch.tensor(config.ratios).sqrt()[:, None]
    widths, heights = (sides / stretch).flatten(), (sides * stretch).flatten()
    anchors = torch.stack([-widths, -heights, widths, heights], dim=1) / 2
    return anchors.round() if config.rounding == "integer" else anchors


class Anchors(nn.Module):
    """Lays the anchors of every level over its grid."""

    def __init__(self, config: AnchorConfig, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.strides = strides
        self.center = config.center
        self.stride_rule = config.stride_rule
        for level, size in enumerate(config.sizes):
            self.register_buffer(f"cell{level}", cell_anchors(size, config), persistent=False)

    def forward(self, input_size: tuple[int, int], grids: list[tuple[int, int]]) -> list[Tensor]:
        """Return the anchors of each level, `[H_l * W_l * A, 4]` xyxy in input pixels.

        Args:
            input_size: (height, width) of the padded input.
            grids: (height, width) of each level's feature map.
        """
        anchors = []
        for level, (rows, columns) in enumerate(grids):
            cell = getattr(self, f"cell{level}")
            (first_y, first_x), (step_y, step_x) = self.centers(level, input_size, (rows, columns))
            y = torch.arange(rows, device=cell.device, dtype=cell.dtype) * step_y + first_y
            x = torch.arange(columns, device=cell.device, dtype=cell.dtype) * step_x + first_x
            x_grid, y_grid = x[None, :].expand(rows, columns), y[:, None].expand(rows, columns)
            centers = torch.stack([x_grid, y_grid, x_grid, y_grid], dim=-1)
            anchors.append((centers[:, :, None] + cell).reshape(-1, 4))
        return anchors

    def centers(
        self, level: int, input_size: tuple[int, int], grid: tuple[int, int]
    ) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return where a level's first cell has its anchors' centre, and how far it is to the next ones.

        Args:
            level: 0 is the finest.
            input_size: (height, width) of the padded input.
            grid: (height, width) of the level's feature map.

        Returns:
            (y, x) of the first centre and (y, x) of the step, in input pixels.
        """
        step_y = step_x = self.strides[level]
        if self.stride_rule == "grid":
            step_y, step_x = input_size[0] // grid[0], input_size[1] // grid[1]
        first = (step_y / 2, step_x / 2) if self.center == "half" else (0.0, 0.0)
        return first, (step_y, step_x)
