"""Random LPIPS checkpoints of the published layout: torchvision's classifiers and LPIPS's heads, scaled down."""

from __future__ import annotations

import torch
from torch import Tensor

CHANNELS = {"vgg": (64, 128, 256, 512, 512), "alex": (64, 192, 384, 256, 256)}
CONVOLUTIONS = {  # number in ``features`` -> (depth, kernel side)
    "vgg": {0: (0, 3), 2: (0, 3), 5: (1, 3), 7: (1, 3), 10: (2, 3), 12: (2, 3), 14: (2, 3), 17: (3, 3), 19: (3, 3),
            21: (3, 3), 24: (4, 3), 26: (4, 3), 28: (4, 3)},
    "alex": {0: (0, 11), 3: (1, 5), 6: (2, 3), 8: (3, 3), 10: (4, 3)},
}  # fmt: skip


def random_lpips(network: str, narrower: int = 16, seed: int = 0) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(backbone, heads); ``narrower`` divides the numbers of channels."""
    generator = torch.Generator().manual_seed(seed)
    backbone, before = {}, 3
    for index, (depth, side) in CONVOLUTIONS[network].items():
        channels = CHANNELS[network][depth] // narrower
        scale = (2 / (before * side * side)) ** 0.5
        backbone[f"features.{index}.weight"] = scale * torch.randn(channels, before, side, side, generator=generator)
        backbone[f"features.{index}.bias"] = 0.1 * torch.randn(channels, generator=generator)
        before = channels
    backbone["classifier.6.bias"] = torch.zeros(1000)
    heads = {
        f"lin{depth}.model.1.weight": torch.rand(1, channels // narrower, 1, 1, generator=generator)
        for depth, channels in enumerate(CHANNELS[network])
    }
    return backbone, heads
