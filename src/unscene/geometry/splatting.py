"""What one photo with depth already shows of another view: its pixels splatted there, and how far to trust each.

The partial view of iNVS (Kant et al. 2023, section 3): source pixels are lifted to 3D by their depth, splatted into the
target camera so that near ones win, and come with the angle between the two cameras' rays. Images and maps are
H W (3), of a single view; a `Cameras` argument here is one camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.geometry.cameras import Cameras, pixel_centers
from unscene.geometry.epipolar import epipolar_sweep, mirrored_front

IMPORTANCE_RANGE = 20.0  # the nearest point outweighs the farthest by exp(20)
LEAST_COVERAGE = 0.15  # below this share of a pixel it counts as empty (ours)
SAME_SURFACE = 0.02  # relative difference of depth within a surface (ours)
FINEST = 8.0  # times: what a photo is refined to at most when the camera moves closer
BACKGROUND = 1.0  # of an object's view: white


@dataclass(frozen=True)
class PartialView:
    """Source pixels seen from the target camera.

    color: H W 3, meaningless where nothing was splatted; coverage: H W in [0, 1], the share of each pixel that splats
    reach; ray_angle: H W in degrees, 0 to 180, between the source's and the target's ray; depth: H W, z-depth of the
    splats; reach: H W, how far back the object would have to reach to be seen there, see `epipolar_sweep`;
    mirrored_depth, mirrored_color: H W z-depth, 0 where there is none, and H W 3 colours of what would be seen if the
    object's back mirrored its front.
    """

    color: Tensor
    coverage: Tensor
    ray_angle: Tensor
    depth: Tensor
    reach: Tensor
    mirrored_depth: Tensor
    mirrored_color: Tensor

    @property
    def covered(self) -> Tensor:
        """Pixels that show the source's, H W bool."""
        return self.coverage >= LEAST_COVERAGE

    @property
    def epipolar_mask(self) -> Tensor:
        """Empty pixels behind the source's surface: the only ones where something new may appear, H W bool."""
        return self.reach.isfinite() & ~self.covered

    @property
    def soft_mask(self) -> Tensor:
        """How far not to trust each pixel, H W in [0, 1]: ray angle / 180 where covered, 1 where new, 0 elsewhere."""
        return torch.where(self.covered, self.ray_angle / 180, self.epipolar_mask.float())

    def image(self, hole: float = 0.5) -> Tensor:
        """H W 3: the splatted colours, ``hole`` where something new may appear, background elsewhere."""
        empty = torch.where(self.epipolar_mask, hole, BACKGROUND).to(self.color)
        return torch.where(self.covered[..., None], self.color, empty[..., None])

    @property
    def closeness(self) -> Tensor:
        """How close behind the visible surface something new would be, H W: 1 right behind it, one half at its mirror
        image, less beyond, 0 where nothing new can be."""
        return torch.where(self.epipolar_mask, 1 / (1 + self.reach), 0)

    def told(self, *, symmetry: bool) -> tuple[Tensor, Tensor, Tensor]:
        """What a model is told of the view: image H W 3, soft mask and epipolar mask, H W in [0, 1].

        symmetry: the holes hold what would be there if the object's back mirrored its front, and the epipolar mask says
        how close behind the visible surface they are (ours); else they are grey, and the mask is 0 or 1.
        """
        if symmetry:
            return self.mirrored_image(), self.soft_mask, self.closeness
        return self.image(), self.soft_mask, self.epipolar_mask.float()

    def mirrored_image(self, hole: float = 0.5) -> Tensor:
        """`image` with the mirrored front's colours where something new may appear, H W 3 (ours)."""
        mirrored = self.epipolar_mask & (self.mirrored_depth > 0)
        return torch.where(mirrored[..., None], self.mirrored_color, self.image(hole))


def partial_view(image: Tensor, depth: Tensor, source: Cameras, target: Cameras, *, widest: float = 90) -> PartialView:
    """See an object's photo from another camera.

    image: H W 3; depth: H W z-depth, 0 off the object; widest: ray angle in degrees from which on pixels are dropped:
    what is turned that far shows its back. Differentiable in image and depth, but for the sweep.
    """
    finer = round(magnification(depth, source, target) + 0.25)
    if finer > 1:
        image, depth, source = finer_photo(image, depth, source, finer)
    object_pixels = depth > 0
    points = unproject(depth, source)
    normals = surface_normals(points, object_pixels, source.positions[0])[object_pixels]
    points, colors = points[object_pixels], image[object_pixels]
    # behind their own surface they still tell what may be hidden there
    reach = epipolar_sweep(points.detach(), source, target)
    mirrored = mirrored_front(points.detach(), source, target)
    mirrored_color = torch.zeros(target.height, target.width, 3).to(image)
    mirrored_color[mirrored.depth > 0] = colors[mirrored.surface[mirrored.depth > 0]]
    angle = ray_angles(points, source.positions[0], target.positions[0])
    faces = ((target.positions[0] - points) * normals).sum(-1) > 0
    xy, target_depth = target.project(_first_view(points), points)
    kept = faces & (angle < widest) & (target_depth > 0)
    values = torch.cat([colors, angle[:, None], target_depth[:, None]], -1)[kept]
    splatted, coverage = softmax_splat(
        values, xy[kept], near_importance(target_depth[kept]), target.height, target.width
    )
    return PartialView(
        splatted[..., :3], coverage, splatted[..., 3], splatted[..., 4], reach, mirrored.depth, mirrored_color
    )


def magnification(depth: Tensor, source: Cameras, target: Cameras) -> float:
    """How many times larger the target sees the middle of the object (depth H W, 0 off it) than the source does."""
    known = depth[depth > 0].detach()
    if len(known) == 0:
        return 1.0
    rays = source.rays(torch.zeros(1, dtype=torch.long, device=depth.device), source.principal[:1])
    middle = rays.origins + rays.directions * known.median()
    _, away = target.project(_first_view(middle), middle)
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
    rays = camera.rays(_first_view(xy), xy)
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
    """Angle in degrees between the rays from two positions (3) to each point (P 3): P, with finite gradients."""
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


def _first_view(rows: Tensor) -> Tensor:
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
