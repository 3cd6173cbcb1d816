"""Exact views of a painted sphere: colour, depth and silhouette have closed forms."""

from __future__ import annotations

import torch
from torch import Tensor

from unscene.geometry.cameras import Cameras
from unscene.geometry.symmetry import SymmetricObject
from unscene.geometry.turntable import object_cameras

RADIUS = 0.8


def cameras(*azimuths: float, elevation: float = 0.0, size: int = 64) -> Cameras:
    """Cameras around the sphere at distance 3."""
    azimuth = torch.tensor(azimuths)
    return object_cameras(
        azimuth, torch.full_like(azimuth, elevation), torch.full_like(azimuth, 3.0), field_of_view=45, size=size
    )


def painted(points: Tensor) -> Tensor:
    """Smooth colours of world points, ... 3 in [0, 1]."""
    return 0.5 + 0.5 * torch.sin(points * torch.tensor([5.0, 4.0, 6.0]) + torch.tensor([0.0, 1.0, 2.0]))


def sphere_view(camera: Cameras, view: int = 0) -> tuple[Tensor, Tensor]:
    """Colour H W 3 and z-depth H W, 0 off the sphere."""
    rays = camera.image_rays(view)
    along = -(rays.origins * rays.directions).sum(-1)
    discriminant = along.square() - rays.origins.square().sum(-1) + RADIUS**2
    distance = along - discriminant.clamp_min(0).sqrt()
    shape = (camera.height, camera.width)
    depth = torch.where(discriminant > 0, distance * rays.depth_per_distance, 0).view(shape)
    return painted(rays.origins + rays.directions * distance[:, None]).view(*shape, 3), depth


def no_symmetry(size: int) -> SymmetricObject:
    """A symmetric object that is seen nowhere in views of S S pixels."""
    nothing = torch.zeros(size, size)
    return SymmetricObject(nothing, torch.zeros(size, size, 3), nothing + 180)
