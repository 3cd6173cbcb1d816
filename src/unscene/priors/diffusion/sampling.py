"""Denoising over a part of a noise schedule, whatever network predicts and whatever scheduler of diffusers steps."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unscene.geometry.randomness import sent

Predictor = Callable[[Tensor, Tensor], Tensor]
"""(noisy latents N C h w, timestep) -> the network's prediction, N C h w."""


def last_steps(scheduler: Any, steps: int, strength: float) -> Tensor:
    """The timesteps of the last ``strength`` of a schedule of so many steps; at least one."""
    scheduler.set_timesteps(steps, device="cpu")  # it decides by their values
    skipped = (steps - max(1, round(strength * steps))) * scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(skipped)
    return scheduler.timesteps[skipped:]


def shortened(scheduler: Any, level: float) -> Any:
    """A scheduler over the first ``level`` of another's noise schedule, in (0, 1]: all of its steps lie there."""
    count = max(1, round(level * scheduler.config.num_train_timesteps))
    changes: dict[str, Any] = {"num_train_timesteps": count, "trained_betas": scheduler.betas[:count].tolist()}
    if scheduler.config.get("rescale_betas_zero_snr"):
        changes["rescale_betas_zero_snr"] = False  # they have been
    return type(scheduler).from_config(scheduler.config, **changes)


def starting_latents(scheduler: Any, noise: Tensor, origin: Tensor | None, time: Tensor) -> Tensor:
    """What denoising from a timestep begins with: ``origin`` noised to there, or noise alone; N C h w."""
    if origin is None:
        return noise.float() * scheduler.init_noise_sigma
    return scheduler.add_noise(origin, noise.float(), sent(time.repeat(len(noise)), noise.device))


def denoise(scheduler: Any, times: Tensor, latents: Tensor, predict: Predictor) -> Tensor:
    """Take the scheduler's steps at ``times``; with DDIM (Song et al. 2021) nothing random is drawn."""
    exact = step_arguments(scheduler, latents.device)
    for time in times:
        predicted = predict(scheduler.scale_model_input(latents, time), sent(time, latents.device))
        latents = scheduler.step(predicted, time, latents, **exact).prev_sample
    return latents


def step_arguments(scheduler: Any, device: torch.device) -> dict[str, Any]:
    """No fresh noise where a scheduler lets us choose, seeded noise where it insists."""
    accepted = inspect.signature(scheduler.step).parameters
    arguments: dict[str, Any] = {"eta": 0.0} if "eta" in accepted else {}
    if "generator" in accepted:
        arguments["generator"] = torch.Generator(device).manual_seed(0)
    return arguments
