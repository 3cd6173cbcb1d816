"""Where a field may have density at all: a bit for each cell of a coarse grid over contracted space."""

from __future__ import annotations

import torch
from torch import Tensor

RESOLUTION = 128  # cells along each axis, as occupancy.h has it: a 32nd of the scene's radius wide in its middle


def pack_cells(cells: Tensor) -> Tensor:
    """Cells z y x (R R R bool) as bits of R^3 / 32 int32 words."""
    bits = cells.reshape(-1, 32).long() << torch.arange(32, device=cells.device)
    return bits.sum(-1).to(torch.int32)  # whose last bit is the sign: it wraps


def unpack_cells(words: Tensor) -> Tensor:
    """What `pack_cells` was given, R R R bool."""
    bits = (words[:, None] >> torch.arange(32, dtype=torch.int32, device=words.device)) & 1
    return bits.bool().view(RESOLUTION, RESOLUTION, RESOLUTION)


def cells_of(points: Tensor) -> Tensor:
    """Numbers of the cells in which points of the unit cube (... 3) lie, ... int64."""
    x, y, z = (points * RESOLUTION).long().clamp(0, RESOLUTION - 1).unbind(-1)
    return (z * RESOLUTION + y) * RESOLUTION + x


def occupied(words: Tensor, points: Tensor) -> Tensor:
    """1 where density may be and 0 where not, for points of the unit cube (... 3), ... float."""
    cells = cells_of(points)
    return ((words[cells >> 5] >> (cells & 31).to(torch.int32)) & 1).to(points.dtype)
