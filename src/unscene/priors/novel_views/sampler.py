"""The deterministic sampler that both novel-view models run: a function over a denoiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def sample(
    predict: Callable[[Tensor, Tensor], Tensor], scheduler: Any, noise: Tensor, steps: int, *,
    start: Tensor | None = None, strength: float = 1.0,
) -> Tensor:  # fmt: skip
    """Denoise initial latents N C h w with DDIM (Song et al. 2021), nothing random added.

    predict: noisy latents N C h w and a timestep -> what the scheduler's `prediction_type` says; start: latents to
    begin at instead, noised as far as the last ``strength`` of the steps take away again (SDEdit, Meng et al. 2022).
    """
    scheduler.set_timesteps(steps, device=noise.device)
    times = scheduler.timesteps
    latents = noise * scheduler.init_noise_sigma
    if start is not None and strength < 1:
        times = times[-max(1, round(strength * steps)) :]
        latents = scheduler.add_noise(start, noise, times[:1])
    for time in times:
        predicted = predict(scheduler.scale_model_input(latents, time), time)
        latents = scheduler.step(predicted, time, latents, eta=0.0).prev_sample
    return latents
