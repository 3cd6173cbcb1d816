"""What hides behind an object's front if the object is symmetric, as most things are (ours).

Most things look about the same after half a turn about an upright axis: boxes, bottles, tables, aeroplanes; their
labels read the same way round on both sides. What sticks out on one side, like a mug's handle, is thin. Where the photo
contradicts half a turn about any axis, the back mirrors the front. Objects are in their own space here: centre at the
origin, z up.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.geometry.cameras import Cameras
from unscene.geometry.epipolar import facing, is_behind, to_ball
from unscene.geometry.splatting import first_view, ray_angles, unproject
from unscene.geometry.swept_lines import Segments, sweep

HALF_TURN = ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 1.0))
SHARE = 0.85  # of the front's points that must be hidden after half a turn for it to be believed
SLACK = 0.04  # object radii that they may stick out of the front
ALIKE = 0.03  # object radii between the middles of rows that belong to one axis
OFF_CENTRE = 0.05  # object radii from which on an axis is not the object's centre
EXTREMES = (0.02, 0.98)  # quantiles that stand for the least and the most: a stray pixel must not set the width
STEPS = 32  # across the ball that holds the object, in which its back is searched for
THIN = 0.05  # object radii: thickness of what has no symmetric image
SAME_SURFACE = 0.06  # object radii between a point and the front's on which it has the front's colour


@dataclass(frozen=True)
class Symmetry:
    """A rotation or reflection that brings an object onto itself, and is its own inverse: linear 3 3, offset 3."""

    linear: Tensor
    offset: Tensor

    @property
    def name(self) -> str:
        """Which it is, in words."""
        return "half a turn about its upright axis" if torch.linalg.det(self.linear) > 0 else "a mirror that faces it"

    def image(self, points: Tensor) -> Tensor:
        """The symmetric images of points, ... 3."""
        return points @ self.linear.T + self.offset


@dataclass(frozen=True)
class SymmetricObject:
    """What a view sees of a solid whose back is the symmetric image of its front.

    depth: H W z-depth, 0 off the solid; color: H W 3, 0 off it; angle: H W in degrees, between the target's ray and
    that from which the photo sees the symmetric image of what is there, 180 where it does not show that.
    """

    depth: Tensor
    color: Tensor
    angle: Tensor


def symmetric_object(image: Tensor, depth: Tensor, source: Cameras, target: Cameras) -> SymmetricObject:
    """What the target sees of the object in a photo if that is symmetric.

    image: H W 3 and depth: H W z-depth, 0 off the object, of the source. A point belongs to the solid if it lies behind
    the photo's front, and its symmetric image does, too, in an unbroken line from the front straight away from the
    source. It has the colour of its symmetric image, if the photo shows that, else that of the front it lies behind.
    """
    shown = depth > 0
    front, away = unproject(depth, source)[shown], facing(source).to(depth)
    symmetry = symmetry_of(front, depth, source)
    headings = away.expand_as(front)
    across = to_ball(front.double(), headings.double()).to(depth).clamp_min(0)
    walked = across[:, None] * torch.linspace(0, 1, STEPS + 1).to(depth)[1:]
    walk = (front[:, None] + walked[..., None] * away).view(-1, 3)
    inside = is_behind(symmetry.image(walk), depth, source).view(walked.shape)
    lengths = across * inside.long().cumprod(1).sum(1) / STEPS
    has_twin = is_behind(symmetry.image(front), depth, source, SLACK)
    lengths = torch.where(has_twin, lengths, lengths.clamp_min(THIN))

    pose = target.T_world_camera[0]
    distance, growth = (front - pose[:, 3]) @ pose[:, 2], headings @ pose[:, 2]
    nearest, owner = sweep(Segments(front, headings, lengths), distance, growth, target)
    seen = nearest.isfinite()
    nearest = torch.where(seen, nearest, 0).to(depth)
    color, angle = image.new_zeros(*seen.shape, 3), image.new_full(seen.shape, 180.0)
    points = unproject(nearest, target)[seen]
    twin_color, is_shown = _seen_in_photo(symmetry.image(points), image, depth, source)
    color[seen] = torch.where(is_shown[:, None], twin_color, image[shown][owner[seen]])
    turned = ray_angles(points, symmetry.image(source.positions[0]), target.positions[0])
    angle[seen] = torch.where(is_shown, turned, 180.0)
    return SymmetricObject(nearest, color, angle)


def symmetry_of(front: Tensor, depth: Tensor, source: Cameras) -> Symmetry:
    """Half a turn about an upright axis, if it hides nearly all of the front (points P 3) behind the front (depth H W),
    as it must where it holds; else, and from steeply above, where it hides nothing, the mirror that faces the source.

    The axis is the object's centre, unless that of most of its rows is another: what sticks out on one side of a mug
    moves the centre, but not the axis of its body.
    """
    away, centre = facing(source).to(front), torch.zeros(3).to(front)
    mirror = Symmetry(torch.eye(3).to(front) - 2 * away[:, None] * away, centre)
    if away[2] != 0 or len(front) == 0:
        return mirror
    for axis in (_axis_of_rows(front, depth, away), centre):
        half_turn = Symmetry(front.new_tensor(HALF_TURN), 2 * axis)
        if float(is_behind(half_turn.image(front), depth, source, SLACK).float().mean()) >= SHARE:
            return half_turn
    return mirror


def _axis_of_rows(front: Tensor, depth: Tensor, away: Tensor) -> Tensor:
    """Where the upright axis runs in whose plane, seen from the source, most rows of the object have their middle, 3;
    the centre if it is about there. It is as far behind the front as if what is to both sides of it were as deep as
    wide, or as the front is deep there if that is more.

    front: P 3, the points of the photo's pixels with depth (H W); away: 3, straight away from the source, level.
    """
    across = torch.stack([-away[1], away[0], away[2]])
    aside, row = front @ across, (depth > 0).nonzero()[:, 0]
    left, right = (torch.zeros(len(depth)).to(front).scatter_reduce(0, row, aside, how, include_self=False)
                   for how in ("amin", "amax"))  # fmt: skip
    middles = ((left + right) / 2)[row.unique()]
    together = (middles[:, None] - middles).abs() < ALIKE
    middle = middles[together[together.sum(1).argmax()]].mean()
    if float(middle.abs()) <= OFF_CENTRE:
        return torch.zeros_like(away)
    extremes = front.new_tensor(EXTREMES)
    width = (torch.quantile(aside, extremes) - middle).abs().amin()
    between = (aside - middle).abs() <= width
    if not between.any():
        return torch.zeros_like(away)
    near, far = torch.quantile((front @ away)[between], extremes)
    return middle * across + (near + torch.maximum(2 * width, far - near) / 2) * away


def _seen_in_photo(points: Tensor, image: Tensor, depth: Tensor, source: Cameras) -> tuple[Tensor, Tensor]:
    """The photo's colours (P 3) at points (P 3), and at which of them it shows those and not what is in front, P."""
    xy, away = source.project(first_view(points), points)
    place = (2 * xy / xy.new_tensor([source.width, source.height]) - 1)[None, None]
    colors = F.grid_sample(image.permute(2, 0, 1)[None], place, padding_mode="border", align_corners=False)[0, :, 0].T
    surface = F.grid_sample(depth[None, None], place, mode="nearest", align_corners=False)[0, 0, 0]
    return colors, (away > 0) & (surface > 0) & ((away - surface).abs() < SAME_SURFACE)
