"""InFusion (Liu et al. 2024): one inpainted view whose depth a diffusion model completes, put into the scene as points.

A field is fitted to everything but the object. One reference view is inpainted, its depth behind the object completed;
masked pixels at these depths are points, those far from their neighbours are outliers; and the field is fine-tuned on
that single image and its points.

What differs from the original is `InfusionConfig.DIFFERENCES`; a report lists it too.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from unscene.fields.field import Field, render_view
from unscene.fields.nerf import NerfConfig
from unscene.geometry.masks import VisibilityConfig, surface_points
from unscene.geometry.outliers import statistical_inliers
from unscene.losses.perceptual import Features
from unscene.priors.depth.completion import DepthEstimator, complete_disparity
from unscene.priors.diffusion.config import DiffusionConfig
from unscene.priors.inpainter import Inpainter
from unscene.ranges import check_ranges
from unscene.scenes.scene import Scene
from unscene.stages.hidden_surfaces import complete_surfaces
from unscene.stages.independent_inpainting import InpaintedView, estimated_depth, inpaint_alone, inpaintable_views
from unscene.stages.masked_rendering import paste_renders, render_masked
from unscene.stages.method_error import MethodError
from unscene.stages.named_view import named_view, view_to_inpaint
from unscene.stages.removal import Removal
from unscene.stages.single_view_prior import SingleViewPrior
from unscene.stages.splat_learner import SplatLearner, SplatRemovalConfig, reconstruct_visible
from unscene.stages.splat_planting import Wanted
from unscene.stages.view_choice import views_nearest_center, views_with_holes
from unscene.stages.visibility import look_behind
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, Note, Picture, StageDone, StageStarted
from unscene.training.fit import FitConfig
from unscene.training.pixels import RegularizerConfig

STAGE = "reference view"
REFERENCE = "infusion.reference"  # the option


@dataclass(frozen=True)
class InfusionConfig:
    """InFusion's settings; "release" marks what its public code runs with, "ours" what no source gives."""

    nerf: NerfConfig = field(default_factory=lambda: NerfConfig(view_dependence=False))
    """The field, the same as In-N-Out's (ours; release: Gaussians of one colour each)."""
    reconstruction: FitConfig = field(default_factory=lambda: FitConfig(steps=1100, final_learning_rate=3e-3))
    """Unmasked rays alone (release: 30,000 steps)."""
    fine_tuning: FitConfig = field(default_factory=lambda: FitConfig(steps=600, final_learning_rate=1e-3))
    """With the reference view and its points (release: 150 steps)."""
    regularizer: RegularizerConfig = field(default_factory=RegularizerConfig)
    """Weights of the histogram losses (ours)."""
    rays: int = 4096
    """Unmasked rays per step of `reconstruction` (ours; release: a whole photo)."""
    reference_rays: int = 3072
    """Rays of the reference view's points per step (ours)."""
    known_rays: int = 768
    """Unmasked rays per step while fine-tuning (ours; release: none)."""
    visibility: VisibilityConfig = field(default_factory=VisibilityConfig)
    """When a masked pixel counts as seen by other views."""
    reference: str | None = None
    """Name or number of the photo to inpaint; None: the one nearest to the centre of all."""
    depth_completion: str | None = None
    """Diffusion model that completes the reference's depth: infusion (the release's), a hub id or a folder. None:
    --depth's network, aligned, else the surface around the hole goes on."""
    denoising_steps: int = 20
    """Of that model (release)."""
    loops: int = 2
    """Times that it completes depth, each starting from the last (release: once, "two or three times" for better)."""
    keep_known: bool = True
    """Known latents of depth take their place again after every step (release: --blend)."""
    outlier_neighbours: int = 5
    """Nearest points by whose distance outliers are told (release)."""
    outlier_deviations: float = 4.0
    """Standard deviations beyond the mean of that distance from which on a point is an outlier (release)."""
    depth_weight: float = 0.5
    """Weight of the points, on relative differences of depth (ours)."""
    share_elsewhere: float = 0.5
    """Share of the points looked at from other views, if they hide them too (ours)."""

    OF_RAYS: ClassVar[tuple[str, ...]] = ("reference_rays", "known_rays", "depth_weight", "share_elsewhere")
    """Settings that say how rays teach a radiance field; Gaussians have their own."""

    DIFFERENCES_OF_RAYS: ClassVar[tuple[str, ...]] = (
        "a radiance field, not Gaussians: points tell where its surface is, through the loss of In-N-Out's single-view "
        "prior, which also looks at them from other views",
        "what is known is learnt on while fine-tuning, since a field shares its parameters",
    )
    """What a run with a radiance field does otherwise than the paper, whatever its settings."""

    DIFFERENCES: ClassVar[tuple[str, ...]] = (
        "an outlier is not left out, its depth is completed from its neighbours', as its pixel has to show something",
        "nothing is deleted around the new points",
        "the reference view is the one nearest to the centre of all, not chosen by hand",
        "depth is completed smoothly before noise is put over it, where the release's renders are empty",
        "one reference view, where the paper adds more for what that does not see",
    )
    """What any run does otherwise than the release, whatever its settings."""

    @staticmethod
    def paper_diffusion() -> DiffusionConfig:
        """How the reference view is inpainted: by hand, with any tool."""
        return DiffusionConfig()

    @classmethod
    def paper(cls) -> InfusionConfig:
        """The release's values; what it does not say of a radiance field stays ours."""
        return cls(
            reconstruction=FitConfig(steps=30_000),
            fine_tuning=FitConfig(steps=150),
            depth_completion="infusion",
            denoising_steps=20, loops=1, keep_known=True, outlier_neighbours=5, outlier_deviations=4.0,
        )  # fmt: skip


def check_infusion(scene: Scene, config: InfusionConfig) -> None:
    """Raise MethodError or PriorError for what cannot work, before anything is run or written."""
    ranges = {
        "denoising-steps": (config.denoising_steps, 1, 1000), "loops": (config.loops, 1, 100),
        "outlier-neighbours": (config.outlier_neighbours, 2, 1e6),
        "outlier-deviations": (config.outlier_deviations, 0, 1e6),
    }  # fmt: skip
    check_ranges({f"infusion.{name}": given for name, given in ranges.items()}, MethodError)
    if config.reference is not None:
        named_view(scene, config.reference, REFERENCE)
    if config.depth_completion is not None:
        from unscene.priors.depth.depth_diffusion import locate_depth_diffusion  # loads diffusers: seconds

        locate_depth_diffusion(config.depth_completion)


def infusion(
    scene: Scene,
    prior: Inpainter,
    features: Features,
    config: InfusionConfig,
    checkpoints: Checkpoints,
    *,
    fill: Literal["unseen", "mask"] = "unseen",
    estimate_depth: DepthEstimator | None = None,
    clean: bool = False,
    splats: SplatRemovalConfig | None = None,
) -> Generator[Event, None, Removal]:
    """Remove the masked object from a scene. Yields what happens, returns the field and the cleaned scene.

    features: unused, since no patch is compared. fill: inpaint only what no view has seen, or the whole object
    mask. estimate_depth: a depth network for the reference view, if no model completes its depth. clean: drop
    density that no photo supports. splats: Gaussians in place of a radiance field, and how they learn. Raises
    ValueError without masks, MethodError for settings that cannot work, PriorError for a depth model that cannot be
    had.
    """
    if scene.masks is None:
        raise ValueError("infusion needs a scene with masks; pass masks to load_scene or use Scene.with_masks")
    check_infusion(scene, config)
    train, masks = scene.train, scene.masks

    # The scene without its object, incomplete.
    known = yield from reconstruct_visible(
        scene, config.nerf, config.regularizer, config.reconstruction, checkpoints, rays=config.rays, clean=clean,
        splats=splats,
    )  # fmt: skip
    behind, depths, region = yield from look_behind(known.field, scene, config.visibility, fill)
    if not region.any():
        return Removal(known.whole, behind, region)

    # One view inpainted, its depth completed, its outliers among neighbours.
    view = reference_view(behind, region, prior, config.reference)
    reference = yield from inpaint_reference(
        known.field, behind, view, region, depths, prior, config, checkpoints, estimate_depth
    )

    # The field with that view and its points.
    points = Wanted(reference.view, reference.hole, reference.image, reference.depth)
    known = yield from known.begin_behind(behind, region, depths, [points], checkpoints)
    if isinstance(known, SplatLearner):
        tuning = known.filling_with([reference])
    else:
        surfaces = yield from complete_surfaces(behind, region, depths, checkpoints)
        tuning = SingleViewPrior(
            known, [reference], region, surfaces, rays=config.reference_rays, known_rays=config.known_rays,
            weight=config.reference_rays / config.rays, depth_error="relative", depth_weight=config.depth_weight,
            share_elsewhere=config.share_elsewhere,
        )  # fmt: skip
    yield from known.learn(
        "fine-tuning", tuning, config.fine_tuning, checkpoints, known=config.known_rays, more=config.reference_rays
    )
    field = known.whole
    final = yield from render_masked("render the cleaned views", field, scene, train, masks[train])
    return Removal(field, paste_renders(scene, train, final.color, masks[train]), region)


def reference_view(scene: Scene, region: Tensor, prior: Inpainter, name: str | None) -> int:
    """The view to inpaint (region: N H W bool): the named one, else that nearest to the centre of those that the prior
    can inpaint. Raises MethodError if the named one cannot be."""
    possible = inpaintable_views(prior, scene, views_with_holes(region, scene.train))
    if name is None:
        return int(views_nearest_center(scene.cameras, possible, 1))
    return view_to_inpaint(scene, name, possible, REFERENCE)


def inpaint_reference(
    field: Field, scene: Scene, view: int, region: Tensor, depths: Tensor, prior: Inpainter, config: InfusionConfig,
    checkpoints: Checkpoints, estimate_depth: DepthEstimator | None,
) -> Generator[Event, None, InpaintedView]:  # fmt: skip
    """The reference view inpainted, with a depth behind its hole that has no outliers."""
    if product := checkpoints.product(STAGE, scene.device):
        return InpaintedView.of_tensors(product)
    yield StageStarted(STAGE)
    started, generator, hole = time.monotonic(), checkpoints.generator(STAGE), region[view]
    inpainted, surface = inpaint_alone(field, scene, view, region, depths, prior, generator)
    depth, remark = inpainted.depth, surface.describe()
    if config.depth_completion is not None:
        from unscene.priors.depth.depth_diffusion import DepthDiffusion  # loads diffusers: seconds

        model = DepthDiffusion.load(config.depth_completion, device=scene.device)
        known = render_view(field, scene.cameras, view).depth
        depth = model.complete(
            inpainted.image, known, hole, generator, steps=config.denoising_steps, loops=config.loops,
            keep_known=config.keep_known,
        )  # fmt: skip
        remark = f"depth behind the object: completed by '{model.name}'"
    elif estimate_depth is not None:
        depth, remark = estimated_depth(field, scene, view, hole, inpainted.image, estimate_depth)
    outliers = torch.zeros_like(hole)
    outliers[hole] = ~statistical_inliers(
        surface_points(scene.cameras, view, depth)[hole], neighbours=config.outlier_neighbours,
        deviations=config.outlier_deviations,
    )  # fmt: skip
    reference = replace(inpainted, depth=complete_disparity(depth, outliers))
    checkpoints.save(STAGE, reference.tensors(), finished=True)
    yield Picture("reference", reference.image, scene.names[view])
    yield Note(remark)
    yield Note(f"reference view: {scene.names[view]}; {int(outliers.sum())} of {int(hole.sum())} points are outliers")
    yield StageDone(STAGE, time.monotonic() - started)
    return reference
