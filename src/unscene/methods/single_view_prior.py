"""One inpainted view as the prior of a scene: choosing it by votes, its depth, its loss (In-N-Out, section 3.1)."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import replace

import torch
from torch import Tensor

from unscene.fields.nerf import Nerf
from unscene.geometry.cameras import Cameras
from unscene.geometry.masks import surface_points
from unscene.geometry.randomness import integers, uniform
from unscene.losses.rays import charbonnier, relative_depth
from unscene.methods.independent_inpainting import InpaintedView, estimated_depth, inpaint_alone, inpaintable_views
from unscene.methods.reconstruction import UnmaskedReconstruction, compactness
from unscene.methods.surface_fill import sample_image
from unscene.methods.view_choice import most_central, views_nearest_center
from unscene.priors.classical import ExemplarInpainter
from unscene.priors.depth import DepthEstimator
from unscene.priors.inpainter import Inpainter, LatentInpainter
from unscene.scenes.scene import Scene
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, ItemDone, Note, Picture, StageDone, StageStarted
from unscene.training.pixels import PixelBatch, PixelSampler


def choose_base_view(
    nerf: Nerf,
    scene: Scene,
    region: Tensor,
    depths: Tensor,
    prior: Inpainter,
    candidates: int,
    checkpoints: Checkpoints,
    estimate_depth: DepthEstimator | None = None,
) -> Generator[Event, None, InpaintedView]:
    """Inpaint the most central views independently; the one most like the others becomes the base view.

    region: N H W bool, what to inpaint; depths: T h w, depth maps of the training views. Views whose region is empty
    cannot be candidates. estimate_depth: a depth network that looks at the base view's inpainting.
    """
    stage = "base view"
    if product := checkpoints.product(stage):
        return InpaintedView(int(product.pop("view")), **product)
    yield StageStarted(stage)
    started, generator = time.monotonic(), checkpoints.generator(stage)
    with_hole = inpaintable_views(prior, scene, scene.train[region[scene.train].flatten(1).any(1)])
    inpainted, surfaces = [], []
    for view in views_nearest_center(scene.cameras, with_hole, candidates).tolist():
        candidate, surface = inpaint_alone(nerf, scene, view, region, depths, prior, generator)
        inpainted.append(candidate)
        surfaces.append(surface)
        yield ItemDone(stage, len(inpainted), min(candidates, len(with_hole)))
        yield Picture(f"candidate-{scene.names[view]}", candidate.image)
    elected = most_central([c.image for c in inpainted], [region[c.view] for c in inpainted])
    winner, remark = inpainted[elected], surfaces[elected].describe()
    copies = isinstance(prior, LatentInpainter | ExemplarInpainter)  # so its fill can heed what is expected
    if copies and surfaces[elected].is_filled_squarely and len(inpainted) > 1:
        agreed = mean_fill(scene.cameras, winner, inpainted, region)
        winner, _ = inpaint_alone(
            nerf, scene, winner.view, region, depths, prior, generator, noise=winner.noise[None], expected=agreed
        )
        remark = f"{remark}; filled again towards the mean of {len(inpainted)} candidates"
        yield Picture(f"base-view-{scene.names[winner.view]}", winner.image)
    if estimate_depth is not None:
        completed, remark = estimated_depth(nerf, scene, winner.view, region[winner.view], winner.image, estimate_depth)
        winner = replace(winner, depth=completed)
    tensors = {"image": winner.image, "start": winner.start, "noise": winner.noise, "depth": winner.depth}
    checkpoints.save(stage, {"view": torch.tensor(winner.view)} | tensors, finished=True)
    yield Note(remark)
    yield Note(f"base view: {scene.names[winner.view]}, chosen among {len(inpainted)} by perceptual-hash votes")
    yield StageDone(stage, time.monotonic() - started)
    return winner


def mean_fill(cameras: Cameras, view: InpaintedView, candidates: list[InpaintedView], region: Tensor) -> Tensor:
    """What the candidates on average invented for the surface behind a view's hole, H W 3; NaN where none did."""
    points = surface_points(cameras, view.view, view.depth)
    total, count = torch.zeros_like(view.image), torch.zeros_like(view.depth)[..., None]
    for candidate in candidates:
        pixels, depth = cameras.project(torch.full((points[..., 0].numel(),), candidate.view), points.view(-1, 3))
        pixels = pixels.view(*points.shape[:2], 2)
        inside = (pixels >= 0).all(-1) & (pixels[..., 0] < cameras.width) & (pixels[..., 1] < cameras.height)
        inside &= (depth > 0).view(inside.shape)
        invented = (sample_image(region[candidate.view][..., None].float(), pixels) > 0.5) & inside[..., None]
        total += invented * sample_image(candidate.image, pixels)
        count += invented
    return total / count


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
        count, device = len(batch.view), batch.view.device
        elsewhere = uniform(count, generator, device) < self.share_elsewhere
        other = self.views[integers(len(self.views), count, generator, device)]
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
