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

What differs from the original is `SpinNerfConfig.DIFFERENCES`, and what `SpinNerfConfig.paper` has otherwise than the
defaults.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from unscene.fields.nerf import Nerf, NerfConfig
from unscene.losses.perceptual import Features
from unscene.losses.rays import PixelError, pixel_error
from unscene.priors.depth.completion import DepthEstimator
from unscene.priors.diffusion.config import DiffusionConfig
from unscene.priors.inpainter import Inpainter
from unscene.scenes.scene import Scene
from unscene.stages.independent_inpainting import inpaintable_views
from unscene.stages.inpainted_disparity import DisparityConfig, inpaint_with_disparities
from unscene.stages.inpainted_views import InpaintedViewsConfig, InpaintedViewsLoss, with_fills
from unscene.stages.masked_rendering import masks_only, paste_renders, render_masked
from unscene.stages.reconstruction import UnmaskedReconstruction
from unscene.stages.removal import Removal
from unscene.stages.splat_learner import Learner, SplatLearner, SplatRemovalConfig, visible_gaussians
from unscene.stages.splat_planting import surfaces_of
from unscene.stages.view_choice import spread, views_with_holes
from unscene.stages.visibility import render_depths
from unscene.training.checkpoints import Checkpoints
from unscene.training.events import Event, Note
from unscene.training.fit import FitConfig, fit
from unscene.training.pixels import PixelReconstruction, PixelSampler, RegularizerConfig, training_pixels

ANCHOR = 5  # the view whose colours are learnt, counted from the last (release)


@dataclass(frozen=True)
class SpinNerfConfig:
    """SPIn-NeRF's settings; "release" marks what its public code runs with, "ours" what no source gives."""

    nerf: NerfConfig = field(default_factory=lambda: NerfConfig(view_dependence=False))
    """The field, the same as In-N-Out's (ours)."""
    with_object: FitConfig = field(default_factory=lambda: FitConfig(steps=800, learning_rate=2e-2))
    """The field of the scene as it is, for its disparities (release: 4,001 steps)."""
    object_rays: int = 2304
    """Rays per step of that (release: 1,024)."""
    fit: FitConfig = field(default_factory=lambda: FitConfig(steps=1800, learning_rate=2e-2))
    """The field without the object (release: 10,001 steps)."""
    regularizer: RegularizerConfig = field(default_factory=RegularizerConfig)
    """Weights of the histogram losses (ours)."""
    along_surface: bool = True
    """Let priors that copy, or start from copies, fill photos along the plane around the object and with what other
    photos show of it, as in In-N-Out (ours); off: each photo by itself (paper)."""
    disparity: DisparityConfig = field(default_factory=DisparityConfig)
    """How disparities are inpainted. A depth network goes before."""
    loss: InpaintedViewsConfig = field(default_factory=InpaintedViewsConfig)
    """The terms of L."""
    anchor_rays: int = 512
    """Masked rays of the anchor view per step whose colour is compared (release: 1,024)."""
    most_views: int | None = 12
    """Views to inpaint at most, spread over all of them (ours); None: all (paper)."""

    OF_RAYS: ClassVar[tuple[str, ...]] = ("loss.rays", "loss.masked_rays", "anchor_rays")
    """Settings that say how rays teach a radiance field; Gaussians have their own."""

    DIFFERENCES_OF_RAYS: ClassVar[tuple[str, ...]] = (
        "the field is a hash-grid NeRF with proposals of our own (release: a hash-grid NeRF with importance sampling)",
    )
    """What a run with a radiance field does otherwise than the paper, whatever its settings."""

    DIFFERENCES: ClassVar[tuple[str, ...]] = (
        "masks come with the scene (paper: multi-view segmentation)",
        "no sparse points of COLMAP teach depth outside the masks (release: 0.1 of the loss)",
        "disparities are inpainted as they are, nothing of the object among them (release: in 8 bits)",
        "patches are square and of full resolution (release: shaped like the photo, of half its resolution)",
    )
    """What any run does otherwise than the paper or its release, whatever its settings."""

    @staticmethod
    def paper_diffusion() -> DiffusionConfig:
        """How SPIn-NeRF (LDM) samples: nothing is said."""
        return DiffusionConfig()

    @classmethod
    def paper(cls) -> SpinNerfConfig:
        """What the release runs with."""
        return cls(
            nerf=NerfConfig(view_dependence=False, proposal_samples=64, field_samples=64),
            with_object=FitConfig(steps=4001, learning_rate=0.03, final_learning_rate=0.03 * 0.1**0.4),
            object_rays=1024,
            fit=FitConfig(steps=10_001, learning_rate=0.03, final_learning_rate=0.003),
            regularizer=RegularizerConfig(hash_decay=0),
            along_surface=False,
            disparity=DisparityConfig(downscale=1, level=False),
            loss=InpaintedViewsConfig(
                rays=1024, masked_rays=1024, pixel_error="squared", disparity_weight=1, perceptual_weight=0.01,
                perceptual_from=0.03, patches=4,
                patch=48,  # release: a sixteenth of the photo's sides, some 63 x 47 pixels
            ),
            anchor_rays=1024,
            most_views=None,
        )  # fmt: skip


def spin_nerf(
    scene: Scene,
    prior: Inpainter,
    features: Features,
    config: SpinNerfConfig,
    checkpoints: Checkpoints,
    *,
    fill: Literal["unseen", "mask"] = "mask",
    estimate_depth: DepthEstimator | None = None,
    clean: bool = False,
    splats: SplatRemovalConfig | None = None,
) -> Generator[Event, None, Removal]:
    """Remove the masked object from a scene. Yields what happens, returns the field and the cleaned scene.

    features: the network that compares patches (paper: LPIPS). fill: the whole mask either way, since nothing here
    tells what other views see of what it hides. estimate_depth: a depth network for the inpainted views, in place
    of inpainted disparities. clean: unused, since the field shows the object. splats: Gaussians in place of the new
    radiance field, and how they learn. Raises ValueError if the scene has no masks.
    """
    if scene.masks is None:
        raise ValueError("spin_nerf needs a scene with masks; pass masks to load_scene or use Scene.with_masks")
    train, masks = scene.train, scene.masks

    # The scene as it is, and what its disparities are.
    seen = Nerf.around(scene.cameras[train], config.nerf, checkpoints.generator("field with the object"))
    pixels = PixelSampler(scene, training_pixels(scene))
    everything = PixelReconstruction(seen, scene.cameras, pixels, config.regularizer, rays=config.object_rays)
    yield from fit(
        "reconstruction with the object", seen, everything, config.with_object, checkpoints,
        rays_per_step=config.object_rays, native=seen.is_native,
    )  # fmt: skip

    # Photos and disparities, inpainted view by view.
    if not masks[train].any():
        yield Note("no mask hides anything: nothing needs inpainting")
        return Removal(seen, scene, masks_only(train, masks))
    if fill == "unseen":
        yield Note("--fill unseen has no say: spin-nerf's field shows the object, so whole masks are inpainted")
    hidden = inpaintable_views(prior, scene, views_with_holes(masks, train))
    views = spread(hidden, config.most_views)
    if len(views) < len(hidden):
        yield Note(f"{len(views)} of {len(hidden)} views are inpainted, spread over all (--spin-nerf.most-views)")
    colors, disparities = yield from inpaint_with_disparities(
        seen, scene, views, prior, checkpoints, estimate_depth, config.disparity, along_surface=config.along_surface
    )

    # A new field learns what is known, what is behind, and what it looks like.
    region = masks_only(views, masks)
    filled = with_fills(scene, region, colors)
    if splats is None:
        nerf = Nerf.around(scene.cameras[train], config.nerf, checkpoints.generator("field"))
        known = UnmaskedReconstruction(
            nerf, scene, config.regularizer, rays=config.loss.rays, error=config.loss.pixel_error
        )  # fmt: skip
    else:
        known = SplatLearner(scene, (yield from visible_gaussians(seen, scene, splats, checkpoints)), splats)
        depths = yield from render_depths(seen, scene)
        wanted = surfaces_of(scene, views, region, colors, 1 / disparities)
        known = yield from known.begin_behind(scene, masks_only(train, masks), depths, wanted, checkpoints)
    terms = InpaintedViewsLoss(known, filled, views, region, disparities, features, config.loss)
    anchor = AnchorColors(known, filled, views, region, config)

    def loss(step: int, progress: float, generator: torch.Generator) -> dict[str, Tensor]:
        return terms(step, progress, generator) | anchor(generator)

    yield from known.learn(
        "reconstruction without the object", loss, config.fit, checkpoints, known=config.loss.rays,
        more=terms.inpainted_rays + anchor.rays,
    )  # fmt: skip
    field = known.whole
    final = yield from render_masked("render the cleaned views", field, scene, train, masks[train])
    return Removal(field, paste_renders(scene, train, final.color, masks[train]), region)


class AnchorColors:
    """The colours of one view's inpainting, which do not move surfaces. Where patches are not compared, the colours of
    all views are, and no anchor is needed.

    filled: the inpainted scene; views: V, the anchor among them; region: N H W bool, what was inpainted of them.
    """

    def __init__(self, known: Learner, filled: Scene, views: Tensor, region: Tensor, config: SpinNerfConfig):
        self.known = known
        self.error: PixelError = config.loss.pixel_error
        self.rays = config.anchor_rays if config.loss.perceptual else 0
        self.pixels = PixelSampler(filled, masks_only(views[max(0, len(views) - ANCHOR)][None], region))

    def __call__(self, generator: torch.Generator) -> dict[str, Tensor]:
        if self.rays == 0:
            return {}
        color, places = self.known.colors_of_hidden(self.pixels, self.rays, generator)
        return {"anchor colour": pixel_error(self.error, color, self.pixels.at(places).color)}
