"""Step functions along rays: histograms that place samples, weights that composite them.

Vocabulary: ``t`` edges of the intervals (R S+1), ``w`` weights of the intervals (R S), ``sigma`` densities (R S).
After mip-NeRF 360 (Barron et al. 2022), section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor


def weights_from_density(sigma: Tensor, t: Tensor) -> Tensor:
    """Volume-rendering weights (Max 1995), R S; the last interval is opaque, so that weights sum to one."""
    optical = sigma * t.diff(dim=-1)
    transmittance = torch.exp(-torch.cumsum(torch.nn.functional.pad(optical[:, :-1], (1, 0)), -1))
    alpha = torch.cat([1 - torch.exp(-optical[:, :-1]), torch.ones_like(optical[:, -1:])], -1)
    return transmittance * alpha


def cumulative(w: Tensor) -> Tensor:
    """Integral of weights up to each edge, R S+1, starting at 0 and ending at exactly 1 if weights sum to 1."""
    return torch.nn.functional.pad(torch.cumsum(w, -1), (1, 0))


def sample_edges(t: Tensor, w: Tensor, count: int, jitter: Tensor | None = None) -> Tensor:
    """Edges of ``count`` new intervals that hold equal shares of the histogram, R count+1, sorted.

    jitter: R in [0, 1), one shift per ray by up to one share; None: deterministic. The first and last edges stay
    inside the histogram's range.
    """
    cdf = cumulative(w)
    cdf = cdf / cdf[:, -1:].clamp_min(1e-9)
    shift = 0.5 if jitter is None else jitter[:, None]
    u = (torch.arange(count + 1, dtype=w.dtype, device=w.device) + shift) / (count + 1)
    return _invert(t, cdf, u.expand(len(w), -1).contiguous())


def _invert(t: Tensor, cdf: Tensor, u: Tensor) -> Tensor:
    above = torch.searchsorted(cdf, u, right=True).clamp(1, cdf.shape[-1] - 1)
    cdf0, cdf1 = cdf.gather(-1, above - 1), cdf.gather(-1, above)
    t0, t1 = t.gather(-1, above - 1), t.gather(-1, above)
    fraction = ((u - cdf0) / (cdf1 - cdf0).clamp_min(1e-9)).clamp(0, 1)
    return t0 + fraction * (t1 - t0)


def outer_measure(t: Tensor, t_outer: Tensor, w_outer: Tensor) -> Tensor:
    """For each interval of ``t``, the weight of all intervals of the outer histogram that touch it (eq. 12), R S."""
    cdf = cumulative(w_outer)
    last = cdf.shape[-1] - 1
    low = (torch.searchsorted(t_outer.contiguous(), t[:, :-1].contiguous(), right=True) - 1).clamp(0, last)
    high = torch.searchsorted(t_outer.contiguous(), t[:, 1:].contiguous(), right=False).clamp(0, last)
    return cdf.gather(-1, high) - cdf.gather(-1, low)
