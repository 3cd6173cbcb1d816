"""The naive baseline: inpaint every view on its own and fit the field to the result (In-N-Out, figure 1)."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch

from unscene.fields.nerf import Nerf, NerfConfig
from unscene.files import to_uint8
from unscene.losses.perceptual import Features
from unscene.losses.rays import PixelError
from unscene.priors.diffusion.config import DiffusionConfig
from unscene.priors.inpainter import Inpainter
from unscene.scenes.scene import Scene
from unscene.stages.independent_inpainting import inpaint_view
from unscene.stages.masked_rendering import masks_only, paste_renders, render_masked
from unscene.stages.removal import Removal
from unscene.stages.splat_learner import SplatRemovalConfig
from unscene.stages.splat_reconstruction import fit_splats
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, ItemDone, Note, StageDone, StageStarted, ViewInpainted
from unscene.training.fit import FitConfig, fit
from unscene.training.photo_depths import depth_term_of_few
from unscene.training.pixels import PixelReconstruction, PixelSampler, RegularizerConfig, training_pixels


@dataclass(frozen=True)
class NaiveConfig:
    """Settings of the naive baseline."""

    nerf: NerfConfig = field(default_factory=lambda: NerfConfig(view_dependence=False))
    """The field, the same as In-N-Out's."""
    fit: FitConfig = field(default_factory=lambda: FitConfig(steps=2000))
    """How long to learn."""
    regularizer: RegularizerConfig = field(default_factory=RegularizerConfig)
    """Weights of the histogram losses."""
    rays: int = 4096
    """Rays per step."""
    pixel_error: PixelError = "charbonnier"
    """Of colours along rays (ours; paper: squared)."""

    OF_RAYS: ClassVar[tuple[str, ...]] = ("rays", "pixel_error")
    """Settings that say how rays teach a radiance field; Gaussians have their own."""

    DIFFERENCES_OF_RAYS: ClassVar[tuple[str, ...]] = ()
    """What a run with a radiance field does otherwise than the paper, whatever its settings."""

    DIFFERENCES: ClassVar[tuple[str, ...]] = ()
    """What any run does otherwise than In-N-Out's account of the baseline, whatever its settings."""

    @staticmethod
    def paper_diffusion() -> DiffusionConfig:
        """How the prior is sampled: nothing is said."""
        return DiffusionConfig()

    @classmethod
    def paper(cls) -> NaiveConfig:
        """What In-N-Out says of its baseline: squared errors of all rays, as many steps as the whole method's."""
        return cls(fit=FitConfig(steps=15_000), pixel_error="squared")


def naive(
    scene: Scene,
    prior: Inpainter,
    features: Features,
    config: NaiveConfig,
    checkpoints: Checkpoints,
    *,
    fill: Literal["unseen", "mask"] = "mask",
    estimate_depth: object = None,
    clean: bool = False,
    splats: SplatRemovalConfig | None = None,
) -> Generator[Event, None, Removal]:
    """Remove the masked object view by view. The whole mask is filled: without a field nothing tells what was seen.

    estimate_depth and clean: unused, since nothing here asks for depth or goes on from a field. splats: Gaussians in
    place of a radiance field, and how they learn.
    """
    if scene.masks is None:
        raise ValueError("naive needs a scene with masks; pass masks to load_scene or use Scene.with_masks")
    train, masks, stage = scene.train, scene.masks, "inpaint every view"
    region = masks_only(train, masks)
    if fill == "unseen":
        yield Note("--fill unseen has no say: no field tells what other views see, so whole masks are inpainted")
    if (product := checkpoints.product(stage)) is None:
        yield StageStarted(stage)
        started, generator = time.monotonic(), checkpoints.generator(stage)
        images = []
        for view in train.tolist():
            image = inpaint_view(prior, scene, view, masks[view], generator)
            images.append(to_uint8(image)[None])
            yield ViewInpainted(scene.names[view], image)
            yield ItemDone(stage, len(images), len(train))
        product = {"images": torch.cat(images)}
        checkpoints.save(stage, product, finished=True)
        yield StageDone(stage, time.monotonic() - started)
    filled = scene.with_images(train, product["images"])

    if splats is None:
        field = Nerf.around(scene.cameras[train], config.nerf, checkpoints.generator("field"))
        pixels = PixelSampler(filled, training_pixels(filled))
        told = yield from depth_term_of_few(scene, checkpoints)
        objective = PixelReconstruction(
            field, filled.cameras, pixels, config.regularizer, rays=config.rays, error=config.pixel_error,
            depth_term=told,
        )  # fmt: skip
        yield from fit(
            "reconstruction", field, objective, config.fit, checkpoints, rays_per_step=config.rays,
            native=field.is_native,
        )  # fmt: skip
    else:
        bare = replace(filled, points=None, point_colors=None)  # sparse points are the object's, too
        field = yield from fit_splats(
            bare, splats.gaussians, config.nerf, config.fit, config.regularizer, checkpoints
        )  # fmt: skip
    final = yield from render_masked("render the cleaned views", field, scene, train, masks[train])
    return Removal(field, paste_renders(scene, train, final.color, masks[train]), region)
