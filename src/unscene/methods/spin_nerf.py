"""SPIn-NeRF (Mirzaei et al., CVPR 2023): inpainted photos teach a field by how patches look, inpainted disparities
teach it where things are.

A field of the scene as it is gives the disparity of every view; photos and disparities are inpainted view by view; a
new field learns

    L = L_rec + lambda_depth L_depth + lambda_LPIPS L_LPIPS

with L_rec the colours of unmasked rays, L_depth the mean of (D(r) - D~(r))^2 over masked rays of the disparities D and
inpainted disparities D~, and L_LPIPS the perceptual distance of rendered and inpainted patches, since the inpaintings
of several views disagree in every pixel; the colours of one view's inpainting anchor it. Perceptual distance and anchor
do not reach the weights along rays: colour learns from them, geometry from disparity alone. With a latent diffusion
prior this is SPIn-NeRF (LDM), the variant that MALD-NeRF compares with.

Different from the original: masks come with the scene (its multi-view segmentation is no part of this), the field is
ours, and so is the network that compares patches; no sparse points of COLMAP teach depth outside the masks; disparities
are inpainted as they are, not in 8 bits; patches are square and of full resolution; at most 40 views are inpainted.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from unscene.fields.nerf import Nerf, NerfConfig
from unscene.geometry.cameras import Rays
from unscene.geometry.randomness import integers, sent, uniform
from unscene.losses.perceptual import Features, perceptual_distance
from unscene.priors.depth.completion import DepthEstimator
from unscene.priors.diffusion.config import DiffusionConfig
from unscene.priors.inpainter import Inpainter
from unscene.scenes.scene import Scene
from unscene.stages.independent_inpainting import inpaintable_views
from unscene.stages.inpainted_disparity import inpaint_with_disparities
from unscene.stages.masked_rendering import masks_only, paste_renders, render_masked
from unscene.stages.patches import PatchSampler, render_patches
from unscene.stages.removal import Removal
from unscene.stages.view_choice import spread, views_with_holes
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, Note
from unscene.training.fit import FitConfig, fit
from unscene.training.pixels import (
    PixelReconstruction,
    PixelSampler,
    RegularizerConfig,
    hash_decay_term,
    histogram_terms,
    training_pixels,
    unmasked_training_pixels,
)

ANCHOR = 5  # the view whose colours are learnt, counted from the last (release)


@dataclass(frozen=True)
class SpinNerfConfig:
    """SPIn-NeRF's settings; "release" marks what its public code runs with, "ours" what no source gives."""

    nerf: NerfConfig = field(default_factory=lambda: NerfConfig(view_dependence=False))
    """The field, the same as In-N-Out's (ours)."""
    with_object: FitConfig = field(default_factory=lambda: FitConfig(steps=800, final_learning_rate=3e-3))
    """The field of the scene as it is, for its disparities (release: 4,001 steps)."""
    fit: FitConfig = field(default_factory=lambda: FitConfig(steps=1800))
    """The field without the object (release: 10,001 steps)."""
    regularizer: RegularizerConfig = field(default_factory=RegularizerConfig)
    """Weights of the histogram losses (ours)."""
    rays: int = 3072
    """Unmasked rays per step (release: 1,024)."""
    masked_rays: int = 1024
    """Masked rays per step whose disparity is compared (release)."""
    anchor_rays: int = 512
    """Masked rays of the anchor view per step whose colour is compared (release: 1,024)."""
    disparity_weight: float = 1.0
    """lambda_depth (release), on disparities in units of 1 / the scene's radius (ours)."""
    inpaint_disparity: bool = True
    """Let the prior inpaint disparities too (paper); off: continue them smoothly. A depth network goes before."""
    perceptual: bool = True
    """L_LPIPS, and colours of one view; off: colours of all masked rays (the release without --lpips)."""
    perceptual_weight: float = 0.01
    """lambda_LPIPS (release)."""
    perceptual_from: float = 0.03
    """Share of the steps before patches are compared (release)."""
    patches: int = 4
    """Patches per step (release)."""
    patch: int = 16
    """Pixels along a patch's sides (release: a sixteenth of the image's, at half its resolution)."""
    most_views: int | None = 40
    """Views to inpaint at most, spread over all of them (ours); None: all (paper)."""

    DIFFERENCES: ClassVar[tuple[str, ...]] = ()

    @staticmethod
    def paper_diffusion() -> DiffusionConfig:
        return DiffusionConfig()

    @classmethod
    def paper(cls) -> SpinNerfConfig:
        return cls()


def spin_nerf(
    scene: Scene,
    prior: Inpainter,
    features: Features,
    config: SpinNerfConfig,
    checkpoints: Checkpoints,
    *,
    fill: Literal["unseen", "mask"] = "mask",
    estimate_depth: DepthEstimator | None = None,
) -> Generator[Event, None, Removal]:
    """Remove the masked object from a scene. Yields what happens, returns the field and the cleaned scene.

    features: the network that compares patches (paper: LPIPS). fill: the whole mask either way, since nothing here
    tells what other views see of what it hides. estimate_depth: a depth network for the inpainted views, in place of
    inpainted disparities. Raises ValueError if the scene has no masks.
    """
    if scene.masks is None:
        raise ValueError("spin_nerf needs a scene with masks; pass masks to load_scene or use Scene.with_masks")
    train, masks = scene.train, scene.masks

    # The scene as it is, and what its disparities are.
    seen = Nerf.around(scene.cameras[train], config.nerf, checkpoints.generator("field with the object"))
    pixels = PixelSampler(scene, training_pixels(scene))
    everything = PixelReconstruction(seen, scene.cameras, pixels, config.regularizer, rays=config.rays)
    yield from fit(
        "reconstruction with the object", seen, everything, config.with_object, checkpoints,
        rays_per_step=config.rays, native=seen.is_native,
    )  # fmt: skip

    # Photos and disparities, inpainted view by view.
    if not masks[train].any():
        yield Note("no mask hides anything: nothing needs inpainting")
        return Removal(seen, scene, masks_only(train, masks))
    hidden = inpaintable_views(prior, scene, views_with_holes(masks, train))
    views = spread(hidden, config.most_views)
    if len(views) < len(hidden):
        yield Note(f"{len(views)} of {len(hidden)} views are inpainted, spread over all (--spin-nerf.most-views)")
    region = masks_only(views, masks)
    colors, disparities = yield from inpaint_with_disparities(
        seen, scene, views, region, prior, checkpoints, estimate_depth, asks_prior=config.inpaint_disparity
    )

    # A new field learns what is known, what is behind, and what it looks like.
    nerf = Nerf.around(scene.cameras[train], config.nerf, checkpoints.generator("field"))
    loss = InpaintedViewsLoss(nerf, scene, views, region, colors, disparities, features, config)
    yield from fit(
        "reconstruction without the object", nerf, loss, config.fit, checkpoints,
        rays_per_step=loss.rays, native=nerf.is_native,
    )  # fmt: skip
    final = yield from render_masked("render the cleaned views", nerf, scene, train, masks[train])
    return Removal(nerf, paste_renders(scene, train, final.color, masks[train]), region)


class InpaintedViewsLoss:
    """L_rec + lambda_depth L_depth + lambda_LPIPS L_LPIPS + the colours of the anchor.

    views: V, inpainted, the anchor among them; region: N H W bool, what of them; colors: P 3 uint8 and disparities: P,
    of the region's pixels, view by view and row by row.
    """

    def __init__(
        self, nerf: Nerf, scene: Scene, views: Tensor, region: Tensor, colors: Tensor, disparities: Tensor,
        features: Features, config: SpinNerfConfig,
    ):  # fmt: skip
        images = scene.images.clone()
        images[region.to(images.device)] = colors.to(images.device)
        filled = replace(scene, images=images)
        anchor = views[max(0, len(views) - ANCHOR)][None]
        self.nerf, self.scene, self.features, self.config = nerf, filled, features, config
        self.known = PixelSampler(scene, unmasked_training_pixels(scene))
        self.masked, self.anchor = PixelSampler(filled, region), PixelSampler(filled, masks_only(anchor, region))
        self.disparities = (disparities * nerf.radius).to(self.masked.index.device)
        self.patches = PatchSampler(views, region, config.patch)
        looked_at = config.anchor_rays + config.patches * self.patches.size**2 if config.perceptual else 0
        self.rays = config.rays + config.masked_rays + looked_at

    def __call__(self, step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        config, cameras, masked = self.config, self.scene.cameras, self.masked
        places = integers(len(masked), config.masked_rays, generator, masked.index.device)
        known, hidden = self.known.sample(config.rays, generator), masked.at(places)
        behind = cameras.rays(hidden.view, hidden.xy)
        rays = Rays.joined([cameras.rays(known.view, known.xy), behind])
        render = self.nerf.render(rays, jitter=uniform(len(rays), generator, rays.origins.device))
        shown, covered = render[: config.rays], render[config.rays :]

        terms = {"reconstruction": mse_loss(shown.color, known.color)}  # L_rec
        disparity = self.nerf.radius / (covered.distance * behind.depth_per_distance)
        wanted = sent(self.disparities[places], disparity.device)
        terms["disparity"] = config.disparity_weight * mse_loss(disparity, wanted)  # L_depth
        if config.perceptual:
            terms |= self._looks(progress, generator)
        else:
            terms["masked colour"] = mse_loss(covered.color, hidden.color)
        terms |= histogram_terms(render, step, config.regularizer)
        return terms | hash_decay_term(self.nerf, step, config.regularizer)

    def _looks(self, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        """L_LPIPS and the anchor's colours: neither moves a surface."""
        config, anchor = self.config, self.anchor.sample(self.config.anchor_rays, generator)
        rays, jitter = (
            self.scene.cameras.rays(anchor.view, anchor.xy),
            uniform(len(anchor.xy), generator, anchor.xy.device),
        )
        render = self.nerf.render(rays, jitter=jitter, learns_geometry=False)
        terms = {"anchor colour": mse_loss(render.color, anchor.color)}
        if progress >= config.perceptual_from:
            patches = [self.patches.draw(generator) for _ in range(config.patches)]
            real, fake = render_patches(self.nerf, self.scene, patches, generator, learns_geometry=False)
            terms["patch perceptual"] = config.perceptual_weight * perceptual_distance(self.features, fake, real)
        return terms
