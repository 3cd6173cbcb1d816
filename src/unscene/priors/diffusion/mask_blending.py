"""Where a fill meets its image: what a latent inpainter may see of the hole, and how its result is pasted back."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def masked_pixels(pixels: Tensor, holes: Tensor) -> Tensor:
    """Mid-grey inside the hole: what Stable Diffusion's inpainting checkpoints see of the known region."""
    return torch.where(holes > 0.5, 0.5, pixels)


def mask_to_latent(holes: Tensor, downscale: int) -> Tensor:
    """N 1 H W -> N 1 h w by the maximum: a latent pixel that touches the hole is to be filled, however little."""
    return F.max_pool2d(holes, downscale)


def smooth_fill(pixels: Tensor, holes: Tensor) -> Tensor:
    """Holes (N 1 H W, 0 or 1) in images (N C H W) filled with means of their surroundings, coarser the farther in.

    Pull and push over a pyramid (Gortler et al. 1996, section 3.4); nothing of the images inside the holes is used. An
    image that is all hole becomes black.
    """
    levels = [(pixels * (1 - holes), 1 - holes)]
    while max(levels[-1][1].shape[-2:]) > 1:
        colors, weights = levels[-1]
        levels.append((F.avg_pool2d(colors, 2, ceil_mode=True), F.avg_pool2d(weights, 2, ceil_mode=True)))
    filled = torch.zeros_like(levels[-1][0])
    for colors, weights in reversed(levels):
        guess = F.interpolate(filled, size=colors.shape[-2:], mode="bilinear")
        filled = torch.where(weights > 0, colors / weights.clamp_min(1e-9), guess)
    return filled


def composite(images: Tensor, filled: Tensor, masks: Tensor, *, feather: int) -> Tensor:
    """Paste N H W 3 `filled` under the mask (N H W bool); unmasked pixels stay exactly those of `images`.

    Just inside the rim the fill is shifted by how much it misses the image just outside, less with every pixel inwards
    until after `feather` pixels nothing is left. Nothing of `images` under the mask, the object, ever shows.
    """
    known = (~masks).float()[:, None]
    miss = (images - filled).permute(0, 3, 1, 2) * known
    correction = torch.zeros_like(miss)
    for ring in range(feather):
        share, total = _box_sum(known), _box_sum(miss)
        rim = (known == 0) & (share > 0)
        miss = torch.where(rim, total / share.clamp(min=1), miss)
        known = torch.where(rim, 1.0, known)
        correction = torch.where(rim, miss * (1 - (ring + 1) / (feather + 1)), correction)
    healed = (filled + correction.permute(0, 2, 3, 1)).clamp(0, 1)
    return torch.where(masks[..., None], healed, images)


def _box_sum(planes: Tensor) -> Tensor:
    return F.avg_pool2d(planes, 3, stride=1, padding=1, divisor_override=1)
