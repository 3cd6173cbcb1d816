"""Gaussians drawn at random, and spherical harmonics written out, for tests of files and renders."""

from __future__ import annotations

import torch
from torch import Tensor

from unscene.geometry.gaussians import Gaussians


def random_gaussians(count: int, degree: int, *, seed: int = 0) -> Gaussians:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    harmonics = normal(count, (degree + 1) ** 2, 3) * 0.2
    return Gaussians(
        normal(count, 3), normal(count, 3) * 0.5 - 3, normal(count, 4), normal(count) * 2, harmonics.clamp(-0.9, 0.9)
    )


def spherical_harmonics(directions: Tensor) -> Tensor:
    """The sixteen basis functions of 3DGS at unit vectors, N 16."""
    x, y, z = directions.unbind(-1)
    xx, yy, zz = x * x, y * y, z * z
    return torch.stack([
        torch.full_like(x, 0.28209479177387814),
        -0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x,
        1.0925484305920792 * x * y, -1.0925484305920792 * y * z, 0.31539156525252005 * (2 * zz - xx - yy),
        -1.0925484305920792 * x * z, 0.5462742152960396 * (xx - yy),
        -0.5900435899266435 * y * (3 * xx - yy), 2.890611442640554 * x * y * z,
        -0.4570457994644658 * y * (4 * zz - xx - yy), 0.3731763325901154 * z * (2 * zz - 3 * xx - 3 * yy),
        -0.4570457994644658 * x * (4 * zz - xx - yy), 1.445305721320277 * z * (xx - yy),
        -0.5900435899266435 * x * (xx - 3 * yy),
    ], -1)  # fmt: skip
