"""Pixels of one view lifted to points in space, and points splatted into another.

Images and maps are H W (3), of a single view; a `Cameras` argument here is one camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.geometry.cameras import Cameras, pixel_centers

IMPORTANCE_RANGE = 20.0  # the nearest point outweighs the farthest by exp(20)
SAME_SURFACE = 0.02  # relative difference of depth within a surface (ours)
FINEST = 8.0  # times: what a photo is refined to at most when the camera moves closer


@dataclass(frozen=True)
class SurfacePoints:
    """Coloured points of a surface: positions, colors, normals, seen_from (where each was seen from), all P 3."""

    positions: Tensor
    colors: Tensor
    normals: Tensor
    seen_from: Tensor

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, chosen: Tensor) -> SurfacePoints:
        return SurfacePoints(self.positions[chosen], self.colors[chosen], self.normals[chosen], self.seen_from[chosen])


def joined_points(parts: list[SurfacePoints]) -> SurfacePoints:
    """The points of all parts."""
    return SurfacePoints(
        torch.cat([part.positions for part in parts]),
        torch.cat([part.colors for part in parts]),
        torch.cat([part.normals for part in parts]),
        torch.cat([part.seen_from for part in parts]),
    )


def lifted(image: Tensor, depth: Tensor, camera: Cameras, shown: Tensor | None = None) -> SurfacePoints:
    """The points that the pixels of an image (H W 3) with depth (H W, 0 for none) show, or those of ``shown``, H W
    bool."""
    known = depth > 0
    points = unproject(depth, camera)
    position = camera.positions[0]
    normals = surface_normals(points, known, position)
    chosen = known if shown is None else known & shown
    positions = points[chosen]
    return SurfacePoints(positions, image[chosen], normals[chosen], position.expand_as(positions))


def magnification(depth: Tensor, source: Cameras, target: Cameras) -> float:
    """How many times larger the target sees the middle of the object (depth H W, 0 off it) than the source does."""
    known = depth[depth > 0].detach()
    if len(known) == 0:
        return 1.0
    rays = source.rays(torch.zeros(1, dtype=torch.long, device=depth.device), source.principal[:1])
    middle = rays.origins + rays.directions * known.median()
    _, away = target.project(first_view(middle), middle)
    ratio = float(target.focal[0, 0] / source.focal[0, 0]) * float(known.median()) / max(float(away), 1e-6)
    return min(ratio, FINEST) if float(away) > 0 else 1.0


def finer_photo(image: Tensor, depth: Tensor, camera: Cameras, factor: int) -> tuple[Tensor, Tensor, Cameras]:
    """The photo with ``factor`` times as many pixels along each axis, so that its splats leave no gaps where they grow.

    Colour and depth are interpolated, but not across the object's rim or an edge of depth.
    """
    known = (depth > 0).to(depth)[None, None]
    planes = torch.cat([image.permute(2, 0, 1)[None], depth[None, None]], 1)
    nearest = F.interpolate(torch.cat([planes, known], 1), scale_factor=factor, mode="nearest")[0]
    smooth = F.interpolate(torch.cat([planes, known], 1), scale_factor=factor, mode="bilinear")[0]
    same_surface = (smooth[4] > 0.999) & ((smooth[3] - nearest[3]).abs() < SAME_SURFACE * nearest[3])
    chosen = torch.where(same_surface, smooth, nearest)
    return chosen[:3].permute(1, 2, 0), chosen[3], camera.resized(camera.width * factor, camera.height * factor)


def unproject(depth: Tensor, camera: Cameras) -> Tensor:
    """World points H W 3 of the pixel centres at z-depth ``depth`` (H W)."""
    xy = pixel_centers(camera.width, camera.height, depth.device).reshape(-1, 2)
    rays = camera.rays(first_view(xy), xy)
    distance = depth.reshape(-1) / rays.depth_per_distance
    return (rays.origins + rays.directions * distance[:, None]).view(*depth.shape, 3)


def near_importance(depth: Tensor) -> Tensor:
    """Splatting importance of points (depth P): 20 minmax(1 / depth) - 10, so that near ones win."""
    if len(depth) == 0:
        return depth
    disparity = 1 / depth
    low, high = disparity.min().detach(), disparity.max().detach()
    return IMPORTANCE_RANGE * ((disparity - low) / (high - low).clamp_min(1e-9) - 0.5)


def softmax_splat(values: Tensor, xy: Tensor, importance: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Splat P points bilinearly, averaged per pixel with weights exp(importance) (Niklaus and Liu 2020).

    values: P C; xy: P 2, in pixels; importance: P. Returns H W C, 0 where nothing falls, and the coverage H W in
    [0, 1], to what share of a pixel the splats' bilinear footprints add up. Differentiable in all three.
    """
    corner = (xy - 0.5).floor()
    fraction = xy - 0.5 - corner
    weight = (importance - importance.max().detach()).exp() if len(importance) else importance
    carried = torch.cat([values * weight[:, None], weight[:, None], torch.ones_like(weight)[:, None]], -1)
    canvas = values.new_zeros(height * width, carried.shape[1])
    for right in (0, 1):
        for down in (0, 1):
            column, row = corner[:, 0] + right, corner[:, 1] + down
            share = (fraction[:, 0] if right else 1 - fraction[:, 0]) * (fraction[:, 1] if down else 1 - fraction[:, 1])
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            cell = (row * width + column)[inside].long()
            canvas = canvas.index_add(0, cell, (carried * share[:, None])[inside])
    summed, total, coverage = canvas[:, :-2], canvas[:, -2:-1], canvas[:, -1]
    tiny = torch.finfo(total.dtype).tiny
    mean = summed / torch.where(total > tiny, total, 1) * (total > tiny)
    return mean.view(height, width, -1), coverage.clamp(max=1).view(height, width)


def ray_angles(points: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Angle in degrees between the rays from two positions (3, or one for each) to points (P 3): P, with finite
    gradients."""
    first, second = F.normalize(points - source, dim=-1), F.normalize(points - target, dim=-1)
    # the chord's form keeps precision at small angles, where the cosine has none
    chord = (first - second).square().sum(-1).clamp(1e-12, 4 - 1e-6).sqrt()
    return torch.rad2deg(2 * torch.asin(chord / 2))


def surface_normals(points: Tensor, known: Tensor, position: Tensor) -> Tensor:
    """Unit normals H W 3 of a point map (H W 3) where ``known`` (H W bool), turned towards ``position`` (3).

    Across and down, the shorter of the two steps to a known neighbour counts: it does not cross an edge of depth. Where
    there is no neighbour the normal is the direction to ``position``.
    """
    across = _shorter_step(points, known, 1)
    down = _shorter_step(points, known, 0)
    normal = torch.linalg.cross(across, down)
    towards = position - points
    length = normal.norm(dim=-1, keepdim=True)
    unit = torch.where(length > 1e-20, normal / length.clamp_min(1e-20), F.normalize(towards, dim=-1))
    return unit * torch.where((unit * towards).sum(-1, keepdim=True) < 0, -1.0, 1.0)


def first_view(rows: Tensor) -> Tensor:
    """The index of the one camera there is, for every row."""
    return torch.zeros(len(rows), dtype=torch.long, device=rows.device)


def _shorter_step(points: Tensor, known: Tensor, axis: int) -> Tensor:
    ahead = torch.roll(points, -1, axis) - points
    behind = points - torch.roll(points, 1, axis)
    last = torch.zeros_like(known)
    last.select(axis, -1).fill_(True)
    has_next = known & torch.roll(known, -1, axis) & ~last
    has_previous = torch.roll(has_next, 1, axis)
    next_length = torch.where(has_next, ahead.square().sum(-1), torch.inf)
    previous_length = torch.where(has_previous, behind.square().sum(-1), torch.inf)
    step = torch.where((next_length <= previous_length)[..., None], ahead, behind)
    return torch.where((has_next | has_previous)[..., None], step, 0)
