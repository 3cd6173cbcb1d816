"""Perceptual features without weights: how much of which orientation and size is where, as the first cells of vision
answer (Adelson and Bergen 1985; the filters are Gabor's, in quadrature).

They teach a field by patches where LPIPS is not at hand, so that the network which judges a run has no part in it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

ORIENTATIONS, SCALES = 4, 3
SIDE, WAVELENGTH, DEVIATION = 7, 4.0, 1.7  # pixels, at each scale: an octave and a half
FLOOR = 1e-3  # of an energy, whose root has no slope at nought
SATURATION = 0.5  # beside energies of this size a channel that never changes: without it contrast would not count


class OrientedEnergies:
    """Energies in 4 orientations of each colour and the colours themselves at three scales: N 3 H W in [0, 1] -> list
    of N 16 h w, each half the size of the one before. Of images of less than 4 pixels fewer scales remain."""

    name = "distance in oriented energies"

    def __init__(self, device: torch.device | str = "cpu"):
        self.filters = quadrature_filters().to(device)

    def __call__(self, images: Tensor) -> list[Tensor]:
        hidden, features = images.to(self.filters.device) - 0.5, []
        for _ in range(SCALES):
            smallest = min(hidden.shape[2:])
            padded = F.pad(hidden, (SIDE // 2,) * 4, mode="reflect" if smallest > SIDE // 2 else "replicate")
            even, odd = (F.conv2d(padded, part.repeat(3, 1, 1, 1), groups=3) for part in self.filters)
            energies = (even.square() + odd.square() + FLOOR**2).sqrt()
            features.append(torch.cat([energies, hidden, torch.full_like(hidden[:, :1], SATURATION)], 1))
            if smallest < 2:
                break
            hidden = F.avg_pool2d(hidden, 2)
        return features


def quadrature_filters() -> Tensor:
    """Even and odd filters of every orientation, 2 O 1 S S; none answers to a constant."""
    offsets = torch.arange(SIDE) - SIDE // 2.0
    y, x = torch.meshgrid(offsets, offsets, indexing="ij")
    window = (-(x**2 + y**2) / (2 * DEVIATION**2)).exp()
    angles = [math.pi * index / ORIENTATIONS for index in range(ORIENTATIONS)]
    phases = torch.stack([2 * math.pi / WAVELENGTH * (x * math.cos(angle) + y * math.sin(angle)) for angle in angles])
    filters = torch.stack([window * phases.cos(), window * phases.sin()])
    filters = filters - window * filters.sum((2, 3), keepdim=True) / window.sum()
    return (filters / filters.norm(dim=(2, 3), keepdim=True))[:, :, None]
