"""The multiresolution hash encoding in plain torch: slow, and simple enough to be believed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unscene.fields.hash_grid import HashGrid, Level

PRIMES = (1, 2654435761, 805459861)  # Müller et al. 2022, eq. 4


class ReferenceHashGrid(nn.Module):
    """Stands in for a `HashGrid`: the same levels, a copy of its table, P 3 -> P (levels * features), or P features."""

    def __init__(self, grid: HashGrid):
        super().__init__()
        self.levels, self.summed = grid.levels, grid.summed
        self.table = nn.Parameter(grid.table.detach().clone())

    def forward(self, points: Tensor) -> Tensor:
        encoded = [encode_level(points, self.table, level) for level in self.levels]
        return torch.stack(encoded).sum(0) if self.summed else torch.cat(encoded, -1)

    def mean_square_per_level(self) -> Tensor:
        """As `HashGrid.mean_square_per_level`."""
        parts = self.table.split([level.rows for level in self.levels])
        return torch.stack([part.square().mean() for part in parts]).sum()


def encode_level(points: Tensor, table: Tensor, level: Level) -> Tensor:
    """Trilinear interpolation of one level's features at points of the unit cube, P features."""
    position = points * level.resolution
    cell = position.detach().floor().clamp(0, level.resolution - 1)
    fraction = position - cell
    encoded = points.new_zeros(len(points), table.shape[1])
    for corner in [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]:
        offset = torch.tensor(corner, device=points.device)
        weight = torch.where(offset.bool(), fraction, 1 - fraction).prod(-1, keepdim=True)
        encoded = encoded + weight * table[row(cell.long(), offset, level)]
    return encoded


def row(cell: Tensor, corner: Tensor, level: Level) -> Tensor:
    """Table rows of one corner (3, zeros and ones) of grid cells (P 3, integers), P."""
    x, y, z = (cell + corner).unbind(-1)
    if level.hashing == "dense":
        side = level.resolution + 1
        return level.offset + x + side * (y + side * z)
    if level.hashing == "xor":
        return level.offset + ((x * PRIMES[0]) ^ (y * PRIMES[1]) ^ (z * PRIMES[2])) % 2 ** log2(level)
    left = (cell[:, 0] + ((y * PRIMES[1]) ^ (z * PRIMES[2]))) % 2 ** log2(level)
    return level.offset + left + corner[0]


def log2(level: Level) -> int:
    """Bits of a hashed level's table size: its rows without the ghost."""
    return level.rows.bit_length() - 1
