"""Noise carried from one view to another through a radiance field, white before and white after.

In-N-Out's explicit latent alignment renders noise like colour (Hu et al. 2024, eq. 6). Plain compositing shrinks the
variance and repeats values where the other view is magnified; diffusion models expect independent unit normals. Here
the compositing weights choose the cell of the base view's latent a ray looks at, and cells that several rays share are
split as integral noise is (Chang et al. 2024, "How I Warped Your Noise"): conditional on the cell's value, the rays'
values are independent normals with the right sum.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unscene.geometry.cameras import Cameras
from unscene.geometry.randomness import sent


@dataclass(frozen=True)
class NoiseCorrespondence:
    """Which cell of the base latent each ray looks at: cell R (row-major index), coverage R in [0, 1]."""

    cell: Tensor
    coverage: Tensor


def corresponding_cells(points: Tensor, weights: Tensor, base: Cameras) -> NoiseCorrespondence:
    """Find, for rays sampled at world ``points`` (R S 3) with compositing ``weights`` (R S), their cells.

    base: one camera whose pixels are the latent's cells. The cell that receives the largest share of a ray's weight
    wins; coverage is the share of the weight that falls into the base view at all.
    """
    rays, samples = weights.shape
    xy, depth = base.project(torch.zeros(rays * samples, dtype=torch.long, device=points.device), points.reshape(-1, 3))
    inside = base.frames(xy, depth)
    x = xy[:, 0].nan_to_num().clamp(0, base.width - 1).long()
    y = xy[:, 1].nan_to_num().clamp(0, base.height - 1).long()
    cell = (y * base.width + x).view(rays, samples)
    weights = weights * inside.view(rays, samples)
    shared = (weights[:, None, :] * (cell[:, None, :] == cell[:, :, None])).sum(-1)  # R S: weight of the sample's cell
    winner = shared.argmax(-1, keepdim=True)
    return NoiseCorrespondence(cell.gather(1, winner)[:, 0], weights.sum(-1).clamp(0, 1))


def carry_noise(noise: Tensor, correspondence: NoiseCorrespondence, generator: torch.Generator) -> Tensor:
    """Values for R rays from the base noise (C h w), C R: exactly independent unit normals if the base is.

    Rays that share a cell get value / sqrt(n) plus fresh noise with its mean removed; the part of a ray that the base
    view does not cover is fresh noise too. What is fresh is drawn where the generator is, so that every device gets the
    same numbers.
    """
    channels, cells = noise.shape[0], noise.shape[1] * noise.shape[2]
    cell, coverage = correspondence.cell, correspondence.coverage
    rays = len(cell)
    covered = (coverage > 0).float()  # the others' cell means nothing
    count = noise.new_zeros(cells).index_add_(0, cell, covered)[cell].clamp_min(1)
    fresh = sent(torch.randn(channels, rays, generator=generator), noise.device)
    sums = noise.new_zeros(channels, cells).index_add_(1, cell, fresh * covered)
    carried = noise.reshape(channels, -1)[:, cell] / count.sqrt() + (fresh - sums[:, cell] / count)
    uncovered = sent(torch.randn(channels, rays, generator=generator), noise.device)
    return coverage.sqrt() * carried + (1 - coverage).sqrt() * uncovered
