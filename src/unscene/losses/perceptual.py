"""Perceptual distance: how far apart two images are in the features of a network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Features = Callable[[Tensor], list[Tensor]]
"""N 3 H W images in [0, 1] -> feature maps of several depths, each N C h w."""


def perceptual_distance(features: Features, image: Tensor, reference: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over depths of the squared difference of channel-normalised features, scalar.

    The form of LPIPS (Zhang et al. 2018, eq. 1) without its learnt channel weights; which network the features come
    from belongs beside every number. image, reference: N 3 H W in [0, 1]; mask: N 1 H W, where to compare.
    """
    with torch.no_grad():
        reference_features = features(reference)
    distances = []
    for ours, theirs in zip(features(image), reference_features, strict=True):
        difference = (_unit(ours) - _unit(theirs)).square().sum(1, keepdim=True)
        if mask is None:
            distances.append(difference.mean())
            continue
        weight = F.adaptive_max_pool2d(mask.to(difference), difference.shape[-2:])
        distances.append((difference * weight).sum() / weight.sum().clamp_min(1))
    return torch.stack(distances).mean()


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(1, keepdim=True) + 1e-8).sqrt()
