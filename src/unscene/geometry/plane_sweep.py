"""Depths that photos with known cameras agree on, by plane-sweep stereo.

Planes of several directions are swept through space (Collins 1996; Gallup et al. 2007: one of them is nearly as slanted
as the surface). Where a plane is the surface, photos that are laid on it look alike. Scores of all depths are settled
along scanlines (semi-global matching, Hirschmueller 2008), and a depth counts where other photos have found the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.geometry.cameras import Cameras
from unscene.geometry.masks import sees, surface_points

RADIUS = 2  # of the windows that are compared, pixels
COVERED = 0.5  # share of a window that both photos must show
LIKENESS_OF = 2  # photos that have to look alike; what hides a surface from the others does no harm
COLOR_WEIGHT = 1.0  # of windows' mean colours beside their pattern, which alone is a matter of light
FAINT = 1e-4  # variance of colours, below which a window has no pattern
SMALL_STEP, LARGE_STEP = 0.1, 0.5  # what a depth that changes by one level costs, and by more; likeness is up to 1
GRAZING = 0.2  # cosine to a plane's normal below which a ray is not asked about it
RARE = 0.01  # share of a view's pixels, below which a plane is not laid for them
AT_ONCE = 8  # planes


def swept_depth(
    cameras: Cameras, images: Tensor, known: Tensor, view: int, others: Sequence[int], levels: Tensor
) -> tuple[Tensor, Tensor]:
    """z-depths of a view's pixels as the other photos have them, and how much these look alike there, at most 1: h w.

    cameras: N; images: N 3 h w in [0, 1]; known: N h w bool, pixels that may be compared; levels: L, inverse depths in
    even steps, the largest first.
    """
    likeness = torch.full((len(levels), cameras.height * cameras.width), -1.0, device=images.device)
    rays = cameras.image_rays(view)
    ahead = rays.directions / rays.depth_per_distance[:, None]  # a depth of one
    for normal in plane_directions(cameras, view):
        slant = ahead @ normal
        for side in (1.0, -1.0):
            facing = slant * side > GRAZING * ahead.norm(dim=-1)
            if facing.any():
                _sweep(likeness, cameras, images, known, view, others, levels, (slant * side).where(facing, torch.inf))
    likeness = likeness.view(len(levels), cameras.height, cameras.width)
    cost = settled(1 - likeness)
    return _finest(cost, levels), likeness.gather(0, cost.argmin(0)[None])[0]


def plane_directions(cameras: Cameras, view: int) -> list[Tensor]:
    """Unit normals, 3 each: facing the view, level ground, and upright ones to the left and right of it."""
    forward = cameras.forward[view]
    up = F.normalize(-cameras.T_world_camera[:, :, 1].mean(0), dim=0)
    level = F.normalize(forward - (forward @ up) * up, dim=0)
    sideways = torch.linalg.cross(level, up)
    return [forward, up, F.normalize(level + sideways, dim=0), F.normalize(level - sideways, dim=0)]


def settled(cost: Tensor) -> Tensor:
    """Costs L h w of depth levels, those of smooth surfaces lowered: the mean over scanlines in four directions
    (semi-global matching, eq. 13)."""
    total = torch.zeros_like(cost)
    for axis in (1, 2):
        lines = cost.movedim(axis, 0)
        total += (_along(lines) + _along(lines.flip(0)).flip(0)).movedim(0, axis)
    return total / 4


def agreed(cameras: Cameras, depths: Tensor, known: Tensor, *, tolerance: float, witnesses: int) -> Tensor:
    """Where at least so many other views have the same surface at their own depths, N h w bool.

    depths: N h w; known: N h w bool, pixels whose depths count; tolerance: relative.
    """
    views = range(len(cameras))
    counts = torch.zeros_like(depths, dtype=torch.long)
    for view in views:
        points = surface_points(cameras, view, depths[view]).view(-1, 3)
        for other in views:
            if other != view:
                counts[view] += sees(cameras, other, points, ~known[other], depths[other], tolerance).view_as(
                    counts[view]
                )
    return (counts >= min(witnesses, len(cameras) - 1)) & known


def _sweep(
    likeness: Tensor, cameras: Cameras, images: Tensor, known: Tensor, view: int, others: Sequence[int],
    levels: Tensor, slant: Tensor,
) -> None:  # fmt: skip
    """Raise likeness (L P) to what planes of one direction give. slant: P, the plane's inverse depth at a pixel in
    units of its inverse distance; infinite where a pixel is not asked."""
    step, asked = levels[0] - levels[1], slant.isfinite()
    steepest, flattest = slant[asked].max(), slant[asked].min()
    inverse = torch.arange(
        float(levels[-1] / steepest), float(levels[0] / flattest), float(step / steepest), device=levels.device
    )
    place = ((levels[0] - inverse[:, None] * slant) / step).round()  # K P
    inside = asked & (place >= 0) & (place < len(levels))
    used = inside.float().mean(1) > RARE
    for some in torch.arange(len(inverse), device=levels.device)[used].split(AT_ONCE):
        depth = 1 / (inverse[some, None] * slant).clamp_min(1e-6)
        found = _likeness(cameras, images, known, view, others, depth.where(asked, 1.0))
        index = place[some].where(inside[some], 0.0).long()
        likeness.scatter_reduce_(0, index, found.where(inside[some], -1.0), "amax")


def _likeness(
    cameras: Cameras, images: Tensor, known: Tensor, view: int, others: Sequence[int], depth: Tensor
) -> Tensor:
    """How much the others look like a view when laid on surfaces (depth K P), K P, at most 1."""
    count, (height, width) = len(depth), images.shape[2:]
    rays = cameras.image_rays(view)
    points = rays.origins + rays.directions * (depth / rays.depth_per_distance)[..., None]
    own, shown = images[view][None], known[view].float()[None, None]
    size = torch.tensor([width, height], device=depth.device)
    scores = []
    for other in others:
        xy, z = cameras.project(torch.tensor([other], device=depth.device), points.flatten(0, 1))
        grid = (xy / size * 2 - 1).view(count, height, width, 2)
        seen = known[other].to(images)[None]
        source = torch.cat([images[other] * seen, seen])[None].expand(count, -1, -1, -1)
        laid = F.grid_sample(source, grid, align_corners=False)
        both = (laid[:, 3:] > 0.999).float() * (z.view(count, 1, height, width) > 0) * shown
        scores.append(_window_likeness(own * both, laid[:, :3] * both, both))
    best = torch.stack(scores).topk(min(LIKENESS_OF, len(scores)), 0).values
    return best.mean(0).flatten(1)


def _window_likeness(first: Tensor, second: Tensor, both: Tensor) -> Tensor:
    """Correlation of colours in windows less the distance of their means, K h w; -1 where too little is shown.

    first, second: K 3 h w, zero where both (K 1 h w) is.
    """
    products = [(first * first).sum(1, True), (second * second).sum(1, True), (first * second).sum(1, True)]
    sums = _window_means(torch.cat([both, first, second, *products], 1))
    share = sums[:, 0]
    means = sums[:, 1:] / share.clamp_min(1e-6)[:, None]
    mean, other = means[:, :3], means[:, 3:6]
    spread = (means[:, 6] - mean.square().sum(1)).clamp_min(0) + FAINT
    spread_of_other = (means[:, 7] - other.square().sum(1)).clamp_min(0) + FAINT
    together = means[:, 8] - (mean * other).sum(1)
    apart = (mean - other).square().sum(1).sqrt()
    return (together * (spread * spread_of_other).rsqrt() - COLOR_WEIGHT * apart).where(share > COVERED, -1.0)


def _window_means(values: Tensor) -> Tensor:
    """Means over windows, zeros around the image: K C h w. By sums of shifted images, which processors do several times
    as fast as a pooling."""
    for axis in (2, 3):
        length = values.shape[axis]
        padded = F.pad(values, (0, 0, RADIUS, RADIUS) if axis == 2 else (RADIUS, RADIUS))
        values = padded.narrow(axis, 0, length).clone()
        for shift in range(1, 2 * RADIUS + 1):
            values += padded.narrow(axis, shift, length)
    return values / (2 * RADIUS + 1) ** 2


def _along(lines: Tensor) -> Tensor:
    """Costs N L M, settled from the first of N to the last."""
    done = [lines[0]]
    for line in lines[1:]:
        before = done[-1]
        least = before.min(0, keepdim=True).values
        step = torch.full_like(least, torch.inf)
        nearer, farther = torch.cat([step, before[:-1]]), torch.cat([before[1:], step])
        least_step = torch.minimum(torch.minimum(nearer, farther) + SMALL_STEP, least + LARGE_STEP)
        done.append(line + torch.minimum(before, least_step) - least)
    return torch.stack(done)


def _finest(cost: Tensor, levels: Tensor) -> Tensor:
    """Depths of the lowest cost, h w, between levels by a parabola."""
    best = cost.argmin(0)
    middle = best.clamp(1, len(levels) - 2)
    before, at, after = (cost.gather(0, (middle + step)[None])[0] for step in (-1, 0, 1))
    shift = ((before - after) / (2 * (before - 2 * at + after)).clamp_min(1e-6)).clamp(-0.5, 0.5)
    place = torch.where(best == middle, middle + shift, best.float())
    return 1 / (levels[0] - place * (levels[0] - levels[1])).clamp_min(1e-6)
