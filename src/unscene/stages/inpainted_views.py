"""What a field learns from views that are inpainted one by one, and so disagree in every pixel: where things are, and
how patches look (SPIn-NeRF, section 3.3; InpaintNeRF360, section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from unscene.fields.nerf import Nerf
from unscene.geometry.cameras import Rays
from unscene.geometry.randomness import integers, sent, uniform
from unscene.losses.perceptual import Features, perceptual_distance
from unscene.losses.rays import PixelError, pixel_error
from unscene.scenes.scene import Scene
from unscene.stages.patches import PatchSampler, render_patches
from unscene.training.pixels import (
    PixelSampler,
    RegularizerConfig,
    hash_decay_term,
    histogram_terms,
    unmasked_training_pixels,
)


@dataclass(frozen=True)
class InpaintedViewsConfig:
    """What of the photos and of the inpainted views is compared in a step, and how much it weighs."""

    rays: int = 2304
    """Unmasked rays."""
    masked_rays: int = 1024
    """Masked rays whose disparity is compared."""
    pixel_error: PixelError = "squared"
    """Of colours and of disparities."""
    disparity_weight: float = 1.0
    """lambda_depth, on disparities in units of 1 / the scene's radius."""
    perceptual: bool = True
    """Compare patches by a network; off: colours of all masked rays."""
    perceptual_weight: float = 0.01
    """lambda_LPIPS."""
    perceptual_from: float = 0.03
    """Share of the steps before patches are compared."""
    patches: int = 4
    """Patches, each of a random inpainted view."""
    patch: int = 16
    """Pixels along a patch's sides."""
    patches_move_surfaces: bool = False
    """Let patches reach the weights along rays; off: colours learn from them, surfaces from disparity alone."""


def with_fills(scene: Scene, region: Tensor, colors: Tensor) -> Scene:
    """The scene with colours (P 3 uint8, view by view and row by row) in a region (N H W bool, P pixels)."""
    images = scene.images.clone()
    images[region.to(images.device)] = colors.to(images.device)
    return replace(scene, images=images)


class InpaintedViewsLoss:
    """L_rec + lambda_depth L_depth + lambda_LPIPS L_LPIPS.

    scene: the photos; filled: the same with the inpaintings of views (V); region: N H W bool, what was inpainted of
    them, P pixels; disparities: P, one over the z-depth in world units, view by view and row by row.
    """

    def __init__(
        self, nerf: Nerf, scene: Scene, filled: Scene, views: Tensor, region: Tensor, disparities: Tensor,
        features: Features, config: InpaintedViewsConfig, regularizer: RegularizerConfig,
    ):  # fmt: skip
        self.nerf, self.filled, self.features = nerf, filled, features
        self.config, self.regularizer = config, regularizer
        self.known = PixelSampler(scene, unmasked_training_pixels(scene))
        self.masked = PixelSampler(filled, region)
        self.disparities = (disparities * nerf.radius).to(self.masked.index.device)
        self.patches = PatchSampler(views, region, config.patch)
        looked_at = config.patches * self.patches.size**2 if config.perceptual else 0
        self.rays = config.rays + config.masked_rays + looked_at

    def __call__(self, step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        config, cameras, masked = self.config, self.filled.cameras, self.masked
        places = integers(len(masked), config.masked_rays, generator, masked.index.device)
        known, hidden = self.known.sample(config.rays, generator), masked.at(places)
        behind = cameras.rays(hidden.view, hidden.xy)
        rays = Rays.joined([cameras.rays(known.view, known.xy), behind])
        render = self.nerf.render(rays, jitter=uniform(len(rays), generator, rays.origins.device))
        error = partial(pixel_error, config.pixel_error)
        shown, covered = render[: config.rays], render[config.rays :]

        terms = {"reconstruction": error(shown.color, known.color)}  # L_rec
        disparity = self.nerf.radius / (covered.distance * behind.depth_per_distance)
        wanted = sent(self.disparities[places], disparity.device)
        terms["disparity"] = config.disparity_weight * error(disparity, wanted)  # L_depth
        if not config.perceptual:
            terms["masked colour"] = error(covered.color, hidden.color)
        elif progress >= config.perceptual_from:
            terms["patch perceptual"] = config.perceptual_weight * self._difference_of_patches(generator)  # L_LPIPS
        terms |= histogram_terms(render, step, self.regularizer)
        return terms | hash_decay_term(self.nerf, step, self.regularizer)

    def _difference_of_patches(self, generator: torch.Generator) -> Tensor:
        config = self.config
        patches = [self.patches.draw(generator) for _ in range(config.patches)]
        real, fake = render_patches(
            self.nerf, self.filled, patches, generator, learns_geometry=config.patches_move_surfaces
        )
        return perceptual_distance(self.features, fake, real)
