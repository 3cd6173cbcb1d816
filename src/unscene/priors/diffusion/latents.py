"""Pixels to the latents a U-Net expects, and back."""

from __future__ import annotations

from typing import Any

from torch import Tensor


def encode(autoencoder: Any, pixels: Tensor) -> Tensor:
    """N 3 H W in [0, 1] -> normalised latents N C h w (the posterior's mean)."""
    latents = autoencoder.encode((pixels * 2 - 1).to(autoencoder.dtype)).latent_dist.mean.float()
    shift, scale = _statistics(autoencoder.config, latents)
    return (latents - shift) * scale


def decode(autoencoder: Any, latents: Tensor) -> Tensor:
    """Normalised latents N C h w -> N 3 H W, about [0, 1]."""
    shift, scale = _statistics(autoencoder.config, latents)
    return autoencoder.decode((latents / scale + shift).to(autoencoder.dtype)).sample.float() / 2 + 0.5


def downscale(autoencoder: Any) -> int:
    """Pixels per latent pixel, along one axis."""
    return 2 ** (len(autoencoder.config.block_out_channels) - 1)


def _statistics(config: Any, latents: Tensor) -> tuple[Tensor | float, Tensor | float]:
    """Shift and scale that the U-Net expects of latents; some autoencoders give them per channel."""
    mean, deviation = config.get("latents_mean"), config.get("latents_std")
    if mean is None or deviation is None:
        return 0.0, config.scaling_factor
    mean, deviation = (latents.new_tensor(values).view(1, -1, 1, 1) for values in (mean, deviation))
    return mean, config.scaling_factor / deviation
