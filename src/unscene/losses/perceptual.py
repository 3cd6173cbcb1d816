"""Perceptual distance: how far apart two images are in the features of a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

Features = Callable[[Tensor], list[Tensor]]
"""N 3 H W images in [0, 1] -> feature maps of several depths, each N C h w."""


@dataclass(frozen=True)
class WeightedFeatures:
    """Features whose channels count differently, as in LPIPS. name: beside every number; weights: of each depth, C."""

    name: str
    maps: Features
    weights: list[Tensor]

    def __call__(self, images: Tensor) -> list[Tensor]:
        return self.maps(images)


def perceptual_distance(features: Features, image: Tensor, reference: Tensor, mask: Tensor | None = None) -> Tensor:
    """Squared difference of channel-normalised features, mean over pixels, scalar (Zhang et al. 2018, eq. 1).

    Of `WeightedFeatures` the channels' differences are weighted and the depths' added up: LPIPS, if the weights are
    LPIPS's. Of others the depths' mean is taken; which network they come from belongs beside every number.
    image, reference: N 3 H W in [0, 1]; mask: N 1 H W, where to compare.
    """
    with torch.no_grad():
        reference_features = features(reference)
    weighted = isinstance(features, WeightedFeatures)
    weights = features.weights if weighted else [maps.new_ones(1) for maps in reference_features]
    distances = []
    for ours, theirs, channels in zip(features(image), reference_features, weights, strict=True):
        difference = ((_unit(ours) - _unit(theirs)).square() * channels.view(1, -1, 1, 1)).sum(1, keepdim=True)
        if mask is None:
            distances.append(difference.mean())
            continue
        weight = F.adaptive_max_pool2d(mask.to(difference), difference.shape[-2:])
        distances.append((difference * weight).sum() / weight.sum().clamp_min(1))
    return torch.stack(distances).sum() if weighted else torch.stack(distances).mean()


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(1, keepdim=True) + 1e-8).sqrt()
