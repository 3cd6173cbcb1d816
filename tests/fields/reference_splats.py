"""The rasteriser in plain torch, all pixels against all Gaussians, for tests: slow, in any precision, by autograd."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.splat_files.random_gaussians import spherical_harmonics
from unscene.fields.splat_raster import SplatCamera
from unscene.geometry.gaussians import Gaussians


def reference_render(
    gaussians: Gaussians, camera: SplatCamera, channels: Tensor | None = None, *, colored: bool = True
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Image H W C, transmittance H W, median depth H W, and where a threshold is so near that rounding may decide."""
    numbers, window = torch.tensor(camera.numbers, dtype=gaussians.means.dtype), camera.window
    R, center, focal, principal, limits = (part.clone() for part in numbers[:20].split([9, 3, 2, 2, 4]))
    R = R.view(3, 3)
    offset = gaussians.means - center
    x, y, z = (offset @ R.T).unbind(-1)
    order = z.argsort(stable=True)
    seen = order[(z > camera.numbers[20])[order]]
    u, v = (x / z).clamp(limits[0], limits[1]), (y / z).clamp(limits[2], limits[3])
    zero = torch.zeros_like(z)
    J = torch.stack([focal[0] / z, zero, -focal[0] * u / z, zero, focal[1] / z, -focal[1] * v / z], -1).view(-1, 2, 3)
    axes = J @ R @ gaussians.rotations @ torch.diag_embed(gaussians.scales)
    inverse = torch.linalg.inv(axes @ axes.mT + 0.3 * torch.eye(2, dtype=z.dtype))
    middle = torch.stack([x / z, y / z], -1) * focal + principal
    values = [] if channels is None else [channels]
    if colored:
        basis = spherical_harmonics(torch.nn.functional.normalize(offset, dim=-1))[:, : gaussians.harmonics.shape[1]]
        values = [(0.5 + torch.einsum("nk,nkc->nc", basis, gaussians.harmonics)).clamp_min(0), *values]
    shown = torch.cat(values, -1)
    rows, columns = torch.meshgrid(torch.arange(window.height), torch.arange(window.width), indexing="ij")
    pixels = torch.stack([columns, rows], -1).to(z.dtype) + 0.5
    light, image = torch.ones(window.height, window.width, dtype=z.dtype), 0
    passed, close = [light], torch.zeros_like(light, dtype=torch.bool)
    for n in seen.tolist():
        d = pixels - middle[n]
        raw = gaussians.opacities[n] * torch.exp(-0.5 * torch.einsum("hwi,ij,hwj->hw", d, inverse[n], d))
        alpha = torch.where(raw >= 1 / 255, raw.clamp_max(0.99), 0)
        w = torch.where(light > 1e-4, light * alpha, 0)
        close |= ((raw * 255 - 1).abs() < 1e-4) | ((light * 1e4 - 1).abs() < 1e-3) | ((raw - 0.99).abs() < 1e-5)
        image = image + w[..., None] * shown[n]
        light = light - w
        passed.append(light)
    half = torch.stack(passed) <= (1 + light) / 2
    first = (half.int().argmax(0) - 1).clamp_min(0)
    depth = torch.where(light < 1, z[seen][first] if len(seen) else zero.sum(), torch.inf)
    close |= ((torch.stack(passed) - (1 + light) / 2).abs() < 1e-5).any(0)
    return image, light, depth, close
