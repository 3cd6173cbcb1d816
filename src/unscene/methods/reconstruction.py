"""What all removal methods start from: a field fitted to everything but the object, and what lies behind it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Generator
from typing import Literal

import torch
from torch import Tensor

from unscene.fields.field import Render, render_view
from unscene.fields.nerf import Nerf
from unscene.geometry.cameras import Rays
from unscene.geometry.masks import VisibilityConfig, tidy, unseen_by_all
from unscene.geometry.randomness import uniform
from unscene.losses.rays import distortion, interlevel
from unscene.methods.result import masks_only, paste_renders, render_masked
from unscene.scenes.scene import Scene
from unscene.training.captured_steps import CapturableObjective, Kind
from unscene.training.events import Event, ItemDone, Note, StageDone, StageStarted
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


def look_behind(
    nerf: Nerf, scene: Scene, visibility: VisibilityConfig, fill: Literal["unseen", "mask"]
) -> Generator[Event, None, tuple[Scene, Tensor, Tensor]]:
    """What a field fitted to the unmasked rays knows behind the object.

    Returns the scene with renders inside its training masks, depth maps of the training views (T h w), and the region
    to inpaint (N H W bool): what no view has seen, or the whole masks.
    """
    assert scene.masks is not None
    train, masks = scene.train, scene.masks
    seen = yield from render_masked("look behind the object", nerf, scene, train, masks[train])
    behind = paste_renders(scene, train, seen.color, masks[train])
    depths = yield from render_depths(nerf, scene)
    region = masks_only(train, masks)
    if fill == "unseen":
        region = yield from find_unseen(scene, depths, seen.depth, visibility)
        if not region.any():
            yield Note("other views have seen everything behind the object: nothing needs inpainting")
    return behind, depths, region


def compactness(render: Render, config: RegularizerConfig) -> Tensor:
    """Interlevel and distortion losses of rays without a known colour, scalar."""
    t, w = render.histogram.edges, render.histogram.weights
    cover = torch.stack([interlevel(t, w, p.edges, p.weights) for p in render.proposals]).sum()
    return config.interlevel * cover + config.distortion * distortion(t, w)


def render_depths(nerf: Nerf, scene: Scene) -> Generator[Event, None, Tensor]:
    """Depth maps of the training views at half their size, enough to tell whether a surface is the one seen: T h w."""
    stage = "depth maps"
    yield StageStarted(stage)
    started, depths = time.monotonic(), []
    half = scene.cameras[scene.train].resized(scene.cameras.width // 2, scene.cameras.height // 2)
    for index in range(len(half)):
        depths.append(render_view(nerf, half, index).depth)
        yield ItemDone(stage, index + 1, len(half))
    yield StageDone(stage, time.monotonic() - started)
    return torch.stack(depths)


def find_unseen(
    scene: Scene, depths: Tensor, behind: Tensor, config: VisibilityConfig
) -> Generator[Event, None, Tensor]:
    """The part of each training view's mask that no view has seen, N H W bool.

    depths: T h w, of the training views without the object; behind: T H W, the same inside their masks.
    """
    assert scene.masks is not None
    stage = "find what no view has seen"
    yield StageStarted(stage)
    started = time.monotonic()
    cameras, masks = scene.cameras[scene.train], scene.masks[scene.train]
    radius = max(1, round(scene.cameras.width / 300))
    unseen = torch.zeros_like(scene.masks)
    for index, view in enumerate(scene.train.tolist()):
        hidden = unseen_by_all(index, behind[index], masks, depths, cameras, config)
        unseen[view] = tidy(hidden, masks[index], radius)
        yield ItemDone(stage, index + 1, len(cameras))
    yield StageDone(stage, time.monotonic() - started)
    share = unseen[scene.train].sum() / masks.sum().clamp_min(1)
    yield Note(f"{share:.0%} of the masked pixels were seen by no view and will be inpainted")
    return unseen
