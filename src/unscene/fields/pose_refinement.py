"""Small corrections of camera poses, learnt with the field."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from unscene.geometry.cameras import Cameras


class PoseRefinement(nn.Module):
    """One rotation vector and one translation a view, zero at the start, so poses begin as they were given.

    scale: world units per unit of translation parameter, so that one step size suits scenes of any size; slowness
    divides the step size the optimiser would take.
    """

    def __init__(self, views: int, scale: float, slowness: float = 0.05):
        super().__init__()
        self.rotation = nn.Parameter(torch.zeros(views, 3))
        self.translation = nn.Parameter(torch.zeros(views, 3))
        self.scale, self.slowness = scale, slowness

    def forward(self, T_world_camera: Tensor, view: Tensor) -> Tensor:
        """Corrected poses of rays: T_world_camera R 3 4 of the cameras ``view`` (R), R 3 4."""
        turn = rotation_matrices(self.rotation * self.slowness)[view]
        shift = self.translation[view] * (self.slowness * self.scale)
        rotation = turn @ T_world_camera[:, :, :3]
        return torch.cat([rotation, (T_world_camera[:, :, 3] + shift)[:, :, None]], -1)

    @torch.no_grad()
    def refined(self, cameras: Cameras) -> Cameras:
        """All cameras with what has been learnt of their poses."""
        every = torch.arange(len(cameras), device=cameras.focal.device)
        return dataclasses.replace(cameras, T_world_camera=self(cameras.T_world_camera, every))


def rotation_matrices(vectors: Tensor) -> Tensor:
    """Rotation vectors (V 3, axis times angle) to matrices V 3 3 by Rodrigues' formula; smooth at zero."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).view(-1, 3, 3)
    square = vectors.square().sum(-1)
    small = square < 1e-4  # where the series are exact in single precision, and the quotients no longer
    angle = torch.where(small, 1, square).sqrt()
    sine = torch.where(small, 1 - square / 6, angle.sin() / angle)[:, None, None]
    cosine = torch.where(small, 0.5 - square / 24, (1 - angle.cos()) / angle.square())[:, None, None]
    return torch.eye(3, dtype=vectors.dtype, device=vectors.device) + sine * cross + cosine * (cross @ cross)
