"""Depth of an object from nothing but its outline: a smooth inflation, for photos without any depth."""

from __future__ import annotations

import torch
from torch import Tensor

from unscene.geometry.membranes import inflated
from unscene.priors.depth.completion import Estimate

NAME = "the outline alone, inflated smoothly: a guess"


def outline_depth(alpha: Tensor, focal: float) -> Estimate:
    """z-depth of an object of which only the outline is known, 0 off it, up to scale.

    alpha: S S; focal: in pixels. A disc becomes the half of a ball that faces the camera; the rim is at ``focal``,
    where a pixel is as wide as a unit.
    """
    outline = alpha > 0.5
    height = torch.from_numpy(inflated(outline.cpu().numpy())).float()
    return Estimate(torch.where(outline.cpu(), (focal - height).clamp_min(0.2 * focal), 0), False, NAME)
