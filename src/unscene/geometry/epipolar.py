"""What may hide behind the surface that a first view sees, as a second view sees it (iNVS, section 3.2).

Objects are in their own space here: centre at the origin, nothing farther than RADIUS from it, z up.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.geometry.cameras import Cameras
from unscene.geometry.masks import in_frame
from unscene.geometry.swept_lines import Segments, sweep

RADIUS = 1.0  # of the ball that holds the object
THINNEST = 0.05  # between a surface and its mirror image, at least: of what is seen behind the centre
STEEP = 0.5  # of a viewing direction's length is level, less from above 60 degrees of elevation


def epipolar_sweep(points: Tensor, source: Cameras, target: Cameras) -> Tensor:
    """How far back the object would have to reach for the target's pixels to see it, H W: 0 at the surface the source
    sees, 1 where its mirror image in the plane through the centre that faces the source would be, infinite where the
    object cannot be.

    points: P 3, on that surface. A point pushed away from the source moves along its epipolar line in the target. The
    paper nudges it by 0.01 and goes on to the image's border; here the line is exact at any distance, and ends where
    the source's ray leaves the object's ball.
    """
    position = source.positions[0].double()
    away = F.normalize(points.double() - position, dim=-1)
    forward = facing(source)
    to_mirror = (-2 * (points.double() @ forward) / (away @ forward)).clamp_min(THINNEST)
    lengths = torch.where(_is_moved(points, source, target), to_ball(points.double(), away), -1)
    return sweep(Segments(points, away, lengths), torch.zeros_like(to_mirror), 1 / to_mirror, target)[0]


def is_behind(points: Tensor, depth: Tensor, source: Cameras, slack: float = 0.0) -> Tensor:
    """Which points (P 3) are hidden by what a view shows (depth H W, 0 for nothing), P bool: not beside it, and no
    farther before it than slack, in object radii."""
    frame = in_frame(source, 0, points)
    surface = depth.flatten()[frame.pixel]
    return frame.inside & (surface > 0) & (frame.depth > surface - slack)


def facing(source: Cameras) -> Tensor:
    """Unit vector straight away from the source, 3: level, as things stand, unless the camera looks steeply down."""
    forward = F.normalize(-source.positions[0].double(), dim=-1)
    level = forward * forward.new_tensor([1, 1, 0])
    return F.normalize(level, dim=-1) if float(level.norm()) > STEEP else forward


def to_ball(points: Tensor, away: Tensor) -> Tensor:
    """How far it is along unit directions (P 3) from points (P 3) to where they leave the ball, P; -1 if they miss
    it."""
    along = (points * away).sum(-1)
    inside = along.square() - points.square().sum(-1) + RADIUS**2
    return torch.where(inside > 0, inside.clamp_min(0).sqrt() - along, -1)


def _is_moved(points: Tensor, source: Cameras, target: Cameras) -> Tensor:
    """Whether the target would see points (P 3) move by a pixel if they were pushed to infinity, P bool: not if both
    cameras are at about one place."""
    pose = target.T_world_camera[0].double()
    local = (points.double() - pose[:, 3]) @ pose[:, :3]
    away = (points.double() - source.positions[0].double()) @ pose[:, :3]
    # away at infinity is seen velocity / (depth * away's depth) pixels from the point, if it is in front at all
    velocity = (away[:, :2] * local[:, 2:] - local[:, :2] * away[:, 2:]) * target.focal[0].double()
    return velocity.abs().amax(-1) >= local[:, 2] * away[:, 2]
