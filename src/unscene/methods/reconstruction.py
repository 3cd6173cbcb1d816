"""What all removal methods start from: a field fitted to everything but the object, and what lies behind it."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from unscene.fields.field import Render
from unscene.fields.nerf import Nerf
from unscene.geometry.masks import VisibilityConfig, tidy, unseen_by_all
from unscene.losses.rays import distortion, interlevel
from unscene.methods.result import Renders
from unscene.scenes.scene import Scene
from unscene.training.events import Event, ItemDone, Note, StageStarted
from unscene.training.pixels import (
    PixelBatch,
    PixelSampler,
    RegularizerConfig,
    reconstruction_terms,
    unmasked_training_pixels,
)

MASKED_RAYS_WEIGHT = 0.1  # ours: compactness of rays nobody knows the colour of must not outweigh those with one


class UnmaskedReconstruction:
    """L_rec: the colours of unmasked rays. Masked rays carry no colour, only the demand for compact weights."""

    def __init__(self, nerf: Nerf, scene: Scene, regularizer: RegularizerConfig, *, rays: int, masked_rays: int):
        assert scene.masks is not None
        masked = torch.zeros_like(scene.masks)
        masked[scene.train] = scene.masks[scene.train]
        self.nerf, self.scene, self.regularizer = nerf, scene, regularizer
        self.known = PixelSampler(scene, unmasked_training_pixels(scene))
        self.hidden = PixelSampler(scene, masked)
        self.rays, self.masked_rays = rays, masked_rays

    def __call__(self, step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        batch = self.known.sample(self.rays, generator)
        terms = reconstruction_terms(self.render(batch, generator), batch.color, self.regularizer)
        if self.masked_rays:
            hidden = self.render(self.hidden.sample(self.masked_rays, generator), generator)
            terms["masked rays"] = MASKED_RAYS_WEIGHT * compactness(hidden, self.regularizer)
        if self.regularizer.hash_decay:
            terms["hash decay"] = self.regularizer.hash_decay * self.nerf.hash_decay()
        return terms

    def render(self, batch: PixelBatch, generator: torch.Generator) -> Render:
        """Render a batch's rays with jittered samples."""
        rays = self.scene.cameras.rays(batch.view, batch.xy)
        return self.nerf.render(rays, jitter=torch.rand(len(rays), generator=generator))


def compactness(render: Render, config: RegularizerConfig) -> Tensor:
    """Interlevel and distortion losses of rays without a known colour, scalar."""
    t, w = render.histogram.edges, render.histogram.weights
    cover = torch.stack([interlevel(t, w, p.edges, p.weights) for p in render.proposals]).sum()
    return config.interlevel * cover + config.distortion * distortion(t, w)


def find_unseen(scene: Scene, seen: Renders, config: VisibilityConfig) -> Generator[Event, None, Tensor]:
    """The part of each training view's mask that no view has seen, N H W bool.

    seen: renders of the training views by a field that has never been shown the object.
    """
    assert scene.masks is not None
    stage = "find what no view has seen"
    yield StageStarted(stage)
    cameras, masks = scene.cameras[scene.train], scene.masks[scene.train]
    radius = max(1, round(scene.cameras.width / 150))
    unseen = torch.zeros_like(scene.masks)
    for index, view in enumerate(scene.train.tolist()):
        hidden = unseen_by_all(index, seen.depth[index], masks, seen.depth, cameras, config)
        unseen[view] = tidy(hidden, masks[index], radius)
        yield ItemDone(stage, index + 1, len(scene.train))
    share = unseen[scene.train].sum() / masks.sum().clamp_min(1)
    yield Note(f"{share:.0%} of the masked pixels were seen by no view and will be inpainted")
    return unseen
