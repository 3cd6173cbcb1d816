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
ASIDE = 0.5  # object radii to both sides of the centre in which the axis is looked for
AXES = 11  # places across that
EXTREMES = (0.02, 0.98)  # quantiles that stand for the least and the most: a stray pixel must not set the width
ASKED = 1000  # points of the front at most that tell of a symmetry
FEWEST = 50  # of them, at least, that tell a width
STEPS = 32  # across the ball that holds the object, in which its back is searched for
THIN = 0.05  # object radii: thickness of what has no symmetric image
SAME_SURFACE = 0.06  # object radii between a point and the front's on which it has the front's colour


@dataclass(frozen=True)
class Symmetry:
    """A rotation or reflection that brings an object onto itself, and is its own inverse: linear 3 3, offset 3."""

    linear: Tensor
    offset: Tensor

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

    The axis is the object's centre if that will do, else that of the part which half a turn hides: in its middle, and
    where it would be if that part were as deep as wide.
    """
    away, centre = facing(source).to(front), torch.zeros(3).to(front)
    mirror = Symmetry(torch.eye(3).to(front) - 2 * away[:, None] * away, centre)
    if away[2] != 0 or len(front) == 0:
        return mirror
    front = front[:: 1 + len(front) // ASKED]

    def half_turn(axis: Tensor) -> tuple[Symmetry, Tensor]:
        symmetry = Symmetry(front.new_tensor(HALF_TURN), 2 * axis)
        return symmetry, is_behind(symmetry.image(front), depth, source, SLACK)

    best, hidden = half_turn(centre)
    share = float(hidden.float().mean())
    if share >= SHARE:
        return best
    across = torch.stack([-away[1], away[0], away[2]])
    places = torch.stack([front @ across, front @ away], -1)
    for aside in torch.linspace(-ASIDE, ASIDE, AXES).tolist():
        _, hidden = half_turn(aside * across)
        if int(hidden.sum()) < FEWEST:
            continue
        low, high = torch.quantile(places[hidden], places.new_tensor(EXTREMES), dim=0)
        behind = low[1] + (high - low).amax() / 2
        found, hidden = half_turn((low[0] + high[0]) / 2 * across + behind * away)
        if float(hidden.float().mean()) > share:
            best, share = found, float(hidden.float().mean())
    return best if share >= SHARE else mirror


def _seen_in_photo(points: Tensor, image: Tensor, depth: Tensor, source: Cameras) -> tuple[Tensor, Tensor]:
    """The photo's colours (P 3) at points (P 3), and at which of them it shows those and not what is in front, P."""
    xy, away = source.project(first_view(points), points)
    place = (2 * xy / xy.new_tensor([source.width, source.height]) - 1)[None, None]
    colors = F.grid_sample(image.permute(2, 0, 1)[None], place, padding_mode="border", align_corners=False)[0, :, 0].T
    surface = F.grid_sample(depth[None, None], place, mode="nearest", align_corners=False)[0, 0, 0]
    return colors, (away > 0) & (surface > 0) & ((away - surface).abs() < SAME_SURFACE)
