"""A camera at a given place around an object, and simple textures for it."""

from __future__ import annotations

import math

import numpy as np
import torch

from unscene.geometry.cameras import Cameras, look_at


def camera_at(azimuth: float, elevation: float, *, size: int = 32, distance: float = 3.0) -> Cameras:
    """One camera looking at the origin from degrees of azimuth (about z, from x) and elevation; 45 degrees wide."""
    a, e = math.radians(azimuth), math.radians(elevation)
    place = distance * torch.tensor([[math.cos(e) * math.cos(a), math.cos(e) * math.sin(a), math.sin(e)]])
    up = torch.tensor([0.0, 0.0, 1.0] if abs(elevation) < 89 else [0.0, 1.0, 0.0])
    focal = torch.full((1, 2), size / 2 / math.tan(math.radians(22.5)))
    return Cameras(
        look_at(place, torch.zeros(3), up), focal, torch.full((1, 2), size / 2), torch.zeros(1, 5), size, size
    )


def plain(color: tuple[int, int, int]) -> np.ndarray:
    return np.tile(np.array(color, np.uint8), (4, 4, 1))


def halves(left: tuple[int, int, int], right: tuple[int, int, int]) -> np.ndarray:
    """A picture of two colours side by side, 32 32 3."""
    image = np.empty((32, 32, 3), np.uint8)
    image[:, :16], image[:, 16:] = left, right
    return image


def holed(color: tuple[int, int, int]) -> np.ndarray:
    """A picture of one colour whose middle half is transparent (and black there, as in many files), 32 32 4."""
    image = np.empty((32, 32, 4), np.uint8)
    image[:] = (*color, 255)
    image[8:24, 8:24] = 0
    return image
