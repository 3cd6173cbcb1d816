"""Gaussians: the value type of 3D Gaussian splats (Kerbl et al. 2023), as everything of ours holds them.

Numbers are the raw ones of the field's files and optimisers: logarithms of scales, logits of opacities, quaternions of
any length. What they stand for is asked for by name (`Gaussians.scales`, `opacities`, `rotations`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

MOST_DEGREE = 3
Y00 = 0.5 / math.sqrt(math.pi)
"""The constant spherical harmonic: a colour is 0.5 + Y00 * coefficient where no direction counts."""
ALMOST = 1e-6
"""How far opacities keep from 0 and 1, where they are turned into logits."""


@dataclass(frozen=True)
class Gaussians:
    """N Gaussians in world coordinates.

    means: N 3; log_scales: N 3, natural logarithms of the standard deviations along the own axes; quaternions: N 4
    (w, x, y, z) that turn own axes to the world's, of any length but zero; opacity_logits: N; harmonics: N K 3, real
    spherical harmonics of red, green and blue, K = 1, 4, 9 or 16, in the order and with the signs of the 3DGS files.
    """

    means: Tensor
    log_scales: Tensor
    quaternions: Tensor
    opacity_logits: Tensor
    harmonics: Tensor

    def __len__(self) -> int:
        return len(self.means)

    def __getitem__(self, index: Tensor | slice) -> Gaussians:
        return Gaussians(*(tensor[index] for tensor in self.tensors))

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """All of it, in the order of the fields."""
        return self.means, self.log_scales, self.quaternions, self.opacity_logits, self.harmonics

    @property
    def degree(self) -> int:
        """The highest degree of the spherical harmonics, 0 to 3."""
        return math.isqrt(self.harmonics.shape[1]) - 1

    @property
    def scales(self) -> Tensor:
        """Standard deviations along the own axes, N 3, world units."""
        return self.log_scales.exp()

    @property
    def opacities(self) -> Tensor:
        """Opacity at the mean, N in (0, 1)."""
        return self.opacity_logits.sigmoid()

    @property
    def rotations(self) -> Tensor:
        """Matrices whose columns are the own axes in the world, N 3 3."""
        w, x, y, z = torch.nn.functional.normalize(self.quaternions, dim=-1).unbind(-1)
        rows = [
            1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
            2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
            2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
        ]  # fmt: skip
        return torch.stack(rows, -1).view(-1, 3, 3)

    @property
    def base_colors(self) -> Tensor:
        """Colours without what depends on the direction, N 3, in [0, 1] or somewhat beyond."""
        return 0.5 + Y00 * self.harmonics[:, 0]

    @property
    def drawable(self) -> Tensor:
        """N bool: whether all numbers are finite and small enough to be squared in float32."""
        length = self.quaternions.double().square().sum(-1)
        sane = (length > 1e-30) & (length < 1e30) & self.opacity_logits.isfinite()
        sane &= _between(self.means, -1e15, 1e15) & _between(self.log_scales, -80, 40)
        return sane & _between(self.harmonics, -1e15, 1e15)

    def to(self, device: torch.device | str) -> Gaussians:
        return Gaussians(*(tensor.to(device) for tensor in self.tensors))

    def with_degree(self, degree: int) -> Gaussians:
        """Spherical harmonics up to ``degree``: what is beyond is left out, what was not there is zero."""
        kept, wanted = self.harmonics[:, : (degree + 1) ** 2], (degree + 1) ** 2
        missing = kept.new_zeros(len(kept), wanted - kept.shape[1], 3)
        return dataclasses.replace(self, harmonics=torch.cat([kept, missing], 1))

    @staticmethod
    def joined(parts: Sequence[Gaussians]) -> Gaussians:
        """All Gaussians of several sets of one degree, one after the other."""
        return Gaussians(*(torch.cat(tensors) for tensors in zip(*(part.tensors for part in parts), strict=True)))


def opacity_logits_of(opacities: Tensor) -> Tensor:
    """Logits of opacities in [0, 1], finite for 0 and 1 too."""
    return torch.logit(opacities.clamp(ALMOST, 1 - ALMOST))


def harmonics_of(colors: Tensor) -> Tensor:
    """Spherical harmonics of degree 0, N 1 3, of colours N 3 in [0, 1]."""
    return ((colors - 0.5) / Y00)[:, None]


def _between(values: Tensor, low: float, high: float) -> Tensor:
    """N bool: whether all of N ... numbers lie between; usually all do, which is found in one pass."""
    if not values.numel() or (low < values.min() and values.max() < high):
        return torch.ones(len(values), dtype=torch.bool, device=values.device)
    return ((low < values) & (values < high)).flatten(1).all(-1)
