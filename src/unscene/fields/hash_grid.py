"""Multiresolution hash encoding (Müller et al. 2022, section 3): a table of learnt features for points of a cube."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from unscene.fields.hash_encoding import hash_encode
from unscene.fields.hash_kernels import HASHING_CODES, Hashing


@dataclass(frozen=True)
class HashGridConfig:
    """levels of ``features`` each, from ``coarsest`` to ``finest`` cells per axis, in tables of 2**log2_table_size."""

    levels: int = 8
    features: int = 2
    coarsest: int = 16
    finest: int = 1024
    log2_table_size: int = 17
    hashing: Literal["xor", "add"] = "add"
    """How vertices of levels too large for their table find their rows. "xor": Müller et al., eq. 4. "add", ours:
    row(x + dx) = ((x + (y P ^ z Q)) & mask) + dx, so that both neighbours along x are one load; such a level stores one
    row more than its table size, the ghost row, so that the second never wraps."""


@dataclass(frozen=True)
class Level:
    """One level of the grid: cells per axis, first row in the table, rows, and how vertices find theirs.

    mask: bits of a hash that choose a row. Of a level hashed by "add" the last row, mask + 1, is the ghost of the
    first: it holds right neighbours that would wrap.
    """

    resolution: int
    offset: int
    rows: int
    hashing: Hashing
    mask: int

    @property
    def described(self) -> tuple[int, int, int, int]:
        """What the kernels know of it."""
        return self.resolution, self.offset, self.mask, HASHING_CODES[self.hashing]

    @property
    def hashed(self) -> bool:
        """Whether vertices share rows."""
        return self.hashing != "dense"


def grid_levels(config: HashGridConfig) -> list[Level]:
    """The levels of a grid: a geometric series of resolutions; a level that fits its table is stored densely."""
    growth = (config.finest / config.coarsest) ** (1 / max(config.levels - 1, 1))
    levels, offset, limit = [], 0, 2**config.log2_table_size
    for index in range(config.levels):
        resolution = math.floor(config.coarsest * growth**index + 1e-6)
        dense_rows = (resolution + 1) ** 3
        if dense_rows <= limit:
            level = Level(resolution, offset, dense_rows, "dense", 0)
        else:
            level = Level(resolution, offset, limit + (config.hashing == "add"), config.hashing, limit - 1)
        levels.append(level)
        offset += level.rows
    return levels


class HashGrid(nn.Module):
    """Encodes points in the unit cube: P 3 -> P (levels * features). Gradients reach the table and the points.

    ``table``: rows features, uniform in +-1e-4 at the start as in the paper. ``summed``: the levels' features are added
    up instead of put side by side, P features.
    """

    def __init__(self, config: HashGridConfig, generator: torch.Generator, *, summed: bool = False):
        super().__init__()
        self.config, self.summed = config, summed
        self.levels = grid_levels(config)
        self._described = [number for level in self.levels for number in level.described]
        rows = self.levels[-1].offset + self.levels[-1].rows
        self.table = nn.Parameter((torch.rand(rows, config.features, generator=generator) * 2 - 1) * 1e-4)
        self._learning = config.levels

    def forward(self, points: Tensor) -> Tensor:
        return hash_encode(points, self.learnt_table, self._described, summed=self.summed)

    @contextmanager
    def learning(self, levels: int) -> Iterator[None]:
        """Only the coarsest ``levels`` learn from what is computed meanwhile."""
        self._learning = levels
        try:
            yield
        finally:
            self._learning = len(self.levels)

    @property
    def learnt_table(self) -> Tensor:
        """The table, through which gradients reach the levels that learn."""
        if self._learning >= len(self.levels):
            return self.table
        first_fixed = self.levels[self._learning].offset
        return torch.cat([self.table[:first_fixed], self.table[first_fixed:].detach()])

    def mean_square_per_level(self) -> Tensor:
        """Sum over levels of the mean squared feature: the hash decay of Zip-NeRF (section 4), a scalar."""
        parts = self.learnt_table.split([level.rows for level in self.levels])
        return torch.stack([part.square().mean() for part in parts]).sum()
