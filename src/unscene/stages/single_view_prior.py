"""One inpainted view as the prior of a scene: its loss, also from where other views look (In-N-Out, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from unscene.geometry.cameras import Cameras
from unscene.geometry.masks import surface_points
from unscene.geometry.randomness import integers, uniform
from unscene.losses.rays import charbonnier, relative_depth
from unscene.stages.independent_inpainting import InpaintedView
from unscene.stages.reconstruction import UnmaskedReconstruction
from unscene.training.captured_steps import CapturableObjective, Kind


class SingleViewPrior(CapturableObjective):
    """L_rec + L_prior: the unmasked rays, and the base view's inpainted pixels with their colour and depth.

    With ``share_elsewhere`` above zero, that share of the inpainted pixels is looked at from other views (ours): a
    pixel and its depth are a point of a surface, which looks the same from wherever it lies in a view's own hole. What
    one view alone sees, the field can put at any depth.
    """

    def __init__(
        self, reconstruction: UnmaskedReconstruction, base: InpaintedView, region: Tensor, *, rays: int,
        known_rays: int, depth_weight: float, share_elsewhere: float,
    ):  # fmt: skip
        self.reconstruction, self.depth_weight, self.share_elsewhere = reconstruction, depth_weight, share_elsewhere
        self.region, self.views = region, region.flatten(1).any(1).nonzero()[:, 0]
        hole = region[base.view]
        self.base, self.colors = base.view, base.image[hole]
        self.points = surface_points(reconstruction.scene.cameras, base.view, base.depth)[hole]
        self.prior_rays = rays
        self.known_rays, self.rays = known_rays, known_rays + rays

    def kind(self, step: int) -> Kind | None:
        return self.reconstruction.kind(step)

    def __call__(self, step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        known, share = self.reconstruction, self.prior_rays / self.reconstruction.rays
        chosen = integers(len(self.points), self.prior_rays, generator, self.points.device)
        view, xy, depth = self._looked_at(chosen, generator)
        rays = known.scene.cameras.rays(view, xy)
        terms, render = known.terms_and_render(step, generator, self.known_rays, rays)
        terms["prior colour"] = share * charbonnier(render.color, self.colors[chosen])
        terms["prior depth"] = (
            share * self.depth_weight * relative_depth(render.distance, rays.depth_per_distance, depth).mean()
        )
        return terms

    def _looked_at(self, chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """From where to look at inpainted pixels (R): view R, position in it R 2, z-depth there R."""
        elsewhere = uniform(len(chosen), generator, chosen.device) < self.share_elsewhere
        other = self.views[integers(len(self.views), len(chosen), generator, chosen.device)]
        own = torch.full_like(chosen, self.base)
        view = torch.where(elsewhere, other, own)
        return look_from(self.reconstruction.scene.cameras, self.points[chosen], view, own, self.region)


def look_from(
    cameras: Cameras, points: Tensor, views: Tensor, fallback: Tensor, region: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Look at world points (P 3) from ``views`` (P) where they fall into the view's region (N H W bool), else from
    ``fallback`` (P): the views P, positions in them P 2, z-depths P. Outside its region a photo speaks for itself."""
    xy, depth = cameras.project(views, points)
    column, row = xy.nan_to_num(-1).floor().clamp(-1, 2**24).long().unbind(-1)
    inside = (depth > 0) & (column >= 0) & (row >= 0) & (column < cameras.width) & (row < cameras.height)
    hidden = inside & region[views, row * inside, column * inside]
    views = torch.where(hidden, views, fallback)
    return views, *cameras.project(views, points)
