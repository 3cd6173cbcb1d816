"""Inpainted views, one in the paper, as the prior of a scene: their loss, also from where other views look (In-N-Out,
section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from unscene.geometry.cameras import Cameras
from unscene.geometry.masks import surface_points
from unscene.geometry.randomness import integers, uniform
from unscene.losses.rays import depth_likelihood, pixel_error, relative_depth
from unscene.stages.independent_inpainting import InpaintedView
from unscene.stages.reconstruction import UnmaskedReconstruction
from unscene.training.captured_steps import CapturableObjective, Kind

BEHIND = 1.1  # times the depth of what a view hides, beyond which a point is hidden by it
DepthError = Literal["relative", "likelihood"]


class SingleViewPrior(CapturableObjective):
    """L_rec + L_prior: the unmasked rays, and the base views' inpainted pixels with their colour and depth.

    With ``share_elsewhere`` above zero, that share of the inpainted pixels is looked at from other views (ours): a
    pixel and its depth are a point of a surface, which looks the same from wherever it lies in a view's own hole. What
    one view alone sees, the field can put at any depth.

    surfaces: N h w, at any resolution, how far away what each view hides is, see `complete_surfaces`. weight: of
    L_prior; depth_weight: of its depth in it, of either error.
    """

    def __init__(
        self, reconstruction: UnmaskedReconstruction, bases: Sequence[InpaintedView], region: Tensor, surfaces: Tensor,
        *, rays: int, known_rays: int, weight: float, depth_error: DepthError, depth_weight: float,
        share_elsewhere: float,
    ):  # fmt: skip
        self.reconstruction, self.share_elsewhere = reconstruction, share_elsewhere
        self.weight, self.depth_error, self.depth_weight = weight, depth_error, depth_weight
        self.region, self.views = region, region.flatten(1).any(1).nonzero()[:, 0]
        self.surfaces, cameras = surfaces, reconstruction.scene.cameras
        self.colors = torch.cat([base.image[base.hole] for base in bases])
        self.points = torch.cat([surface_points(cameras, base.view, base.depth)[base.hole] for base in bases])
        counts = torch.tensor([int(base.hole.sum()) for base in bases])
        self.own = torch.tensor([base.view for base in bases]).repeat_interleave(counts).to(self.points.device)
        self.prior_rays = rays
        self.known_rays, self.rays = known_rays, known_rays + rays

    def kind(self, step: int) -> Kind | None:
        return self.reconstruction.kind(step)

    def __call__(self, step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        known = self.reconstruction
        chosen = integers(len(self.points), self.prior_rays, generator, self.points.device)
        view, xy, depth = self._looked_at(chosen, generator)
        rays = known.scene.cameras.rays(view, xy)
        terms, render = known.terms_and_render(step, generator, self.known_rays, rays)
        terms["prior colour"] = self.weight * pixel_error(known.error, render.color, self.colors[chosen])
        if self.depth_error == "relative":
            errors = relative_depth(render.distance * rays.depth_per_distance, depth)
        else:
            radius, distance = known.nerf.radius, depth / rays.depth_per_distance
            errors = depth_likelihood(render.distances / radius, render.weights, distance / radius)
        terms["prior depth"] = self.weight * self.depth_weight * errors.mean()
        return terms

    def _looked_at(self, chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """From where to look at inpainted pixels (R): view R, position in it R 2, z-depth there R."""
        elsewhere = uniform(len(chosen), generator, chosen.device) < self.share_elsewhere
        other = self.views[integers(len(self.views), len(chosen), generator, chosen.device)]
        own = self.own[chosen]
        view = torch.where(elsewhere, other, own)
        cameras = self.reconstruction.scene.cameras
        return look_from(cameras, self.points[chosen], view, own, self.region, self.surfaces)


def look_from(
    cameras: Cameras, points: Tensor, views: Tensor, fallback: Tensor, region: Tensor, surfaces: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Look at world points (P 3) from ``views`` (P) where they fall into the view's region (N H W bool) and not behind
    what it hides (N h w, z-depth), else from ``fallback`` (P): the views P, positions in them P 2, z-depths P. Outside
    its region a photo speaks for itself."""
    xy, depth = cameras.project(views, points)
    column, row = xy.nan_to_num(-1).floor().clamp(-1, 2**24).long().unbind(-1)
    inside = cameras.frames(xy, depth)
    row, column = row * inside, column * inside
    rows, columns = (row * surfaces.shape[1]) // cameras.height, (column * surfaces.shape[2]) // cameras.width
    hidden = inside & region[views, row, column] & (depth < BEHIND * surfaces[views, rows, columns])
    views = torch.where(hidden, views, fallback)
    return views, *cameras.project(views, points)
