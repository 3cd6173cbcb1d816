"""Distances of two sets of feature vectors: how differently two sets of pictures are distributed."""

from __future__ import annotations

import torch
from torch import Tensor


def frechet_distance(features: Tensor, reference: Tensor) -> float:
    """Squared Frechet distance of the Gaussians with the moments of two sets (Heusel et al. 2017, eq. 6).

    features: N D, reference: M D, N and M at least 2; FID if they are Inception's. Covariances are unbiased. Estimated
    from few vectors it is too large, the more so the fewer: compare figures of equal N and M only.
    """
    a, b = _sets(features, reference)
    mean_a, mean_b = a.mean(0), b.mean(0)
    # With centred matrices A and B, tr sqrt(S_a S_b) is the nuclear norm of A B^T / sqrt((N - 1)(M - 1)): exact for
    # covariances of any rank, where a matrix root of their product is not. QR keeps the product at D x D.
    a, b = ((x - x.mean(0)) / (len(x) - 1) ** 0.5 for x in (a, b))
    variances = a.square().sum() + b.square().sum()
    a, b = (torch.linalg.qr(x, mode="r").R if len(x) > x.shape[1] else x for x in (a, b))
    common = torch.linalg.svdvals(a @ b.T).sum()
    return float((mean_a - mean_b).square().sum() + variances - 2 * common)


def kernel_distance(features: Tensor, reference: Tensor) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x.y / D + 1)^3 (Binkowski et al. 2018, eq. 4).

    features: N D, reference: M D, N and M at least 2; KID if they are Inception's. Of all vectors at once instead of
    the mean over random subsets, which estimates the same from fewer pairs. Zero in expectation if both sets are drawn
    from one distribution, so that a single figure may be negative.
    """
    a, b = _sets(features, reference)

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    def among(x: Tensor) -> Tensor:  # pairs of a vector with itself would bias it
        pairs = kernel(x, x)
        return (pairs.sum() - pairs.diagonal().sum()) / (len(x) * (len(x) - 1))

    return float(among(a) + among(b) - 2 * kernel(a, b).mean())


def _sets(features: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Both in double precision: differences of large sums follow."""
    if features.ndim != 2 or reference.ndim != 2 or features.shape[1] != reference.shape[1]:
        raise ValueError(f"expected sets N D and M D, got {tuple(features.shape)} and {tuple(reference.shape)}")
    if min(len(features), len(reference)) < 2:
        raise ValueError(f"expected at least two vectors each, got {len(features)} and {len(reference)}")
    return features.double(), reference.double()
