"""Depth behind a removed object: completion without a network, and alignment of any estimate to the field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import splu
from torch import Tensor

RIM = 4  # pixels around a hole whose depth tells how far an aligned estimate is still off
FARTHEST = 4.0  # an aligned estimate may be this many times as near or as far as what is known of the view


@dataclass(frozen=True)
class Estimate:
    """A monocular estimate of a view: values H W, in disparity or in depth, both up to scale and offset."""

    values: Tensor
    relative_disparity: bool
    name: str


DepthEstimator = Callable[[Tensor], Estimate]
"""Image H W 3 -> monocular depth."""


def complete_with_estimate(depth: Tensor, hole: Tensor, estimate: Estimate) -> Tensor:
    """Fill a depth map (H W) inside ``hole`` (H W bool) with a monocular estimate, H W: finite and positive.

    The estimate is aligned to the known depth by a robust scale and offset, with weights that fall with the distance
    to the hole's centre (as in In-N-Out's release), in the estimate's own terms. What it is still off at the rim is
    taken away smoothly, so that surfaces go on and the estimate's own edges stay. An estimate that cannot be aligned
    (constant, or of nothing known) leaves the harmonic completion.
    """
    device, hole = depth.device, hole.cpu()  # float64 and small systems: not an accelerator's work
    return _completed(depth.cpu(), hole, estimate).to(device)


def _completed(depth: Tensor, hole: Tensor, estimate: Estimate) -> Tensor:
    harmonic = complete_disparity(depth, hole)
    if not hole.any():
        return harmonic
    disparity = 1 / depth.double().clamp_min(torch.finfo(torch.float32).tiny)
    reference = disparity if estimate.relative_disparity else depth.double()
    rows, columns = hole.nonzero(as_tuple=True)
    y, x = torch.meshgrid(torch.arange(hole.shape[0]), torch.arange(hole.shape[1]), indexing="ij")
    away = ((y - rows.double().mean()).square() + (x - columns.double().mean()).square()).sqrt()
    weight = torch.where(hole, 0.0, 1 / away.clamp_min(1.0))
    try:
        scale, offset = align_depth(estimate.values, reference, weight)
    except ValueError:
        return harmonic
    aligned = scale * estimate.values.double() + offset
    known = disparity[~hole]
    nearest, farthest = known.max() * FARTHEST, known.min() / FARTHEST
    aligned = aligned if estimate.relative_disparity else 1 / aligned.clamp_min(1 / nearest)
    aligned = aligned.nan_to_num(float(known.median()), float(nearest), float(farthest)).clamp(farthest, nearest)
    # the ratio at the rim, harmonic inside: complete_disparity interpolates 1/x, so it is given 1/ratio
    ratio = (disparity / aligned).clamp(1 / FARTHEST, FARTHEST)
    correction = 1 / complete_disparity((1 / _rim_median(ratio, hole)), hole)
    completed = depth.clone()
    completed[hole] = (1 / (aligned * correction).clamp(farthest, nearest))[hole].to(depth.dtype)
    return completed


def _rim_median(values: Tensor, hole: Tensor) -> Tensor:
    """Values (H W) outside the hole, each the median of its known neighbours: one stray pixel must not pull a hole."""
    window = 2 * RIM + 1
    known = values.masked_fill(hole, float("nan"))
    padded = torch.nn.functional.pad(known[None, None], (RIM,) * 4, value=float("nan"))
    stacked = padded.unfold(2, window, 1).unfold(3, window, 1).flatten(-2)
    return stacked.nanmedian(-1).values[0, 0].nan_to_num(1.0)


def complete_disparity(depth: Tensor, hole: Tensor) -> Tensor:
    """Fill a depth map (H W) inside ``hole`` (H W bool) with the harmonic surface in disparity, H W depth.

    A plane in space is linear in disparity, so floors and walls go on as the planes they are; every value lies
    between the disparities on the hole's border. A hole without border (the whole image) raises ValueError.
    """
    if hole.all():
        raise ValueError("complete_disparity needs known depth around the hole; the hole covers the whole view")
    if not hole.any():
        return depth.clone()
    disparity = (1 / depth.cpu().double().clamp_min(torch.finfo(torch.float32).tiny)).numpy()
    inside = hole.cpu().numpy()
    index = np.full(inside.shape, -1)
    index[inside] = np.arange(inside.sum())
    rows, columns = np.nonzero(inside)
    own = index[rows, columns]
    degree, known = np.zeros(len(own)), np.zeros(len(own))
    neighbours = []
    for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        r, c = rows + down, columns + right
        valid = (r >= 0) & (r < inside.shape[0]) & (c >= 0) & (c < inside.shape[1])
        degree += valid
        r, c = np.where(valid, r, 0), np.where(valid, c, 0)
        unknown = valid & inside[r, c]
        neighbours.append((own[unknown], index[r, c][unknown]))
        known += np.where(valid & ~inside[r, c], disparity[r, c], 0)
    i = np.concatenate([own, *[a for a, _ in neighbours]])
    j = np.concatenate([own, *[b for _, b in neighbours]])
    values = np.concatenate([degree, -np.ones(sum(len(a) for a, _ in neighbours))])
    laplacian = sparse.csc_matrix((values, (i, j)))
    # an ordering for symmetric matrices: half the memory of the usual one
    factors = splu(laplacian, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0, options={"SymmetricMode": True})
    filled = np.maximum(factors.solve(known), np.finfo(np.float32).tiny)
    completed = depth.clone()
    completed[hole] = torch.from_numpy(1 / filled).to(depth)
    return completed


def align_depth(estimate: Tensor, reference: Tensor, weight: Tensor, *, steps: int = 100) -> tuple[float, float]:
    """Scale and offset that bring an estimate onto a reference: argmin sum weight * huber(s * e + o - r).

    estimate, reference, weight: P; weight 0 ignores a value, so do values that are not finite. Iteratively
    re-weighted least squares; the Huber threshold follows the residuals' median. In-N-Out aligns monocular depth so.
    Raises ValueError with fewer than two usable values or a constant estimate.
    """
    usable = torch.isfinite(estimate) & torch.isfinite(reference) & torch.isfinite(weight) & (weight > 0)
    e, r, w = (x[usable].double() for x in (estimate, reference, weight))
    if len(e) < 2 or e.std() <= 1e-12 * e.abs().max().clamp_min(1e-300):
        raise ValueError(f"cannot align depth: {len(e)} usable values, which must differ from each other")
    center, spread = e.mean(), e.std()
    A = torch.stack([(e - center) / spread, torch.ones_like(e)], 1)
    robust = w
    for _ in range(steps):
        normal = A.T @ (A * robust[:, None])
        solution = torch.linalg.solve(
            normal + 1e-12 * normal.diagonal().mean() * torch.eye(2, dtype=A.dtype, device=A.device), A.T @ (robust * r)
        )
        residual = (A @ solution - r).abs()
        threshold = 1.345 * 1.4826 * residual.median().clamp_min(1e-12)
        robust = w * (threshold / residual.clamp_min(1e-300)).clamp_max(1)
    scale = solution[0] / spread
    return float(scale), float(solution[1] - scale * center)
