"""A wall seen from the side, with an object's mask on it, and the ways in which a fill of it goes wrong."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.evaluation.figures import Views

HEIGHT, WIDTH, COUNT = 72, 96, 6


def wall(shift: int, seed: int = 0) -> Tensor:
    """Planks with grain, ``shift`` pixels along, H W 3."""
    generator = torch.Generator().manual_seed(seed)
    grain = torch.rand(HEIGHT, WIDTH + 64, 1, generator=generator)
    rows, columns = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH + 64), indexing="ij")
    planks = 0.3 + 0.3 * ((rows // 9 + columns // 31) % 2).float()
    colours = planks[..., None] * torch.tensor([1.0, 0.8, 0.6]) + 0.25 * grain
    return colours.clamp(0, 1)[:, shift : shift + WIDTH]


def blob() -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    return ((rows - 36) / 20) ** 2 + ((columns - 48) / 26) ** 2 < 1


def blurred(image: Tensor, side: int = 7) -> Tensor:
    return F.avg_pool2d(image.permute(2, 0, 1)[None], side, 1, side // 2, count_include_pad=False)[0].permute(1, 2, 0)


def spoilt(kind: str, image: Tensor) -> Tensor:
    """The image with its mask filled badly: blur, shift, seam (another brightness) or flat (no texture at all)."""
    fill = {
        "nothing": image,
        "blur": blurred(image),
        "shift": image.roll(5, 1).roll(4, 0),
        "seam": image * 0.6,
        "flat": torch.full_like(image, float(image.mean())),
    }[kind]
    return torch.where(blob()[..., None], fill, image)


def views(kind: str, **known) -> Views:
    truths = [wall(9 * index) for index in range(COUNT)]
    photos = [(wall(9 * index + 4), blob()) for index in range(COUNT)]
    return Views([spoilt(kind, truth) for truth in truths], truths, [blob()] * COUNT, photos=photos, **known)
