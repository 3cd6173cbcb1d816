"""How well renders of neighbouring views agree: one is warped into the next by depth, and compared."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.geometry.cameras import Cameras
from unscene.geometry.masks import sees, surface_points

OCCLUDED = 0.02  # relative difference of depth from which on another surface is in front
FEWEST = 50  # pixels that a pair of views must share


def view_consistency(cameras: Cameras, images: list[Tensor], depths: list[Tensor], masks: Tensor) -> float:
    """Mean absolute difference between each view and the next, warped into it, over surfaces that lie in both masks.

    cameras: of N views; images: H W 3 in [0, 1], renders to be judged; depths: true z-depth, h w; masks: N H W bool.
    0 is perfect agreement; view-dependent appearance and resampling keep even photos above it. NaN if no pair shares
    enough. After the short-range consistency of SNeRF and Instruct-NeRF2NeRF, with true depth instead of optical flow.
    """
    differences = []
    for view, other in zip(range(len(images) - 1), range(1, len(images)), strict=True):
        full = F.interpolate(depths[view][None, None], size=masks.shape[1:], mode="nearest")[0, 0]
        points = surface_points(cameras, view, full)[masks[view]]
        visible = sees(cameras, other, points, ~masks[other], depths[other], OCCLUDED)
        if visible.sum() < FEWEST:
            continue
        xy, _ = cameras.project(torch.full((int(visible.sum()),), other), points[visible])
        size = torch.tensor([cameras.width, cameras.height])
        grid = (xy / size * 2 - 1)[None, None]
        there = F.grid_sample(images[other].permute(2, 0, 1)[None], grid, align_corners=False, padding_mode="border")
        here = images[view][masks[view]][visible]
        differences.append((there[0, :, 0].T - here).abs().mean())
    return torch.stack(differences).mean().item() if differences else float("nan")
