"""Depth behind a removed object: completion without a network, and alignment of any estimate to the field."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import spsolve
from torch import Tensor


def complete_disparity(depth: Tensor, hole: Tensor) -> Tensor:
    """Fill a depth map (H W) inside ``hole`` (H W bool) with the harmonic surface in disparity, H W depth.

    A plane in space is linear in disparity, so floors and walls go on as the planes they are; every value lies
    between the disparities on the hole's border. A hole without border (the whole image) raises ValueError.
    """
    if hole.all():
        raise ValueError("complete_disparity needs known depth around the hole; the hole covers the whole view")
    if not hole.any():
        return depth.clone()
    disparity = (1 / depth.double().clamp_min(torch.finfo(torch.float32).tiny)).numpy()
    inside = hole.numpy()
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
    filled = np.maximum(np.asarray(spsolve(sparse.csc_matrix((values, (i, j))), known)), np.finfo(np.float32).tiny)
    completed = depth.clone()
    completed[hole] = torch.from_numpy(1 / filled).to(depth.dtype)
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
        solution = torch.linalg.solve(normal + 1e-12 * normal.diagonal().mean() * torch.eye(2), A.T @ (robust * r))
        residual = (A @ solution - r).abs()
        threshold = 1.345 * 1.4826 * residual.median().clamp_min(1e-12)
        robust = w * (threshold / residual.clamp_min(1e-300)).clamp_max(1)
    scale = solution[0] / spread
    return float(scale), float(solution[1] - scale * center)
