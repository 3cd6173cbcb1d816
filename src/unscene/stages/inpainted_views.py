"""What a field learns from views that are inpainted one by one, and so disagree in every pixel: where things are, and
how patches look (SPIn-NeRF, section 3.3; InpaintNeRF360, section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from unscene.geometry.randomness import sent
from unscene.losses.perceptual import Features, perceptual_distance
from unscene.losses.rays import PixelError, pixel_error
from unscene.scenes.scene import Scene
from unscene.stages.patches import PatchSampler, render_patches
from unscene.stages.splat_learner import Learner
from unscene.training.pixels import PixelSampler


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

    known: learns the photos; filled: these with the inpaintings of views (V); region: N H W bool, what was inpainted of
    them, P pixels; disparities: P, one over the z-depth in world units, view by view and row by row.
    """

    def __init__(
        self, known: Learner, filled: Scene, views: Tensor, region: Tensor, disparities: Tensor,
        features: Features, config: InpaintedViewsConfig,
    ):  # fmt: skip
        self.known, self.filled, self.features, self.config = known, filled, features, config
        self.masked = PixelSampler(filled, region)
        self.disparities = (disparities * known.field.radius).to(self.masked.index.device)
        self.patches = PatchSampler(views, region, config.patch)
        looked_at = config.patches * self.patches.size**2 if config.perceptual else 0
        self.inpainted_rays = config.masked_rays + looked_at

    def __call__(self, step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        config, error = self.config, partial(pixel_error, self.config.pixel_error)
        terms, covered, places = self.known.terms_and_hidden(  # L_rec
            step, generator, config.rays, self.masked, config.masked_rays
        )
        disparity = self.known.field.radius / covered.depth
        wanted = sent(self.disparities[places], disparity.device)
        terms["disparity"] = config.disparity_weight * error(disparity, wanted)  # L_depth
        if not config.perceptual:
            terms["masked colour"] = error(covered.color, self.masked.at(places).color)
        elif progress >= config.perceptual_from:
            terms["patch perceptual"] = config.perceptual_weight * self._difference_of_patches(generator)  # L_LPIPS
        return terms

    def _difference_of_patches(self, generator: torch.Generator) -> Tensor:
        config = self.config
        patches = [self.patches.draw(generator) for _ in range(config.patches)]
        real, fake = render_patches(
            self.known.field, self.filled, patches, generator, learns_geometry=config.patches_move_surfaces
        )
        return perceptual_distance(self.features, fake, real)
