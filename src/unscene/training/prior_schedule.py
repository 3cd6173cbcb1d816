"""How noise levels are drawn, and how learning rate and averaged weights go over the steps of a training run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def draw_times(count: int, centre: float, spread: float, rng: np.random.Generator) -> Tensor:
    """Logit-normal times in (0, 1) (Esser et al. 2024, section 3.1), one from each of `count` equal quantile slices.

    The slices leave the distribution as it is and take variance out of the loss.
    """
    quantiles = torch.from_numpy((np.arange(count) + rng.uniform(0.001, 0.999, count)) / count)
    return torch.special.expit(torch.special.ndtri(quantiles) * spread + centre).float()


def learning_rate_factor(step: int, steps: int, warmup: int) -> float:
    """Warm-up, plateau, linear decay over the last fifth: unlike a cosine it lets a run be lengthened later."""
    return min(1.0, (step + 1) / warmup, (steps - step) / (0.2 * steps))


def moving_average(decay: float) -> Callable[..., None]:
    """Exponential moving average that forgets faster at first, or the random initial weights would linger."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        now = min(decay, (1 + count.item()) / (10 + count.item()))
        torch._foreach_lerp_(averaged, current, 1 - now)

    return update
