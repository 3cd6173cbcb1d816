"""One inpainted view as the prior of a scene: choosing it by votes, its depth, its loss (In-N-Out, section 3.1)."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass

import torch
from torch import Tensor

from unscene.fields.field import render_view
from unscene.fields.nerf import Nerf
from unscene.geometry.masks import dilate, mask_center_distance
from unscene.losses.rays import charbonnier
from unscene.methods.reconstruction import UnmaskedReconstruction, compactness
from unscene.methods.view_choice import most_central, views_nearest_center
from unscene.priors.classical import ExemplarInpainter
from unscene.priors.depth import align_depth, complete_disparity
from unscene.priors.inpainter import Inpainter, LatentInpainter
from unscene.scenes.scene import Scene
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, ItemDone, Note, Picture, StageDone, StageStarted
from unscene.training.pixels import PixelSampler


@dataclass(frozen=True)
class BaseView:
    """The base view p: its index, its inpainted image I~_p (H W 3), the fill that inpainting started from (H W 3), and
    its initial latent z_p^T (C h w; empty if the prior has none)."""

    view: int
    image: Tensor
    start: Tensor
    noise: Tensor


def choose_base_view(
    scene: Scene, region: Tensor, prior: Inpainter, candidates: int, checkpoints: Checkpoints
) -> Generator[Event, None, BaseView]:
    """Inpaint the most central views independently; the one most like the others becomes the base view.

    region: N H W bool, what to inpaint. Views whose region is empty cannot be candidates.
    """
    stage = "base view"
    if product := checkpoints.product(stage):
        return BaseView(int(product["view"]), product["image"], product["start"], product["noise"])
    yield StageStarted(stage)
    started, generator = time.monotonic(), checkpoints.generator(stage)
    with_hole = scene.train[region[scene.train].flatten(1).any(1)]
    inpainted = []
    for view in views_nearest_center(scene.cameras, with_hole, candidates).tolist():
        inpainted.append(inpaint_alone(scene, view, region[view], prior, generator))
        yield ItemDone(stage, len(inpainted), min(candidates, len(with_hole)))
        yield Picture(f"candidate-{scene.names[view]}", inpainted[-1].image)
    winner = inpainted[most_central([c.image for c in inpainted], [region[c.view] for c in inpainted])]
    product = {"view": torch.tensor(winner.view), "image": winner.image, "start": winner.start, "noise": winner.noise}
    checkpoints.save(stage, product, finished=True)
    yield Note(f"base view: {scene.names[winner.view]}, chosen among {len(inpainted)} by perceptual-hash votes")
    yield StageDone(stage, time.monotonic() - started)
    return winner


def inpaint_alone(scene: Scene, view: int, hole: Tensor, prior: Inpainter, generator: torch.Generator) -> BaseView:
    """Inpaint one view without looking at the others; hole: H W bool."""
    image, hole = scene.image(view)[None], hole[None]
    if not isinstance(prior, LatentInpainter):
        filled = prior.inpaint(image, hole, generator=generator)
        return BaseView(view, filled[0], filled[0], torch.zeros(0))
    start = ExemplarInpainter().inpaint(image, hole, generator=generator)
    size = prior.latent_size(*image.shape[1:3])
    noise = torch.randn(1, prior.latent_channels, *size, generator=generator)
    filled = prior.inpaint_latent(image, hole, noise=noise, start=start, strength=prior.strength, steps=prior.steps)
    return BaseView(view, filled[0], start[0], noise[0])


def base_view_depth(nerf: Nerf, scene: Scene, view: int, hole: Tensor) -> Generator[Event, None, Tensor]:
    """D~_p: the field's depth completed inside the hole (H W bool) and aligned on its surroundings, H W."""
    depth = render_view(nerf, scene.cameras, view).depth
    unreliable = dilate(hole[None], 2)[0]  # the field's depth frays at the border of what it was shown
    completed = complete_disparity(depth, unreliable)
    around = dilate(hole[None], 10)[0] & ~unreliable
    weight = 1 / mask_center_distance(hole)[around].clamp_min(1)
    try:
        scale, offset = align_depth(completed[around], depth[around], weight)
    except ValueError:  # nothing around the hole to align on: the completion is the field's own depth already
        scale, offset = 1.0, 0.0
    yield Note(f"depth of the base view: the field's own, completed in disparity (scale {scale:.3f}, no depth network)")
    return completed * scale + offset


class SingleViewPrior:
    """L_rec + L_prior: the unmasked rays, and the base view's inpainted rays with their colour and depth."""

    def __init__(
        self, reconstruction: UnmaskedReconstruction, base: BaseView, hole: Tensor, depth: Tensor, *,
        rays: int, depth_weight: float,
    ):  # fmt: skip
        scene = reconstruction.scene
        inside = torch.zeros(scene.images.shape[:3], dtype=torch.bool)
        inside[base.view] = hole
        self.reconstruction, self.depth, self.depth_weight = reconstruction, depth, depth_weight
        self.inpainted = PixelSampler(scene.with_images(torch.tensor([base.view]), base.image[None]), inside)
        self.prior_rays = rays
        self.rays = reconstruction.rays + rays

    def __call__(self, step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        known, share = self.reconstruction, self.prior_rays / self.reconstruction.rays
        batch = self.inpainted.sample(self.prior_rays, generator)
        rays = known.scene.cameras.rays(batch.view, batch.xy)
        terms, (render,) = known.terms_and_renders(step, generator, [rays])
        column, row = batch.xy.long().unbind(-1)
        relative = render.distance * rays.depth_per_distance / self.depth[row, column] - 1
        terms["prior colour"] = share * charbonnier(render.color, batch.color)
        terms["prior depth"] = share * self.depth_weight * (relative.square() + 1e-6).sqrt().clamp_max(1).mean()
        terms["prior compactness"] = share * compactness(render, known.regularizer)
        return terms
