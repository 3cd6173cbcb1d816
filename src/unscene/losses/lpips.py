"""LPIPS (Zhang et al. 2018): the published networks, as features of a perceptual distance.

VGG16 and AlexNet are rebuilt here from their tensors, some thirty lines, because torchvision, which has them, comes
with no build for every build of torch; and because a training loss needs gradients and masks, which the packages that
wrap LPIPS as a metric leave out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.losses.perceptual import WeightedFeatures

LpipsNetwork = Literal["alex", "vgg"]

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of ImageNet, for images in [-1, 1]


@dataclass(frozen=True)
class Trunk:
    """Where a classifier's convolutions are: their numbers in torchvision's ``features``, depth by depth.

    pooled: depths that begin with a max pooling of ``pool`` pixels, stride 2. first: stride and padding of the first
    convolution; all others have stride 1 and keep the size.
    """

    depths: tuple[tuple[int, ...], ...]
    pooled: tuple[int, ...]
    pool: int
    first: tuple[int, int]


TRUNKS: dict[LpipsNetwork, Trunk] = {
    "vgg": Trunk(((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28)), pooled=(1, 2, 3, 4), pool=2, first=(1, 1)),
    "alex": Trunk(((0,), (3,), (6,), (8,), (10,)), pooled=(1, 2), pool=3, first=(4, 2)),
}


def lpips_features(
    network: LpipsNetwork,
    backbone: Mapping[str, Tensor],
    heads: Mapping[str, Tensor],
    device: torch.device | str = "cpu",
) -> WeightedFeatures:
    """LPIPS for `perceptual_distance`, as a metric or as a loss: gradients flow to the images.

    backbone: torchvision's ImageNet checkpoint of VGG16 or AlexNet (``features.0.weight``, ...; its classifier is not
    used). heads: LPIPS 0.1's linear layers (``lin0.model.1.weight``, 1 C 1 1, ...). Raises ValueError, naming the
    tensor, if one is missing or does not fit the others.
    """
    trunk = TRUNKS[network]
    layers = [[_convolution(backbone, index, device) for index in depth] for depth in trunk.depths]
    weights = [_tensor(heads, f"lin{depth}.model.1.weight").flatten().to(device) for depth in range(len(layers))]
    channels = 3
    for depth, (convolutions, head) in enumerate(zip(layers, weights, strict=True)):
        for index, (kernel, _) in zip(trunk.depths[depth], convolutions, strict=True):
            if kernel.shape[1] != channels:
                raise ValueError(f"features.{index}.weight: expected {channels} input channels, got {kernel.shape[1]}")
            channels = kernel.shape[0]
        if len(head) != channels:
            raise ValueError(f"lin{depth}.model.1.weight: expected {channels} channels, got {len(head)}")
    return WeightedFeatures(f"LPIPS ({network})", _maps(trunk, layers, device), weights)


def _maps(trunk: Trunk, layers: list[list[tuple[Tensor, Tensor]]], device: torch.device | str) -> Callable:
    shift, scale = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (SHIFT, SCALE))

    def maps(images: Tensor) -> list[Tensor]:
        hidden, found = (images.to(device) * 2 - 1 - shift) / scale, []
        for depth, convolutions in enumerate(layers):
            if depth in trunk.pooled:
                hidden = F.max_pool2d(hidden, trunk.pool, stride=2)
            for index, (kernel, bias) in enumerate(convolutions):
                stride, padding = trunk.first if depth == index == 0 else (1, kernel.shape[-1] // 2)
                hidden = F.relu(F.conv2d(hidden, kernel, bias, stride, padding))
            found.append(hidden)
        return found

    return maps


def _convolution(backbone: Mapping[str, Tensor], index: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    kernel, bias = (_tensor(backbone, f"features.{index}.{part}") for part in ("weight", "bias"))
    return kernel.to(device), bias.to(device)


def _tensor(state: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in state:
        raise ValueError(f"expected a tensor {name}, found {', '.join(list(state)[:3]) or 'none'}, ...")
    return state[name].detach().float()
