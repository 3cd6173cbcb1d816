"""How noise levels are drawn, and how learning rate and averaged weights go over the steps of a training run."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from unscene.priors.diffusion.noise_levels import logit_normal_levels


def draw_times(count: int, centre: float, spread: float, rng: np.random.Generator) -> Tensor:
    """`count` logit-normal times in (0, 1), see `logit_normal_levels`."""
    return logit_normal_levels(torch.from_numpy(rng.uniform(0.001, 0.999, count)), centre, spread).float()


def learning_rate_factor(step: int, steps: int, warmup: int) -> float:
    """Warm-up, plateau, linear decay over the last fifth: unlike a cosine it lets a run be lengthened later."""
    return min(1.0, (step + 1) / max(1, warmup), (steps - step) / (0.2 * steps))


def moving_average(decay: float) -> Callable[..., None]:
    """Exponential moving average that forgets faster at first, or the random initial weights would linger."""

    @torch.no_grad()
    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor) -> None:
        now = min(decay, (1 + count.item()) / (10 + count.item()))
        torch._foreach_lerp_(averaged, current, 1 - now)

    return update
