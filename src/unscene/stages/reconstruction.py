"""What all removal methods start from: a field fitted to everything but the object."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from unscene.fields.field import Render
from unscene.fields.nerf import Nerf
from unscene.geometry.cameras import Rays
from unscene.geometry.randomness import uniform
from unscene.losses.rays import distortion, interlevel
from unscene.scenes.scene import Scene
from unscene.training.captured_steps import CapturableObjective, Kind
from unscene.training.pixels import (
    PixelSampler,
    RegularizerConfig,
    hash_decay_term,
    reconstruction_kind,
    reconstruction_terms,
    unmasked_training_pixels,
)

MASKED_RAYS_WEIGHT = 0.1  # ours: compactness of rays nobody knows the colour of must not outweigh those with one


class UnmaskedReconstruction(CapturableObjective):
    """L_rec: the colours of unmasked rays. Masked rays carry no colour, only the demand for compact weights."""

    def __init__(self, nerf: Nerf, scene: Scene, regularizer: RegularizerConfig, *, rays: int, masked_rays: int):
        assert scene.masks is not None
        masked = torch.zeros_like(scene.masks)
        masked[scene.train] = scene.masks[scene.train]
        self.nerf, self.scene, self.regularizer = nerf, scene, regularizer
        self.known = PixelSampler(scene, unmasked_training_pixels(scene))
        self.hidden = PixelSampler(scene, masked)
        self.rays, self.masked_rays = rays, masked_rays

    def kind(self, step: int) -> Kind | None:
        return reconstruction_kind(step, self.regularizer) if self.known.is_on_device else None

    def __call__(self, step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        return self.terms_and_renders(step, generator, [])[0]

    def terms_and_renders(
        self, step: int, generator: torch.Generator, more: list[Rays]
    ) -> tuple[dict[str, Tensor], list[Render]]:
        """The terms of one step, and renders of ``more`` bundles of rays: one large launch costs less than several."""
        known = self.known.sample(self.rays, generator)
        hidden = self.hidden.sample(self.masked_rays, generator)
        bundles = [self.scene.cameras.rays(batch.view, batch.xy) for batch in (known, hidden)] + more
        rays = Rays.joined(bundles)
        together = self.nerf.render(rays, jitter=uniform(len(rays), generator, rays.origins.device))
        ends = list(itertools.accumulate(len(bundle) for bundle in bundles))
        renders = [together[start:end] for start, end in zip([0, *ends], ends, strict=False)]
        terms = reconstruction_terms(renders[0], known.color, step, self.regularizer)
        if self.masked_rays:
            terms["masked rays"] = MASKED_RAYS_WEIGHT * compactness(renders[1], self.regularizer)
        return terms | hash_decay_term(self.nerf, step, self.regularizer), renders[2:]


def compactness(render: Render, config: RegularizerConfig) -> Tensor:
    """Interlevel and distortion losses of rays without a known colour, scalar."""
    t, w = render.histogram.edges, render.histogram.weights
    cover = torch.stack([interlevel(t, w, p.edges, p.weights) for p in render.proposals]).sum()
    return config.interlevel * cover + config.distortion * distortion(t, w)
