"""Noise levels: how they are drawn for training, and what a prediction at one of them says of the clean latent."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def even_levels(uniform: Tensor) -> Tensor:
    """Uniform levels in (0, 1), one from each of N equal slices, N.

    The slices leave the distribution as it is and take variance out of the loss. uniform: N draws from [0, 1).
    """
    return (torch.arange(len(uniform)) + uniform.clamp(0.001, 0.999)) / len(uniform)


def logit_normal_levels(uniform: Tensor, centre: float, spread: float) -> Tensor:
    """Logit-normal levels in (0, 1) (Esser et al. 2024, section 3.1), one from each of N equal quantile slices, N."""
    return torch.special.expit(torch.special.ndtri(even_levels(uniform)) * spread + centre)


def biased_levels(uniform: Tensor, bias: float) -> Tensor:
    """Levels in [0, 1) of density (1 + bias) t^bias: even at 0, the noisier the likelier above. uniform: draws, N."""
    return uniform ** (1 / (1 + bias))


def clean_latents(noisy: Tensor, velocity: Tensor, alpha: Tensor) -> Tensor:
    """What a predicted velocity points at (Salimans and Ho 2022, appendix D): sqrt(alpha) z - sqrt(1 - alpha) v.

    noisy, velocity: N C h w; alpha: the signal's share of the variance, N or scalar.
    """
    alpha = alpha.view(-1, 1, 1, 1)
    return alpha.sqrt() * noisy - (1 - alpha).sqrt() * velocity


def regression_target(scheduler: Any, latents: Tensor, noise: Tensor, times: Tensor) -> Tensor:
    """What a network of this schedule is trained to predict of noisy latents: their velocity, or the noise."""
    kind = scheduler.config.prediction_type
    if kind == "v_prediction":
        return scheduler.get_velocity(latents, noise, times)
    if kind == "epsilon":
        return noise
    raise ValueError(f"expected a schedule that predicts v_prediction or epsilon, got {kind}")


def predicted_noise(scheduler: Any, noisy: Tensor, predicted: Tensor, alpha: float) -> Tensor:
    """What a network's prediction says of the noise in noisy latents, in the schedule's own terms.

    Of a velocity that is sqrt(1 - alpha) z + sqrt(alpha) v (Salimans and Ho 2022, appendix D). noisy, predicted: N C h
    w; alpha: the signal's share of the variance.
    """
    kind = scheduler.config.prediction_type
    if kind == "v_prediction":
        return (1 - alpha) ** 0.5 * noisy + alpha**0.5 * predicted
    if kind == "epsilon":
        return predicted
    raise ValueError(f"expected a schedule that predicts v_prediction or epsilon, got {kind}")
