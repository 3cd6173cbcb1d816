"""How noise levels are drawn for training."""

from __future__ import annotations

import torch
from torch import Tensor


def logit_normal_levels(uniform: Tensor, centre: float, spread: float) -> Tensor:
    """Logit-normal levels in (0, 1) (Esser et al. 2024, section 3.1), one from each of N equal quantile slices, N.

    The slices leave the distribution as it is and take variance out of the loss. uniform: N draws from [0, 1).
    """
    count = len(uniform)
    quantiles = (torch.arange(count) + uniform.clamp(0.001, 0.999)) / count
    return torch.special.expit(torch.special.ndtri(quantiles) * spread + centre)
