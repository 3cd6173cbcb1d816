"""The errors that monocular depth networks make, put on exact depth: scale, bend, noise, and edges that bleed."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

# Standard deviations, in object radii unless said otherwise, of the worst depth drawn; all are ours.
RELIEF = 0.25  # of the logarithm of how deep the relief is
SHIFT = 0.08  # of the object's middle along the view
BEND = 0.08  # of each coefficient of a quadric across the picture, whose sides are at -1 and 1
BLEEDING = 0.2  # at most: how far the outline's depth leans towards the background
BLUR = 1.5  # pixels, at most, over which edges of depth inside the object bleed into each other


def with_monocular_errors(depth: Tensor, rng: np.random.Generator) -> Tensor:
    """An object's z-depth (H W in object radii, 0 off it) as a depth network might tell it, better or worse."""
    exact = depth.numpy()
    inside = exact > 0
    if not inside.any():
        return depth
    worst = rng.random()
    middle = float(np.median(exact[inside]))
    told = middle + (_blurred(exact, inside, worst * rng.uniform(0, BLUR)) - middle) * np.exp(
        rng.normal(0, worst * RELIEF)
    )
    told = told + rng.normal(0, worst * SHIFT) + _quadric(exact.shape, rng.normal(0, worst * BEND, 5))
    within = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 5)  # pixels to the outline, 1 at it
    told = told + worst * rng.uniform(0, BLEEDING) * np.exp(1 - within)
    return torch.from_numpy(np.where(inside, told.clip(0.05 * middle), 0).astype(np.float32))


def _blurred(depth: np.ndarray, inside: np.ndarray, pixels: float) -> np.ndarray:
    """Depth averaged over the object's own pixels nearby, H W."""
    if pixels < 0.3:
        return depth
    share = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), pixels)
    return cv2.GaussianBlur(np.where(inside, depth, 0), (0, 0), pixels) / np.maximum(share, 1e-6)


def _quadric(shape: tuple[int, ...], coefficients: np.ndarray) -> np.ndarray:
    """a x + b y + c x x + d x y + e y y across the picture, H W."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, length) for length in shape), indexing="ij")
    return np.tensordot(coefficients, np.stack([x, y, x * x, x * y, y * y]), 1)
