"""New Gaussians where a view has to show a surface and shows none, or one far behind it: one for each pixel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unscene.fields.splat_raster import rasterise
from unscene.fields.splats import Shot, TracedGaussians
from unscene.files import to_uint8
from unscene.geometry.cameras import Cameras
from unscene.geometry.gaussians import Gaussians, opacity_logits_of
from unscene.geometry.masks import in_frame, pixel_points
from unscene.scenes.scene import Scene
from unscene.stages.splat_start import SPREAD, round_gaussians

OPAQUE = 0.9  # opacity of a new Gaussian
THIN = 0.5  # light that passes, above which a pixel shows no surface
IN_FRONT = 0.03  # relative difference of depth from which on a point lies before what a view sees
WITNESSES = 2  # views that must look through a point
BEHIND = 1.1  # times a surface's depth, from which on what is seen lies behind it


@dataclass(frozen=True)
class Wanted:
    """What a view has to show. where: H W bool; colors: H W 3; depth: H W, z-depth of the surface."""

    view: int
    where: Tensor
    colors: Tensor
    depth: Tensor


def surfaces_of(scene: Scene, views: Tensor, region: Tensor, colors: Tensor, depths: Tensor) -> list[Wanted]:
    """What inpainted views (V) have to show: colours (P 3 uint8) and depths (P) of the region's pixels (N H W bool),
    view by view and row by row."""
    counts, wanted = region[views].flatten(1).sum(1).tolist(), []
    for view, color, depth in zip(views.tolist(), colors.split(counts), depths.split(counts), strict=True):
        hole, image = region[view], scene.image(view).clone()
        image[hole] = color.to(image) / 255
        wanted.append(Wanted(view, hole, image, image.new_full(hole.shape, torch.inf).masked_scatter(hole, depth)))
    return wanted


@dataclass(frozen=True)
class KnownSpace:
    """What views (V) have seen of a scene: V H W bool, where, and V h w, z-depths there, of any resolution."""

    cameras: Cameras
    seen: Tensor
    depths: Tensor

    def is_empty_at(self, points: Tensor) -> Tensor:
        """Whether views look through world points (P 3) at what lies behind them, P bool; one alone may be wrong."""
        votes = torch.zeros(len(points), dtype=torch.long, device=points.device)
        for view in range(len(self.cameras)):
            frame = in_frame(self.cameras, view, points)
            small = F.interpolate(self.depths[view][None, None], self.seen.shape[1:])[0, 0]
            seen, depth = self.seen[view].flatten()[frame.pixel], small.flatten()[frame.pixel]
            votes += frame.inside & seen & (frame.depth < (1 - IN_FRONT) * depth)
        return votes >= WITNESSES


def plant(
    traced: TracedGaussians, cameras: Cameras, wanted: Iterable[Wanted], space: KnownSpace | None = None
) -> TracedGaussians:
    """Gaussians with new ones for what views have to show and do not, one view after the other: what those of an
    earlier one show in a later one is not put there again. Nothing is put where it is known that nothing is."""
    for surface in wanted:
        missing = lacking(traced.gaussians, cameras, surface.view, surface.where, surface.depth)
        if missing.any():
            made = gaussians_of_pixels(cameras, surface, missing, traced.gaussians.degree)
            traced = traced.and_new(made if space is None else made[~space.is_empty_at(made.means)])
    return traced


def mend(
    traced: TracedGaussians, cameras: Cameras, views: Tensor, region: Tensor, surfaces: Tensor, space: KnownSpace
) -> TracedGaussians:
    """The same where nothing at all is seen in the region (N H W bool) of views, on the surfaces behind it (N h w), in
    the colours around it (Telea 2004)."""
    for view in views.tolist():
        hole = region[view]
        missing = lacking(traced.gaussians, cameras, view, hole)
        if missing.any():
            disparity = F.interpolate(1 / surfaces[view][None, None], hole.shape, mode="bilinear")  # linear on planes
            depth = 1 / disparity[0, 0]
            colors = _continued(traced.gaussians, cameras, view, missing)
            made = gaussians_of_pixels(cameras, Wanted(view, hole, colors, depth), missing, traced.gaussians.degree)
            traced = traced.and_new(made[~space.is_empty_at(made.means)])
    return traced


@torch.no_grad()
def lacking(gaussians: Gaussians, cameras: Cameras, view: int, where: Tensor, depth: Tensor | None = None) -> Tensor:
    """Where in a view (H W bool) nothing is seen, or, of a surface at z-depths (H W), what lies far behind it."""
    shot = Shot.of(cameras, view)
    render = rasterise(gaussians, shot.camera)
    missing = shot.bent(render.transmittance[..., None])[..., 0] > THIN
    if depth is not None:
        missing |= shot.bent_depth(render.median_depth()) > BEHIND * depth
        missing &= depth.isfinite()
    return missing & where


@torch.no_grad()
def _continued(gaussians: Gaussians, cameras: Cameras, view: int, missing: Tensor) -> Tensor:
    """What a view shows, H W 3, smoothly continued where something is missing (H W bool)."""
    shot = Shot.of(cameras, view)
    image = to_uint8(shot.bent(rasterise(gaussians, shot.camera).image)).cpu().numpy()
    filled = cv2.inpaint(image, missing.cpu().numpy().astype(np.uint8), 3, cv2.INPAINT_TELEA)
    return torch.from_numpy(filled).to(missing.device).float() / 255


def gaussians_of_pixels(cameras: Cameras, surface: Wanted, chosen: Tensor, degree: int) -> Gaussians:
    """One round Gaussian for each chosen pixel (H W bool), at its depth, that covers it."""
    row, column = chosen.nonzero(as_tuple=True)
    depth, xy = surface.depth[chosen], torch.stack([column, row], -1) + 0.5
    size = SPREAD * depth / cameras.focal[surface.view].mean()
    points = pixel_points(cameras, surface.view, xy, depth)
    made = round_gaussians(points, surface.colors[chosen], size.clamp_min(1e-7), degree)
    made.opacity_logits.copy_(opacity_logits_of(torch.full_like(made.opacity_logits, OPAQUE)))
    return made
