"""What one photo with depth already shows of another view: its pixels splatted there, and how far to trust each.

The partial view of iNVS (Kant et al. 2023, section 3): source pixels are lifted to 3D by their depth, splatted into the
target camera so that near ones win, and come with the angle between the two cameras' rays. Images and maps are
H W (3), of a single view; a `Cameras` argument here is one camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unscene.geometry.cameras import Cameras
from unscene.geometry.epipolar import epipolar_sweep
from unscene.geometry.splatting import (
    SurfacePoints,
    finer_photo,
    first_view,
    joined_points,
    lifted,
    magnification,
    near_importance,
    ray_angles,
    softmax_splat,
)
from unscene.geometry.symmetry import SymmetricObject, symmetric_object

LEAST_COVERAGE = 0.15  # below this share of a pixel it counts as empty (ours)
SYMMETRIC_SOFTNESS = 0.5  # soft mask of what symmetry tells: that of a pixel turned by 90 degrees (ours)
BACKGROUND = 1.0  # of an object's view: white


@dataclass(frozen=True)
class PartialView:
    """Source pixels seen from the target camera.

    color: H W 3, meaningless where nothing was splatted; coverage: H W in [0, 1], the share of each pixel that splats
    reach; ray_angle: H W in degrees, 0 to 180, between the source's and the target's ray; depth: H W, z-depth of the
    splats; reach: H W, how far back the object would have to reach to be seen there, see `epipolar_sweep`;
    symmetric: what would be seen if the object were symmetric; photo_coverage: H W, the coverage by the photo's own
    pixels, where other views have shown more.
    """

    color: Tensor
    coverage: Tensor
    ray_angle: Tensor
    depth: Tensor
    reach: Tensor
    symmetric: SymmetricObject
    photo_coverage: Tensor

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
    def guessed(self) -> Tensor:
        """Where something new may appear and a symmetric object would be seen, H W bool."""
        return self.epipolar_mask & (self.symmetric.depth > 0)

    @property
    def told_by_symmetry(self) -> Tensor:
        """The same where the photo shows nothing, whatever other views have invented there."""
        unseen = self.reach.isfinite() & (self.photo_coverage < LEAST_COVERAGE)
        return unseen & (self.symmetric.depth > 0)

    @property
    def closeness(self) -> Tensor:
        """How close behind the visible surface something new would be, H W: 1 right behind it, one half at its mirror
        image, less beyond, 0 where nothing new can be."""
        return torch.where(self.epipolar_mask, 1 / (1 + self.reach), 0)

    def told(self, *, symmetry: bool) -> tuple[Tensor, Tensor, Tensor]:
        """What a model is told of the view: image H W 3, soft mask and epipolar mask, H W in [0, 1].

        symmetry: the holes hold what would be there if the object were symmetric, trusted as little as what
        is turned most, and the epipolar mask says how close behind the visible surface they are (ours); else they are
        grey, and the mask is 0 or 1.
        """
        if symmetry:
            soft = torch.where(self.guessed, SYMMETRIC_SOFTNESS, self.soft_mask)
            return self.symmetric_image(), soft, self.closeness
        return self.image(), self.soft_mask, self.epipolar_mask.float()

    def symmetric_image(self, hole: float = 0.5) -> Tensor:
        """`image` with a symmetric object's colours where something new may appear, H W 3 (ours)."""
        return torch.where(self.guessed[..., None], self.symmetric.color, self.image(hole))


def partial_view(
    image: Tensor, depth: Tensor, source: Cameras, target: Cameras, *, widest: float = 90,
    also: SurfacePoints | None = None,
) -> PartialView:  # fmt: skip
    """See an object's photo from another camera.

    image: H W 3; depth: H W z-depth, 0 off the object; widest: ray angle in degrees from which on pixels are dropped:
    what is turned that far shows its back; also: points that other views have shown of the object. Differentiable in
    image and depth, but for the sweep.
    """
    finer = round(magnification(depth, source, target) + 0.25)
    if finer > 1:
        image, depth, source = finer_photo(image, depth, source, finer)
    points = lifted(image, depth, source)
    # behind their own surface they still tell what may be hidden there
    reach = epipolar_sweep(points.positions.detach(), source, target)
    symmetric = symmetric_object(image.detach(), depth.detach(), source, target)
    own = len(points)
    if also is not None:
        points = joined_points([points, also])
    position = target.positions[0]
    angle = ray_angles(points.positions, points.seen_from, position)
    faces = ((position - points.positions) * points.normals).sum(-1) > 0
    xy, target_depth = target.project(first_view(points.positions), points.positions)
    kept = faces & (angle < widest) & (target_depth > 0)
    values = torch.cat([points.colors, angle[:, None], target_depth[:, None]], -1)[kept]
    splatted, coverage = softmax_splat(
        values, xy[kept], near_importance(target_depth[kept]), target.height, target.width
    )
    photo_coverage = coverage
    if also is not None:
        at, near = xy[:own][kept[:own]], near_importance(target_depth[:own][kept[:own]])
        _, photo_coverage = softmax_splat(at[:, :0], at, near, target.height, target.width)
    return PartialView(
        splatted[..., :3], coverage, splatted[..., 3], splatted[..., 4], reach, symmetric, photo_coverage
    )
