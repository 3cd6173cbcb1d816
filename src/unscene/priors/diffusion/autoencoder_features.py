"""Perceptual features without a download: the bundled autoencoder's encoder, at three depths."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor


class AutoencoderFeatures:
    """Feature maps behind each level of an autoencoder's encoder; N 3 H W in [0, 1] -> list of N C h w."""

    name = "distance in bundled-autoencoder features"

    def __init__(self, device: torch.device | str = "cpu"):
        self.device = torch.device(device)
        self.encoder = _bundled_encoder(self.device)

    def __call__(self, images: Tensor) -> list[Tensor]:
        return encoder_features(self.encoder, images.to(self.device))


def encoder_features(encoder: Any, images: Tensor) -> list[Tensor]:
    """What the levels of any `AutoencoderKL`'s encoder make of N 3 H W images in [0, 1]."""
    hidden, features = encoder.conv_in(images * 2 - 1), []
    for block in encoder.down_blocks:
        hidden = block(hidden)
        features.append(hidden)
    return features


@functools.cache
def _bundled_encoder(device: torch.device) -> Any:
    from unscene.priors.diffusion.checkpoints import load_autoencoder  # loads diffusers: seconds

    return load_autoencoder().encoder.to(device)
