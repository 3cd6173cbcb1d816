"""The deterministic sampler that both novel-view models run: a function over a denoiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def sample(predict: Callable[[Tensor, Tensor], Tensor], scheduler: Any, noise: Tensor, steps: int) -> Tensor:
    """Denoise initial latents N C h w with DDIM (Song et al. 2021), nothing random added.

    predict: noisy latents N C h w and a timestep -> what the scheduler's `prediction_type` says.
    """
    scheduler.set_timesteps(steps, device=noise.device)
    latents = noise * scheduler.init_noise_sigma
    for time in scheduler.timesteps:
        predicted = predict(scheduler.scale_model_input(latents, time), time)
        latents = scheduler.step(predicted, time, latents, eta=0.0).prev_sample
    return latents
