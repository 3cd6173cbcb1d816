"""One inpainted view as the prior of a scene: its loss, also from where other views look (In-N-Out, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from unscene.geometry.cameras import Cameras
from unscene.geometry.masks import surface_points
from unscene.losses.rays import charbonnier, relative_depth
from unscene.stages.independent_inpainting import InpaintedView
from unscene.stages.reconstruction import UnmaskedReconstruction, compactness
from unscene.training.pixels import PixelBatch, PixelSampler


class SingleViewPrior:
    """L_rec + L_prior: the unmasked rays, and the base view's inpainted pixels with their colour and depth.

    With ``share_elsewhere`` above zero, that share of the inpainted pixels is looked at from other views (ours): a
    pixel and its depth are a point of a surface, which looks the same from wherever it lies in a view's own hole. What
    one view alone sees, the field can put at any depth.
    """

    def __init__(
        self, reconstruction: UnmaskedReconstruction, base: InpaintedView, region: Tensor, *, rays: int,
        depth_weight: float, share_elsewhere: float,
    ):  # fmt: skip
        scene = reconstruction.scene
        inside = torch.zeros_like(region)
        inside[base.view] = region[base.view]
        self.reconstruction, self.depth_weight, self.share_elsewhere = reconstruction, depth_weight, share_elsewhere
        self.region, self.views = region, region.flatten(1).any(1).nonzero()[:, 0]
        self.points = surface_points(scene.cameras, base.view, base.depth)
        self.inpainted = PixelSampler(scene.with_images(torch.tensor([base.view]), base.image[None]), inside)
        self.prior_rays = rays
        self.rays = reconstruction.rays + rays

    def __call__(self, step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        known, share = self.reconstruction, self.prior_rays / self.reconstruction.rays
        batch = self.inpainted.sample(self.prior_rays, generator)
        view, xy, depth = self._looked_at(batch, generator)
        rays = known.scene.cameras.rays(view, xy)
        terms, (render,) = known.terms_and_renders(step, generator, [rays])
        terms["prior colour"] = share * charbonnier(render.color, batch.color)
        terms["prior depth"] = (
            share * self.depth_weight * relative_depth(render.distance, rays.depth_per_distance, depth).mean()
        )
        terms["prior compactness"] = share * compactness(render, known.regularizer)
        return terms

    def _looked_at(self, batch: PixelBatch, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """From where to look at the base view's pixels: view R, position in it R 2, z-depth there R."""
        column, row = batch.xy.long().unbind(-1)
        elsewhere = torch.rand(len(batch.view), generator=generator) < self.share_elsewhere
        other = self.views[torch.randint(len(self.views), (len(batch.view),), generator=generator)]
        view = torch.where(elsewhere, other, batch.view)
        return look_from(self.reconstruction.scene.cameras, self.points[row, column], view, batch.view, self.region)


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
